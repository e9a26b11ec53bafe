//! How a connection ends.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    Connection,
    lifecycle::{End, State, Step},
};
use crate::protocol::close::fitting_reason;

impl Connection {
    /// How the connection ended; while only this side has said that it wants to, what it said.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.lifecycle.end()
    }

    /// Whether no further message will arrive.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.lifecycle.state().may_receive()
    }

    /// Starts the close handshake (section 7.1.2); messages that are queued go out first. Returns
    /// whether this call was the one that started it.
    ///
    /// Where the peer has said Close already, or the engine has failed the connection, that decides
    /// the code (sections 5.5.1 and 7.1.7), not the caller.
    pub fn close(&self, code: u16, reason: &str) -> bool {
        !self.is_foreign() && self.say_close(code, reason, false)
    }

    /// The view knows that no message follows: answers the peer's Close, before the view can send again.
    /// A caller who takes messages out of an [`Inbox`](crate::engine::Inbox) calls this at the end of
    /// them. Otherwise the answer goes out after a moment.
    pub fn acknowledge_end(&self) {
        self.close(1000, "");
    }

    /// Fails the connection without waiting for what is queued: it would never get out in time.
    pub(super) fn close_now(&self, code: u16, reason: &str) {
        self.say_close(code, reason, true);
    }

    fn say_close(&self, code: u16, reason: &str, discard: bool) -> bool {
        let reason = fitting_reason(reason);
        let (before, started) = {
            // Held from the step to the frame: nothing can be queued in between.
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
            }
            let started = match self.lifecycle.end() {
                Some(End { code, error, .. }) if before == State::Draining => {
                    outbox.close(code, fitting_reason(&error.unwrap_or_default()))
                }
                _ => outbox.close(code, reason),
            };
            (before, started)
        };
        self.tell_end(before);
        started
    }

    /// Takes a step that is the peer's or the transport's.
    pub(super) fn end_with(&self, step: Step, end: End) {
        if let Ok(before) = self.lifecycle.step(step, Some(end)) {
            self.tell_end(before);
        }
    }

    /// Tells the handler that no message follows, after the one step that has left [`State::Open`].
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
