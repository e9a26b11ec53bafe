//! One view at a time goes back into the interpreter.
//!
//! A message wakes a thread that needs the interpreter's lock next. If a hundred threads were woken at
//! once, they would queue up at that lock, and every handover there costs each of them another sleep and
//! wake-up. Threads are therefore woken in turn: the thread that comes back for its next message hands
//! its turn to the next thread in the line, which finds the lock free. The thread that ends the last turn
//! attends the [`Poller`]: it reads the messages that have arrived meanwhile.
//!
//! A turn is a hint, not a lock: a view may block for seconds before it comes back. If no turn has ended
//! within a tick, the turn that is out becomes void and the next one is given. As long as that goes on,
//! each tick lets twice as many other threads through as the tick before.
//!
//! A view whose peer floods it finds the next message whenever it comes back, and would never wait. Once
//! such a view has kept other threads waiting for a slice of time, it stands back, behind the threads
//! that come anew.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::super::poller::{Attendance, Poller};

/// The longest time for which the line stands still.
const TICK: Duration = Duration::from_millis(1);

/// The watch ends after this many ticks without a line.
const QUIET: u32 = 10;

/// The upper limit of `State::stalled`: then one tick lets 65,535 threads through, which are all in
/// practice.
const MOST_STALLED: u32 = 16;

/// One turn in this many goes to a waiter that has stood back, even if others come anew.
const SHARE: u32 = 8;

/// An inbox at which threads wait for a message, as the turnstile sees it.
pub(in crate::engine) trait Wake: Send + Sync {
    /// Lets a waiting thread go on, with this turn or without one; false if no thread waits any more.
    fn grant(&self, turn: Option<Turn>) -> bool;
}

/// The right to run in the interpreter. One turn is out at a time: a second thread that is woken early
/// would only wait for the lock. Threads hand a turn on under the same number. A turn that does not come
/// back for a tick is void, and the next turn has the next number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Turn(u64);

type Waiter = Arc<dyn Wake>;

/// The line of threads that have a message to fetch.
#[derive(Default)]
pub struct Turnstile {
    /// A std mutex: held for a push or a pop.
    state: Mutex<State>,
    /// Wakes the watch when a line forms.
    line: Notify,
    /// Whether more than one thread waits for a turn; a hint, read without the lock.
    crowded: AtomicBool,
    /// Whether a thread waits for a turn; a hint, too.
    wanted: AtomicBool,
    /// The number of the turn that is out; 0 while none is. A hint, too.
    running: AtomicU64,
    /// The poller that a thread attends while no turn is out.
    poller: Option<Arc<Poller>>,
}

#[derive(Default)]
struct State {
    /// The turn that is out.
    out: Option<Turn>,
    /// The number of the latest turn.
    latest: u64,
    /// Whether a turn has ended since the last tick.
    moved: bool,
    /// Recent ticks in which no turn has ended, less those in which one has.
    stalled: u32,
    /// Whether the watch is running.
    watched: bool,
    /// Each connection stands in line at most once, so their number limits the length.
    line: VecDeque<Waiter>,
    /// The waiters that have stood back.
    back: VecDeque<Waiter>,
    /// Counts turns that were handed on.
    handed: u32,
}

impl fmt::Debug for Turnstile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turnstile").finish_non_exhaustive()
    }
}

impl Turnstile {
    /// A turnstile whose threads attend a poller while they wait.
    pub(in crate::engine) fn with_poller(poller: Arc<Poller>) -> Self {
        Self {
            poller: Some(poller),
            ..Self::default()
        }
    }

    /// The poller that the threads attend.
    pub(in crate::engine) fn poller(&self) -> Option<&Poller> {
        self.poller.as_deref()
    }

