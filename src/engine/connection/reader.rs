//! Handles the input of the peer: reads bytes, decodes them to events, and acts upon the events.
//!
//! The reader of a connection is used by the connection's task, or by whoever attends the poller, one at
//! a time: the lock of the reader is held from the read until all events are handled, which keeps
//! messages in order.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use socket2::Socket;

use super::{
    super::{
        outbox::{FarEnd, PONGS, Pushed, Queue, Way},
        poller::Source,
        wire::Wire,
    },
    Connection,
    input::{CHUNK, Input, Stash},
    lifecycle::{End, State, Step},
};
use crate::{
    error::ProtocolError,
    protocol::{CloseFrame, Event, Message, close::fitting_reason},
    runtime::Level,
};

/// The most bytes that are discarded after this side has said Close. A peer on a usual network needs
/// longer than the time limits to send that many.
const IGNORED: usize = 32 << 20;

/// Events that are taken out of a queue before other tasks run.
const PUSHED: usize = 64;

/// Frames that carry nothing and are accepted in one portion. More of them are a flood.
const IDLE_FRAMES: u32 = 64;

/// Portions that whoever attends the poller reads of one connection; the connection's task reads the rest.
const PORTIONS: usize = 2;

thread_local! {
    /// The buffer for input that is not decoded yet. Each worker thread has one, so that no connection
    /// owns one.
    static CHUNK_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// Reads for the connection's task. Returns whether something was read.
pub(super) fn poll_read(connection: &Arc<Connection>, cx: &mut Context<'_>) -> bool {
    connection.with_input(|input| Reader { connection, input }.poll_read(cx).is_ready())
}

/// Reads for the connection's task what has arrived since, or what whoever attends the poller has not read
/// yet. Returns whether something was read.
pub(super) fn catch_up(connection: &Arc<Connection>, cx: &mut Context<'_>) -> bool {
    connection.with_input(|input| {
        input.more = true;
        Reader { connection, input }.poll_read(cx).is_ready()
    })
}

impl Connection {
    /// Pushes a frame of the peer to the queue that `far` is the far end of, and handles it in the calling
    /// thread: no task is woken between the event loop that has the frame and the view that waits for it.
    pub fn hear(self: &Arc<Self>, far: &FarEnd, event: Event) -> Pushed {
        let pushed = far.enqueue(event);
        if pushed == Pushed::Done {
            let more = self.with_input(|input| {
                let connection = self;
                Reader { connection, input }.take_pushed()
            });
            if more {
                // The inbox is full, or the connection has ended: the connection's task goes on.
                self.signal.raise();
            }
        }
        pushed
    }
}

impl Source for Connection {
    fn read(self: Arc<Self>, chunk: &mut [u8], ends: bool) -> usize {
        let connection = &self;
        // The calling thread has a view of its own, or serves all connections: a defect ends this
        // connection only.
        catch_unwind(AssertUnwindSafe(|| {
            self.with_input(|input| {
                input.ends |= ends;
                Reader { connection, input }.read_polled(chunk)
            })
        }))
        .unwrap_or_else(|_| {
            let error = "the engine has a defect: reading panicked";
            let message = format!("connection {}: {error}", self.id());
            self.shared.runtime.log().push(Level::Error, message);
            self.abort();
            0
        })
    }
}

/// The input of a connection, in the hands of whoever reads.
struct Reader<'a> {
    connection: &'a Arc<Connection>,
    input: &'a mut Input,
}

