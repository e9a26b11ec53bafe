//! One connection: a transport, the protocol core, and the queues between them and the application. With
//! a socket as the transport:
//!
//! ```text
//! peer -> socket -> Reader -> Decoder -> Handler (an Inbox for Python) -> the view
//! peer <- socket <- Outbox (any thread; the actor when the socket is slow) <- Encoder <- send()
//! ```
//!
//! One thread at a time reads: the actor (a tokio task), or whoever attends the poller. Any thread may
//! write: a sender takes the outbox's lock, writes to the socket at once if nothing is queued, and leaves
//! the rest to the actor.

mod about;
pub(super) mod actor;
mod closing;
mod counters;
pub(super) mod input;
mod keepalive;
mod lifecycle;
mod reader;
mod sending;
mod stats;

use std::{
    any::Any,
    fmt, io,
    os::fd::RawFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

pub use self::{counters::About, lifecycle::End, stats::Stats};
use self::{
    counters::{Counters, Pinged, now},
    input::Input,
    lifecycle::Lifecycle,
};
use super::{
    consumer::EventLoop,
    courier::Round,
    outbox::{Outbox, Signal},
    shared::Shared,
};
pub use crate::config::Overflow;
use crate::{
    config::Config,
    protocol::Message,
    runtime::{
        figures::{self, Stripe},
        fork,
    },
};

/// The outbox's lock is held for less than this to compress and to write small messages.
const MOMENT: Duration = Duration::from_millis(1);

/// The application's side of a connection. Whoever reads calls these methods, so none of them may block.
pub trait Handler: Send + Sync + 'static {
    /// A message has arrived.
    fn on_message(&self, connection: &Arc<Connection>, message: Message);

    /// Whether the handler answers from within [`Handler::on_message`]. Such answers are held back until
    /// everything that was read is handled, and then go out in one write.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// The messages that wait for the application, and their bytes.
    fn waiting(&self) -> (usize, usize) {
        (0, 0)
    }

    /// Whether the handler accepts more messages. While it does not, the socket is not read, and TCP
    /// slows the peer. [`Connection::resume`] tells the actor that this has changed.
    fn wants_more(&self) -> bool {
        true
    }

    /// Whether the socket is read by whoever attends the poller, and not by the actor alone.
    fn is_polled(&self) -> bool {
        false
    }

    /// The event loop whose poller has the socket; `None`: the poller of the threads.
    fn event_loop(&self) -> Option<&Arc<EventLoop>> {
        None
    }

    /// No further message will arrive. Called exactly once, by the actor or by a thread that closes the
    /// connection.
    fn on_end(&self, connection: &Connection);

    /// Whether the application has taken every message and knows of the end. The answer to the peer's
    /// Close waits for this a short time, so that replies go out first.
    fn is_drained(&self) -> bool {
        true
    }

    /// The outbox was full and has room again.
    fn on_room(&self, _connection: &Connection) {}
}

/// A layer above the engine that keeps data about a connection, as the hub keeps its memberships.
pub trait Owner: Any + Send + Sync {
    /// The connection is gone. The actor calls this exactly once, so it must not block.
    fn gone(&self, connection: &Connection);
}

/// The owner that a connection gets when it is gone and had none.
struct Nobody;

impl Owner for Nobody {
    fn gone(&self, _connection: &Connection) {}
}

/// An open WebSocket. Every method may be called from any thread.
///
/// The fields stay in this order in memory: a message to many touches the first fields of each
/// connection, in another thread than the one that writes.
#[repr(C)]
pub struct Connection {
    id: u64,
    /// The generation of the process that made the connection: a forked child must not touch it.
    generation: u32,
    enveloping: AtomicBool,
    /// Whether the connection is that of a page which watches the site.
    watching: AtomicBool,
    compresses: bool,
    /// Whether it is one of the process's connections; a mailbox is not.
    listed: bool,
    lifecycle: Lifecycle,
    config: Arc<Config>,
    /// A std mutex: held while a frame is encoded and offered to a non-blocking socket.
    outbox: Mutex<Outbox>,
    shared: &'static Shared,
    handler: Arc<dyn Handler>,
    /// Raised to wake the actor.
    signal: Arc<Signal>,
    /// Signalled for senders that wait for room.
    room: Condvar,
    /// The latest round in which the courier wrote this connection.
    round: Round,
    /// Counts the messages of several connections, for monitoring.
    stripe: &'static Stripe,
    /// When the connection was made, in milliseconds since 1970.
    opened: u64,
    /// What the layers above tell of the connection, for monitoring.
    about: OnceLock<Box<About>>,
    /// The latest round-trip time in nanoseconds; 0 until the first pong.
    latency: AtomicU64,
    /// The application's latest ping, until its pong arrives.
    pinged: Mutex<Option<Box<Pinged>>>,
    counters: Counters,
    /// Set at the first [`Connection::owned`], or when the connection is gone.
    owner: OnceLock<Arc<dyn Owner>>,
    /// The input; `None` before the start and after the end.
    input: Mutex<Option<Input>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("lifecycle", &self.lifecycle)
            .finish()
    }
}

