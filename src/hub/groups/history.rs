//! What a group has said of late, and where in it somebody is.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::hub::{
    delivery::group_message::GroupMessage,
    position::{Limits, Position},
};

#[derive(Debug)]
struct Entry {
    at: Instant,
    message: Arc<GroupMessage>,
}

/// The latest messages, without a gap between them.
#[derive(Debug)]
pub(in crate::hub) struct Ring {
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
pub(in crate::hub) enum Missed {
    /// All of it.
    Known(Vec<Arc<GroupMessage>>),
    /// Older than what is here.
    TooOld,
    /// Newer than what is here, by somebody who has seen it elsewhere.
    Ahead,
    /// Of another epoch.
    Foreign,
}

impl Ring {
    pub(in crate::hub) fn new(position: Position, limits: Limits, now: Instant) -> Self {
        Self {
            epoch: position.epoch,
            top: position.offset,
            entries: VecDeque::new(),
            limits,
            touched: now,
        }
    }

    pub(in crate::hub) fn position(&self) -> Position {
        Position {
            offset: self.top,
            epoch: Arc::clone(&self.epoch),
        }
    }

    pub(in crate::hub) fn limits(&self) -> Limits {
        self.limits
    }

    pub(in crate::hub) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Where the next message is.
    pub(in crate::hub) fn next(&self) -> Position {
        Position {
            offset: self.top.saturating_add(1),
            epoch: Arc::clone(&self.epoch),
        }
    }

    /// Adds the next message, whose position is [`Ring::next`].
    /// It is of that age already.
    pub(in crate::hub) fn push(&mut self, message: Arc<GroupMessage>, now: Instant, age: Duration) {
        self.top = self.top.saturating_add(1);
        self.touched = now;
        let at = before(now, age);
        self.entries.push_back(Entry { at, message });
        self.trim(now);
    }

    /// Puts older messages, with their ages, before those that are here.
    pub(in crate::hub) fn prepend(
        &mut self,
        older: Vec<(Arc<GroupMessage>, Duration)>,
        now: Instant,
    ) {
        for (message, age) in older.into_iter().rev() {
            let at = before(now, age);
            self.entries.push_front(Entry { at, message });
        }
    }

    pub(in crate::hub) fn trim(&mut self, now: Instant) {
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
    pub(in crate::hub) fn touch(&mut self, now: Instant) {
        self.touched = now;
    }

    /// Whether nothing is left, and nobody has asked for as long as a message would be kept: whoever
    /// comes back until then learns that nothing was missed.
    pub(in crate::hub) fn is_expired(&self, now: Instant) -> bool {
        self.entries.is_empty() && now.duration_since(self.touched) > self.limits.ttl
    }

    /// The offset before the oldest message that is here.
    pub(in crate::hub) fn floor(&self) -> u64 {
        self.top.saturating_sub(self.entries.len() as u64)
    }

    /// The messages after an offset.
    pub(in crate::hub) fn after(&self, offset: u64) -> Vec<Arc<GroupMessage>> {
        let skipped = offset.saturating_sub(self.floor());
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let entries = self.entries.iter().skip(skipped);
        entries.map(|entry| Arc::clone(&entry.message)).collect()
    }

    /// What came after a position. Offset 0 of no epoch asks for all that is kept.
    pub(in crate::hub) fn missed(&self, since: &Position) -> Missed {
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