impl Reader<'_> {
    fn is_reading(&self) -> bool {
        self.input.pace.paused_until().is_none() && wants_to_read(self.connection)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Way::Queue(queue) = &self.input.way {
            let queue = Arc::clone(queue);
            return match self.input.pace.paused_until() {
                Some(_) => Poll::Pending,
                None => self.poll_queue(&queue),
            };
        }
        if !self.is_reading() {
            return Poll::Pending;
        }
        if !self.input.stash.is_empty() {
            self.take_stash();
            return Poll::Ready(());
        }
        if self.input.polled && !self.input.more && !self.input.rest {
            return Poll::Pending;
        }
        CHUNK_BUFFER.with_borrow_mut(|chunk| {
            let portion = self.input.pace.portion();
            let Way::Socket(wire) = &self.input.way else {
                return Poll::Pending;
            };
            let result = if self.input.polled || self.input.rest {
                match read_once(wire.socket(), &mut chunk[..portion]) {
                    Ok(Some(len)) => {
                        self.input.more = len == portion || self.input.ends;
                        Ok(len)
                    }
                    // Whoever cannot be written to sends no more, even if nothing tells of the end.
                    Ok(None) if self.input.rest => Ok(0),
                    Ok(None) => {
                        self.input.more = false;
                        return Poll::Pending;
                    }
                    Err(error) => Err(error),
                }
            } else {
                ready!(read_some(wire, cx, &mut chunk[..portion]))
            };
            self.took(chunk, result);
            Poll::Ready(())
        })
    }

    /// Reads for whoever attends the poller, which has told of bytes. If not all of them are read, the
    /// connection's task is woken, and reads on. Returns the number of bytes.
    fn read_polled(&mut self, chunk: &mut [u8]) -> usize {
        if std::mem::replace(&mut self.input.more, true) {
            return 0;
        }
        let mut bytes = 0;
        self.input.pace.begin();
        for _ in 0..PORTIONS {
            if !self.input.stash.is_empty() || !self.is_reading() || self.input.pace.is_exhausted()
            {
                break;
            }
            let portion = self.input.pace.portion();
            let Way::Socket(wire) = &self.input.way else {
                return 0;
            };
            match read_once(wire.socket(), &mut chunk[..portion]) {
                Ok(Some(len)) => {
                    bytes += len;
                    self.took(chunk, Ok(len));
                    if len < portion && !self.input.ends {
                        self.input.more = false;
                        break;
                    }
                }
                Ok(None) => {
                    self.input.more = false;
                    break;
                }
                Err(error) => {
                    self.took(chunk, Err(error));
                    return bytes;
                }
            }
        }
        if self.input.more || self.input.pace.paused_until().is_some() {
            self.connection.signal.raise();
        }
        bytes
    }

    fn took(&mut self, chunk: &mut [u8], result: io::Result<usize>) {
        match result {
            Ok(0) => peer_gone(self.connection, None),
            Ok(len) => {
                let read = self.take_in(&mut chunk[..len]);
                if read < len {
                    self.input.stash = Stash::new(chunk[read..len].to_vec());
                }
            }
            Err(error) => peer_gone(self.connection, Some(error)),
        }
    }

    fn take_stash(&mut self) {
        let mut stash = std::mem::take(&mut self.input.stash);
        let read = self.take_in(stash.front(self.input.pace.portion()));
        self.input.stash = stash.without(read);
    }

    /// Takes the events of a queue for a caller that is not the connection's task. Returns whether some are
    /// left.
    fn take_pushed(&mut self) -> bool {
        let Way::Queue(queue) = &self.input.way else {
            return false;
        };
        let queue = Arc::clone(queue);
        let _ = self.poll_queue(&queue);
        queue.has_more()
    }

    /// Takes the events that the far end of a queue has pushed.
    fn poll_queue(&mut self, queue: &Queue) -> Poll<()> {
        let mut taken = Poll::Pending;
        for _ in 0..PUSHED {
            if !wants_to_read(self.connection) && !self.is_left_with(queue) {
                break;
            }
            if let Some(event) = queue.next() {
                self.take_event(event);
                taken = Poll::Ready(());
            } else {
                if queue.is_hung_up() {
                    peer_gone(self.connection, None);
                    taken = Poll::Ready(());
                }
                break;
            }
        }
        taken
    }

    /// Whether a full inbox takes what is left in the queue, since the far end has hung up. That is one queue's
    /// capacity at most, and what follows it is the end, which a view that only sends would not see otherwise.
    fn is_left_with(&self, queue: &Queue) -> bool {
        self.connection.lifecycle.state() == State::Open && queue.has_hung_up()
    }

    /// Checks a pushed event against the limits that a decoder has, and handles it.
    fn take_event(&mut self, event: Event) {
        if !self.connection.lifecycle.state().hears_peer() {
            return;
        }
        let limits = &self.connection.config().protocol;
        match event {
            Event::Message(Message::Text(data) | Message::Binary(data))
                if data.len() > limits.max_message_size =>
            {
                let limit = limits.max_message_size;
                fail(self.connection, &ProtocolError::MessageTooBig { limit });
            }
            Event::Message(Message::Text(data))
                if limits.validate_utf8 && simdutf8::basic::from_utf8(&data).is_err() =>
            {
                fail(self.connection, &ProtocolError::InvalidUtf8);
            }
            Event::Ping(payload) => {
                self.connection
                    .sending(|outbox| outbox.pong([&*payload].into_iter()));
            }
            event => self.handle(event),
        }
    }

    /// Decodes or discards the input, and reports the work to the pace. Returns how many bytes of the
    /// input were used.
    fn take_in(&mut self, input: &mut [u8]) -> usize {
        let ignoring = !self.connection.lifecycle.state().may_receive();
        if ignoring {
            self.input.ignored = self.input.ignored.saturating_add(input.len());
            if self.input.ignored > IGNORED {
                let error = "the peer went on sending after the Close frame";
                leave(self.connection, End::broken(Some(error.into())));
                return input.len();
            }
        }
        let began = self
            .input
            .pace
            .clock(input.len(), ignoring || self.input.decoder.inflates());
        let (read, idle) = self.digest(input);
        match self.input.decoder.buffered() {
            0 => self.input.weight.gone(),
            bytes => self.input.weight.grown(bytes),
        }
        let idle = idle || self.input.ignored > CHUNK;
        let floods = &self.connection.shared.floods;
        self.input.pace.worked(began, read, idle, floods);
        read
    }

    /// Decodes the input and handles its events. Answers that the handler sends meanwhile go out
    /// together, and so do the pongs. Returns how many bytes of the input were used, and whether too many
    /// of its frames carry nothing.
    fn digest(&mut self, mut input: &mut [u8]) -> (usize, bool) {
        let len = input.len();
        if !self.connection.lifecycle.state().hears_peer() {
            // After the peer's Close or an error, all input is discarded.
            return (len, false);
        }
        self.input.keepalive.progress(len);
        let corked = self.connection.handler.answers_at_once();
        if corked {
            self.connection.outbox().cork();
        }
        let mut pings = Pings::default();
        let mut controls = 0_u32;
        loop {
            match self.input.decoder.next(&mut input) {
                Ok(Some(Event::Ping(payload))) => {
                    controls += 1;
                    self.input.keepalive.alive();
                    pings.push(payload);
                }
                Ok(Some(event)) => {
                    controls += u32::from(matches!(event, Event::Pong(_)));
                    if matches!(event, Event::Close(_) | Event::Message(_)) {
                        // The pongs go out before the Close frame, behind which nothing may follow, and
                        // before the answer to a message that arrived after the pings.
                        pings.answer(self.connection);
                    }
                    self.handle(event);
                }
                Ok(None) => break,
                Err(error) => {
                    pings.answer(self.connection);
                    fail(self.connection, &error);
                    break;
                }
            }
            if !wants_to_read(self.connection) {
                break;
            }
        }
        pings.answer(self.connection);
        if corked {
            self.connection.outbox().uncork();
        }
        let idle = controls.saturating_add(self.input.decoder.take_small_fragments());
        (len - input.len(), idle > IDLE_FRAMES)
    }

    fn handle(&mut self, event: Event) {
        self.input.keepalive.alive();
        match event {
            Event::Message(message) => self.deliver(message),
            // Pings are answered together: see `Pings`.
            Event::Ping(_) => {}
            Event::Pong(payload) => match self.input.keepalive.pong(&payload, Instant::now()) {
                Some(latency) => {
                    self.connection.set_latency(latency);
                    // The next ping may be due before the time limit of this one, and the connection's task
                    // may sleep until then.
                    self.connection.signal.raise();
                }
                None => self.connection.ponged(&payload),
            },
            Event::Close(frame) => peer_closed(self.connection, frame),
        }
    }

    fn deliver(&mut self, message: Message) {
        if self.connection.has_ended() {
            return;
        }
        let (Message::Text(data) | Message::Binary(data)) = &message;
        let counters = &self.connection.counters;
        counters.received_messages.fetch_add(1, Relaxed);
        counters
            .received_bytes
            .fetch_add(data.len() as u64, Relaxed);
        self.connection.stripe().received(data.len());
        if self.connection.config().idle_timeout.is_some() {
            self.input.last_message = Instant::now();
        }
        self.connection.handler.on_message(self.connection, message);
    }
}

