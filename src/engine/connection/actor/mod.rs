//! The task that reads a connection, and writes what its senders could not.
//!
//! A future written by hand: it waits for a signal, the socket and one timer at once, holds no buffer
//! while it waits, and is dropped cleanly at any point; its `Drop` ends the connection. Here are its
//! stages and the writing; `reading` is what comes from the peer, `timer` what is due, `pace` how much it
//! may do before others get their turn.

mod pace;
mod reading;
mod stash;
mod timer;

use std::{
    future::Future,
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use socket2::Socket;
use tokio::{io::unix::AsyncFd, time::Sleep};

use self::{pace::Pace, stash::Stash};
use super::{
    super::{outbox::Phase, permit::Permit, table::Engine},
    Connection, End,
    keepalive::Keepalive,
};
use crate::{
    protocol::Decoder,
    runtime::{Level, Weight},
};

/// How long the peer may take to close its side of TCP after the close handshake.
const LINGER: Duration = Duration::from_secs(2);

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
pub(in crate::engine) struct Actor {
    engine: &'static Engine,
    connection: Arc<Connection>,
    socket: Arc<AsyncFd<Socket>>,
    decoder: Decoder,
    /// Bytes that were read but not decoded, because the handler wants no more messages.
    stash: Stash,
    stage: Stage,
    /// The outbox has bytes that the socket did not take.
    writing: bool,
    keepalive: Keepalive,
    pace: Pace,
    /// Of a message that has come in part.
    weight: Weight,
    /// Bytes that were thrown away since this side has said Close.
    ignored: usize,
    /// When the response head must have been written; `None` once it has.
    handshake_until: Option<Instant>,
    last_message: Instant,
    timer: Pin<Box<Sleep>>,
    _permit: Option<Permit>,
}

impl Actor {
    pub(in crate::engine) fn new(
        engine: &'static Engine,
        connection: Arc<Connection>,
        socket: Arc<AsyncFd<Socket>>,
        decoder: Decoder,
        leftover: Vec<u8>,
        permit: Option<Permit>,
    ) -> Self {
        let now = Instant::now();
        let config = connection.config();
        let handshake_until = now + config.handshake_timeout;
        let _context = engine.handle().enter();
        Self {
            engine,
            socket,
            decoder,
            stash: Stash::new(leftover),
            stage: Stage::Open,
            // The head of the response may still be there.
            writing: true,
            keepalive: Keepalive::new(config, now),
            pace: Pace::default(),
            weight: Weight::default(),
            ignored: 0,
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
            {
                let mut outbox = self.connection.outbox();
                if outbox.is_left_to_writer() {
                    return true;
                }
                if !outbox.head_waits() {
                    self.handshake_until = None;
                }
                if !outbox.has_unsent() {
                    return false;
                }
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
            let flushed = guard.try_io(|_| self.connection.outbox().flush_ready());
            if matches!(flushed, Ok(Ok(true))) {
                // A fast reader: others get their turn before it gets more.
                self.pace.exhaust();
                return true;
            }
        }
    }
}

impl Future for Actor {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.pace.begin();
        while !matches!(self.stage, Stage::Done) {
            let again = self.round(cx);
            if self.pace.is_exhausted() {
                pace::yield_now(cx);
                return Poll::Pending;
            }
            if !again {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.pace.end(&self.engine.shared.floods);
        // However the task ended: the view must hear of it, and senders must not wait.
        if std::thread::panicking() {
            let error = "the engine has a defect: its task panicked";
            let _ = self.connection.failure.set(error.into());
            let message = format!("connection {}: {error}", self.connection.id());
            self.engine.log().push(Level::Error, message);
        }
        let _ = self.connection.end.set(End::broken(None));
        self.connection.outbox().finish();
        self.connection.room.notify_all();
        self.connection.finish_messages();
        self.connection.leave_owner();
        self.engine.forget(&self.connection);
    }
}
