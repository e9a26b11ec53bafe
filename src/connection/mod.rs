//! One connection: a socket, the protocol core, and the queues between them and the application.
//!
//! ```text
//! peer -> socket -> actor (tokio task) -> Decoder -> Handler (an Inbox for Python) -> the view
//! peer <- socket <- Outbox (any thread; the actor when the socket is slow) <- Encoder <- send()
//! ```
//!
//! The actor is the only reader. Writers are many: whoever sends takes the outbox's lock, tries the
//! socket at once if nothing is queued, and leaves the rest to the actor.

mod actor;
pub mod adopt;
mod courier;
mod inbox;
mod keepalive;
mod outbox;
mod turnstile;
mod wake;

use std::{
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use socket2::Socket;

use self::{
    actor::Actor,
    outbox::{Outbox, Signal},
};
pub use self::{
    courier::Courier,
    inbox::{Consumer, Inbox, Received},
    outbox::Sent,
    turnstile::Turnstile,
    wake::WakeQueue,
};
pub use crate::config::Overflow;
use crate::{
    config::Config,
    hub::Memberships,
    protocol::{Broadcast, Decoder, Encoder, Message, OpCode, Role, extensions::DeflateParams},
    runtime::{Engine, Permit, engine, fork},
};

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

/// How a connection ended (RFC 6455 section 7.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The peer's code; 1005 where its Close had none, 1006 where the connection broke without
    /// one; the engine's own where the engine failed the connection.
    pub code: u16,
    /// The reason that came with the code, or that went out with it.
    pub reason: String,
    /// Why the engine failed the connection, for a log.
    pub error: Option<String>,
}

impl End {
    /// The connection broke without a Close frame.
    pub(crate) fn broken(error: Option<String>) -> Self {
        Self {
            code: 1006,
            reason: String::new(),
            error,
        }
    }
}

/// Counters of one connection.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received_messages: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_messages: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) dropped_messages: AtomicU64,
}

/// A reading of [`Connection::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it all
pub struct Stats {
    pub received_messages: u64,
    pub received_bytes: u64,
    pub sent_messages: u64,
    pub sent_bytes: u64,
    pub dropped_messages: u64,
    pub outbox_messages: u64,
    pub outbox_bytes: u64,
}

/// A ping of the application's that is on its way.
#[derive(Debug)]
struct Pinged {
    payload: Vec<u8>,
    at: Instant,
}

/// What a new connection starts from.
#[derive(Debug)]
pub struct Parts {
    /// The connected stream socket.
    pub socket: Socket,
    /// The head of the 101 response, still to be written.
    pub head: Vec<u8>,
    /// Bytes of the peer that were read already.
    pub leftover: Vec<u8>,
    /// What was negotiated about compression.
    pub deflate: Option<DeflateParams>,
    /// The limits.
    pub config: Arc<Config>,
    /// The place among the process's connections; `None` where nobody counts.
    pub permit: Option<Permit>,
}

/// An open WebSocket. Every method may be called from any thread.
pub struct Connection {
    id: u64,
    /// Which process made it: a forked child must not touch it.
    generation: u32,
    engine: &'static Engine,
    config: Arc<Config>,
    handler: Arc<dyn Handler>,
    /// A std mutex: held while a frame is encoded and offered to a non-blocking socket.
    outbox: Mutex<Outbox>,
    /// Raised for the actor.
    signal: Arc<Signal>,
    /// Senders that wait for room.
    room: Condvar,
    /// Set when this side began the close handshake, with what it said.
    closing: OnceLock<(u16, String)>,
    /// Why this side gave the connection up, where no error of the peer's was the cause.
    failure: OnceLock<String>,
    end: OnceLock<End>,
    /// Set when no further message will reach the handler.
    ended: AtomicBool,
    /// Nanoseconds; 0 until the first pong.
    latency: AtomicU64,
    /// The application's latest ping, until it comes back.
    pinged: Mutex<Option<Box<Pinged>>>,
    counters: Counters,
    memberships: Mutex<Memberships>,
    enveloping: AtomicBool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("end", &self.end)
            .finish()
    }
}

