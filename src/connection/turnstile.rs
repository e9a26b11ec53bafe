//! One view at a time goes back into the interpreter.
//!
//! A message wakes a thread that needs the interpreter's lock next. Woken all at once, a hundred
//! threads would queue up at that lock, and every handover there costs each of them a sleep and a
//! wake-up more. So threads are woken in turn instead: the one that comes back for its next message
//! hands its turn to the next in line, which finds the lock free.
//!
//! A turn is a hint, not a lock: a view may block for seconds before it comes back. As soon as no turn
//! has ended within a tick, everybody in line is woken, and the turns that were out count no more.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::inbox::Inbox;

/// Turns out at a time. One runs in the interpreter; waking a second one early would only make it
/// wait for the lock.
const TURNS: usize = 1;

/// How long the line stands still at most.
const TICK: Duration = Duration::from_millis(1);

/// A turn, by the epoch in which it was given out; those of former epochs are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn(u64);

/// The line of threads that have a message to fetch.
#[derive(Debug, Default)]
pub struct Turnstile {
    /// A std mutex: held for a push or a pop.
    state: Mutex<State>,
    /// Wakes the watch when a line forms.
    line: Notify,
}

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    out: usize,
    /// Whether a turn has ended since the last tick.
    moved: bool,
    /// Bounded by the number of connections: each stands in line once.
    line: VecDeque<Arc<Inbox>>,
}

impl Turnstile {
    /// Wakes a thread that waits at `inbox`: at once if a turn is to be had, else in turn.
    pub(super) fn admit(&self, inbox: Arc<Inbox>) {
        let mut state = self.state();
        if state.out >= TURNS {
            if state.line.is_empty() {
                self.line.notify_one();
            }
            state.line.push_back(inbox);
            return;
        }
        state.out += 1;
        let turn = Turn(state.epoch);
        drop(state);
        self.give(turn, inbox);
    }

    /// Ends a turn; the next in line gets it.
    pub(super) fn release(&self, turn: Turn) {
        let mut state = self.state();
        if turn != Turn(state.epoch) {
            return;
        }
        state.moved = true;
        let Some(next) = state.line.pop_front() else {
            state.out -= 1;
            return;
        };
        drop(state);
        self.give(turn, next);
    }

    fn give(&self, turn: Turn, inbox: Arc<Inbox>) {
        // Whoever waited may have given up meanwhile.
        if !inbox.grant(Some(turn)) {
            self.release(turn);
        }
    }

    /// Keeps the line moving; runs as long as the engine does.
    pub(crate) async fn watch(&self) {
        loop {
            self.line.notified().await;
            while self.has_line() {
                tokio::time::sleep(TICK).await;
                for inbox in self.overdue() {
                    inbox.grant(None);
                }
            }
        }
    }

    fn has_line(&self) -> bool {
        !self.state().line.is_empty()
    }

    /// Empties a line that has not moved for a tick.
    fn overdue(&self) -> VecDeque<Arc<Inbox>> {
        let mut state = self.state();
        if std::mem::take(&mut state.moved) {
            return VecDeque::new();
        }
        state.epoch += 1;
        state.out = 0;
        std::mem::take(&mut state.line)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
