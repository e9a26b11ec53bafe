//! The task that reads a connection, and writes what its senders could not.
//!
//! A future written by hand: it waits for a signal, the socket and one timer at once, holds no buffer
//! while it waits, and is dropped cleanly at any point; its `Drop` ends the connection.

use std::{
    cell::RefCell,
    future::Future,
    io::{self, Read},
    net::Shutdown,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use socket2::Socket;
use tokio::{io::unix::AsyncFd, time::Sleep};

use super::{
    Connection, End,
    closing::truncated,
    keepalive::{Due, Keepalive},
    outbox::Phase,
};
use crate::{
    error::ProtocolError,
    protocol::{CloseFrame, Decoder, Event, Message, OpCode},
    runtime::{Level, Permit},
};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// How long the answer to the peer's Close may wait for a view that is busy with the messages before
/// it, so that its replies still go out.
const GRACE: Duration = Duration::from_secs(1);

/// How long the peer may take to close its side of TCP after the close handshake.
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    /// What is read before it is decoded. One for each worker thread, so that no connection owns one.
    static CHUNK_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

#[derive(Debug)]
enum Stage {
    /// Messages flow.
    Open,
    /// No message follows, and the Close frame waits until the view has taken those before it.
    Draining { until: Instant },
    /// The Close frame is on its way, and so may be the peer's.
    Closing { until: Instant, peer_closed: bool },
    /// This side of TCP is shut; what still arrives is thrown away until the peer shuts its side, lest
    /// unread bytes turn into a reset that overtakes the Close frame.
    Lingering { until: Instant },
    /// Nothing is left to do.
    Done,
}

/// The reader of a connection, as a task.
pub(super) struct Actor {
    connection: Arc<Connection>,
    socket: Arc<AsyncFd<Socket>>,
    decoder: Decoder,
    /// Bytes that were read but not decoded, because the handler wants no more messages.
    stash: Vec<u8>,
    stage: Stage,
    /// The outbox has bytes that the socket did not take.
    writing: bool,
    keepalive: Keepalive,
    /// When the response head must have been written; `None` once it has.
    handshake_until: Option<Instant>,
    last_message: Instant,
    timer: Pin<Box<Sleep>>,
    _permit: Option<Permit>,
}

impl Actor {
    pub(super) fn new(
        connection: Arc<Connection>,
        socket: Arc<AsyncFd<Socket>>,
        decoder: Decoder,
        leftover: Vec<u8>,
        permit: Option<Permit>,
    ) -> Self {
        let now = Instant::now();
        let config = connection.config();
        let handshake_until = now + config.handshake_timeout;
        let _context = connection.engine.handle().enter();
        Self {
            socket,
            decoder,
            stash: leftover,
            stage: Stage::Open,
            // The head of the response may still be there.
            writing: true,
            keepalive: Keepalive::new(config, now),
            handshake_until: Some(handshake_until),
            last_message: now,
            timer: Box::pin(tokio::time::sleep_until(handshake_until.into())),
            _permit: permit,
            connection,
        }
    }

    /// Does everything that can be done now. Returns whether something may have changed, so that
    /// another round is due.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        // Who only reads takes no lock: a thread that is sending may hold it.
        let signalled = self.connection.signal.take(cx.waker());
        if signalled || self.writing {
            self.writing = self.poll_write(cx);
            self.obey();
        }
        let read = self.poll_read(cx).is_ready();
        let timed = self.poll_timer(cx).is_ready();
        signalled || read || timed
    }

    /// Follows what other threads did to the outbox, and moves from stage to stage.
    fn obey(&mut self) {
        let (phase, room) = {
            let mut outbox = self.connection.outbox();
            (
                outbox.phase(),
                outbox.take_room_wanted(self.connection.config()),
            )
        };
        if room {
            self.connection.room.notify_all();
            self.connection.handler.on_room(&self.connection);
        }
        match (&self.stage, phase) {
            (Stage::Done, _) => {}
            (_, Phase::Broken) => self.finish(End::broken(None)),
            (Stage::Open, Phase::Closing | Phase::Closed) => {
                self.stage = Stage::Closing {
                    until: self.close_deadline(),
                    peer_closed: false,
                };
            }
            (Stage::Draining { .. }, Phase::Closing | Phase::Closed) => {
                self.stage = Stage::Closing {
                    until: self.close_deadline(),
                    peer_closed: true,
                };
                self.obey();
            }
            (Stage::Draining { .. }, Phase::Open) if self.connection.handler.is_drained() => {
                self.answer();
            }
            (
                Stage::Closing {
                    peer_closed: true, ..
                },
                Phase::Closed,
            ) => self.linger(),
            _ => {}
        }
    }

    fn close_deadline(&self) -> Instant {
        Instant::now() + self.connection.config().close_timeout
    }

    /// Sends the Close frame that answers the peer's, or that tells it why it failed.
    fn answer(&mut self) {
        // `close` takes the code from how the connection ended.
        self.connection.close(1000, "");
        self.stage = Stage::Closing {
            until: self.close_deadline(),
            peer_closed: true,
        };
        self.obey();
    }

    /// Shuts this side of TCP: the server does so first (section 7.1.1).
    fn linger(&mut self) {
        self.stage = Stage::Lingering {
            until: Instant::now() + LINGER,
        };
        if self.socket.get_ref().shutdown(Shutdown::Write).is_err() {
            self.stage = Stage::Done;
        }
    }

    fn finish(&mut self, end: End) {
        let _ = self.connection.end.set(end);
        self.stage = Stage::Done;
    }

    /// Writes what waits; true if some of it has to wait on for the socket.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if !self.connection.outbox().has_unsent() {
                self.handshake_until = None;
                return false;
            }
            let mut guard = match self.socket.poll_write_ready(cx) {
                Poll::Pending => return true,
                Poll::Ready(Ok(guard)) => guard,
                Poll::Ready(Err(_)) => {
                    self.finish(End::broken(None));
                    return false;
                }
            };
            // An error is not looked at here: it has broken the outbox, which `obey` sees.
            let _ = guard.try_io(|_| self.connection.outbox().flush());
        }
    }

    fn is_reading(&self) -> bool {
        match self.stage {
            Stage::Open => self.connection.handler.wants_more(),
            Stage::Draining { .. } | Stage::Done => false,
            Stage::Closing { .. } | Stage::Lingering { .. } => true,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_reading() {
            return Poll::Pending;
        }
        if !self.stash.is_empty() {
            let mut stash = std::mem::take(&mut self.stash);
            self.digest(&mut stash);
            return Poll::Ready(());
        }
        CHUNK_BUFFER.with_borrow_mut(|chunk| {
            match ready!(read_some(&self.socket, cx, chunk)) {
                Ok(0) => self.peer_gone(None),
                Ok(len) => self.digest(&mut chunk[..len]),
                Err(error) => self.peer_gone(Some(error)),
            }
            Poll::Ready(())
        })
    }

    /// The peer has shut its side of TCP or reset it.
    fn peer_gone(&mut self, error: Option<io::Error>) {
        self.finish(End::broken(error.map(|error| error.to_string())));
    }

    /// Decodes what was read and hands it on. Answers that the handler sends meanwhile go out
    /// together.
    fn digest(&mut self, mut input: &mut [u8]) {
        if self.connection.end.get().is_some() {
            // After the peer's Close or an error, nothing that follows is looked at.
            return;
        }
        self.keepalive.progress(input.len());
        let corked = self.connection.handler.answers_at_once();
        if corked {
            self.connection.outbox().cork();
        }
        loop {
            match self.decoder.next(&mut input) {
                Ok(Some(event)) => self.handle(event),
                Ok(None) => break,
                Err(error) => {
                    self.fail(&error);
                    break;
                }
            }
            if !self.is_reading() {
                self.stash = input.to_vec();
                break;
            }
        }
        if corked {
            self.connection.outbox().uncork();
        }
    }

    fn handle(&mut self, event: Event) {
        self.keepalive.alive();
        match event {
            Event::Message(message) => self.deliver(message),
            Event::Ping(payload) => {
                self.connection.outbox().control(OpCode::Pong, &payload);
            }
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

    /// Section 5.5.1: a Close frame is answered by one, with the code that it had.
    fn peer_closed(&mut self, frame: Option<CloseFrame>) {
        let CloseFrame { code, reason } = frame.unwrap_or(CloseFrame {
            code: 1005,
            reason: String::new(),
        });
        let _ = self.connection.end.set(End {
            code,
            reason,
            error: None,
        });
        self.end_messages();
    }

    /// Section 7.1.7: fail the connection.
    fn fail(&mut self, error: &ProtocolError) {
        let error_text = error.to_string();
        let end = End {
            code: error.close_code(),
            reason: truncated(&error_text).to_owned(),
            error: Some(error_text),
        };
        let _ = self.connection.end.set(end);
        self.end_messages();
    }

    fn end_messages(&mut self) {
        self.connection.finish_messages();
        match &mut self.stage {
            Stage::Open => {
                self.stage = Stage::Draining {
                    until: Instant::now() + GRACE,
                }
            }
            Stage::Closing { peer_closed, .. } => *peer_closed = true,
            Stage::Draining { .. } | Stage::Lingering { .. } | Stage::Done => {}
        }
        self.obey();
    }

    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Open => {
                let idle = self
                    .connection
                    .config()
                    .idle_timeout
                    .map(|idle| self.last_message + idle);
                [self.handshake_until, self.keepalive.deadline(), idle]
                    .into_iter()
                    .flatten()
                    .min()
            }
            Stage::Draining { until }
            | Stage::Closing { until, .. }
            | Stage::Lingering { until } => Some(until),
            Stage::Done => None,
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline() else {
            return Poll::Pending;
        };
        // A timer that is too early is left alone: resetting it at every message would cost more.
        if self.timer.deadline() > deadline.into() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline.into());
        }
        ready!(self.timer.as_mut().poll(cx));
        let now = Instant::now();
        if now >= deadline {
            self.expire(now);
        }
        Poll::Ready(())
    }

    /// A time limit is over.
    fn expire(&mut self, now: Instant) {
        match self.stage {
            Stage::Open => self.expire_open(now),
            Stage::Draining { .. } => self.answer(),
            Stage::Closing { peer_closed, .. } => {
                let error =
                    (!peer_closed).then(|| "the peer did not answer the Close frame".into());
                self.finish(End::broken(error));
            }
            Stage::Lingering { .. } | Stage::Done => self.stage = Stage::Done,
        }
    }

    fn expire_open(&mut self, now: Instant) {
        if self.handshake_until.is_some_and(|until| until <= now) {
            return self.finish(End::broken(Some(
                "the peer did not take the response".into(),
            )));
        }
        let config = self.connection.config();
        if config
            .idle_timeout
            .is_some_and(|idle| self.last_message + idle <= now)
        {
            self.connection.close(1001, "idle for too long");
            return self.obey();
        }
        let listening = self.connection.handler.wants_more();
        match self.keepalive.check(now, listening) {
            Due::Nothing => {}
            Due::Ping(payload) => {
                let mut outbox = self.connection.outbox();
                outbox.release();
                outbox.control(OpCode::Ping, &payload);
            }
            Due::Dead => {
                let error = "the peer did not answer a ping within the time limit";
                self.finish(End::broken(Some(error.into())));
            }
        }
    }
}

/// Reads once. A short read has emptied the socket, so the next call waits without asking it again.
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

impl Future for Actor {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while !matches!(self.stage, Stage::Done) {
            if !self.round(cx) {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // However the task ended: the view must hear of it, and senders must not wait.
        if std::thread::panicking() {
            let error = "the engine has a defect: its task panicked";
            let _ = self.connection.failure.set(error.into());
            let message = format!("connection {}: {error}", self.connection.id());
            self.connection.engine.log().push(Level::Error, message);
        }
        let _ = self.connection.end.set(End::broken(None));
        self.connection.outbox().finish();
        self.connection.room.notify_all();
        self.connection.finish_messages();
        self.connection.engine.hub().leave_all(&self.connection);
        self.connection.engine.forget(self.connection.id());
    }
}
