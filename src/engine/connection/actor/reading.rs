//! Handles the input of the peer: reads bytes, decodes them to events, and acts upon the events.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, Read},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use socket2::Socket;
use tokio::io::unix::AsyncFd;

use super::{
    super::{
        super::outbox::{PONGS, Queue, Way},
        Connection,
        lifecycle::{End, State, Step},
    },
    Actor,
    pace::CHUNK,
    stash::Stash,
};
use crate::{
    error::ProtocolError,
    protocol::{CloseFrame, Event, Message, close::fitting_reason},
};

/// The most bytes that are discarded after this side has said Close. A peer on a usual network needs
/// longer than the time limits to send that many.
const IGNORED: usize = 32 << 20;

/// Events that are taken out of a queue before other tasks run.
const PUSHED: usize = 64;

/// Frames that carry nothing and are accepted in one portion. More of them are a flood.
const IDLE_FRAMES: u32 = 64;

thread_local! {
    /// The buffer for input that is not decoded yet. Each worker thread has one, so that no connection
    /// owns one.
    static CHUNK_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

impl Actor {
    fn is_reading(&self) -> bool {
        self.pace.paused_until().is_none() && self.wants_to_read()
    }

    fn wants_to_read(&self) -> bool {
        match self.connection.lifecycle.state() {
            State::Open => self.connection.handler.wants_more(),
            State::Draining | State::Gone => false,
            State::Saying | State::Said | State::Answering | State::Lingering => true,
        }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_reading() {
            return Poll::Pending;
        }
        if let Way::Queue(queue) = &self.way {
            let queue = Arc::clone(queue);
            return self.poll_queue(&queue);
        }
        let portion = self.pace.portion();
        if !self.stash.is_empty() {
            let mut stash = std::mem::take(&mut self.stash);
            let read = self.take_in(stash.front(portion));
            self.stash = stash.without(read);
            return Poll::Ready(());
        }
        CHUNK_BUFFER.with_borrow_mut(|chunk| {
            let Way::Socket(socket) = &self.way else {
                return Poll::Pending;
            };
            match ready!(read_some(socket, cx, &mut chunk[..portion])) {
                Ok(0) => self.peer_gone(None),
                Ok(len) => {
                    let read = self.take_in(&mut chunk[..len]);
                    if read < len {
                        self.stash = Stash::new(chunk[read..len].to_vec());
                    }
                }
                Err(error) => self.peer_gone(Some(error)),
            }
            Poll::Ready(())
        })
    }

    /// Takes the events that the far end of a queue has pushed.
    fn poll_queue(&mut self, queue: &Queue) -> Poll<()> {
        let mut taken = Poll::Pending;
        for _ in 0..PUSHED {
            if !self.wants_to_read() {
                break;
            }
            if let Some(event) = queue.next() {
                self.take_event(event);
                taken = Poll::Ready(());
            } else {
                if queue.is_hung_up() {
                    self.peer_gone(None);
                    taken = Poll::Ready(());
                }
                break;
            }
        }
        taken
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
                self.fail(&ProtocolError::MessageTooBig { limit });
            }
            Event::Message(Message::Text(data))
                if limits.validate_utf8 && simdutf8::basic::from_utf8(&data).is_err() =>
            {
                self.fail(&ProtocolError::InvalidUtf8);
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
            self.ignored = self.ignored.saturating_add(input.len());
            if self.ignored > IGNORED {
                let error = "the peer went on sending after the Close frame";
                self.leave(End::broken(Some(error.into())));
                return input.len();
            }
        }
        let began = self
            .pace
            .clock(input.len(), ignoring || self.decoder.inflates());
        let (read, idle) = self.digest(input);
        match self.decoder.buffered() {
            0 => self.weight.gone(),
            bytes => self.weight.grown(bytes),
        }
        let idle = idle || self.ignored > CHUNK;
        let floods = &self.engine.shared.floods;
        self.pace.worked(began, read, idle, floods);
        read
    }

    /// The peer has shut its side of TCP or reset it.
    fn peer_gone(&mut self, error: Option<io::Error>) {
        self.leave(End::broken(error.map(|error| error.to_string())));
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
        self.keepalive.progress(len);
        let corked = self.connection.handler.answers_at_once();
        if corked {
            self.connection.outbox().cork();
        }
        let mut pings = Pings::default();
        let mut controls = 0_u32;
        loop {
            match self.decoder.next(&mut input) {
                Ok(Some(Event::Ping(payload))) => {
                    controls += 1;
                    self.keepalive.alive();
                    pings.push(payload);
                }
                Ok(Some(event)) => {
                    controls += u32::from(matches!(event, Event::Pong(_)));
                    if matches!(event, Event::Close(_) | Event::Message(_)) {
                        // The pongs go out before the Close frame, behind which nothing may follow, and
                        // before the answer to a message that arrived after the pings.
                        pings.answer(&self.connection);
                    }
                    self.handle(event);
                }
                Ok(None) => break,
                Err(error) => {
                    pings.answer(&self.connection);
                    self.fail(&error);
                    break;
                }
            }
            if !self.wants_to_read() {
                break;
            }
        }
        pings.answer(&self.connection);
        if corked {
            self.connection.outbox().uncork();
        }
        let idle = controls.saturating_add(self.decoder.take_small_fragments());
        (len - input.len(), idle > IDLE_FRAMES)
    }

    fn handle(&mut self, event: Event) {
        self.keepalive.alive();
        match event {
            Event::Message(message) => self.deliver(message),
            // Pings are answered together: see `Pings`.
            Event::Ping(_) => {}
            Event::Pong(payload) => match self.keepalive.pong(&payload, Instant::now()) {
                Some(latency) => self.connection.set_latency(latency),
                None => self.connection.ponged(&payload),
            },
            Event::Close(frame) => self.peer_closed(frame),
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
        if self.connection.config().idle_timeout.is_some() {
            self.last_message = Instant::now();
        }
        self.connection
            .handler
            .on_message(&self.connection, message);
    }

    /// Handles a Close frame. The answer is a Close frame with the same code (section 5.5.1).
    fn peer_closed(&mut self, frame: Option<CloseFrame>) {
        let CloseFrame { code, reason } = frame.unwrap_or(CloseFrame {
            code: 1005,
            reason: String::new(),
        });
        self.peer_ended(End {
            code,
            reason,
            error: None,
        });
    }

    /// Fails the connection (section 7.1.7).
    fn fail(&mut self, error: &ProtocolError) {
        let error_text = error.to_string();
        self.peer_ended(End {
            code: error.close_code(),
            reason: fitting_reason(&error_text).to_owned(),
            error: Some(error_text),
        });
    }

    fn peer_ended(&mut self, end: End) {
        self.connection.end_with(Step::PeerClose, end);
        self.obey();
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

/// Reads once. A short read has emptied the socket, so the next call waits for readiness without a system
/// call.
fn read_some(
    socket: &AsyncFd<Socket>,
    cx: &mut Context<'_>,
    chunk: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        let mut guard = ready!(socket.poll_read_ready(cx))?;
        match guard.try_io(|socket| socket.get_ref().read(chunk)) {
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
