//! The errors of calls that send to groups, or join them.

use thiserror::Error;

use super::{
    broker::BrokerError,
    names::{MAX_EXCLUDED, MAX_TARGETS, NameError},
    presence::{MAX_DEPTH, MAX_INFO},
    wire::json::MAX_NUMBER,
};

/// Why a call of the hub has failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HubError {
    /// The name of a group breaks the rules.
    #[error(transparent)]
    Name(#[from] NameError),
    /// One call names too many groups or users.
    #[error("one call reaches at most {MAX_TARGETS} groups or users")]
    TooManyTargets,
    /// One call excludes too many connections.
    #[error("at most {MAX_EXCLUDED} connections can be left out")]
    TooManyExcluded,
    /// The `info` of a member is too large; its length in bytes.
    #[error("info has at most {MAX_INFO} bytes as JSON, not {0}")]
    Info(usize),
    /// The `info` of a member is not JSON that every reader accepts.
    #[error(
        "info is nested deeper than {MAX_DEPTH} levels, or has a number of more than {MAX_NUMBER} digits"
    )]
    Strange,
    /// The broker, which has the history, cannot be asked.
    #[error("the history of the group cannot be read: {0}")]
    Unavailable(BrokerError),
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_words() {
        let away = BrokerError::Unavailable("no".into());
        for (error, expected) in [
            (
                NameError::Length(256).into(),
                "a group's name has 1 to 255 bytes of UTF-8, not 256",
            ),
            (
                NameError::Control('\n').into(),
                "a group's name has no control characters; this one has '\\n'",
            ),
            (
                NameError::Wildcard("a.*".into()).into(),
                "\"a.*\" ends in *, which stands for many groups: it can be joined, not sent to",
            ),
            (
                HubError::TooManyTargets,
                "one call reaches at most 1000 groups or users",
            ),
            (
                HubError::TooManyExcluded,
                "at most 1000 connections can be left out",
            ),
            (
                HubError::Info(70_000),
                "info has at most 65536 bytes as JSON, not 70000",
            ),
            (
                HubError::Strange,
                "info is nested deeper than 64 levels, or has a number of more than 300 digits",
            ),
            (
                HubError::Unavailable(away),
                "the history of the group cannot be read: the broker is unavailable: no",
            ),
            (HubError::Ended, "the connection has ended"),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
