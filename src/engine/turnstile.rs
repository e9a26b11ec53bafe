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
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::inbox::Inbox;

/// Turns out at a time. One runs in the interpreter; waking a second one early would only make it
/// wait for the lock.
const TURNS: usize = 1;

/// Threads that are awake for the next turns.
const DECK: usize = 1;

/// How long the line stands still at most.
const TICK: Duration = Duration::from_millis(1);

/// So many ticks without a line end the watch.
const QUIET: u32 = 10;

/// Past so many ticks, everybody is let through anyway.
const MOST_STALLED: u32 = 16;

/// Every so many turns, one is given to those who have stood back, whoever comes anew.
const SHARE: u32 = 8;

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
    /// Whether more wait than are awake for their turns; a hint, read without the lock.
    crowded: AtomicBool,
    /// Whether anybody waits for a turn; a hint, too.
    wanted: AtomicBool,
    /// The epoch of the turns that are out, plus one; 0 while none is. A hint.
    running: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    out: usize,
    /// Whether a turn has ended since the last tick.
    moved: bool,
    /// Ticks of late in which none has, less those in which one has.
    stalled: u32,
    /// Whether the watch is on.
    watched: bool,
    /// Who is next, and awake.
    deck: VecDeque<Arc<Inbox>>,
    /// Bounded by the number of connections: each stands in line once.
    line: VecDeque<Arc<Inbox>>,
    /// Those who have stood back; each is in one of the three.
    back: VecDeque<Arc<Inbox>>,
    /// Counts turns that were handed on.
    handed: u32,
}

impl Turnstile {
    /// Wakes a thread that waits at `inbox`: at once if a turn is to be had, else in turn.
    pub(super) fn admit(&self, inbox: Arc<Inbox>) {
        let mut state = self.state();
        if state.out >= TURNS {
            let unwatched = !std::mem::replace(&mut state.watched, true);
            self.wanted.store(true, Relaxed);
            if state.deck.len() < DECK {
                state.deck.push_back(Arc::clone(&inbox));
                drop(state);
                inbox.call_up();
            } else {
                state.line.push_back(inbox);
                self.crowded.store(true, Relaxed);
                drop(state);
            }
            if unwatched {
                self.line.notify_one();
            }
            return;
        }
        self.grant_new(state, &inbox);
    }

    /// As [`Turnstile::admit`], behind all who come that way.
    pub(super) fn stand_back(&self, inbox: Arc<Inbox>) {
        let mut state = self.state();
        if state.out < TURNS && state.deck.is_empty() {
            return self.grant_new(state, &inbox);
        }
        state.back.push_back(inbox);
        let unwatched = !std::mem::replace(&mut state.watched, true);
        self.wanted.store(true, Relaxed);
        drop(state);
        if unwatched {
            self.line.notify_one();
        }
    }

    fn grant_new(&self, mut state: MutexGuard<'_, State>, inbox: &Inbox) {
        state.out += 1;
        self.running.store(state.epoch + 1, Relaxed);
        let turn = Turn(state.epoch);
        drop(state);
        if !inbox.grant(Some(turn)) {
            self.release(turn);
        }
    }

    /// Whether somebody who has `turn`, or none, keeps others from going on: those who wait for theirs,
    /// and the one who has been given another.
    pub(super) fn is_kept_waiting_by(&self, turn: Option<Turn>) -> bool {
        if self.wanted.load(Relaxed) {
            return true;
        }
        let running = self.running.load(Relaxed);
        running > 0 && turn.is_none_or(|Turn(epoch)| epoch + 1 != running)
    }

    /// Whether there is a line, so that every system call in a turn keeps many waiting.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    /// Ends a turn; the next in line gets it.
    pub(super) fn release(&self, turn: Turn) {
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
    fn advance(&self, turn: Turn) -> Option<(Arc<Inbox>, Option<Arc<Inbox>>)> {
        let mut state = self.state();
        if turn != Turn(state.epoch) {
            return None;
        }
        state.moved = true;
        state.handed = state.handed.wrapping_add(1);
        if state.deck.is_empty() || (state.handed.is_multiple_of(SHARE) && !state.back.is_empty()) {
            let next = state.back.pop_front();
            self.wanted.store(state.has_line(), Relaxed);
            if next.is_none() {
                state.out -= 1;
                self.running.store(0, Relaxed);
                self.crowded.store(false, Relaxed);
            }
            return next.map(|next| (next, None));
        }
        let next = state.deck.pop_front()?;
        let second = state.line.pop_front();
        state.deck.extend(second.clone());
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
                for (inbox, turn) in self.overdue() {
                    if !inbox.grant(turn)
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
    fn overdue(&self) -> Vec<(Arc<Inbox>, Option<Turn>)> {
        let mut state = self.state();
        let mut turn = None;
        if std::mem::take(&mut state.moved) || !state.has_line() {
            state.stalled = state.stalled.saturating_sub(1);
        } else {
            state.stalled = (state.stalled + 1).min(MOST_STALLED);
            state.epoch += 1;
            state.out = 1;
            self.running.store(state.epoch + 1, Relaxed);
            turn = Some(Turn(state.epoch));
        }
        let many = (1_usize << state.stalled) - 1 + usize::from(turn.is_some());
        let State {
            deck, line, back, ..
        } = &mut *state;
        deck.append(line);
        let first = many.min(deck.len());
        let more = (many - first).min(back.len());
        let due = deck.drain(..first).chain(back.drain(..more));
        let due = due.map(|inbox| (inbox, turn.take())).collect();
        *line = deck.split_off(DECK.min(deck.len()));
        self.crowded.store(!deck.is_empty(), Relaxed);
        self.wanted.store(state.has_line(), Relaxed);
        due
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_line(&self) -> bool {
        !self.deck.is_empty() || !self.back.is_empty()
    }
}
