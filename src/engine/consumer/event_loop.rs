//! A view in an event loop: the loop's wake queue, or a descriptor, tells it of its inbox.

use std::{io, os::fd::RawFd};

use crate::runtime::{Flag, WakeQueue};

/// The reports that an event loop has asked for. Each request gives one report. This value is part of the
/// inbox's state, under its lock.
#[derive(Debug, Default)]
pub(in crate::engine) struct Armed {
    message: bool,
    room: bool,
    flag: Option<Box<Flag>>,
}

impl Armed {
    /// Asks for a report of something to receive.
    pub(in crate::engine) fn arm(&mut self) {
        self.message = true;
    }

    /// Asks for a report of room in the outbox.
    pub(in crate::engine) fn arm_room(&mut self) {
        self.room = true;
    }

    /// Reports that there is something to receive from connection `id`, if that was asked for.
    pub(in crate::engine) fn report(&mut self, wake: &WakeQueue, id: u64) {
        if std::mem::take(&mut self.message) {
            wake.push(id);
        }
    }

    /// Reports that the outbox of connection `id` has room, if that was asked for.
    pub(in crate::engine) fn report_room(&mut self, wake: &WakeQueue, id: u64) {
        if std::mem::take(&mut self.room) {
            wake.push(id);
        }
    }

    /// A descriptor that polls readable while there is something, by the latest call of [`Armed::show`].
    pub(in crate::engine) fn fileno(&mut self, something: bool) -> io::Result<RawFd> {
        if self.flag.is_none() {
            self.flag = Some(Box::new(Flag::new()?));
        }
        self.show(something);
        Ok(self.flag.as_ref().map_or(-1, |flag| flag.fileno()))
    }

    /// Makes the descriptor poll readable or not, by whether there is something to receive.
    pub(in crate::engine) fn show(&mut self, something: bool) {
        if let Some(flag) = &mut self.flag {
            flag.set(something);
        }
    }
}
