//! Taking a connected socket out of a server's hands, without the server noticing.
//!
//! The server goes on with the descriptor number that it knows: `dup2` puts one end of a fresh socket
//! pair there. What it still writes (its own idea of a response) is read and forgotten at the other
//! end; what it reads is the end of the file, so it closes its descriptor in peace.
#![allow(unsafe_code)]

use std::{
    io,
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use socket2::{Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use crate::runtime::runtime;

/// A socket that has changed hands.
#[derive(Debug)]
pub struct Adopted {
    /// The connection to the peer; the server has no access to it any more.
    pub socket: Socket,
}

/// A second descriptor of a server's socket.
///
/// It is made while the server is known to have the socket open. The server may close its descriptor
/// later, and the system may give the same number to the socket of another client: the second
/// descriptor stays, and [`Held::take`] finds the difference.
///
/// All descriptors are made together with it: where none is left, the handshake can still be refused.
#[derive(Debug)]
pub struct Held {
    socket: Socket,
    /// What the server gets in its place, and the end of it that stays here.
    theirs: UnixStream,
    ours: UnixStream,
}

/// Duplicates the descriptor of a connected stream socket.
///
/// # Errors
///
/// `fd` is not the stream socket of a connection, or no descriptor is left.
pub fn hold(fd: RawFd) -> io::Result<Held> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the borrow ends with this statement. A number that is closed meanwhile is an error of
    // the system call, or names another file, which the checks of the caller find.
    let socket = Socket::from(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
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
    Ok(Held {
        socket,
        theirs,
        ours,
    })
}

impl Held {
    /// Takes the socket away from the server, which knows it as `fd`.
    ///
    /// `epoll` is the epoll instance of the server's event loop, if it has one. Its registrations
    /// belong to the open file, not to the number: `dup2` would leave one behind that nobody can
    /// remove any more, and every frame would wake the server's loop. So it is removed first.
    ///
    /// The caller makes sure that the server does not close `fd` during the call: it holds the
    /// server's lock, or the interpreter's, having asked the server's socket object for its number.
    ///
    /// # Errors
    ///
    /// `fd` does not refer to the held socket any more. What `fd` refers to is then as it was.
    pub fn take(self, fd: RawFd, epoll: Option<RawFd>) -> io::Result<Adopted> {
        let Self {
            socket,
            theirs,
            ours,
        } = self;
        theirs.set_nonblocking(is_nonblocking(socket.as_raw_fd())?)?;
        // The server's next read meets the end of the file at once.
        ours.shutdown(Shutdown::Write)?;
        if identity(fd)? != identity(socket.as_raw_fd())? {
            return Err(closed_meanwhile());
        }
        if let Some(epoll) = epoll {
            forget_in_epoll(epoll, fd);
        }
        replace(&theirs.into(), fd)?;
        // Registering needs the runtime; without it, the pair is simply closed.
        runtime()?.handle().spawn(swallow(ours));
        Ok(Adopted { socket })
    }
}

/// Holds and takes the socket behind `fd` at once; see [`hold`] and [`Held::take`].
///
/// # Errors
///
/// Those of both.
pub fn adopt(fd: RawFd, epoll: Option<RawFd>) -> io::Result<Adopted> {
    hold(fd)?.take(fd, epoll)
}

/// The error for a descriptor that does not refer to the held socket any more.
pub(crate) fn closed_meanwhile() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "the server has closed this connection before its WebSocket could open",
    )
}

/// The device and the inode behind a descriptor: no two sockets that are open share them.
fn identity(fd: RawFd) -> io::Result<(libc::dev_t, libc::ino_t)> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` has room for what the call writes; a bad descriptor is an error.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so it has written all of `stat`.
    let stat = unsafe { stat.assume_init() };
    Ok((stat.st_dev, stat.st_ino))
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

/// Makes `number` mean what `source` does, with close-on-exec, which Python sets on every descriptor
/// that it makes (PEP 446).
#[cfg(target_os = "linux")]
fn replace(source: &OwnedFd, number: RawFd) -> io::Result<()> {
    loop {
        // SAFETY: `source` is open. `number` is the server's and stays open and the server's; only
        // what it refers to changes, which is the purpose of this module. The flag is set by the same
        // call, so that a program started by another thread never inherits the descriptor.
        if unsafe { libc::dup3(source.as_raw_fd(), number, libc::O_CLOEXEC) } >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Makes `number` mean what `source` does; without `dup3`, close-on-exec takes a second call.
#[cfg(not(target_os = "linux"))]
fn replace(source: &OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: `source` is open. `number` is the server's and stays open and the server's; only what
    // it refers to changes, which is the purpose of this module.
    if unsafe { libc::dup2(source.as_raw_fd(), number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: F_SETFD takes no pointer.
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
