//! Messages on their way to a view that waits for them in a thread, a greenlet or a `select()`.

use std::{
    collections::VecDeque,
    io,
    os::fd::RawFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{
    connection::{Connection, Handler},
    consumer::{Armed, Consumer, Seated, Seats, Turn, Waiting, Wake},
};
use crate::{
    config::Config,
    protocol::Message,
    runtime::{WakeQueue, Weight},
};

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

/// The bounded queue between the actor and a view.
#[derive(Debug)]
pub struct Inbox {
    /// A weak reference to itself, for the turnstile's line.
    me: Weak<Inbox>,
    /// The event loop that takes the messages out; `None` where threads do.
    event_loop: Option<Arc<WakeQueue>>,
    seats: Seats,
    /// A std mutex: held for a push or a pop.
    state: Mutex<State>,
    /// The actor's copy of whether the queue is below its limits.
    full: AtomicBool,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    queue: VecDeque<Message>,
    bytes: usize,
    weight: Weight,
    end: End,
    waiting: Waiting,
    armed: Armed,
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
        let (turnstile, event_loop) = match consumer {
            Consumer::Threads(turnstile) => (Some(turnstile), None),
            Consumer::EventLoop(wake) => (None, Some(wake)),
        };
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            event_loop,
            seats: Seats::new(turnstile),
            state: Mutex::default(),
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
        if waits_next && self.must_stand_back(&mut state) {
            return Received::Nothing;
        }
        let (received, resume) = self.pop(&mut state);
        let keeps_turn = waits_next || matches!(received, Received::Message(_));
        let turn = if keeps_turn {
            None
        } else {
            state.waiting.take_turn()
        };
        drop(state);
        self.after(connection, resume, turn);
        received
    }

    /// Takes the oldest message, for which it waits until `deadline`.
    pub fn wait(&self, connection: &Connection, deadline: Option<Instant>) -> Received {
        let mut state = self.wait_for_something(deadline);
        let (received, resume) = self.pop(&mut state);
        // There may be something for the next one who waits here, too.
        if state.waiting.is_anybody() && !state.has_nothing() {
            self.call(state);
        } else {
            drop(state);
        }
        self.after(connection, resume, None);
        received
    }

    /// What must be done without the lock.
    fn after(&self, connection: &Connection, resume: bool, turn: Option<Turn>) {
        if resume {
            connection.resume();
        }
        self.seats.release(turn);
    }

    /// Asks for a report to the wake queue; false where there is something to receive already.
    pub fn arm(&self) -> bool {
        let mut state = self.state();
        if !state.has_nothing() {
            return false;
        }
        state.armed.arm();
        true
    }

    /// Asks for a report once the outbox has room.
    pub fn arm_room(&self) {
        self.state().armed.arm_room();
    }

    /// A descriptor that polls readable while there is something to receive.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn fileno(&self) -> io::Result<RawFd> {
        let mut state = self.state();
        let something = !state.has_nothing();
        state.armed.fileno(something)
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
        state.show();
        // Half of the limit, so that reading does not stop and start at every message.
        let below = state.queue.len() <= self.max_messages / 2 && state.bytes <= self.max_bytes / 2;
        let resume = below && self.full.swap(false, Ordering::AcqRel);
        (Received::Message(message), resume)
    }

    /// Tells the consumer that there is something to receive.
    fn notify(&self, mut state: MutexGuard<'_, State>, connection: &Connection) {
        state.show();
        if let Some(wake) = &self.event_loop {
            state.armed.report(wake, connection.id());
        }
        self.call(state);
    }

    fn report_room(&self, connection: &Connection) {
        if let Some(wake) = &self.event_loop {
            self.state().armed.report_room(wake, connection.id());
        }
    }
}

impl State {
    fn has_nothing(&self) -> bool {
        self.queue.is_empty() && self.end == End::Open
    }

    fn show(&mut self) {
        let something = !self.has_nothing();
        self.armed.show(something);
    }
}

impl Seated for Inbox {
    type State = State;

    fn seats(&self) -> &Seats {
        &self.seats
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(state: &mut State) -> &mut Waiting {
        &mut state.waiting
    }

    fn has_nothing(state: &State) -> bool {
        state.has_nothing()
    }

    fn me(&self) -> Option<Arc<dyn Wake>> {
        Some(self.me.upgrade()?)
    }
}

impl Wake for Inbox {
    fn grant(&self, turn: Option<Turn>) -> bool {
        self.let_go(turn)
    }

    fn call_up(&self) {
        self.put_on_deck();
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
        state.end = if state.queue.is_empty() && state.waiting.is_anybody() {
            End::Seen
        } else {
            End::Queued
        };
        let turn = state.waiting.take_turn();
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
