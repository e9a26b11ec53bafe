//! How senders wake the actor.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

/// Makes the actor look again. Apart from the outbox, so that the actor can look without its lock.
#[derive(Debug, Default)]
pub(in crate::engine) struct Signal {
    raised: AtomicBool,
    /// The actor's; a task has the same one all its life.
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

    /// Whether it was raised since the last time; from the first call on, `waker` is woken by it.
    pub(in crate::engine) fn take(&self, waker: &Waker) -> bool {
        self.waker.get_or_init(|| waker.clone());
        self.raised.swap(false, Ordering::AcqRel)
    }
}