impl Connection {
    /// Writes the head of the response and runs the connection on this process's engine.
    ///
    /// # Errors
    ///
    /// The engine cannot be started or is stopping, or the socket cannot be registered.
    pub fn start(parts: Parts, handler: Arc<dyn Handler>) -> io::Result<Arc<Self>> {
        let engine = engine()?;
        if engine.is_stopping() {
            return Err(io::Error::other("the process is shutting down"));
        }
        let Parts {
            socket,
            head,
            leftover,
            deflate,
            config,
            permit,
        } = parts;
        socket.set_nonblocking(true)?;
        // Not every stream socket is TCP; without it, small frames would wait for an ACK.
        let _ = socket.set_tcp_nodelay(true);
        let socket = {
            let _context = engine.handle().enter();
            Arc::new(adopt::register(socket)?)
        };
        let encoder = Encoder::new(Role::Server, &config.protocol, deflate);
        let decoder = Decoder::new(Role::Server, &config.protocol, deflate);
        let signal = Arc::<Signal>::default();
        let outbox = Outbox::new(Arc::clone(&socket), encoder, head, Arc::clone(&signal));
        let connection = Arc::new(Self {
            id: Engine::next_id(),
            generation: fork::generation(),
            engine,
            outbox: Mutex::new(outbox),
            signal,
            config,
            handler,
            room: Condvar::new(),
            closing: OnceLock::new(),
            failure: OnceLock::new(),
            end: OnceLock::new(),
            ended: AtomicBool::new(false),
            latency: AtomicU64::new(0),
            pinged: Mutex::default(),
            counters: Counters::default(),
            memberships: Mutex::default(),
            enveloping: AtomicBool::new(false),
        });
        engine.register(&connection);
        // From the caller's thread: in the usual case the peer has its answer before this returns.
        let _ = connection.outbox().flush();
        let actor = Actor::new(Arc::clone(&connection), socket, decoder, leftover, permit);
        engine.handle().spawn(actor);
        Ok(connection)
    }

