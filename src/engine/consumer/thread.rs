//! A view in threads: the threads sleep at an inbox, and the turnstile decides when one is woken.

use std::{
    fmt,
    sync::{Arc, Condvar, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    super::{courier, poller::Attendance},
    turnstile::{Turn, Turnstile, Wake},
};

/// The time for which a view may take one message after another while other threads wait for their turns.
const SLICE: Duration = Duration::from_micros(500);

/// The longest time for which the view then stands back; the turnstile lets all threads through long
/// before.
const BACK: Duration = Duration::from_millis(100);

/// The threads that wait at an inbox. This value is part of the inbox's state, under its lock.
#[derive(Debug, Default)]
pub(in crate::engine) struct Waiting {
    threads: usize,
    /// A waiting thread may go on: it was given a turn, or needs none.
    admitted: bool,
    /// A waiting thread is asleep.
    asleep: bool,
    /// A waiting thread attends the poller.
    attends: bool,
    /// The inbox stands in the turnstile's line.
    in_line: bool,
    /// The turn that the view has.
    turn: Option<Turn>,
    /// When the view first found a message at once while other threads waited.
    keeps_waiting: Option<Instant>,
    /// The view has done so for too long, and its next wait lets the other threads go first.
    stands_back: bool,
}

impl Waiting {
    /// Whether a thread waits.
    pub(in crate::engine) fn is_anybody(&self) -> bool {
        self.threads > 0
    }

    /// Takes the view's turn away, to be released.
    pub(in crate::engine) fn take_turn(&mut self) -> Option<Turn> {
        self.turn.take()
    }
}

/// The place where the threads sleep.
pub(in crate::engine) struct Seats {
    turnstile: Option<Arc<Turnstile>>,
    /// Signalled for waiting threads.
    ready: Condvar,
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seats").finish_non_exhaustive()
    }
}

impl Seats {
    /// Without a turnstile, a thread is woken as soon as there is something to receive.
    pub(in crate::engine) fn new(turnstile: Option<Arc<Turnstile>>) -> Self {
        Self {
            turnstile,
            ready: Condvar::new(),
        }
    }

    /// Whether the threads attend a poller while they wait.
    pub(in crate::engine) fn are_polled(&self) -> bool {
        self.turnstile
            .as_ref()
            .is_some_and(|turnstile| turnstile.poller().is_some())
    }

    /// Ends a turn. The caller must not hold the inbox's lock: the turnstile takes the locks of other
    /// inboxes.
    pub(in crate::engine) fn release(&self, turn: Option<Turn>) {
        if let (Some(turnstile), Some(turn)) = (&self.turnstile, turn) {
            turnstile.release(turn);
        }
    }
}

/// An inbox, as the threads that wait there see it.
pub(in crate::engine) trait Seated {
    type State;

    fn seats(&self) -> &Seats;

    fn state(&self) -> MutexGuard<'_, Self::State>;

    fn waiting(state: &mut Self::State) -> &mut Waiting;

    /// Whether there is neither a message nor the end.
    fn has_nothing(state: &Self::State) -> bool;

    /// The inbox itself, for the turnstile's line.
    fn me(&self) -> Option<Arc<dyn Wake>>;

