//! The socket of a connection, which tokio's reactor watches only where somebody waits for it.
//!
//! The poller reads most sockets, and most sockets take everything that is written. Registering such a socket
//! with the reactor would cost two system calls, and would wake a thread at once: a new socket has room.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    sync::OnceLock,
    task::{Context, Poll, ready},
};

use socket2::Socket;
use tokio::io::{
    Interest,
    unix::{AsyncFd, AsyncFdReadyGuard},
};

use super::adopt;

/// A socket of a connection.
#[derive(Debug)]
pub(in crate::engine) struct Wire {
    /// The registration with the reactor. It ends before the socket is closed, so it is the first field.
    watched: OnceLock<AsyncFd<RawFd>>,
    socket: Socket,
}

impl Wire {
    /// A socket that its connection's task reads. The caller has entered the runtime.
    ///
    /// # Errors
    ///
    /// The system has no memory for the registration.
    pub(in crate::engine) fn watched(socket: Socket) -> io::Result<Self> {
        let watched = adopt::register(socket.as_raw_fd(), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            watched: OnceLock::from(watched),
            socket,
        })
    }

    /// A socket that whoever attends the poller reads. The reactor watches it from the first time that it is
    /// full.
    pub(in crate::engine) fn unwatched(socket: Socket) -> Self {
        Self {
            watched: OnceLock::new(),
            socket,
        }
    }

    pub(in crate::engine) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Waits until the socket has bytes, if the reactor watches it.
    pub(in crate::engine) fn poll_read_ready(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, RawFd>>> {
        match self.watched.get() {
            Some(watched) => watched.poll_read_ready(cx),
            None => Poll::Pending,
        }
    }

    /// Waits until the socket has room. The connection's task alone calls this.
    pub(in crate::engine) fn poll_write_ready(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, RawFd>>> {
        if self.watched.get().is_none() {
            // Only one task comes here, so no other registration is lost.
            let _ = self.watched.set(adopt::register(
                self.socket.as_raw_fd(),
                Interest::WRITABLE,
            )?);
        }
        let Some(watched) = self.watched.get() else {
            return Poll::Pending;
        };
        Poll::Ready(Ok(ready!(watched.poll_write_ready(cx))?))
    }
}
