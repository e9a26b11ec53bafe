//! Messages on their way to a view that waits for them in a thread, a greenlet or a `select()`.

use std::{
    collections::VecDeque,
    io,
    os::fd::RawFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    connection::{Connection, Handler},
    consumer::{Turn, Turnstile, Wake},
};
use crate::{
    config::Config,
    protocol::Message,
    runtime::{Flag, WakeQueue, Weight},
};

/// How long a thread whose turn is next stays awake for it. A turn takes some 20 microseconds, and so
/// does waking a thread on an idle processor.
const ON_DECK: Duration = Duration::from_micros(50);

/// How long a view may find one message after the other while others wait for their turns.
const SLICE: Duration = Duration::from_micros(500);

/// The longest that it then stands back; the turnstile lets everybody through long before.
const BACK: Duration = Duration::from_millis(100);

/// What a wait came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The oldest message.
    Message(Message),
    /// There is none and there will be none.
    End,
    /// There is none yet.
    Nothing,
}

/// Who takes the messages out.
#[derive(Debug)]
pub enum Consumer {
    /// Threads, which wait for them; the turnstile decides when one is woken.
    Threads(Arc<Turnstile>),
    /// An event loop, which hears of the inbox through the queue.
    EventLoop(Arc<WakeQueue>),
}

/// The bounded queue between the actor and a view.
#[derive(Debug)]
pub struct Inbox {
    /// To stand in line with.
    me: Weak<Inbox>,
    consumer: Consumer,
    /// A std mutex: held for a push or a pop.
    state: Mutex<State>,
    /// Signalled for threads that wait.
    ready: Condvar,
    /// A copy of `admitted`, for a thread that stays awake.
    go: AtomicBool,
    /// The actor's copy of whether the queue is below its limits.
    full: AtomicBool,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Message>,
    bytes: usize,
    weight: Weight,
    end: End,
    waiting: usize,
    /// A thread that waits may go: it was given a turn, or needs none.
    admitted: bool,
    /// A thread that waits is to stay awake: its turn is next.
    on_deck: bool,
    /// A thread that waits is asleep.
    asleep: bool,
    /// Stands in the turnstile's line.
    in_line: bool,
    turn: Option<Turn>,
    /// When the view first found a message there while others waited.
    keeps_waiting: Option<Instant>,
    /// It has done so for too long, and its next wait lets them go first.
    stands_back: bool,
    armed: bool,
    room_armed: bool,
    flag: Option<Box<Flag>>,
}

/// The end of the messages, on its way to the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// More messages may come.
    #[default]
    Open,
    /// None comes behind those that wait.
    Queued,
    /// The view has come back for more and was told of the end.
    Seen,
}

fn len(message: &Message) -> usize {
    match message {
        Message::Text(data) | Message::Binary(data) => data.len(),
    }
}

