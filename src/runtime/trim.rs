//! Giving memory back to the system after slow peers.
//!
//! What queues have held goes back to the allocator when they are written or dropped, and glibc keeps most of
//! it for later, for it lies between what is still in use. It gives it back when it is asked. That takes
//! milliseconds, in which others may wait for memory, so it is asked only after much has been held and most
//! of that has gone.
#![allow(unsafe_code)] // libc has no safe way to ask.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Less than this is not worth it.
const MUCH: usize = 32 << 20;

/// What the queues of the process hold, about.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(super) now: AtomicUsize,
    /// The most since memory was given back last.
    most: AtomicUsize,
    /// Somebody is about to give memory back.
    pub(super) due: AtomicBool,
}

impl Held {
    pub(super) fn add(&self, bytes: usize) {
        let now = self.now.fetch_add(bytes, Relaxed) + bytes;
        self.most.fetch_max(now, Relaxed);
    }

    /// Returns whether memory is to be given back.
    pub(super) fn remove(&self, bytes: usize) -> bool {
        let before = self.now.fetch_sub(bytes, Relaxed);
        self.has_gone(before.saturating_sub(bytes)) && !self.due.swap(true, Relaxed)
    }

    fn has_gone(&self, now: usize) -> bool {
        let most = self.most.load(Relaxed);
        most >= MUCH && now <= most / 4
    }

    /// Begins anew. Returns whether there is something to give back still.
    pub(super) fn take(&self) -> bool {
        let now = self.now.load(Relaxed);
        let gone = self.has_gone(now);
        if gone {
            self.most.store(now, Relaxed);
        }
        gone
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn trim() {
    // SAFETY: it may be called at any time and from any thread, and touches only what is free.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_most_of_much_has_gone() {
        let held = Held::default();
        held.add(MUCH - 1);
        assert!(!held.remove(MUCH - 1), "that was not much");
        held.add(4 * MUCH);
        assert!(!held.remove(2 * MUCH), "half of it is there still");
        assert!(held.remove(MUCH));
        assert!(!held.remove(MUCH / 2), "somebody is at it");
        assert!(held.take());
        assert!(!held.take());
        // Anew, and from what is left.
        held.due.store(false, Relaxed);
        assert!(!held.remove(MUCH / 2));
        held.add(2 * MUCH);
        assert!(held.remove(2 * MUCH));
    }
}
