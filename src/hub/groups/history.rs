//! The latest messages of a group, and which of them a client has missed.

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

/// The latest messages of a group, without a gap between their offsets.
#[derive(Debug)]
pub(in crate::hub) struct Ring {
    epoch: Arc<str>,
    /// The offset of the latest message, even if that message has expired.
    top: u64,
    entries: VecDeque<Entry>,
    limits: Limits,
    /// When the history was last used: a message was added, a member left, or the position was asked
    /// for.
    touched: Instant,
}

/// The messages that a returning client has missed.
#[derive(Debug)]
pub(in crate::hub) enum Missed {
    /// All missed messages.
    Known(Vec<Arc<GroupMessage>>),
    /// The client's position is older than the messages that are kept here.
    TooOld,
    /// The client's position is newer than the latest message here: the client got it from another
    /// process.
    Ahead,
    /// The client's position is of another epoch.
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

    /// The position of the next message.
    pub(in crate::hub) fn next(&self) -> Position {
        Position {
            offset: self.top.saturating_add(1),
            epoch: Arc::clone(&self.epoch),
        }
    }

    /// Adds the next message, whose position is [`Ring::next`]. `age`: the time since it was stored.
    pub(in crate::hub) fn push(&mut self, message: Arc<GroupMessage>, now: Instant, age: Duration) {
        self.top = self.top.saturating_add(1);
        self.touched = now;
        let at = before(now, age);
        self.entries.push_back(Entry { at, message });
        self.trim(now);
    }

    /// Puts older messages, with their ages, before the messages of the ring.
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

    /// Notes that the history is still used.
    pub(in crate::hub) fn touch(&mut self, now: Instant) {
        self.touched = now;
    }

    /// Whether the ring is empty and was not used for the time that a message is kept. Until then, a
    /// client that comes back with the latest position learns that it has missed nothing.
    pub(in crate::hub) fn is_expired(&self, now: Instant) -> bool {
        self.entries.is_empty() && now.duration_since(self.touched) > self.limits.ttl
    }

    /// The offset before that of the oldest message in the ring.
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

    /// Finds the messages after a position. Offset 0 with an empty epoch asks for all messages that are
    /// kept.
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

/// The instant `age` before `now`; `now` if the clock does not reach back so far, as after the start of
/// the machine.
fn before(now: Instant, age: Duration) -> Instant {
    now.checked_sub(age).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::wire::payload::PayloadKind;

    fn message(position: Position) -> Arc<GroupMessage> {
        let payload = position.offset.to_string().into();
        let message = GroupMessage::new("g".into(), PayloadKind::Text, payload, Some(position));
        Arc::new(message)
    }

    fn at(offset: u64, epoch: &str) -> Position {
        Position {
            offset,
            epoch: epoch.into(),
        }
    }

    fn ring(start: u64, size: usize, now: Instant) -> Ring {
        let limits = Limits {
            size,
            ttl: Duration::from_secs(10),
        };
        Ring::new(at(start, "e"), limits, now)
    }

    fn push(ring: &mut Ring, now: Instant) {
        let next = ring.next();
        ring.push(message(next), now, Duration::ZERO);
    }

    fn offsets(messages: &[Arc<GroupMessage>]) -> Vec<u64> {
        messages.iter().map(|one| one.offset()).collect()
    }

    /// In words: `known 3 4`, `old`, `ahead`, `foreign`.
    fn missed(ring: &Ring, since: &Position) -> String {
        match ring.missed(since) {
            Missed::Known(messages) => {
                let offsets = offsets(&messages).into_iter();
                offsets.fold("known".into(), |words, offset| format!("{words} {offset}"))
            }
            Missed::TooOld => "old".into(),
            Missed::Ahead => "ahead".into(),
            Missed::Foreign => "foreign".into(),
        }
    }

    #[test]
    fn what_was_missed_depends_on_the_position() {
        let now = Instant::now();
        let mut ring = ring(4, 3, now);
        assert_eq!(missed(&ring, &at(4, "e")), "known");
        (0..4).for_each(|_| push(&mut ring, now));
        assert_eq!((ring.position(), ring.floor()), (at(8, "e"), 5));
        for (since, expected) in [
            (at(0, ""), "known 6 7 8"),
            (at(5, "e"), "known 6 7 8"),
            (at(7, "e"), "known 8"),
            (at(8, "e"), "known"),
            (at(4, "e"), "old"),
            (at(0, "e"), "old"),
            (at(9, "e"), "ahead"),
            (at(u64::MAX, "e"), "ahead"),
            (at(7, "f"), "foreign"),
            (at(1, ""), "foreign"),
        ] {
            assert_eq!(missed(&ring, &since), expected, "{since:?}");
        }
    }

    #[test]
    fn messages_expire_and_so_does_the_interest() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let mut ring = ring(0, 9, begun);
        push(&mut ring, begun);
        ring.push(message(ring.next()), begun + 9 * second, 4 * second);
        ring.trim(begun + 11 * second);
        assert_eq!(offsets(&ring.after(0)), [2]);
        ring.trim(begun + 16 * second);
        assert!(ring.after(0).is_empty());
        assert!(!ring.is_expired(begun + 19 * second));
        assert!(ring.is_expired(begun + 20 * second));
        ring.touch(begun + 20 * second);
        assert!(!ring.is_expired(begun + 30 * second));
        assert_eq!(missed(&ring, &at(1, "e")), "old");
        assert_eq!(missed(&ring, &at(2, "e")), "known");
    }

    #[test]
    fn older_messages_are_put_before_those_that_are_here() {
        let now = Instant::now();
        let mut ring = ring(7, 9, now);
        let older = [6, 7].map(|offset| (message(at(offset, "e")), Duration::from_secs(3)));
        ring.prepend(older.into(), now);
        push(&mut ring, now);
        assert_eq!(offsets(&ring.after(0)), [6, 7, 8]);
        assert_eq!(ring.floor(), 5);
        // An age that the clock does not reach back to gives `now`.
        assert_eq!(before(now, Duration::MAX), now);
    }

    proptest! {
        /// For any sequence of pushes, the ring has the latest messages without a gap, and `missed` is
        /// right.
        #[test]
        fn a_ring_has_no_gap(
            start in 0_u64..1_000,
            size in 1_usize..9,
            steps in prop::collection::vec(0_u64..6, 0..40),
            since in 0_u64..1_100,
        ) {
            let mut now = Instant::now();
            let mut ring = ring(start, size, now);
            let mut model: Vec<(u64, Instant)> = Vec::new();
            for step in steps {
                now += Duration::from_secs(step);
                model.push((ring.next().offset, now));
                push(&mut ring, now);
            }
            ring.trim(now);
            model.retain(|(_, at)| now.duration_since(*at) <= Duration::from_secs(10));
            let model: Vec<_> = model.iter().map(|(offset, _)| *offset).collect();
            let latest = &model[model.len().saturating_sub(size)..];
            prop_assert_eq!(offsets(&ring.after(0)), latest);
            let found = ring.missed(&at(since, "e"));
            if let Missed::Known(messages) = &found {
                let top = ring.position().offset;
                prop_assert_eq!(offsets(messages), (since + 1..=top).collect::<Vec<_>>());
            } else {
                prop_assert!(since < ring.floor() || since > ring.position().offset);
            }
        }
    }
}
