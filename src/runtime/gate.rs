//! Limits the threads that ask for the interpreter lock at the same time.
//!
//! The turnstile wakes views in turn, but it wakes all of them when turns do not end, and a time-out
//! wakes a thread without the turnstile. The gate keeps such threads from asking for the lock all at
//! once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Threads that may ask for the interpreter lock at once. More than one, so that another thread asks
/// for the lock already when the lock becomes free.
const AT_ONCE: usize = 4;

/// Lets a few threads at a time ask for the interpreter lock; the others sleep.
///
/// CPython wakes every thread that waits for its lock each switch interval (5 ms), and the thread asks
/// for the lock again. When thousands of views have work at once, the process would spend its time on
/// that: 10,000 views take a minute, and two seconds with the gate.
#[derive(Debug, Default)]
pub struct Gate {
    /// A std mutex: held for counting only.
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    waiting: usize,
}

/// A place at the gate; given back when the pass is dropped.
#[derive(Debug)]
pub struct Pass<'a>(&'a Gate);

impl Gate {
    /// Waits for a place. The caller takes the interpreter lock and then drops the pass at once, so
    /// that each place is soon free again.
    pub fn enter(&self) -> Pass<'_> {
        let mut state = self.state();
        while state.inside >= AT_ONCE {
            state.waiting += 1;
            state = self
                .free
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.inside += 1;
        Pass(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.inside -= 1;
        // `notify_one` is a system call even if no thread waits.
        if state.waiting > 0 {
            self.0.free.notify_one();
        }
    }
}
