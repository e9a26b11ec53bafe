//! What happens to a message that finds no room: decided here and nowhere else.
//!
//! The policies "block" and "auto" of the settings are built on [`Overflow::Refuse`]: the message is not
//! taken, and the caller waits for room or decides anew.

use super::{Outbox, backlog::Backlog, sent::Sent};
use crate::config::{Config, Overflow};

impl Outbox {
    /// Whether a message of `len` bytes would be taken now. One is always taken when none waits,
    /// whatever its size.
    pub(in crate::engine) fn has_room(&self, len: usize, config: &Config) -> bool {
        self.backlog.has_room(len, config)
    }

    /// Finds room for a message, by the policy; what to answer, or why there is none.
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
            Overflow::DropOldest => match self.backlog.make_room(len, config) {
                Some(lost) => Ok(Sent::DroppedOldest(lost)),
                None => Err(Sent::Dropped),
            },
        }
    }
}

impl Backlog {
    fn has_room(&self, len: usize, config: &Config) -> bool {
        let bytes = self.bytes + self.unsent_bytes();
        bytes == 0 || (self.messages < config.outbox_messages && bytes + len <= config.outbox_bytes)
    }

    /// Drops the oldest messages until `len` bytes fit; `None` where nothing helps.
    fn make_room(&mut self, len: usize, config: &Config) -> Option<u64> {
        let mut lost = 0;
        while !self.has_room(len, config) {
            self.drop_oldest_message()?;
            lost += 1;
        }
        Some(lost)
    }
}
