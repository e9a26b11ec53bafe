//! The task of a connection: writes what its senders could not write, keeps the time limits, and reads what
//! nobody else reads.
//!
//! This future is written by hand. It waits for a signal, the socket and one timer at once, holds no
//! buffer while it waits, and may be dropped at any point; its `Drop` ends the connection. This file
//! follows the lifecycle and writes; `timer` handles the time limits. The input of the peer is handled by
//! the [`reader`](super::reader).

mod timer;

use std::{
    future::Future,
    net::Shutdown,
    os::fd::AsRawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use super::{
    super::{outbox::Way, permit::Permit, table::Engine},
    Connection,
    input::{Input, yield_now},
    lifecycle::{End, State, Step},
    reader,
};
use crate::runtime::Level;

/// The longest time for which the answer to the peer's Close waits for a view that is still busy with
/// earlier messages, so that its replies go out first.
const GRACE: Duration = Duration::from_secs(1);

/// The time that the peer may take to close its side of TCP after the close handshake.
const LINGER: Duration = Duration::from_secs(2);

/// The task of a connection.
pub(in crate::engine) struct Actor {
    engine: &'static Engine,
    connection: Arc<Connection>,
    way: Way,
    /// The latest state that the actor has acted upon.
    seen: State,
    /// The time limit of this state. An open connection has several limits instead, which `timer` knows,
    /// until a write fails.
    until: Option<Instant>,
    /// The messages that the view had taken when the time limit was set after a failed write.
    taken: u64,
    /// The position up to which the peer had taken what is sent when the time limit of a Close was set.
    sent: i64,
    /// The outbox has bytes that the socket did not take.
    writing: bool,
    /// The socket took all that may be written before other tasks run. The pace would not do: whoever
    /// attends the poller begins it anew.
    yields: bool,
    /// The time by which the response head must be written; `None` once it is.
    handshake_until: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    _permit: Option<Permit>,
}

impl Actor {
    pub(in crate::engine) fn new(
        engine: &'static Engine,
        connection: Arc<Connection>,
        way: Way,
        permit: Option<Permit>,
    ) -> Self {
        let now = Instant::now();
        let config = connection.config();
        let handshake_until = now + config.handshake_timeout;
        let _context = engine.handle().enter();
        Self {
            engine,
            way,
            seen: State::Open,
            until: None,
            taken: 0,
            sent: 0,
            // The head of the response may still wait in the outbox.
            writing: true,
            yields: false,
            handshake_until: Some(handshake_until),
            timer: Box::pin(tokio::time::sleep_until(handshake_until.into())),
            _permit: permit,
            connection,
        }
    }

    /// Does everything that can be done now. Returns whether something may have changed, so that another
    /// round is due.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        // A round that only reads takes no lock: a thread that is sending may hold it.
        let signalled = self.connection.signal.take(cx.waker());
        if signalled || self.writing {
            self.writing = self.poll_write(cx);
            self.obey();
        }
        let read = reader::poll_read(&self.connection, cx);
        let timed = self.poll_timer(cx).is_ready();
        signalled || read || timed
    }

    /// Acts upon the changes that other threads made to the outbox and to the lifecycle.
    fn obey(&mut self) {
        let lifecycle = &self.connection.lifecycle;
        let (cut, failed, written, room) = {
            let mut outbox = self.connection.outbox();
            let closing = !lifecycle.state().may_send();
            (
                outbox.is_cut(),
                outbox.has_failed(),
                outbox.close_is_written(),
                outbox.take_room_wanted(self.connection.config(), closing),
            )
        };
        if room {
            self.connection.room.notify_all();
            self.connection.handler.on_room(&self.connection);
        }
        if cut {
            if !failed || !lifecycle.state().hears_peer() {
                return self.leave(End::broken(None));
            }
            self.read_rest();
        } else if written && matches!(lifecycle.state(), State::Saying | State::Answering) {
            let _ = lifecycle.step(Step::Written, None);
        }
        self.follow();
        if self.seen == State::Draining && self.connection.handler.is_drained() {
            self.answer();
        }
    }

    /// Begins to read what the peer has sent before a write failed; the connection ends behind that. The
    /// view takes the messages at its own pace, but one of them within the time limit.
    fn read_rest(&mut self) {
        self.connection.with_input(|input| input.rest = true);
        if self.until.is_none() {
            self.taken = self.connection.taken();
            self.until = Some(Instant::now() + self.connection.config().close_timeout);
        }
    }

    /// Acts upon the current state if it is new to the actor, and sets its time limit.
    fn follow(&mut self) {
        let (before, state) = (self.seen, self.connection.lifecycle.state());
        self.seen = state;
        let limit = match state {
            State::Draining if before != state => GRACE,
            // The peer's half is awaited from the moment at which our Close is written.
            State::Said if before != state => self.closing_limit(),
            State::Saying | State::Answering if !before.is_closing() => self.closing_limit(),
            State::Lingering if before != state => {
                let shut = match &self.way {
                    // The server shuts its side of TCP first (section 7.1.1).
                    Way::Socket(wire) => wire.socket().shutdown(Shutdown::Write).is_ok(),
                    // Nothing can overtake the Close frame in a queue.
                    Way::Queue(_) => false,
                };
                if !shut {
                    return self.leave(End::broken(None));
                }
                LINGER
            }
            _ => return,
        };
        self.until = Some(Instant::now() + limit);
    }

    /// The time limit of a Close frame that is on its way, or of the answer to it.
    fn closing_limit(&mut self) -> Duration {
        self.sent = self.connection.outbox().taken();
        self.connection.config().close_timeout
    }

    /// Sends the Close frame that answers the peer's Close, or that tells the peer why the connection
    /// failed.
    fn answer(&mut self) {
        // `close` replaces this code with the code of the connection's end.
        self.connection.close(1000, "");
        self.obey();
    }

    /// Ends the connection. `end` says how, unless the peer has said Close or the connection has failed
    /// before.
    fn leave(&mut self, end: End) {
        self.connection.end_with(Step::Leave, end);
        self.seen = State::Gone;
    }

    /// Writes what waits in the outbox; returns true if some of it must be written later.
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
            let Way::Socket(wire) = &self.way else {
                // A queue raises the signal once it has room.
                return self.connection.outbox().flush_ready().is_err();
            };
            let mut guard = match wire.poll_write_ready(cx) {
                Poll::Pending => return true,
                Poll::Ready(Ok(guard)) => guard,
                Poll::Ready(Err(_)) => {
                    self.leave(End::broken(None));
                    return false;
                }
            };
            // An error needs no handling here: it has cut the outbox, and `obey` sees that.
            let flushed = guard.try_io(|_| self.connection.outbox().flush_ready());
            if matches!(flushed, Ok(Ok(true))) {
                // The peer reads fast: other tasks run before it gets more.
                self.yields = true;
                return true;
            }
        }
    }
}

