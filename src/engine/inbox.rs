//! Messages on their way to a view, which waits for them in a thread, a greenlet, an event loop or a
//! `select()`.

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
    consumer::{Armed, Consumer, EventLoop, Seated, Seats, Turn, Waiting, Wake, note_running},
};
use crate::{config::Config, protocol::Message, runtime::Weight};

/// The result of [`Inbox::take`] and [`Inbox::wait`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The oldest message.
    Message(Message),
    /// No message waits, and none will arrive.
    End,
    /// No message waits yet.
    Nothing,
}

/// The bounded queue between the actor and a view.
#[derive(Debug)]
pub struct Inbox {
    /// A weak reference to itself, for the turnstile's line.
    me: Weak<Inbox>,
    /// The event loop that takes the messages out; `None` if threads take them out.
    event_loop: Option<Arc<EventLoop>>,
    seats: Seats,
    /// A std mutex: held for a push or a pop.
    state: Mutex<State>,
    /// Whether the queue has reached a limit; the actor reads this flag without the lock.
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

/// What the view knows of the end of the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// More messages may come.
    #[default]
    Open,
    /// No message follows those that wait.
    Queued,
    /// The view has asked for another message and was told of the end.
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
            Consumer::EventLoop(event_loop) => (None, Some(event_loop)),
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

    /// The number of messages that wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().queue.len()
    }

    /// Takes the oldest message, for a thread that calls [`Inbox::wait`] if this returns nothing. A
    /// thread that has kept others from their turns for too long gets nothing: its wait lets them go
    /// first.
    pub fn take(&self, connection: &Connection) -> Received {
        let mut state = self.state();
        if self.must_stand_back(&mut state) {
            return Received::Nothing;
        }
        let (received, resume) = self.pop(&mut state);
        drop(state);
        self.after(connection, resume, None);
        received
    }

    /// Takes the oldest message, for a thread that does not wait. Without a message, the thread
    /// gives its turn back.
    pub fn poll(&self, connection: &Connection) -> Received {
        let mut state = self.state();
        let (received, resume) = self.pop(&mut state);
        let turn = match received {
            Received::Message(_) => None,
            Received::End | Received::Nothing => state.waiting.take_turn(),
        };
        drop(state);
        self.after(connection, resume, turn);
        received
    }

    /// Takes the oldest message for a view in an event loop, and notes that the view runs.
    pub fn take_in_loop(&self, connection: &Connection) -> Received {
        let mut state = self.state();
        let (received, resume) = self.pop(&mut state);
        let more = !state.queue.is_empty();
        drop(state);
        if let Received::Message(_) = received {
            note_running(connection.id(), more);
        }
        self.after(connection, resume, None);
        received
    }

    /// Gives the turn of the calling thread back: its view waits for no message more.
    pub fn leave_turn(&self) {
        let turn = self.state().waiting.take_turn();
        self.seats.release(turn);
    }

    /// Takes the oldest message; waits until `deadline` for one.
    pub fn wait(&self, connection: &Connection, deadline: Option<Instant>) -> Received {
        let mut state = self.wait_for_something(deadline);
        let (received, resume) = self.pop(&mut state);
        // There may be something for another thread that waits here, too.
        if state.waiting.is_anybody() && !state.has_nothing() {
            self.call(state);
        } else {
            drop(state);
        }
        self.after(connection, resume, None);
        received
    }

    /// Puts a message back that was taken last: it is the oldest one again.
    pub fn give_back(&self, connection: &Connection, received: Received) {
        if let Received::Message(message) = received {
            self.put(connection, message, VecDeque::push_front);
        }
    }

    fn put(
        &self,
        connection: &Connection,
        message: Message,
        push: impl FnOnce(&mut VecDeque<Message>, Message),
    ) {
        let mut state = self.state();
        state.bytes += len(&message);
        let bytes = state.bytes;
        state.weight.grown(bytes);
        push(&mut state.queue, message);
        if state.queue.len() >= self.max_messages || state.bytes >= self.max_bytes {
            self.full.store(true, Ordering::Release);
        }
        self.notify(state, connection);
    }

    /// Does the part of a call that must run without the lock.
    fn after(&self, connection: &Connection, resume: bool, turn: Option<Turn>) {
        if resume {
            connection.resume();
        }
        self.seats.release(turn);
    }

    /// Asks for a report to the wake queue; false if there is something to receive already.
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

    /// Asks for a report of the end; false if the view may know of the end already.
    pub fn arm_end(&self) -> bool {
        let mut state = self.state();
        if state.end != End::Open {
            return false;
        }
        state.armed.arm_end();
        true
    }

    /// A descriptor that polls readable while there is something to receive.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn fileno(&self) -> io::Result<RawFd> {
        let mut state = self.state();
        let something = !state.has_nothing();
        state.armed.fileno(something)
    }

    /// Takes the oldest message, and tells whether the actor must be woken to read on.
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
        // Reading goes on at half of the limit, so that it does not stop and start at every message.
        let below = state.queue.len() <= self.max_messages / 2 && state.bytes <= self.max_bytes / 2;
        let resume = below && self.full.swap(false, Ordering::AcqRel);
        (Received::Message(message), resume)
    }

    /// Tells the consumer that there is something to receive.
    fn notify(&self, mut state: MutexGuard<'_, State>, connection: &Connection) {
        state.show();
        if let Some(event_loop) = &self.event_loop {
            state.armed.report(event_loop, connection.id());
        }
        self.call(state);
    }

    fn report_room(&self, connection: &Connection) {
        if let Some(event_loop) = &self.event_loop {
            self.state().armed.report_room(event_loop, connection.id());
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
}

impl Handler for Inbox {
    fn on_message(&self, connection: &Arc<Connection>, message: Message) {
        self.put(connection, message, VecDeque::push_back);
    }

    fn waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.queue.len(), state.bytes)
    }

    fn is_polled(&self) -> bool {
        self.event_loop.is_some() || self.seats.are_polled()
    }

    fn event_loop(&self) -> Option<&Arc<EventLoop>> {
        self.event_loop.as_ref()
    }

    fn wants_more(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }

    fn on_end(&self, connection: &Connection) {
        let mut state = self.state();
        // If nothing is left to take and a thread waits, the view has seen everything.
        state.end = if state.queue.is_empty() && state.waiting.is_anybody() {
            End::Seen
        } else {
            End::Queued
        };
        let turn = state.waiting.take_turn();
        if let Some(event_loop) = &self.event_loop {
            state.armed.report_end(event_loop, connection.id());
        }
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
