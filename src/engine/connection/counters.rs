//! The counters of a connection, and what monitoring shows of it.

use std::{
    sync::atomic::AtomicU64,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

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

/// What the layers above tell of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The path of the request.
    pub path: Box<str>,
    /// The address of the peer.
    pub address: Box<str>,
    /// In what the view runs; "" if that was not said.
    pub view: &'static str,
    /// How the peer is reached; "" if that was not said.
    pub transport: &'static str,
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
