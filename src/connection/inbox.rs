//! Messages on their way to a view that waits for them in a thread, a greenlet or a `select()`.

use std::{
    collections::VecDeque,
    io,
    os::fd::RawFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{Connection, Handler, wake::Flag, wake::WakeQueue};
use crate::{config::Config, protocol::Message};

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
    /// A std mutex: held for a push or a pop.
    state: Mutex<State>,
    /// Signalled for threads that wait.
    ready: Condvar,
    /// Where an event loop hears of this inbox.
    wake: Option<Arc<WakeQueue>>,
    /// The actor's copy of whether the queue is below its limits.
    full: AtomicBool,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Message>,
    bytes: usize,
    ended: bool,
    /// The view has come back for more and was told of the end.
    end_seen: bool,
    waiting: usize,
    armed: bool,
    room_armed: bool,
    flag: Option<Box<Flag>>,
}

fn len(message: &Message) -> usize {
    match message {
        Message::Text(data) | Message::Binary(data) => data.len(),
    }
}

impl Inbox {
    /// An empty inbox with the limits of `config`.
    #[must_use]
    pub fn new(config: &Config, wake: Option<Arc<WakeQueue>>) -> Self {
        Self {
            state: Mutex::default(),
            ready: Condvar::new(),
            wake,
            full: AtomicBool::new(false),
            max_messages: config.inbox_messages,
            max_bytes: config.inbox_bytes,
        }
    }

    /// How many messages wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.state().queue.len()
    }

    /// Takes the oldest message without waiting.
    pub fn take(&self, connection: &Connection) -> Received {
        let mut state = self.state();
        let (received, resume) = self.pop(&mut state);
        drop(state);
        if resume {
            connection.resume();
        }
        received
    }

    /// Takes the oldest message, for which it waits until `deadline`.
    pub fn wait(&self, connection: &Connection, deadline: Option<Instant>) -> Received {
        let mut state = self.state();
        while state.queue.is_empty() && !state.ended {
            state.waiting += 1;
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let timed_out = left.is_some_and(|left| left.is_zero());
            state = match left {
                None => self
                    .ready
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.ready
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
            state.waiting -= 1;
            if timed_out {
                break;
            }
        }
        let (received, resume) = self.pop(&mut state);
        drop(state);
        if resume {
            connection.resume();
        }
        received
    }

    /// Asks for a report to the wake queue; false where there is something to receive already.
    pub fn arm(&self) -> bool {
        let mut state = self.state();
        if !state.queue.is_empty() || state.ended {
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
            if !state.ended {
                return (Received::Nothing, false);
            }
            let first = !std::mem::replace(&mut state.end_seen, true);
            return (Received::End, first);
        };
        state.bytes -= len(&message);
        if state.queue.is_empty() && state.queue.capacity() > 16 {
            state.queue = VecDeque::new();
        }
        state.update_flag();
        // Half of the limit, so that reading does not stop and start at every message.
        let below = state.queue.len() <= self.max_messages / 2 && state.bytes <= self.max_bytes / 2;
        let resume = below && self.full.swap(false, Ordering::AcqRel);
        (Received::Message(message), resume)
    }

    fn notify(&self, state: &mut State, connection: &Connection) {
        state.update_flag();
        if let Some(wake) = &self.wake
            && std::mem::take(&mut state.armed)
        {
            wake.push(connection.id());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn update_flag(&mut self) {
        let up = !self.queue.is_empty() || self.ended;
        if let Some(flag) = &mut self.flag {
            flag.set(up);
        }
    }
}

impl Handler for Inbox {
    fn on_message(&self, connection: &Connection, message: Message) {
        let mut state = self.state();
        state.bytes += len(&message);
        state.queue.push_back(message);
        if state.queue.len() >= self.max_messages || state.bytes >= self.max_bytes {
            self.full.store(true, Ordering::Release);
        }
        self.notify(&mut state, connection);
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.ready.notify_one();
        }
    }

    fn wants_more(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }

    fn on_end(&self, connection: &Connection) {
        let mut state = self.state();
        state.ended = true;
        // A thread that waits with nothing left to take has seen all there is.
        state.end_seen |= state.queue.is_empty() && state.waiting > 0;
        self.notify(&mut state, connection);
        if let Some(wake) = &self.wake
            && std::mem::take(&mut state.room_armed)
        {
            wake.push(connection.id());
        }
        drop(state);
        self.ready.notify_all();
    }

    fn is_drained(&self) -> bool {
        let state = self.state();
        state.queue.is_empty() && state.end_seen
    }

    fn on_room(&self, connection: &Connection) {
        if let Some(wake) = &self.wake
            && std::mem::take(&mut self.state().room_armed)
        {
            wake.push(connection.id());
        }
    }
}
