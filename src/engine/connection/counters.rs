//! What a connection counts.

use std::{sync::atomic::AtomicU64, time::Instant};

/// Counters of one connection; what is sent, its outbox counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received_messages: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) dropped_messages: AtomicU64,
}

/// A ping of the application's that is on its way.
#[derive(Debug)]
pub(super) struct Pinged {
    pub(super) payload: Vec<u8>,
    pub(super) at: Instant,
}
