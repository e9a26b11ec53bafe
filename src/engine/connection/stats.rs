//! Measurements of a connection: its counters, and the round-trip time of pings.

use std::{
    sync::{MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::{Connection, counters::Pinged};
use crate::runtime::figures;

/// A reading of [`Connection::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it all
pub struct Stats {
    pub received_messages: u64,
    pub received_bytes: u64,
    pub sent_messages: u64,
    pub sent_bytes: u64,
    pub dropped_messages: u64,
    pub outbox_messages: u64,
    pub outbox_bytes: u64,
}

impl Connection {
    /// The current counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let ((sent_messages, sent_bytes), (messages, bytes)) = if self.is_foreign() {
            ((0, 0), (0, 0))
        } else {
            let outbox = self.outbox();
            (outbox.sent(), outbox.backlog())
        };
        Stats {
            received_messages: self.counters.received_messages.load(Relaxed),
            received_bytes: self.counters.received_bytes.load(Relaxed),
            sent_messages,
            sent_bytes,
            dropped_messages: self.dropped_messages(),
            outbox_messages: messages as u64,
            outbox_bytes: bytes as u64,
        }
    }

    /// Messages that the application has taken.
    pub(super) fn taken(&self) -> u64 {
        let received = self.counters.received_messages.load(Relaxed);
        received.saturating_sub(self.handler.waiting().0 as u64)
    }

    /// Messages that were lost to a full outbox.
    pub(crate) fn dropped_messages(&self) -> u64 {
        self.counters.dropped_messages.load(Relaxed)
    }

    /// The round-trip time of the latest ping that the peer answered; `None` before the first pong.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let nanos = self.latency.load(Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// Sends a ping of at most 125 bytes (section 5.5.2). Returns false if the connection is closing, or
    /// if 64 pings already wait for a peer that does not read. The pong sets [`Connection::latency`].
    pub fn ping(&self, payload: &[u8]) -> bool {
        if self.is_foreign() {
            return false;
        }
        let pinged = Pinged {
            payload: payload.to_vec(),
            at: Instant::now(),
        };
        // The ping is recorded before it is sent: the pong may arrive before this function returns.
        let before = self.pinged().replace(Box::new(pinged));
        let sent = self.sending(|outbox| outbox.ping(payload)).unwrap_or(false);
        if !sent {
            *self.pinged() = before;
        }
        sent
    }

    /// Handles a pong that does not answer the keepalive: sets the latency if it answers the
    /// application's ping.
    pub(super) fn ponged(&self, payload: &[u8]) {
        let mut pinged = self.pinged();
        if pinged.as_ref().is_some_and(|ping| ping.payload == payload)
            && let Some(ping) = pinged.take()
        {
            self.set_latency(ping.at.elapsed());
        }
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency.store(nanos.max(1), Relaxed);
        figures::count_round_trip(latency);
    }

    fn pinged(&self) -> MutexGuard<'_, Option<Box<Pinged>>> {
        self.pinged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
