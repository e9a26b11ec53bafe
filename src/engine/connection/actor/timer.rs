//! The time limits of a connection, with one timer for all of them.

use std::{
    task::{Context, Poll, ready},
    time::Instant,
};

use super::{
    super::{
        keepalive::{Due, PROGRESS},
        lifecycle::{End, State},
        reader,
    },
    Actor,
};

impl Actor {
    fn deadline(&self) -> Option<Instant> {
        let due = self.stage_deadline();
        let pause = self
            .connection
            .with_input(|input| input.pace.paused_until());
        match pause {
            Some(pause) => Some(due.map_or(pause, |due| due.min(pause))),
            None => due,
        }
    }

    fn stage_deadline(&self) -> Option<Instant> {
        match self.seen {
            State::Open if self.until.is_none() => {
                let idle = self
                    .connection
                    .config()
                    .idle_timeout
                    .and_then(|idle| Some(self.last_message()? + idle));
                let ping = self
                    .connection
                    .with_input(|input| input.keepalive.deadline());
                [self.handshake_until, ping, idle]
                    .into_iter()
                    .flatten()
                    .min()
            }
            State::Gone => None,
            _ => self.until,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.stage_deadline().is_some_and(|due| due <= now)
    }

    /// Whether bytes wait that were read and not decoded.
    fn has_stash(&self) -> bool {
        self.connection.with_input(|input| !input.stash.is_empty())
    }

    fn last_message(&self) -> Option<Instant> {
        self.connection.with_input(|input| Some(input.last_message))
    }

    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline() else {
            return Poll::Pending;
        };
        // A timer that is set too early stays as it is: resetting it at every message would cost more.
        if self.timer.deadline() > deadline.into() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline.into());
        }
        ready!(self.timer.as_mut().poll(cx));
        let now = Instant::now();
        self.connection
            .with_input(|input| input.pace.go_on(now, &self.engine.shared.floods));
        if self.is_due(now) {
            // Whoever attends the poller may be late, for example after the process was stopped for a
            // while. What has arrived counts.
            if reader::catch_up(&self.connection, cx) {
                self.obey();
            }
            if self.is_due(now) {
                self.expire(now);
            }
        }
        Poll::Ready(())
    }

    /// Acts upon a time limit that is over.
    fn expire(&mut self, now: Instant) {
        match self.seen {
            State::Open if self.until.is_some() => self.expire_rest(now),
            State::Open => self.expire_open(now),
            State::Draining => self.answer(),
            State::Saying | State::Said | State::Answering | State::Lingering | State::Gone => {
                if self.seen.is_closing() && self.is_going_out() {
                    self.until = Some(now + self.connection.config().close_timeout);
                    return;
                }
                // This error counts only if the peer has not said Close; otherwise `leave` keeps the
                // peer's Close.
                let error = "the peer did not answer the Close frame";
                self.leave(End::broken(Some(error.into())));
            }
        }
    }

    /// Whether the peer has taken something since the time limit was set, so that the Close frame comes nearer.
    fn is_going_out(&mut self) -> bool {
        let taken = self.connection.outbox().taken();
        let before = std::mem::replace(&mut self.sent, taken);
        taken - before >= PROGRESS as i64
    }

    /// Gives the view more time if it has taken a message since the time limit was set.
    fn expire_rest(&mut self, now: Instant) {
        let taken = self.connection.taken();
        if taken == self.taken {
            return self.leave(End::broken(None));
        }
        self.taken = taken;
        self.until = Some(now + self.connection.config().close_timeout);
    }

    fn expire_open(&mut self, now: Instant) {
        if self.handshake_until.is_some_and(|until| until <= now) {
            return self.leave(End::broken(Some(
                "the peer did not take the response".into(),
            )));
        }
        let config = self.connection.config();
        let listening = self.connection.handler.wants_more();
        if config
            .idle_timeout
            .is_some_and(|idle| self.last_message().is_some_and(|last| last + idle <= now))
        {
            if listening && !self.has_stash() {
                self.connection.close(1001, "idle for too long");
                return self.obey();
            }
            // The peer may have sent messages that nobody has read: the view is busy with earlier ones.
            self.connection.with_input(|input| input.last_message = now);
        }
        let taken = self.connection.outbox().taken();
        let due = self
            .connection
            .with_input(|input| Some(input.keepalive.check(now, listening, taken)));
        match due.unwrap_or(Due::Nothing) {
            Due::Nothing => {}
            Due::Ping(payload) => {
                let end = self.connection.sending(|outbox| {
                    outbox.release();
                    outbox.ping(&payload);
                    outbox.end_of_controls()
                });
                if let Some(end) = end {
                    self.connection
                        .with_input(|input| input.keepalive.queued(end));
                }
            }
            Due::Dead => {
                let error = "the peer did not answer a ping within the time limit";
                self.leave(End::broken(Some(error.into())));
            }
        }
    }
}