    /// Has the calling thread attend the poller, unless a turn is out or another thread attends.
    pub(in crate::engine) fn attend(&self) -> Option<Attendance<'_>> {
        if self.has_turn_out() {
            return None;
        }
        self.poller.as_ref()?.attend()
    }

    /// Has the thread that attends the poller look at its inbox.
    pub(in crate::engine) fn end_attendance(&self) {
        if let Some(poller) = &self.poller {
            poller.wake();
        }
    }

    /// Whether a thread runs in the interpreter; a hint.
    pub(in crate::engine) fn has_turn_out(&self) -> bool {
        self.running.load(Relaxed) > 0
    }

    /// Wakes a thread of `waiter`: at once if no turn is out, otherwise when its turn comes.
    pub(in crate::engine) fn admit(&self, waiter: Waiter) {
        let mut state = self.state();
        if state.out.is_some() {
            let unwatched = !std::mem::replace(&mut state.watched, true);
            self.wanted.store(true, Relaxed);
            state.line.push_back(waiter);
            self.crowded.store(state.line.len() > 1, Relaxed);
            drop(state);
            if unwatched {
                self.line.notify_one();
            }
            return;
        }
        self.grant_new(state, &*waiter);
    }

    /// Like [`Turnstile::admit`], but behind all waiters that come by `admit`.
    pub(in crate::engine) fn stand_back(&self, waiter: Waiter) {
        let mut state = self.state();
        if state.out.is_none() && state.line.is_empty() {
            return self.grant_new(state, &*waiter);
        }
        state.back.push_back(waiter);
        let unwatched = !std::mem::replace(&mut state.watched, true);
        self.wanted.store(true, Relaxed);
        drop(state);
        if unwatched {
            self.line.notify_one();
        }
    }

    fn grant_new(&self, mut state: MutexGuard<'_, State>, waiter: &dyn Wake) {
        let turn = state.new_turn();
        self.running.store(turn.0, Relaxed);
        drop(state);
        if !waiter.grant(Some(turn)) {
            self.release(turn);
        }
    }

    /// Whether a thread with `turn`, or without a turn, keeps other threads from going on: the threads
    /// that wait for their turns, or the thread that has been given another turn.
    pub(in crate::engine) fn is_kept_waiting_by(&self, turn: Option<Turn>) -> bool {
        if self.wanted.load(Relaxed) {
            return true;
        }
        let running = self.running.load(Relaxed);
        running > 0 && turn.is_none_or(|Turn(number)| number != running)
    }

    /// Whether there is a line, so that every system call in a turn keeps several threads waiting.
    pub(in crate::engine) fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    /// Ends a turn; the next waiter in line gets it.
    pub(in crate::engine) fn release(&self, turn: Turn) {
        while let Some(next) = self.advance(turn) {
            // The thread that waited may have given up meanwhile; then the next waiter gets the turn.
            if next.grant(Some(turn)) {
                return;
            }
        }
    }

    /// Takes the next waiter out of the line. `None` if nobody waits or the turn is void.
    fn advance(&self, turn: Turn) -> Option<Waiter> {
        let mut state = self.state();
        if state.out != Some(turn) {
            return None;
        }
        state.moved = true;
        state.handed = state.handed.wrapping_add(1);
        if let Some(poller) = &self.poller {
            poller.note_turn();
        }
        let next = if state.handed.is_multiple_of(SHARE) && !state.back.is_empty() {
            state.back.pop_front()
        } else {
            state.line.pop_front().or_else(|| state.back.pop_front())
        };
        self.wanted.store(state.has_line(), Relaxed);
        self.crowded.store(state.line.len() > 1, Relaxed);
        if next.is_none() {
            state.out = None;
            self.running.store(0, Relaxed);
        }
        next
    }

    /// Keeps the line moving; runs as long as the engine does.
    pub(crate) async fn watch(&self) {
        loop {
            self.line.notified().await;
            let mut quiet = 0;
            while quiet < QUIET || !self.end_watch() {
                tokio::time::sleep(TICK).await;
                quiet = if self.has_line() { 0 } else { quiet + 1 };
                for (waiter, turn) in self.overdue() {
                    if !waiter.grant(turn)
                        && let Some(turn) = turn
                    {
                        self.release(turn);
                    }
                }
            }
        }
    }

    fn has_line(&self) -> bool {
        self.state().has_line()
    }

    /// Ends the watch, unless a line has formed again.
    fn end_watch(&self) -> bool {
        let mut state = self.state();
        state.watched = state.has_line();
        !state.watched
    }

    /// The waiters that need not wait any longer. If the line has not moved for a tick, the first one
    /// goes on with a new turn. The more such ticks there were of late, the more others go on without a
    /// turn.
    fn overdue(&self) -> Vec<(Waiter, Option<Turn>)> {
        let mut state = self.state();
        let mut turn = None;
        if std::mem::take(&mut state.moved) || !state.has_line() {
            state.stalled = state.stalled.saturating_sub(1);
        } else {
            state.stalled = (state.stalled + 1).min(MOST_STALLED);
            let new = state.new_turn();
            self.running.store(new.0, Relaxed);
            turn = Some(new);
        }
        let many = (1_usize << state.stalled) - 1 + usize::from(turn.is_some());
        let State { line, back, .. } = &mut *state;
        let first = many.min(line.len());
        let more = (many - first).min(back.len());
        let due = line.drain(..first).chain(back.drain(..more));
        let due = due.map(|waiter| (waiter, turn.take())).collect();
        self.crowded.store(state.line.len() > 1, Relaxed);
        self.wanted.store(state.has_line(), Relaxed);
        due
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_line(&self) -> bool {
        !self.line.is_empty() || !self.back.is_empty()
    }

    /// Gives out a new turn; a turn that is still out becomes void.
    fn new_turn(&mut self) -> Turn {
        self.latest += 1;
        let turn = Turn(self.latest);
        self.out = Some(turn);
        turn
    }
}
