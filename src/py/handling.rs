//! Whether a thread runs a handler, and how many handlers wait for room in an outbox.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use pyo3::prelude::*;

thread_local! {
    /// The connection whose handler this thread runs; 0: none.
    static HANDLING: Cell<u64> = const { Cell::new(0) };
}

/// Notes the connection whose handler the calling thread runs from now on; 0: none.
pub(super) fn set(id: u64) {
    HANDLING.set(id);
}

/// Whether the calling thread runs a handler of the connection.
#[pyfunction]
pub(super) fn handles(id: u64) -> bool {
    HANDLING.get() == id
}

/// Whether the calling thread runs a handler.
pub(super) fn is_handling() -> bool {
    HANDLING.get() != 0
}

/// How many handlers wait for room in an outbox.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// How many handlers may wait so. Peers that read nothing must not stop the handlers of all others.
static MAY_WAIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Sets how many handlers may wait for room; none of this process waits yet.
pub(super) fn let_wait(most: usize) {
    MAY_WAIT.store(most, Relaxed);
    // A forked child has none of the threads that its parent has counted.
    WAITING.store(0, Relaxed);
}

/// The right of a thread to wait for room.
pub(super) struct Place {
    counted: bool,
}

impl Place {
    /// Returns a place for the calling thread; `None`: it runs a handler, and enough of them wait already.
    pub(super) fn take() -> Option<Self> {
        let counted = is_handling();
        if counted {
            let most = MAY_WAIT.load(Relaxed);
            WAITING
                .fetch_update(Relaxed, Relaxed, |waiting| {
                    (waiting < most).then_some(waiting + 1)
                })
                .ok()?;
        }
        Some(Self { counted })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.counted {
            let less = |waiting: usize| Some(waiting.saturating_sub(1));
            let _ = WAITING.fetch_update(Relaxed, Relaxed, less);
        }
    }
}
