//! How a connection ends.

use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use super::Connection;

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

impl Connection {
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

    /// Whether no further message will arrive.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
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
    pub(super) fn close_now(&self, code: u16, reason: &str) {
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

    /// Tells the handler, once, that no message follows.
    pub(super) fn finish_messages(&self) {
        if !self.ended.swap(true, AcqRel) {
            self.handler.on_end(self);
        }
    }
}

/// The beginning of a reason that fits a Close frame.
pub(super) use crate::protocol::close::fitting_reason as truncated;
