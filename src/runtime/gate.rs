//! The way back into the interpreter is narrow.
//!
//! The turnstile wakes views in turn, but it lets everybody through when turns do not end, and
//! time-outs wake threads that it does not know of. None of them may become a crowd at the lock.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Threads that may ask for the interpreter lock at once. More than one, so that the next is there
/// already when the lock becomes free.
const AT_ONCE: usize = 4;

/// Lets a few threads at a time ask for the interpreter lock; the others sleep.
///
/// CPython wakes every thread that waits for its lock each switch interval (5 ms), to ask for the
/// lock again. Where thousands of views have something to do at once, the process would do nothing
/// else: 10,000 of them take a minute, and two seconds through the gate.
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

/// A place at the interpreter lock; given back when it is dropped.
#[derive(Debug)]
pub struct Pass<'a>(&'a Gate);

impl Gate {
    /// Waits for a place. The caller takes the interpreter lock and then drops the place, so that
    /// nobody can hold one for long.
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
        // Waking nobody would be a system call all the same.
        if state.waiting > 0 {
            self.0.free.notify_one();
        }
    }
}
