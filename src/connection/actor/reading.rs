//! What comes from the peer: bytes, then events.

use std::{
    cell::RefCell,
    io::{self, Read},
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use socket2::Socket;
use tokio::io::unix::AsyncFd;

use super::{super::closing::truncated, Actor, End, Stage};
use crate::{
    error::ProtocolError,
    protocol::{CloseFrame, Event, Message, OpCode},
};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// How long the answer to the peer's Close may wait for a view that is busy with the messages before
/// it, so that its replies still go out.
const GRACE: Duration = Duration::from_secs(1);

thread_local! {
    /// What is read before it is decoded. One for each worker thread, so that no connection owns one.
    static CHUNK_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

impl Actor {
    fn is_reading(&self) -> bool {
        match self.stage {
            Stage::Open => self.connection.handler.wants_more(),
            Stage::Draining { .. } | Stage::Done => false,
            Stage::Closing { .. } | Stage::Lingering { .. } => true,
        }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
