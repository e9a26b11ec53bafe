//! Decides what happens to a message that finds no room. No other module does.
//!
//! The policies "block" and "auto" of the settings are built on [`Overflow::Refuse`]: the message is not
//! taken, and the caller waits for room or decides anew.

use super::{Outbox, backlog::Backlog, sent::Sent};
use crate::config::{Config, Overflow};

impl Outbox {
    /// Whether a message of `len` bytes would be taken now. An empty outbox takes any message, whatever
    /// its size.
    pub(in crate::engine) fn has_room(&self, len: usize, config: &Config) -> bool {
        self.backlog.has_room(len, config)
    }

    /// Finds room for a message, by the policy if the outbox is full. `Ok` is the result for a message that
    /// is taken, `Err` the result for one that is not.
    pub(super) fn admit(
        &mut self,
        len: usize,
        overflow: Overflow,
        config: &Config,
    ) -> Result<Sent, Sent> {
        if self.corked && !self.has_room(len, config) {
            self.flush_held_back();
        }
        if self.has_room(len, config) {
            return Ok(Sent::Done);
        }
        match overflow {
            Overflow::Close => Err(Sent::Overflowed),
            Overflow::DropNewest => Err(Sent::Dropped),
            Overflow::Refuse => Err(Sent::Full),
            Overflow::Overdraw if self.backlog.may_overdraw(len, config) => Ok(Sent::Done),
            Overflow::Overdraw => Err(Sent::Full),
            Overflow::DropOldest => match self.backlog.make_room(len, config) {
                Some(lost) => Ok(Sent::DroppedOldest(lost)),
                None => Err(Sent::Dropped),
            },
        }
    }
}

impl Backlog {
    fn has_room(&self, len: usize, config: &Config) -> bool {
        self.is_within(len, config.outbox_messages, config.outbox_bytes)
    }

    /// Whether a message of `len` bytes would be taken from a sender that waits only afterwards. A sender
    /// that has waited finds room for one byte, and may send a message of any size.
    fn may_overdraw(&self, len: usize, config: &Config) -> bool {
        let (messages, bytes) = (config.outbox_messages, config.outbox_bytes);
        self.has_room(1, config)
            || self.is_within(len, messages.saturating_mul(2), bytes.saturating_mul(2))
    }

    fn is_within(&self, len: usize, most_messages: usize, most_bytes: usize) -> bool {
        let bytes = self.bytes + self.unsent_bytes();
        // Empty messages have no bytes, and count as messages.
        (bytes == 0 && self.messages == 0)
            || (self.messages < most_messages && bytes + len <= most_bytes)
    }

    /// Drops the oldest messages until `len` bytes fit; `None` if they would not fit even then, and none
    /// is dropped.
    fn make_room(&mut self, len: usize, config: &Config) -> Option<u64> {
        let unsent = self.unsent_bytes();
        if unsent > 0 && unsent + len > config.outbox_bytes {
            return None;
        }
        let mut lost = 0;
        while !self.has_room(len, config) {
            self.drop_oldest_message()?;
            lost += 1;
        }
        Some(lost)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        engine::outbox::{Capacity, FarEnd, Queue, Signal, Way},
        protocol::{Encoder, OpCode, Role},
        runtime::figures,
    };

    /// An outbox that is full: one message in the transport, two in the backlog.
    fn full() -> (Outbox, FarEnd, Config) {
        full_of(b"12345")
    }

    fn full_of(message: &[u8]) -> (Outbox, FarEnd, Config) {
        let config = Config {
            outbox_messages: 2,
            ..Config::default()
        };
        let capacity = Capacity {
            frames: 1,
            bytes: 100,
        };
        let signal = Arc::<Signal>::default();
        let (queue, far) = Queue::new(capacity, None, Arc::clone(&signal));
        let encoder = Encoder::new(Role::Server, &config.protocol, None);
        let mut outbox = Outbox::new(
            Way::Queue(queue),
            encoder,
            Vec::new(),
            signal,
            figures::stripe(1),
        );
        for _ in 0..3 {
            let sent = outbox.send(OpCode::Text, message, Overflow::Close, &config);
            assert_eq!(sent, Sent::Done);
        }
        (outbox, far, config)
    }