impl Connection {
    /// A connection that is open. The caller registers it and starts its actor.
    pub(super) fn new(
        id: u64,
        shared: &'static Shared,
        config: Arc<Config>,
        outbox: Outbox,
        signal: Arc<Signal>,
        handler: Arc<dyn Handler>,
        listed: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            generation: fork::generation(),
            listed,
            input: Mutex::default(),
            shared,
            compresses: outbox.compresses(),
            outbox: Mutex::new(outbox),
            signal,
            config,
            handler,
            room: Condvar::new(),
            lifecycle: Lifecycle::default(),
            stripe: figures::stripe(id),
            opened: now(),
            about: OnceLock::new(),
            latency: AtomicU64::new(0),
            pinged: Mutex::default(),
            counters: Counters::default(),
            owner: OnceLock::new(),
            enveloping: AtomicBool::new(false),
            watching: AtomicBool::new(false),
            round: Round::default(),
        })
    }

    /// A number that no other connection of this process ever has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether it is one of the process's connections.
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    /// The limits of this connection.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether messages to the peer may be compressed, which takes much longer than to send them.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.compresses
    }

    /// Whether another thread has the outbox for more than a millisecond: it compresses a large message.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        if !self.compresses || !self.is_locked() {
            return false;
        }
        let until = Instant::now() + MOMENT;
        while Instant::now() < until {
            thread::yield_now();
            if !self.is_locked() {
                return false;
            }
        }
        true
    }

    fn is_locked(&self) -> bool {
        matches!(self.outbox.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// From now on, the connection gets messages from groups in the JSON of the client's protocol.
    pub fn envelop(&self) {
        self.enveloping.store(true, Relaxed);
    }

    pub(crate) fn is_enveloping(&self) -> bool {
        self.enveloping.load(Relaxed)
    }

    /// The owner of this connection, which is made if there is none. `None` if the owner is of another
    /// kind, or if the connection was gone before it had one.
    pub(crate) fn owned<T: Owner + Default>(&self) -> Option<&T> {
        let owner = self.owner.get_or_init(|| Arc::new(T::default()));
        (&**owner as &dyn Any).downcast_ref()
    }

    /// The owner of this connection, if it has one of this kind.
    pub(crate) fn owner<T: Owner>(&self) -> Option<&T> {
        (&**self.owner.get()? as &dyn Any).downcast_ref()
    }

    /// Tells the owner that the connection is gone. A connection without an owner cannot get one after
    /// that.
    fn leave_owner(&self) {
        self.owner.get_or_init(|| Arc::new(Nobody)).gone(self);
    }

    /// Tells the actor that the handler's answers may have changed: the handler may accept more messages,
    /// or may have taken all of them.
    pub fn resume(&self) {
        if !self.is_foreign() {
            self.signal.raise();
        }
    }

    /// Wakes the actor to close the connection. While a view waits in a thread, nothing depends on the actor
    /// but the time limits, so it is woken together with others.
    fn raise_in_time(&self) {
        if self.is_polled() {
            self.signal.raise_later();
        } else {
            self.signal.raise();
        }
    }

    /// Whether another process made the connection, before a fork. Its locks may be held by threads that
    /// do not exist here, and its socket belongs to that process.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }

    /// The generation of the process that made the connection.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Calls `work` with the outbox if messages may still be sent; otherwise returns `None`. A Close of
    /// this side takes the same lock, so nothing can be queued behind its frame.
    fn sending<T>(&self, work: impl FnOnce(&mut Outbox) -> T) -> Option<T> {
        let mut outbox = self.outbox();
        let may_send = self.lifecycle.state().may_send();
        may_send.then(|| work(&mut outbox))
    }

    /// Whether the poller has the socket.
    pub(super) fn is_polled(&self) -> bool {
        self.handler.is_polled()
    }

    /// Gives the socket to the poller that reads for the application.
    pub(super) fn enter_poller(self: &Arc<Self>, fd: RawFd) -> io::Result<()> {
        let poller = match self.handler.event_loop() {
            Some(event_loop) => event_loop.poller(),
            None => &self.shared.poller,
        };
        poller.add(self.id, fd, Arc::clone(self) as _)
    }

    /// Takes the socket away from its poller.
    fn leave_poller(&self, fd: RawFd) {
        match self.handler.event_loop() {
            Some(event_loop) => event_loop.remove(self.id, fd),
            None => self.shared.poller.remove(self.id, fd),
        }
    }

    /// Gives the connection its input.
    pub(super) fn start_input(&self, input: Input) {
        *self.input() = Some(input);
    }

    /// Frees the input.
    fn end_input(&self) {
        if let Some(mut input) = self.input().take() {
            input.pace.end(&self.shared.floods);
        }
    }

    /// Calls `work` with the input; returns the default if there is none.
    fn with_input<T: Default>(&self, work: impl FnOnce(&mut Input) -> T) -> T {
        self.input().as_mut().map_or_else(T::default, work)
    }

    /// Locked from a read until its events are handled. Handlers run under this lock, so it is taken before
    /// those of the outbox and of the inbox.
    fn input(&self) -> MutexGuard<'_, Option<Input>> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
