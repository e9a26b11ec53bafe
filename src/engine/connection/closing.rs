//! How a connection ends.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    super::outbox::Outbox,
    Connection,
    lifecycle::{End, State, Step},
};
use crate::{
    protocol::close::fitting_reason,
    runtime::figures::{self, Policy},
};

impl Connection {
    /// How the connection ended. While only this side has said Close, this is what it said. A forked child
    /// knows what its parent knew.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        if self.is_foreign() {
            return self.lifecycle.end_at_fork();
        }
        self.lifecycle.end()
    }

    /// Whether no further message will arrive.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.lifecycle.state().may_receive()
    }

    /// Starts the close handshake (section 7.1.2); queued messages go out first. Returns whether this
    /// call started it.
    ///
    /// If the peer has already said Close, or the engine has failed the connection, the code of that
    /// event is sent, not the caller's (sections 5.5.1 and 7.1.7).
    pub fn close(&self, code: u16, reason: &str) -> bool {
        !self.is_foreign() && self.say_close(code, reason, false)
    }

    /// Answers the peer's Close before the view can send again: the view knows that no message follows. A
    /// caller that takes messages out of an [`Inbox`](crate::engine::Inbox) calls this at the end of the
    /// messages. Without this call, the answer goes out after a short time.
    pub fn acknowledge_end(&self) {
        self.close(1000, "");
    }

    /// Fails the connection and discards the queued messages, which the peer would not take in time.
    pub(super) fn close_now(&self, code: u16, reason: &str) {
        self.say_close(code, reason, true);
    }

    fn say_close(&self, code: u16, reason: &str, discard: bool) -> bool {
        let reason = fitting_reason(reason);
        let (before, started) = {
            // The lock is held from the step until the frame is queued, so that nothing can be queued in
            // between.
            let mut outbox = self.outbox();
            let said = End {
                code,
                reason: reason.to_owned(),
                error: None,
            };
            let Ok(before) = self.lifecycle.step(Step::Close, Some(said)) else {
                return false;
            };
            if discard {
                let lost = outbox.discard_queue();
                self.counters.dropped_messages.fetch_add(lost, Relaxed);
                self.stripe().dropped(Policy::Close, lost);
            }
            let started = match self.lifecycle.end() {
                Some(End { code, error, .. }) if before == State::Draining => {
                    outbox.close(code, fitting_reason(&error.unwrap_or_default()))
                }
                _ => outbox.close(code, reason),
            };
            if self.is_polled() && outbox.close_is_written() {
                self.close_is_written(&outbox);
            } else {
                self.signal.raise();
            }
            (before, started)
        };
        if before == State::Open {
            figures::note_said(code);
        }
        self.tell_end(before);
        started
    }

    /// Takes the steps after the Close frame has been written, as the actor would.
    fn close_is_written(&self, outbox: &Outbox) {
        let _ = self.lifecycle.step(Step::Written, None);
        if self.lifecycle.state() == State::Lingering {
            outbox.shut();
        }
        self.signal.raise_later();
    }

    /// Takes a step that the peer or the transport has caused.
    pub(super) fn end_with(&self, step: Step, end: End) {
        if let Ok(before) = self.lifecycle.step(step, Some(end)) {
            self.tell_end(before);
        }
    }

    /// Tells the handler that no message follows, if the step has left [`State::Open`]. Only one step
    /// does.
    fn tell_end(&self, before: State) {
        if before == State::Open {
            self.handler.on_end(self);
        }
    }

    /// Drops the connection without a close handshake.
    pub fn abort(&self) {
        if !self.is_foreign() {
            self.outbox().abort();
        }
    }
}
