//! The words that stand for Rust enums in Python. No other module has a table of such words.

use pyo3::{Borrowed, prelude::*};

use super::errors;
use crate::{
    config::{Compression, Overflow},
    hub::{BrokerState, Fate, PayloadKind},
    runtime::Level,
};

/// An enum whose values have words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// The name of the enum in error messages.
    const WHAT: &'static str;
    /// Each value and its word.
    const WORDS: &'static [(Self, &'static str)];

    /// The value of a word.
    ///
    /// # Errors
    ///
    /// `ValueError`: the table does not have the word.
    fn parse(word: &str) -> PyResult<Self> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        match found {
            Some((value, _)) => Ok(*value),
            None => Err(errors::value(format!("unknown {} \"{word}\"", Self::WHAT))),
        }
    }

    /// The word of a value.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(known, _)| *known == self);
        found.map_or("unknown", |(_, word)| *word)
    }
}

/// The fate of a message for which the outbox has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// The sender waits for room; if none comes in time, the connection is closed. For a sender that serves
    /// several connections, Python chooses "close".
    Auto,
    /// The sender waits for room; if none comes in time, the message is dropped.
    Block,
    /// The engine applies this policy and does not wait.
    Now(Overflow),
}

impl Word for Policy {
    const WHAT: &'static str = "overflow policy";
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Auto, "auto"),
        (Self::Block, "block"),
        (Self::Now(Overflow::Close), "close"),
        (Self::Now(Overflow::DropOldest), "drop_oldest"),
        (Self::Now(Overflow::DropNewest), "drop_newest"),
        (Self::Now(Overflow::Refuse), "refuse"),
        (Self::Now(Overflow::Overdraw), "overdraw"),
    ];
}

impl Policy {
    /// The policy of a message to a group. A sender to a group does not wait, so "auto" and "block"
    /// close the connection.
    ///
    /// # Errors
    ///
    /// `ValueError` for "refuse": a message to a group cannot be given back to a caller.
    pub(super) fn of_groups(self) -> PyResult<Overflow> {
        match self {
            Self::Auto | Self::Block => Ok(Overflow::Close),
            Self::Now(Overflow::Refuse | Overflow::Overdraw) => Err(self.unknown()),
            Self::Now(overflow) => Ok(overflow),
        }
    }

    /// The error of a call that does not support the policy.
    fn unknown(self) -> PyErr {
        errors::value(format!("unknown {} \"{}\"", Self::WHAT, self.word()))
    }
}

/// The kind of a message's targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetKind {
    /// Names of groups.
    Group,
    /// Names of users.
    User,
    /// All connections; there are no names.
    All,
}

impl Word for TargetKind {
    const WHAT: &'static str = "kind of target";
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Group, "group"),
        (Self::User, "user"),
        (Self::All, "all"),
    ];
}

impl Word for Compression {
    const WHAT: &'static str = "compression";
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Off, "off"),
        (Self::Shared, "shared"),
        (Self::Dedicated, "dedicated"),
    ];
}

impl Word for Fate {
    const WHAT: &'static str = "fate";
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Alone, "none"),
        (Self::Sent, "sent"),
        (Self::Stored, "stored"),
        (Self::Pending, "pending"),
        (Self::Unavailable, "unavailable"),
    ];
}

impl Word for BrokerState {
    const WHAT: &'static str = "state of the broker";
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::None, "none"),
        (Self::Connected, "connected"),
        (Self::Away, "away"),
    ];
}

/// An argument whose word has been parsed.
pub(super) struct Parsed<T>(pub(super) T);

impl<'py, T: Word> FromPyObject<'_, 'py> for Parsed<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        T::parse(object.extract::<&str>()?).map(Self)
    }
}

/// The kind of a message's payload, from two arguments of Python. `json` goes before `binary`.
pub(super) fn payload_kind(json: bool, binary: bool) -> PayloadKind {
    match (json, binary) {
        (true, _) => PayloadKind::Json,
        (false, true) => PayloadKind::Binary,
        (false, false) => PayloadKind::Text,
    }
}

/// The number that Python's `logging` has for a level.
pub(super) fn level(level: Level) -> u8 {
    match level {
        Level::Info => 20,
        Level::Warning => 30,
        Level::Error => 40,
    }
}
