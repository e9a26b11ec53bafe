//! The transports there are.

use std::{io, sync::Arc};

use socket2::Socket;
use tokio::io::unix::AsyncFd;

use super::{backlog::Backlog, queue::Queue, transport::Transport};
use crate::protocol::OpCode;

/// One of the transports. An enum, so that the way to a socket costs no call through a pointer.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Way {
    Socket(Arc<AsyncFd<Socket>>),
    Queue(Arc<Queue>),
}

impl Transport for Way {
    #[inline]
    fn take(&self, backlog: &mut Backlog) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.get_ref().take(backlog),
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
            Self::Socket(socket) => socket.get_ref().take_through(backlog, opcode, payload),
            Self::Queue(queue) => queue.take_through(backlog, opcode, payload),
        }
    }
}

impl Way {
    /// Nothing more comes from this side.
    pub(super) fn cut(self) {
        match self {
            // The actor has the socket, too, and closes it when it ends.
            Self::Socket(_) => {}
            Self::Queue(queue) => queue.end(),
        }
    }
}
