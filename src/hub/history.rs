//! What a group has said of late, and where in it somebody is.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::message::Message;

/// A place in the history of a group.
///
/// Offsets count from 1. Another epoch means another history, whose offsets say nothing here: the
/// broker lost its data, or the process that held the history in memory has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of the latest message; 0 before the first.
    pub offset: u64,
    /// At most 32 ASCII characters, opaque.
    pub epoch: Arc<str>,
}

/// The highest number that JavaScript and Redis's scripts can count to.
const MAX_OFFSET: u64 = (1 << 53) - 1;

/// Bytes of an epoch.
const MAX_EPOCH: usize = 32;

impl Position {
    /// Whether a history can have this position, which a stranger may have written.
    pub(super) fn is_possible(&self) -> bool {
        self.offset <= MAX_OFFSET
            && (1..=MAX_EPOCH).contains(&self.epoch.len())
            && self.epoch.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// How much of a group's history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages; at least 1.
    pub size: usize,
    /// How long.
    pub ttl: Duration,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    message: Arc<Message>,
}

/// The latest messages, without a gap between them.
#[derive(Debug)]
pub(super) struct Ring {
    epoch: Arc<str>,
    /// The offset of the latest message there was.
    top: u64,
    entries: VecDeque<Entry>,
    limits: Limits,
    /// When somebody has last been here.
    touched: Instant,
}

/// What somebody has missed who comes back.
#[derive(Debug)]
pub(super) enum Missed {
    /// All of it.
    Known(Vec<Arc<Message>>),
    /// Older than what is here.
    TooOld,
    /// Newer than what is here, by somebody who has seen it elsewhere.
    Ahead,
    /// Of another epoch.
    Foreign,
}

impl Ring {
    pub(super) fn new(position: Position, limits: Limits) -> Self {
        Self {
            epoch: position.epoch,
            top: position.offset,
            entries: VecDeque::new(),
            limits,
            touched: Instant::now(),
        }
    }

    pub(super) fn position(&self) -> Position {
        Position {
            offset: self.top,
            epoch: Arc::clone(&self.epoch),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Where the next message is.
    pub(super) fn next(&self) -> Position {
        Position {
            offset: self.top.saturating_add(1),
            epoch: Arc::clone(&self.epoch),
        }
    }

    /// Adds the next message, whose position is [`Ring::next`].
    /// It is of that age already.
    pub(super) fn push(&mut self, message: Arc<Message>, now: Instant, age: Duration) {
        self.top = self.top.saturating_add(1);
        self.touched = now;
        let at = before(now, age);
        self.entries.push_back(Entry { at, message });
        self.trim(now);
    }

    /// Puts older messages, with their ages, before those that are here.
    pub(super) fn prepend(&mut self, older: Vec<(Arc<Message>, Duration)>, now: Instant) {
        for (message, age) in older.into_iter().rev() {
            let at = before(now, age);
            self.entries.push_front(Entry { at, message });
        }
    }

    pub(super) fn trim(&mut self, now: Instant) {
        while self.entries.len() > self.limits.size
            || self
                .entries
                .front()
                .is_some_and(|entry| now.duration_since(entry.at) > self.limits.ttl)
        {
            self.entries.pop_front();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Takes note that there is still interest.
    pub(super) fn touch(&mut self, now: Instant) {
        self.touched = now;
    }

    /// Whether nothing is left, and nobody has asked for as long as a message would be kept: whoever
    /// comes back until then learns that nothing was missed.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.entries.is_empty() && now.duration_since(self.touched) > self.limits.ttl
    }

    /// The offset before the oldest message that is here.
    pub(super) fn floor(&self) -> u64 {
        self.top.saturating_sub(self.entries.len() as u64)
    }

    /// The messages after an offset.
    pub(super) fn after(&self, offset: u64) -> Vec<Arc<Message>> {
        let skipped = offset.saturating_sub(self.floor());
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let entries = self.entries.iter().skip(skipped);
        entries.map(|entry| Arc::clone(&entry.message)).collect()
    }

    /// What came after a position. Offset 0 of no epoch asks for all that is kept.
    pub(super) fn missed(&self, since: &Position) -> Missed {
        if since.epoch.is_empty() && since.offset == 0 {
            return Missed::Known(self.after(0));
        }
        if since.epoch != self.epoch {
            return Missed::Foreign;
        }
        if since.offset > self.top {
            Missed::Ahead
        } else if since.offset < self.floor() {
            Missed::TooOld
        } else {
            Missed::Known(self.after(since.offset))
        }
    }
}

/// A machine that has just started has no time before that.
fn before(now: Instant, age: Duration) -> Instant {
    now.checked_sub(age).unwrap_or(now)
}
