//! The counters of a connection.

use std::{sync::atomic::AtomicU64, time::Instant};

/// Counters of one connection. Its outbox counts what is sent.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received_messages: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) dropped_messages: AtomicU64,
}

/// A ping of the application that waits for its pong.
#[derive(Debug)]
pub(super) struct Pinged {
    pub(super) payload: Vec<u8>,
    pub(super) at: Instant,
}
