//! Taking a connected socket out of a server's hands, without the server noticing.
//!
//! The server goes on with the descriptor number that it knows: `dup2` puts one end of a fresh socket
//! pair there. What it still writes (its own idea of a response) is read and forgotten at the other
//! end; what it reads is the end of the file, so it closes its descriptor in peace.
#![allow(unsafe_code)]

use std::{
    io,
    net::Shutdown,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use socket2::{Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use crate::runtime::engine;

/// A socket that has changed hands.
#[derive(Debug)]
pub struct Adopted {
    /// The connection to the peer; the server has no access to it any more.
    pub socket: Socket,
}

/// Takes the socket behind `fd`.
///
/// `epoll` is the epoll instance of the server's event loop, if it has one. Its registrations belong
/// to the open file, not to the number: `dup2` would leave one behind that nobody can remove any
/// more, and every frame would wake the server's loop. So it is removed first.
///
/// # Errors
///
/// `fd` is not the stream socket of a connection, or no descriptor is left. The server's descriptor is then
/// as it was.
pub fn adopt(fd: RawFd, epoll: Option<RawFd>) -> io::Result<Adopted> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the server holds `fd` open while it iterates the response that calls this, and the
    // borrow ends before this function does.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let socket = Socket::from(borrowed.try_clone_to_owned()?);
    if socket.r#type()? != Type::STREAM {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a stream socket",
        ));
    }
    // A socket that the peer has reset meanwhile is taken all the same: its view hears of the end.
    if socket.is_listener()? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a listening socket",
        ));
    }
    let (ours, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(is_nonblocking(fd)?)?;
    // The server's next read meets the end of the file at once.
    ours.shutdown(Shutdown::Write)?;
    if let Some(epoll) = epoll {
        forget_in_epoll(epoll, fd);
    }
    replace(&theirs.into(), fd)?;
    // Registering needs the engine; without it, the pair is simply closed.
    engine()?.handle().spawn(swallow(ours));
    Ok(Adopted { socket })
}

/// Registers a socket with the reactor of the runtime that the caller has entered.
pub(super) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor, which stays the same and open as long as it lives, and
    // `AsyncFd` owns the `Socket`.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

/// Reads and forgets what the server writes, until it has closed its end.
async fn swallow(ours: UnixStream) {
    let Ok(()) = ours.set_nonblocking(true) else {
        return;
    };
    let Ok(ours) = tokio::net::UnixStream::from_std(ours) else {
        return;
    };
    let mut buffer = [0; 1024];
    loop {
        if ours.ready(Interest::READABLE).await.is_err() {
            return;
        }
        match ours.try_read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}

fn is_nonblocking(fd: RawFd) -> io::Result<bool> {
    // SAFETY: F_GETFL takes no pointer; a bad descriptor is an error, not undefined behaviour.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(flags & libc::O_NONBLOCK != 0)
    }
}

/// Makes `number` mean what `source` does.
fn replace(source: &OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: `source` is open. `number` is the server's and stays open and the server's; only what
    // it refers to changes, which is the purpose of this module.
    let result = unsafe { libc::dup2(source.as_raw_fd(), number) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: F_SETFD takes no pointer. `dup2` clears close-on-exec, which Python sets on every
    // descriptor that it makes (PEP 446).
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    Ok(())
}

#[cfg(target_os = "linux")]
fn forget_in_epoll(epoll: RawFd, fd: RawFd) {
    // SAFETY: EPOLL_CTL_DEL ignores the event pointer; bad descriptors and a missing registration are
    // errors, and mean that there is nothing to forget.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) };
}

#[cfg(not(target_os = "linux"))]
fn forget_in_epoll(_epoll: RawFd, _fd: RawFd) {}
