//! The interface between an outbox and its transport. There are two transports: a socket (`write`), and a
//! queue that the far end drains (`queue`).

use std::io;

use super::backlog::Backlog;
use crate::protocol::OpCode;

/// Takes what waits in an outbox. Both calls run under the outbox's lock and must not block.
pub(in crate::engine) trait Transport {
    /// Takes as much of the backlog as there is room for; a socket takes a stint at most.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: the transport is full, and the actor is told once it has room. Any other error: the
    /// transport is broken.
    fn take(&self, backlog: &mut Backlog) -> io::Result<()>;

    /// Takes a message straight from the caller's memory; called only if no other message waits. The part
    /// that finds no room goes into the backlog.
    ///
    /// # Errors
    ///
    /// The errors of [`Transport::take`].
    fn take_through(&self, backlog: &mut Backlog, opcode: OpCode, payload: &[u8])
    -> io::Result<()>;
}
