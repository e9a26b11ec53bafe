//! The input of a connection: what has been read of it, and what is known of its peer.

mod pace;
mod stash;

use std::time::Instant;

pub(in crate::engine) use self::pace::CHUNK;
pub(super) use self::{
    pace::{Pace, yield_now},
    stash::Stash,
};
use super::{super::outbox::Way, keepalive::Keepalive};
use crate::{config::Config, protocol::Decoder, runtime::Weight};

/// The state of the input of one connection.
#[derive(Debug)]
pub(in crate::engine) struct Input {
    pub(super) way: Way,
    pub(super) decoder: Decoder,
    /// Bytes that were read but not decoded, because the handler accepts no more messages.
    pub(super) stash: Stash,
    pub(super) keepalive: Keepalive,
    pub(super) pace: Pace,
    /// The memory of a message that has arrived in part.
    pub(super) weight: Weight,
    /// Bytes that have arrived since the connection ceased to deliver messages.
    pub(super) ignored: usize,
    pub(super) last_message: Instant,
    /// Whoever attends the poller reads the socket first.
    pub(super) polled: bool,
    /// The poller has told that the peer has shut its side: a short read is not the end of the input.
    pub(super) ends: bool,
    /// The poller has told of bytes that are not all read: the connection's task reads on.
    pub(super) more: bool,
    /// Nothing can be written any more: the connection's task reads what has arrived, and no more will.
    pub(super) rest: bool,
}

impl Input {
    /// The input of a connection that begins with bytes that the server had read. `polled`: the poller has
    /// the socket.
    pub(in crate::engine) fn new(
        config: &Config,
        way: Way,
        decoder: Decoder,
        leftover: Vec<u8>,
        polled: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            way,
            decoder,
            more: polled && !leftover.is_empty(),
            stash: Stash::new(leftover),
            keepalive: Keepalive::new(config, now),
            pace: Pace::default(),
            weight: Weight::default(),
            ignored: 0,
            last_message: now,
            polled,
            ends: false,
            rest: false,
        }
    }
}
