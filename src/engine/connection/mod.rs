//! One connection: a socket, the protocol core, and the queues between them and the application.
//!
//! ```text
//! peer -> socket -> actor (tokio task) -> Decoder -> Handler (an Inbox for Python) -> the view
//! peer <- socket <- Outbox (any thread; the actor when the socket is slow) <- Encoder <- send()
//! ```
//!
//! The actor is the only reader. Writers are many: whoever sends takes the outbox's lock, tries the
//! socket at once if nothing is queued, and leaves the rest to the actor.

pub(super) mod actor;
mod closing;
mod counters;
mod keepalive;
mod lifecycle;
mod sending;
mod stats;

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use self::{
    counters::{Counters, Pinged},
    lifecycle::Lifecycle,
};
pub use self::{lifecycle::End, stats::Stats};
use super::{
    courier::Round,
    outbox::{Outbox, Signal},
    shared::Shared,
};
pub use crate::config::Overflow;
use crate::{config::Config, protocol::Message, runtime::fork};

/// The application's side of a connection. Called by the actor, so it must never block.
pub trait Handler: Send + Sync + 'static {
    /// A message has arrived.
    fn on_message(&self, connection: &Arc<Connection>, message: Message);

    /// Whether it answers from within [`Handler::on_message`]. Such answers are held back until
    /// everything that was read is handled, and go out in one write.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// Whether more messages are welcome. While not, the socket is not read, and TCP slows the peer;
    /// [`Connection::resume`] tells that this has changed.
    fn wants_more(&self) -> bool {
        true
    }

    /// No further message will arrive. Called exactly once.
    fn on_end(&self, connection: &Connection);

    /// Whether the application has seen the end, or has at least taken every message before it. The
    /// answer to the peer's Close waits for this a moment, so that replies go out before it.
    fn is_drained(&self) -> bool {
        true
    }

    /// The outbox was full and has room again.
    fn on_room(&self, _connection: &Connection) {}
}

/// A layer above the engine that keeps account of a connection, as the hub does of its memberships.
pub trait Owner: Any + Send + Sync {
    /// The connection is gone. Called exactly once, by the actor, so it must not block.
    fn gone(&self, connection: &Connection);
}

/// The owner of a connection that is gone and had none.
struct Nobody;

impl Owner for Nobody {
    fn gone(&self, _connection: &Connection) {}
}

/// An open WebSocket. Every method may be called from any thread.
///
/// In this order in memory: a message to many touches the first fields of each, in another thread than
/// the one that writes.
#[repr(C)]
pub struct Connection {
    id: u64,
    /// Which process made it: a forked child must not touch it.
    generation: u32,
    enveloping: AtomicBool,
    lifecycle: Lifecycle,
    config: Arc<Config>,
    /// A std mutex: held while a frame is encoded and offered to a non-blocking socket.
    outbox: Mutex<Outbox>,
    shared: &'static Shared,
    handler: Arc<dyn Handler>,
    /// Raised for the actor.
    signal: Arc<Signal>,
    /// Senders that wait for room.
    room: Condvar,
    /// Where its courier is.
    round: Round,
    /// Nanoseconds; 0 until the first pong.
    latency: AtomicU64,
    /// The application's latest ping, until it comes back.
    pinged: Mutex<Option<Box<Pinged>>>,
    counters: Counters,
    /// Set at the first [`Connection::owned`], or when the connection is gone.
    owner: OnceLock<Arc<dyn Owner>>,
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
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            generation: fork::generation(),
            shared,
            outbox: Mutex::new(outbox),
            signal,
            config,
            handler,
            room: Condvar::new(),
            lifecycle: Lifecycle::default(),
            latency: AtomicU64::new(0),
            pinged: Mutex::default(),
            counters: Counters::default(),
            owner: OnceLock::new(),
            enveloping: AtomicBool::new(false),
            round: Round::default(),
        })
    }

    /// A number that no other connection of this process ever has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The limits of this connection.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// From now on, what it gets from groups is in the JSON of the client's protocol.
    pub fn envelop(&self) {
        self.enveloping.store(true, Relaxed);
    }

    pub(crate) fn is_enveloping(&self) -> bool {
        self.enveloping.load(Relaxed)
    }

    /// The owner of this connection, which is made if there is none; `None` if the connection is gone
    /// or has an owner of another kind.
    pub(crate) fn owned<T: Owner + Default>(&self) -> Option<&T> {
        let owner = self.owner.get_or_init(|| Arc::new(T::default()));
        (&**owner as &dyn Any).downcast_ref()
    }

    /// The owner of this connection, if it has one of this kind.
    pub(crate) fn owner<T: Owner>(&self) -> Option<&T> {
        (&**self.owner.get()? as &dyn Any).downcast_ref()
    }

    /// Tells the owner that the connection is gone, and lets none come after that.
    fn leave_owner(&self) {
        self.owner.get_or_init(|| Arc::new(Nobody)).gone(self);
    }

    /// Tells the actor that the handler's answers may have changed: it may read on, or it has taken
    /// all messages.
    pub fn resume(&self) {
        if !self.is_foreign() {
            self.signal.raise();
        }
    }

    /// Whether it was made before a fork, in another process. Its locks may be held by threads that
    /// do not exist here, and its socket belongs to that process.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Works on the outbox, unless nothing may be sent any more. A Close of this side takes the same lock,
    /// so that nothing gets behind its frame.
    fn sending<T>(&self, work: impl FnOnce(&mut Outbox) -> T) -> Option<T> {
        let mut outbox = self.outbox();
        let may_send = self.lifecycle.state().may_send();
        may_send.then(|| work(&mut outbox))
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
