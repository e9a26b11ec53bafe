//! The words that cross the border to Python, and the enum that each stands for: the only table.

use pyo3::{Borrowed, prelude::*};

use super::errors;
use crate::{
    config::{Compression, Overflow},
    hub::{BrokerState, Fate, PayloadKind},
    runtime::Level,
};

/// An enum whose values have words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// What an error message calls the enum.
    const WHAT: &'static str;
    /// Each value and its word.
    const WORDS: &'static [(Self, &'static str)];

    /// The value that a word stands for.
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

/// What a message does for which the outbox has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Python chooses for each message: "block" or "close".
    Auto,
    /// The sender waits for room.
    Block,
    /// The engine does not wait, and does this.
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
    ];
}

impl Policy {
    /// The policy of a message to a group. Nobody can wait there: "auto" and "block" close.
    ///
    /// # Errors
    ///
    /// `ValueError`: "refuse" has no caller to whom the message could be given back.
    pub(super) fn of_groups(self) -> PyResult<Overflow> {
        match self {
            Self::Auto | Self::Block => Ok(Overflow::Close),
            Self::Now(Overflow::Refuse) => Err(self.unknown()),
            Self::Now(overflow) => Ok(overflow),
        }
    }

    /// The error of a call that does not know the policy.
    pub(super) fn unknown(self) -> PyErr {
        errors::value(format!("unknown {} \"{}\"", Self::WHAT, self.word()))
    }
}

/// What the names of a message's targets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetKind {
    /// Names of groups.
    Group,
    /// Names of users.
    User,
    /// No names: the message goes to everybody.
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

/// The kind of a message's payload, from the two arguments that say it. JSON goes before binary.
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
