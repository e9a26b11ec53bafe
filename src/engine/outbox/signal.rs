//! How senders wake the actor.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

/// Wakes the actor for another round. The signal is separate from the outbox, so that the actor can check it
/// without the outbox's lock.
#[derive(Debug, Default)]
pub(in crate::engine) struct Signal {
    raised: AtomicBool,
    /// The actor's waker; a task has the same waker all its life.
    waker: OnceLock<Waker>,
}

impl Signal {
    pub(in crate::engine) fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel)
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// Whether the signal was raised since the last call. From the first call on, the signal wakes
    /// `waker`.
    pub(in crate::engine) fn take(&self, waker: &Waker) -> bool {
        self.waker.get_or_init(|| waker.clone());
        self.raised.swap(false, Ordering::AcqRel)
    }
}