    /// Waits until there is something to receive or the deadline has passed.
    fn wait_for_something(&self, deadline: Option<Instant>) -> MutexGuard<'_, Self::State> {
        let mut state = self.state();
        let waiting = Self::waiting(&mut state);
        waiting.keeps_waiting = None;
        if std::mem::take(&mut waiting.stands_back) {
            state = self.stand_back(state);
        }
        if Self::has_nothing(&state) {
            // The turn is released before this thread goes to sleep: the next thread runs meanwhile.
            if let Some(turn) = Self::waiting(&mut state).take_turn() {
                drop(state);
                self.seats().release(Some(turn));
                state = self.state();
            }
            if Self::has_nothing(&state) {
                courier::end_row();
                Self::waiting(&mut state).threads += 1;
                state = self.await_turn(state, deadline);
            }
        }
        state
    }

    /// Whether the view has taken messages for [`SLICE`] while other threads waited. Then the view gets
    /// nothing until its next wait, which lets the others go first.
    fn must_stand_back(&self, state: &mut Self::State) -> bool {
        let Some(turnstile) = &self.seats().turnstile else {
            return false;
        };
        let nothing = Self::has_nothing(state);
        let waiting = Self::waiting(state);
        if nothing || !turnstile.is_kept_waiting_by(waiting.turn) {
            waiting.keeps_waiting = None;
            return false;
        }
        let since = *waiting.keeps_waiting.get_or_insert_with(Instant::now);
        waiting.stands_back = since.elapsed() >= SLICE;
        waiting.stands_back
    }

    /// Gives the turn to other threads, and waits behind them for the next one.
    fn stand_back<'a>(
        &'a self,
        mut state: MutexGuard<'a, Self::State>,
    ) -> MutexGuard<'a, Self::State> {
        let (Some(turnstile), Some(me)) = (&self.seats().turnstile, self.me()) else {
            return state;
        };
        let waiting = Self::waiting(&mut state);
        if waiting.in_line || waiting.admitted {
            // Another thread waits at this inbox already.
            return state;
        }
        waiting.threads += 1;
        waiting.in_line = true;
        let turn = waiting.take_turn();
        drop(state);
        turnstile.stand_back(me);
        self.seats().release(turn);
        self.await_turn(self.state(), Some(Instant::now() + BACK))
    }

    /// Waits until a turn is granted or the deadline has passed. The thread is counted already.
    fn await_turn<'a>(
        &'a self,
        mut state: MutexGuard<'a, Self::State>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, Self::State> {
        let seats = self.seats();
        while !Self::waiting(&mut state).admitted {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            if !Self::waiting(&mut state).attends
                && let Some(turnstile) = &seats.turnstile
                && let Some(attendance) = turnstile.attend()
            {
                state = self.attend(state, turnstile, &attendance, deadline);
                continue;
            }
            Self::waiting(&mut state).asleep = true;
            state = match left {
                Some(left) => seats.ready.wait_timeout(state, left).map_or_else(
                    |poisoned| poisoned.into_inner().0,
                    |(state, _timeout)| state,
                ),
                None => seats
                    .ready
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        let waiting = Self::waiting(&mut state);
        waiting.threads -= 1;
        waiting.admitted = false;
        waiting.asleep = waiting.threads > 0;
        state
    }

    /// Attends the poller until this thread may go on, the deadline has passed, or a turn is out: then
    /// the messages that arrive wait in the sockets until the last turn has ended.
    fn attend<'a>(
        &'a self,
        mut state: MutexGuard<'a, Self::State>,
        turnstile: &Turnstile,
        attendance: &Attendance<'_>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, Self::State> {
        Self::waiting(&mut state).attends = true;
        loop {
            if Self::waiting(&mut state).admitted || turnstile.has_turn_out() {
                break;
            }
            // There is a round even if no time is left: a view that waits again and again for too short a
            // time keeps the watch from standing in.
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            // Reading the sockets takes the locks of inboxes, and of this one.
            drop(state);
            attendance.round(left);
            state = self.state();
            if left == Some(Duration::ZERO) {
                break;
            }
        }
        Self::waiting(&mut state).attends = false;
        state
    }

    /// Has a waiting thread woken, if there is one.
    fn call(&self, mut state: MutexGuard<'_, Self::State>) {
        let waiting = Self::waiting(&mut state);
        if waiting.threads == 0 || waiting.admitted || waiting.in_line {
            return;
        }
        waiting.in_line = true;
        drop(state);
        match (&self.seats().turnstile, self.me()) {
            (Some(turnstile), Some(me)) => turnstile.admit(me),
            _ => {
                self.let_go(None);
            }
        }
    }

    /// Lets a waiting thread go on; false if no thread waits any more. See [`Wake::grant`].
    fn let_go(&self, turn: Option<Turn>) -> bool {
        let mut state = self.state();
        let waiting = Self::waiting(&mut state);
        waiting.in_line = false;
        if waiting.threads == 0 {
            return false;
        }
        waiting.admitted = true;
        waiting.turn = turn;
        self.rouse(state);
        true
    }

    fn rouse(&self, mut state: MutexGuard<'_, Self::State>) {
        let waiting = Self::waiting(&mut state);
        // Notifying is a system call even if no thread sleeps.
        let (asleep, attends) = (std::mem::take(&mut waiting.asleep), waiting.attends);
        drop(state);
        if asleep {
            self.seats().ready.notify_one();
        }
        if attends && let Some(turnstile) = &self.seats().turnstile {
            turnstile.end_attendance();
        }
    }
}