/// The pings of one portion, to be answered in one write. If there are more than [`PONGS`], only the
/// latest are answered (RFC 6455 section 5.5.3).
#[derive(Default)]
struct Pings(VecDeque<Bytes>);

impl Pings {
    fn push(&mut self, payload: Bytes) {
        if self.0.len() >= PONGS {
            self.0.pop_front();
        }
        self.0.push_back(payload);
    }

    fn answer(&mut self, connection: &Connection) {
        if !self.0.is_empty() {
            connection.sending(|outbox| outbox.pong(self.0.iter().map(|payload| &**payload)));
            self.0.clear();
        }
    }
}

/// The peer has shut its side of TCP or reset it.
fn peer_gone(connection: &Connection, error: Option<io::Error>) {
    leave(
        connection,
        End::broken(error.map(|error| error.to_string())),
    );
}

/// Handles a Close frame. The answer is a Close frame with the same code (section 5.5.1).
fn peer_closed(connection: &Connection, frame: Option<CloseFrame>) {
    let CloseFrame { code, reason } = frame.unwrap_or(CloseFrame {
        code: 1005,
        reason: String::new(),
    });
    peer_ended(
        connection,
        End {
            code,
            reason,
            error: None,
        },
    );
}

/// Fails the connection (section 7.1.7).
fn fail(connection: &Connection, error: &ProtocolError) {
    let error_text = error.to_string();
    peer_ended(
        connection,
        End {
            code: error.close_code(),
            reason: fitting_reason(&error_text).to_owned(),
            error: Some(error_text),
        },
    );
}