impl Inbox {
    /// An empty inbox with the limits of `config`.
    #[must_use]
    pub fn new(config: &Config, consumer: Consumer) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            consumer,
            state: Mutex::default(),
            ready: Condvar::new(),
            go: AtomicBool::new(false),
            full: AtomicBool::new(false),
            max_messages: config.inbox_messages,
            max_bytes: config.inbox_bytes,
        })
    }

    /// How many messages wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().queue.len()
    }

    /// Takes the oldest message without waiting. Whoever will not [`Inbox::wait`] next lets the
    /// next thread have its turn; whoever would, and has kept others from theirs for too long, gets
    /// nothing until then.
    pub fn take(&self, connection: &Connection, waits_next: bool) -> Received {
        let mut state = self.state();
        if waits_next && self.overstays(&mut state) {
            state.stands_back = true;
            return Received::Nothing;
        }
        let (received, resume) = self.pop(&mut state);
        let keeps_turn = waits_next || matches!(received, Received::Message(_));
        let turn = if keeps_turn { None } else { state.turn.take() };
        drop(state);
        self.after(connection, resume, turn);
        received
    }

    /// Takes the oldest message, for which it waits until `deadline`.
    pub fn wait(&self, connection: &Connection, deadline: Option<Instant>) -> Received {
        let mut state = self.state();
        state.keeps_waiting = None;
        if std::mem::take(&mut state.stands_back) {
            state = self.stand_back(state);
        }
        if state.has_nothing() {
            // Before going to sleep: whoever is next then runs while this thread does.
            if let Some(turn) = state.turn.take() {
                drop(state);
                self.after(connection, false, Some(turn));
                state = self.state();
            }
            if state.has_nothing() {
                state = self.park(state, deadline);
            }
        }
        let (received, resume) = self.pop(&mut state);
        // There may be something for the next one who waits here, too.
        if state.waiting > 0 && !state.has_nothing() {
            self.call(state);
        } else {
            drop(state);
        }
        self.after(connection, resume, None);
        received
    }

    /// Whether the view has messages although others wait, and has had for a slice of time.
    fn overstays(&self, state: &mut State) -> bool {
        let Consumer::Threads(turnstile) = &self.consumer else {
            return false;
        };
        if state.has_nothing() || !turnstile.is_kept_waiting_by(state.turn) {
            state.keeps_waiting = None;
            return false;
        }
        let since = *state.keeps_waiting.get_or_insert_with(Instant::now);
        since.elapsed() >= SLICE
    }

    /// Gives the turn to others and waits for the next one, behind them.
    fn stand_back<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let (Consumer::Threads(turnstile), Some(me)) = (&self.consumer, self.me.upgrade()) else {
            return state;
        };
        if state.in_line || state.admitted {
            // Another thread waits here, too.
            return state;
        }
        state.waiting += 1;
        state.in_line = true;
        let turn = state.turn.take();
        drop(state);
        turnstile.stand_back(me);
        if let Some(turn) = turn {
            turnstile.release(turn);
        }
        self.await_turn(self.state(), Some(Instant::now() + BACK))
    }

    /// Waits until a turn is granted or the deadline has passed.
    fn park<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        state.waiting += 1;
        self.await_turn(state, deadline)
    }

    fn await_turn<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        while !state.admitted {
            if std::mem::take(&mut state.on_deck) {
                drop(state);
                self.stay_awake();
                state = self.state();
                continue;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            state.asleep = true;
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => self.ready.wait_timeout(state, left).map_or_else(
                    |poisoned| poisoned.into_inner().0,
                    |(state, _timeout)| state,
                ),
                None => self
                    .ready
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.waiting -= 1;
        state.admitted = false;
        state.on_deck = false;
        state.asleep = state.waiting > 0;
        self.go.store(false, Ordering::Relaxed);
        state
    }

    /// Looks out for the turn that is about to come, for as long as a turn may take.
    fn stay_awake(&self) {
        let until = Instant::now() + ON_DECK;
        let mut looks = 0_u32;
        while !self.go.load(Ordering::Acquire) {
            looks += 1;
            if !looks.is_multiple_of(64) {
                std::hint::spin_loop();
            } else if Instant::now() > until {
                return;
            } else {
                // Others may need this processor more.
                std::thread::yield_now();
            }
        }
    }

    /// Has a thread that waits woken, if there is one.
    fn call(&self, mut state: MutexGuard<'_, State>) {
        if state.waiting == 0 || state.admitted || state.in_line {
            return;
        }
        state.in_line = true;
        drop(state);
        match (&self.consumer, self.me.upgrade()) {
            (Consumer::Threads(turnstile), Some(me)) => turnstile.admit(me),
            _ => {
                self.grant(None);
            }
        }
    }

    fn wake_up(&self, mut state: MutexGuard<'_, State>) {
        // A system call, even if nobody sleeps.
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.ready.notify_one();
        }
    }

    /// What must be done without the lock.
    fn after(&self, connection: &Connection, resume: bool, turn: Option<Turn>) {
        if resume {
            connection.resume();
        }
        if let (Consumer::Threads(turnstile), Some(turn)) = (&self.consumer, turn) {
            turnstile.release(turn);
        }
    }

    /// Asks for a report to the wake queue; false where there is something to receive already.
    pub fn arm(&self) -> bool {
        let mut state = self.state();
        if !state.has_nothing() {
            return false;
        }
        state.armed = true;
        true
    }

    /// Asks for a report once the outbox has room.
    pub fn arm_room(&self) {
        self.state().room_armed = true;
    }

    /// A descriptor that polls readable while there is something to receive.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn fileno(&self) -> io::Result<RawFd> {
        let mut state = self.state();
        if state.flag.is_none() {
            state.flag = Some(Box::new(Flag::new()?));
        }
        state.update_flag();
        Ok(state.flag.as_ref().map_or(-1, |flag| flag.fileno()))
    }

    /// Pops, and tells whether the actor has to hear of it.
    fn pop(&self, state: &mut State) -> (Received, bool) {
        let Some(message) = state.queue.pop_front() else {
            if state.end == End::Open {
                return (Received::Nothing, false);
            }
            state.end = End::Seen;
            return (Received::End, false);
        };
        state.bytes -= len(&message);
        if state.queue.is_empty() {
            if state.queue.capacity() > 16 {
                state.queue = VecDeque::new();
            }
            state.weight.gone();
        }
        state.update_flag();
        // Half of the limit, so that reading does not stop and start at every message.
        let below = state.queue.len() <= self.max_messages / 2 && state.bytes <= self.max_bytes / 2;
        let resume = below && self.full.swap(false, Ordering::AcqRel);
        (Received::Message(message), resume)
    }

    /// Tells the consumer that there is something to receive.
    fn notify(&self, mut state: MutexGuard<'_, State>, connection: &Connection) {
        state.update_flag();
        if let Consumer::EventLoop(wake) = &self.consumer
            && std::mem::take(&mut state.armed)
        {
            wake.push(connection.id());
        }
        self.call(state);
    }

    fn report_room(&self, connection: &Connection) {
        if let Consumer::EventLoop(wake) = &self.consumer
            && std::mem::take(&mut self.state().room_armed)
        {
            wake.push(connection.id());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_nothing(&self) -> bool {
        self.queue.is_empty() && self.end == End::Open
    }

    fn update_flag(&mut self) {
        let up = !self.has_nothing();
        if let Some(flag) = &mut self.flag {
            flag.set(up);
        }
    }
}

impl Wake for Inbox {
    fn grant(&self, turn: Option<Turn>) -> bool {
        let mut state = self.state();
        state.in_line = false;
        if state.waiting == 0 {
            return false;
        }
        state.admitted = true;
        state.turn = turn;
        self.go.store(true, Ordering::Release);
        self.wake_up(state);
        true
    }

    fn call_up(&self) {
        let mut state = self.state();
        if state.waiting > 0 && !state.admitted {
            state.on_deck = true;
            self.wake_up(state);
        }
    }
}

impl Handler for Inbox {
    fn on_message(&self, connection: &Arc<Connection>, message: Message) {
        let mut state = self.state();
        state.bytes += len(&message);
        let bytes = state.bytes;
        state.weight.grown(bytes);
        state.queue.push_back(message);
        if state.queue.len() >= self.max_messages || state.bytes >= self.max_bytes {
            self.full.store(true, Ordering::Release);
        }
        self.notify(state, connection);
    }

    fn wants_more(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }

    fn on_end(&self, connection: &Connection) {
        let mut state = self.state();
        // A thread that waits with nothing left to take has seen all there is.
        state.end = if state.queue.is_empty() && state.waiting > 0 {
            End::Seen
        } else {
            End::Queued
        };
        let turn = state.turn.take();
        self.notify(state, connection);
        self.report_room(connection);
        self.after(connection, false, turn);
    }

    fn is_drained(&self) -> bool {
        let state = self.state();
        state.queue.is_empty() && state.end == End::Seen
    }

    fn on_room(&self, connection: &Connection) {
        self.report_room(connection);
    }
}
