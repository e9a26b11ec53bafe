//! One view at a time goes back into the interpreter.
//!
//! A message wakes a thread that needs the interpreter's lock next. Woken all at once, a hundred
//! threads would queue up at that lock, and every handover there costs each of them a sleep and a
//! wake-up more. So threads are woken in turn instead: the one that comes back for its next message
//! hands its turn to the next in line, which finds the lock free.
//!
//! A turn is a hint, not a lock: a view may block for seconds before it comes back. When no turn has
//! ended within a tick, the one that is out counts no more and the next one is given; and as long as
//! that goes on, at each tick twice as many others are let through as at the one before.
//!
//! A view whose peer floods it finds the next message there whenever it comes back, and would never wait. So
//! once it has kept others waiting for a slice of time it stands back, behind those who come anew.

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

/// How long the line stands still at most.
const TICK: Duration = Duration::from_millis(1);

/// So many ticks without a line end the watch.
const QUIET: u32 = 10;

/// Past so many ticks, everybody is let through anyway.
const MOST_STALLED: u32 = 16;

/// Every so many turns, one is given to those who have stood back, whoever comes anew.
const SHARE: u32 = 8;

/// A queue at which threads wait for a message, as the turnstile sees it.
pub(in crate::engine) trait Wake: Send + Sync {
    /// Lets a thread that waits go, with this turn or without one; false if none waits any more.
    fn grant(&self, turn: Option<Turn>) -> bool;

    /// Wakes a thread that waits: its turn is next, so that it stays awake for it.
    fn call_up(&self);
}

/// The right to run in the interpreter. One turn is out at a time: waking a second thread early would only
/// make it wait for the lock. A turn is handed on from thread to thread under the same number, until it
/// does not come back for a tick; then it is void, and the next turn has the next number.
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
    /// Whether more wait than are awake for their turns; a hint, read without the lock.
    crowded: AtomicBool,
    /// Whether anybody waits for a turn; a hint, too.
    wanted: AtomicBool,
    /// The number of the turn that is out; 0 while none is. A hint, too.
    running: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The turn that is out.
    out: Option<Turn>,
    /// The number of the latest turn.
    latest: u64,
    /// Whether a turn has ended since the last tick.
    moved: bool,
    /// Ticks of late in which none has, less those in which one has.
    stalled: u32,
    /// Whether the watch is on.
    watched: bool,
    /// The first in line, whose thread is awake already.
    next: Option<Waiter>,
    /// The others in line. Bounded by the number of connections: each stands in line once.
    line: VecDeque<Waiter>,
    /// Those that have stood back.
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
    /// Wakes a thread of `waiter`: at once if a turn is to be had, else in turn.
    pub(in crate::engine) fn admit(&self, waiter: Waiter) {
        let mut state = self.state();
        if state.out.is_some() {
            let unwatched = !std::mem::replace(&mut state.watched, true);
            self.wanted.store(true, Relaxed);
            if state.next.is_none() {
                state.next = Some(Arc::clone(&waiter));
                drop(state);
                waiter.call_up();
            } else {
                state.line.push_back(waiter);
                self.crowded.store(true, Relaxed);
                drop(state);
            }
            if unwatched {
                self.line.notify_one();
            }
            return;
        }
        self.grant_new(state, &*waiter);
    }

    /// As [`Turnstile::admit`], behind all who come that way.
    pub(in crate::engine) fn stand_back(&self, waiter: Waiter) {
        let mut state = self.state();
        if state.out.is_none() && state.next.is_none() {
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

    /// Whether somebody who has `turn`, or none, keeps others from going on: those who wait for theirs,
    /// and the one who has been given another.
    pub(in crate::engine) fn is_kept_waiting_by(&self, turn: Option<Turn>) -> bool {
        if self.wanted.load(Relaxed) {
            return true;
        }
        let running = self.running.load(Relaxed);
        running > 0 && turn.is_none_or(|Turn(number)| number != running)
    }

    /// Whether there is a line, so that every system call in a turn keeps many waiting.
    pub(in crate::engine) fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    /// Ends a turn; the next in line gets it.
    pub(in crate::engine) fn release(&self, turn: Turn) {
        while let Some((next, second)) = self.advance(turn) {
            // Whoever waited may have given up meanwhile: then the turn is the next one's.
            let taken = next.grant(Some(turn));
            if let Some(second) = second {
                second.call_up();
            }
            if taken {
                return;
            }
        }
    }

    /// Takes the next one out of the line, and the one to be called up in its place; `None` if
    /// there is nobody, or the turn is void.
    fn advance(&self, turn: Turn) -> Option<(Waiter, Option<Waiter>)> {
        let mut state = self.state();
        if state.out != Some(turn) {
            return None;
        }
        state.moved = true;
        state.handed = state.handed.wrapping_add(1);
        if state.next.is_none() || (state.handed.is_multiple_of(SHARE) && !state.back.is_empty()) {
            let next = state.back.pop_front();
            self.wanted.store(state.has_line(), Relaxed);
            if next.is_none() {
                state.out = None;
                self.running.store(0, Relaxed);
                self.crowded.store(false, Relaxed);
            }
            return next.map(|next| (next, None));
        }
        let second = state.line.pop_front();
        let next = std::mem::replace(&mut state.next, second.clone())?;
        self.wanted.store(state.has_line(), Relaxed);
        Some((next, second))
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

    /// Those who need not wait any longer: when the line has not moved for a tick, the next one,
    /// with a new turn; and the more ticks were like that of late, the more others without.
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
        let mut line = std::mem::take(&mut state.line);
        if let Some(next) = state.next.take() {
            line.push_front(next);
        }
        let first = many.min(line.len());
        let more = (many - first).min(state.back.len());
        let due = line.drain(..first).chain(state.back.drain(..more));
        let due = due.map(|waiter| (waiter, turn.take())).collect();
        state.next = line.pop_front();
        state.line = line;
        self.crowded.store(state.next.is_some(), Relaxed);
        self.wanted.store(state.has_line(), Relaxed);
        due
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_line(&self) -> bool {
        self.next.is_some() || !self.back.is_empty()
    }

    /// Gives a turn out; the one before, if it is out still, is void.
    fn new_turn(&mut self) -> Turn {
        self.latest += 1;
        let turn = Turn(self.latest);
        self.out = Some(turn);
        turn
    }
}