fn peer_ended(connection: &Connection, end: End) {
    connection.end_with(Step::PeerClose, end);
    connection.raise_in_time();
}

/// Ends the connection. `end` says how, unless the peer has said Close or the connection has failed before.
fn leave(connection: &Connection, end: End) {
    connection.end_with(Step::Leave, end);
    connection.raise_in_time();
}

fn wants_to_read(connection: &Connection) -> bool {
    match connection.lifecycle.state() {
        State::Open => connection.handler.wants_more(),
        State::Draining | State::Gone => false,
        State::Saying | State::Said | State::Answering | State::Lingering => true,
    }
}

/// Reads once; `None`: the socket is empty.
fn read_once(mut socket: &Socket, chunk: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        return match socket.read(chunk) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        };
    }
}

/// Reads once. A short read has emptied the socket, so the next call waits for readiness without a system
/// call.
fn read_some(wire: &Wire, cx: &mut Context<'_>, chunk: &mut [u8]) -> Poll<io::Result<usize>> {
    loop {
        let mut guard = ready!(wire.poll_read_ready(cx))?;
        match guard.try_io(|_| wire.socket().read(chunk)) {
            Ok(Ok(len)) => {
                if len > 0 && len < chunk.len() {
                    guard.clear_ready();
                }
                return Poll::Ready(Ok(len));
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Poll::Ready(Err(error)),
            Err(_would_block) => {}
        }
    }
}