impl Future for Actor {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.with_input(|input| input.pace.begin());
        while self.seen != State::Gone {
            let again = self.round(cx);
            let exhausted = |input: &mut Input| input.pace.is_exhausted();
            if std::mem::take(&mut self.yields) || self.connection.with_input(exhausted) {
                yield_now(cx);
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
        if let Way::Socket(wire) = &self.way
            && self.connection.is_polled()
        {
            self.connection.leave_poller(wire.socket().as_raw_fd());
        }
        self.connection.end_input();
        // However the task has ended, the view must learn of the end, and senders must not wait any
        // longer.
        if std::thread::panicking() {
            let error = "the engine has a defect: its task panicked";
            let message = format!("connection {}: {error}", self.connection.id());
            self.engine.log().push(Level::Error, message);
        }
        self.connection.outbox().finish();
        self.connection.end_with(Step::Leave, End::broken(None));
        self.connection.room.notify_all();
        self.connection.leave_owner();
        self.engine.forget(&self.connection);
        // A forked child may have the socket, too, and would keep it open. In the child, the connection is
        // foreign, and the socket still its parent's.
        if let Way::Socket(wire) = &self.way
            && !self.connection.is_foreign()
        {
            let _ = wire.socket().shutdown(Shutdown::Both);
        }
    }
}