    #[test]
    fn each_policy_decides_for_a_full_outbox() {
        for (overflow, expected, lost) in [
            (Overflow::Close, Sent::Overflowed, 1),
            (Overflow::DropNewest, Sent::Dropped, 1),
            (Overflow::DropOldest, Sent::DroppedOldest(1), 1),
            (Overflow::Refuse, Sent::Full, 0),
        ] {
            let (mut outbox, _far, config) = full();
            let sent = outbox.send(OpCode::Text, b"new", overflow, &config);
            assert_eq!((sent, sent.lost()), (expected, lost));
            assert_eq!(outbox.backlog().0, 2);
        }
    }

    #[test]
    fn a_sender_that_waits_afterwards_may_fill_it_twice() {
        let (mut outbox, _far, config) = full();
        for expected in [Sent::Done, Sent::Done, Sent::Full] {
            let sent = outbox.send(OpCode::Text, b"new", Overflow::Overdraw, &config);
            assert_eq!(sent, expected);
        }
        assert_eq!(outbox.backlog().0, 4);
        assert!(!outbox.has_room(1, &config));
    }

    #[test]
    fn a_sender_that_has_waited_may_send_a_message_of_any_size() {
        let (mut outbox, _far, mut config) = full();
        config.outbox_messages = 100;
        config.outbox_bytes = 12;
        for (len, expected) in [(1_000, Sent::Done), (1, Sent::Full)] {
            let sent = outbox.send(OpCode::Binary, &vec![0; len], Overflow::Overdraw, &config);
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn bytes_count_and_an_empty_outbox_takes_any_message() {
        let (mut outbox, _far, mut config) = full();
        config.outbox_messages = 100;
        config.outbox_bytes = 12;
        assert!(outbox.has_room(2, &config));
        assert!(!outbox.has_room(3, &config));
        assert_eq!(outbox.discard_queue(), 2);
        assert!(outbox.has_room(1_000, &config));
    }

    #[test]
    fn empty_messages_count() {
        for (overflow, expected) in [
            (Overflow::Close, Sent::Overflowed),
            (Overflow::DropOldest, Sent::DroppedOldest(1)),
        ] {
            let (mut outbox, _far, config) = full_of(b"");
            let sent = outbox.send(OpCode::Text, b"", overflow, &config);
            assert_eq!(sent, expected);
            assert_eq!(outbox.backlog(), (2, 0));
        }
    }

    #[test]
    fn nothing_is_dropped_for_a_message_that_does_not_fit() {
        let (mut outbox, _far, mut config) = full();
        config.outbox_bytes = 20;
        // The rest of a message that is half written cannot be dropped.
        outbox.backlog.unsent.push_back(vec![0; 10].into());
        for (len, expected, waiting) in [(11, Sent::Dropped, 2), (10, Sent::DroppedOldest(2), 1)] {
            let sent = outbox.send(OpCode::Binary, &vec![0; len], Overflow::DropOldest, &config);
            assert_eq!(sent, expected);
            assert_eq!(outbox.backlog().0, waiting);
        }
    }

    #[test]
    fn the_oldest_give_way_and_the_close_frame_stays() {
        let (mut outbox, far, config) = full();
        for _ in 0..5 {
            let sent = outbox.send(OpCode::Text, b"new", Overflow::DropOldest, &config);
            assert_eq!(sent, Sent::DroppedOldest(1));
        }
        assert!(outbox.close(1000, ""));
        assert_eq!(outbox.discard_queue(), 2);
        assert_eq!(far.drain(9).len(), 1);
        assert!(outbox.flush_ready().is_ok());
        assert!(outbox.close_is_written());
    }
}
