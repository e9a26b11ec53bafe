//! Giving memory back to the system after slow peers.
//!
//! What queues have held goes back to the allocator when they are written or dropped, and glibc keeps most of
//! it for later, for it lies between what is still in use. It gives it back when it is asked. That takes
//! milliseconds, in which others may wait for memory, so it is asked only after much has been held and most
//! of that has gone.
#![allow(unsafe_code)] // libc has no safe way to ask.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use super::{fork::generation, process::running};

/// Queues tell what they hold from this size on, and in steps of it.
const STEP: usize = 64 * 1024;

/// Less than this is not worth it.
const MUCH: usize = 32 << 20;

/// A moment for more to go.
const MOMENT: Duration = Duration::from_secs(1);

/// The shortest time between two requests.
const PAUSE: Duration = Duration::from_secs(10);

/// What the queues of the process hold, about.
#[derive(Debug, Default)]
pub(crate) struct Held {
    now: AtomicUsize,
    /// The most since memory was given back last.
    most: AtomicUsize,
    /// Somebody is about to give memory back.
    due: AtomicBool,
}

impl Held {
    fn add(&self, bytes: usize) {
        let now = self.now.fetch_add(bytes, Relaxed) + bytes;
        self.most.fetch_max(now, Relaxed);
    }

    /// Returns whether memory is to be given back.
    fn remove(&self, bytes: usize) -> bool {
        let before = self.now.fetch_sub(bytes, Relaxed);
        self.has_gone(before.saturating_sub(bytes)) && !self.due.swap(true, Relaxed)
    }

    fn has_gone(&self, now: usize) -> bool {
        let most = self.most.load(Relaxed);
        most >= MUCH && now <= most / 4
    }

    /// Begins anew. Returns whether there is something to give back still.
    fn take(&self) -> bool {
        let now = self.now.load(Relaxed);
        let gone = self.has_gone(now);
        if gone {
            self.most.store(now, Relaxed);
        }
        gone
    }
}

/// What one queue has told of what it holds, and in which process: a forked child does not know of it.
#[derive(Debug, Default)]
pub(crate) struct Weight(usize, u32);

impl Weight {
    /// The queue has grown to so many bytes.
    pub(crate) fn grown(&mut self, bytes: usize) {
        if bytes >= self.0 + STEP
            && let Some(runtime) = running()
        {
            runtime.held.add(bytes - self.0);
            // Not replaced as a whole: that would drop the old one, and take back what it has told.
            (self.0, self.1) = (bytes, generation());
        }
    }

    /// The queue has come to nothing.
    pub(crate) fn gone(&mut self) {
        if self.0 == 0 {
            return;
        }
        let bytes = std::mem::take(&mut self.0);
        if let Some(runtime) = running()
            && self.1 == generation()
            && runtime.held.remove(bytes)
        {
            runtime.handle().spawn(give_back());
        }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.gone();
    }
}

/// Gives memory back in a moment, and again for as long as more has gone meanwhile.
async fn give_back() {
    let Some(runtime) = running() else {
        return;
    };
    tokio::time::sleep(MOMENT).await;
    while runtime.held.take() {
        // Not on a thread of the runtime, where connections would wait. Without a thread to be had, memory
        // is short for other reasons.
        let trimming = std::thread::Builder::new().name("dwebsocket-trim".into());
        let _ = trimming.stack_size(64 * 1024).spawn(trim);
        tokio::time::sleep(PAUSE).await;
    }
    runtime.held.due.store(false, Relaxed);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: it may be called at any time and from any thread, and touches only what is free.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

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

    #[test]
    fn a_queue_tells_what_it_holds_in_steps_and_that_it_has_gone() {
        let runtime = crate::runtime::runtime().unwrap();
        let mut weight = Weight::default();
        weight.grown(STEP - 1);
        assert_eq!(weight.0, 0);
        weight.grown(STEP);
        weight.grown(STEP + 1);
        assert_eq!(weight.0, STEP);
        weight.grown(3 * STEP);
        assert_eq!(weight.0, 3 * STEP);
        assert!(runtime.held.now.load(Relaxed) >= 3 * STEP);
        weight.gone();
        assert_eq!(weight.0, 0);
    }
}
