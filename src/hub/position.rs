//! Positions in the history of a group, and the limits of a history.

use std::{sync::Arc, time::Duration};

use crate::runtime::random;

/// A place in the history of a group.
///
/// Offsets count from 1. Offsets of different epochs cannot be compared: a new epoch begins when the
/// broker has lost its data, or when the process that held the history in memory has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of the latest message; 0 before the first.
    pub offset: u64,
    /// The epoch of the history: at most 32 ASCII characters, opaque.
    pub epoch: Arc<str>,
}

/// The highest number that JavaScript and Redis's scripts can count to.
const MAX_OFFSET: u64 = (1 << 53) - 1;

/// The most bytes of an epoch.
const MAX_EPOCH: usize = 32;

impl Position {
    /// The position in a group without a history.
    pub(super) fn nowhere() -> Self {
        Self {
            offset: 0,
            epoch: "".into(),
        }
    }

    /// Whether a history can have this position. Any program that writes to the broker may have made it
    /// up.
    pub(super) fn is_possible(&self) -> bool {
        self.offset <= MAX_OFFSET
            && (1..=MAX_EPOCH).contains(&self.epoch.len())
            && self.epoch.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// The limits of a group's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most messages that are kept; at least 1.
    pub size: usize,
    /// How long a message is kept.
    pub ttl: Duration,
}

/// A random epoch for a history that begins now.
pub(super) fn new_epoch() -> Arc<str> {
    format!("{:016x}", random()).into()
}
