//! The transports of an outbox.

use std::{io, os::fd::AsRawFd, sync::Arc};

use super::{super::wire::Wire, backlog::Backlog, queue::Queue, transport::Transport};
use crate::{protocol::OpCode, runtime::on_the_way};

/// A transport. An enum avoids a call through a pointer on the way to a socket.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Way {
    Socket(Arc<Wire>),
    Queue(Arc<Queue>),
}

impl Transport for Way {
    #[inline]
    fn take(&self, backlog: &mut Backlog) -> io::Result<()> {
        match self {
            Self::Socket(wire) => wire.socket().take(backlog),
            Self::Queue(queue) => queue.take(backlog),
        }
    }

    #[inline]
    fn take_through(
        &self,
        backlog: &mut Backlog,
        opcode: OpCode,
        payload: &[u8],
    ) -> io::Result<()> {
        match self {
            Self::Socket(wire) => wire.socket().take_through(backlog, opcode, payload),
            Self::Queue(queue) => queue.take_through(backlog, opcode, payload),
        }
    }
}

impl Way {
    /// The bytes that the transport has taken and the peer has not.
    pub(super) fn on_the_way(&self) -> usize {
        match self {
            Self::Socket(wire) => on_the_way(wire.socket().as_raw_fd()),
            Self::Queue(queue) => queue.undrained(),
        }
    }

    /// Ends the transport: this side sends nothing more.
    pub(super) fn cut(self) {
        match self {
            // The actor holds the socket, too, and closes it when the task ends.
            Self::Socket(_) => {}
            Self::Queue(queue) => queue.end(),
        }
    }
}
