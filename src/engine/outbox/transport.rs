//! What an outbox asks of the way to the peer. There are two: a socket (`write`), and a queue that somebody
//! else drains (`queue`).

use std::io;

use super::backlog::Backlog;
use crate::protocol::OpCode;

/// Takes what waits in an outbox, under its lock. Neither call may block.
pub(in crate::engine) trait Transport {
    /// Takes as much of the backlog as there is room for, a stint at most.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: the transport is full, and the actor is told once it has room. Anything else: it is
    /// broken.
    fn take(&self, backlog: &mut Backlog) -> io::Result<()>;

    /// Takes a message straight from the caller's memory, where no other waits. What there is no room for
    /// goes into the backlog.
    ///
    /// # Errors
    ///
    /// Those of [`Transport::take`].
    fn take_through(&self, backlog: &mut Backlog, opcode: OpCode, payload: &[u8])
    -> io::Result<()>;
}