    /// A number that no other connection of this process ever has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether no further message will arrive.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// How the connection ended; while only this side has said that it wants to, what it said.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end.get().cloned().or_else(|| {
            let (code, reason) = self.closing.get()?;
            Some(End {
                code: *code,
                reason: reason.clone(),
                error: None,
            })
        })
    }

    /// The time that the latest ping took to come back.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let nanos = self.latency.load(Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// The limits of this connection.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (messages, bytes) = if self.is_foreign() {
            (0, 0)
        } else {
            self.outbox().backlog()
        };
        Stats {
            received_messages: self.counters.received_messages.load(Relaxed),
            received_bytes: self.counters.received_bytes.load(Relaxed),
            sent_messages: self.counters.sent_messages.load(Relaxed),
            sent_bytes: self.counters.sent_bytes.load(Relaxed),
            dropped_messages: self.counters.dropped_messages.load(Relaxed),
            outbox_messages: messages as u64,
            outbox_bytes: bytes as u64,
        }
    }

    /// Sends one message; see [`Overflow`] for a full outbox. Never waits.
    ///
    /// The payload is copied only if the socket does not take all of it at once.
    pub fn send(self: &Arc<Self>, opcode: OpCode, payload: &[u8], overflow: Overflow) -> Sent {
        if self.is_foreign() {
            return Sent::Closed;
        }
        let later = courier::is_in_a_row() || self.engine.turnstile().is_crowded();
        let sent = {
            let mut outbox = self.outbox();
            if later && outbox.may_post(payload) && outbox.post() {
                self.engine.courier(self.id).post(self);
            }
            outbox.send(opcode, payload, overflow, &self.config)
        };
        self.count(sent, payload.len());
        sent
    }

    /// Counts what became of a message, and fails the connection where the policy says so.
    fn count(&self, sent: Sent, len: usize) {
        let Counters {
            sent_messages,
            sent_bytes,
            dropped_messages,
            ..
        } = &self.counters;
        let dropped = match sent {
            Sent::Done => 0,
            Sent::DroppedOldest(lost) => lost,
            Sent::Dropped | Sent::Overflowed => 1,
            Sent::Full | Sent::Closed => return,
        };
        dropped_messages.fetch_add(dropped, Relaxed);
        if matches!(sent, Sent::Done | Sent::DroppedOldest(_)) {
            sent_messages.fetch_add(1, Relaxed);
            sent_bytes.fetch_add(len as u64, Relaxed);
        }
        if sent == Sent::Overflowed {
            // Section 7.4.1 leaves 1013 (try again later) to the IANA registry.
            self.close_now(1013, "the peer reads too slowly");
        }
    }

    /// Queues one of many copies of a message. True if the caller must have it posted.
    ///
    /// A full outbox meets the policy of the connection's configuration, and delays nobody.
    pub(crate) fn broadcast(&self, message: &Arc<Broadcast>) -> (Sent, bool) {
        if self.is_foreign() {
            return (Sent::Closed, false);
        }
        let (sent, posted) = {
            let mut outbox = self.outbox();
            let sent = outbox.broadcast(message, self.config.broadcast_overflow, &self.config);
            let taken = matches!(sent, Sent::Done | Sent::DroppedOldest(_));
            (sent, taken && outbox.post())
        };
        self.count(sent, message.len());
        (sent, posted)
    }

    /// From now on, what it gets from groups is in the JSON of the client's protocol.
    pub fn envelop(&self) {
        self.enveloping.store(true, Relaxed);
    }

    pub(crate) fn is_enveloping(&self) -> bool {
        self.enveloping.load(Relaxed)
    }

    /// Has the outboxes of many written, all of them of this connection's courier.
    pub(crate) fn post_all(&self, connections: &mut Vec<Arc<Self>>) {
        self.engine.courier(self.id).post_all(connections);
    }

    /// Where it is a member. A std mutex: held while it joins or leaves.
    pub(crate) fn memberships(&self) -> MutexGuard<'_, Memberships> {
        self.memberships
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What the courier does.
    fn write_posted(&self) {
        self.outbox().write_posted();
    }

    /// Blocks until the outbox has room for `len` bytes or the connection is closing. Returns false
    /// at the deadline.
    pub fn wait_for_room(&self, len: usize, deadline: Option<Instant>) -> bool {
        if self.is_foreign() {
            return true;
        }
        let mut outbox = self.outbox();
        while !outbox.has_room(len, &self.config) {
            outbox.want_room();
            outbox = match deadline {
                None => self
                    .room
                    .wait(outbox)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.room
                        .wait_timeout(outbox, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        true
    }

    /// Asks for [`Handler::on_room`] once the outbox has room; false where it has already.
    pub fn ask_for_room(&self) -> bool {
        if self.is_foreign() {
            return false;
        }
        let mut outbox = self.outbox();
        if outbox.has_room(1, &self.config) {
            return false;
        }
        outbox.want_room();
        true
    }

    /// Counts a message that was given up because the outbox stayed full.
    pub fn count_dropped(&self) {
        self.counters.dropped_messages.fetch_add(1, Relaxed);
    }

    /// Sends a ping of at most 125 bytes (section 5.5.2); false where the connection is closing. The
    /// pong sets [`Connection::latency`].
    pub fn ping(&self, payload: &[u8]) -> bool {
        if self.is_foreign() {
            return false;
        }
        *self.pinged() = Some(Box::new(Pinged {
            payload: payload.to_vec(),
            at: Instant::now(),
        }));
        self.outbox().control(OpCode::Ping, payload)
    }

    /// Takes note of a pong that is not the keepalive's.
    fn ponged(&self, payload: &[u8]) {
        let mut pinged = self.pinged();
        if pinged.as_ref().is_some_and(|ping| ping.payload == payload)
            && let Some(ping) = pinged.take()
        {
            self.set_latency(ping.at.elapsed());
        }
    }

    fn set_latency(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.store(nanos.max(1), Relaxed);
    }

    fn pinged(&self) -> MutexGuard<'_, Option<Box<Pinged>>> {
        self.pinged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the close handshake (section 7.1.2); messages that are queued go out first. Returns
    /// whether this call was the one that started it.
    ///
    /// Where the peer has said Close already, or the engine has failed the connection, that decides
    /// the code (sections 5.5.1 and 7.1.7), not the caller.
    pub fn close(&self, code: u16, reason: &str) -> bool {
        let (code, reason) = match self.end.get() {
            None => (code, reason),
            Some(End { code, error, .. }) => (*code, error.as_deref().unwrap_or_default()),
        };
        let reason = truncated(reason);
        if self.is_foreign() || self.closing.set((code, reason.to_owned())).is_err() {
            return false;
        }
        let started = self.outbox().close(code, reason);
        self.finish_messages();
        started
    }

    /// Fails the connection without waiting for what is queued: it would never get out in time.
    fn close_now(&self, code: u16, reason: &str) {
        if self.closing.set((code, reason.to_owned())).is_ok() {
            let _ = self.failure.set(reason.to_owned());
            {
                let mut outbox = self.outbox();
                let lost = outbox.discard_queue();
                self.counters.dropped_messages.fetch_add(lost, Relaxed);
                outbox.close(code, reason);
            }
            self.finish_messages();
        }
    }

    /// Drops the connection without a close handshake.
    pub fn abort(&self) {
        if !self.is_foreign() {
            self.outbox().abort();
        }
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

    /// Tells the handler, once, that no message follows.
    fn finish_messages(&self) {
        if !self.ended.swap(true, std::sync::atomic::Ordering::AcqRel) {
            self.handler.on_end(self);
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At most the 123 bytes that a Close frame has room for (section 5.5), cut between characters.
fn truncated(reason: &str) -> &str {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
