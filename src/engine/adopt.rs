//! Takes a connected socket from a server, without any change in the server.
//!
//! The server keeps the descriptor number that it knows: `dup2` makes this number refer to one end of a
//! new socket pair. The server reads the end of the file there and closes its descriptor as usual. If the
//! server still writes something, such as its own response, the other end of the pair reads and discards
//! it.
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

use socket2::{SockRef, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use crate::runtime::{Chore, runtime};

/// Reads of one look at what the server has written; more of it is left to a task.
const LOOKS: usize = 8;

/// Looks at a server that has not closed its end, before a task waits for that.
const PASSES: u32 = 10;

/// A socket that was taken from a server.
#[derive(Debug)]
pub struct Adopted {
    /// The connection to the peer; the server has no access to it any more.
    pub socket: Socket,
}

/// A second descriptor of a server's socket.
///
/// [`hold`] makes it while the server is known to have the socket open. The server may close its own
/// descriptor later, and the system may give the same number to the socket of another client. The second
/// descriptor still refers to the first socket, so [`Held::take`] finds the difference.
///
/// [`hold`] makes all other descriptors at the same time: if the process has none left, the handshake can
/// still be refused.
#[derive(Debug)]
pub struct Held {
    socket: Socket,
    /// The end of the socket pair that replaces the server's socket; `ours` is the end that stays here.
    theirs: UnixStream,
    ours: UnixStream,
}

/// Duplicates the descriptor of a connected stream socket.
///
/// # Errors
///
/// `fd` is not the stream socket of a connection, or the process has no descriptor left.
pub fn hold(fd: RawFd) -> io::Result<Held> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the borrow ends with this statement. If the number is closed meanwhile, the system call
    // fails or duplicates another file; the checks of the caller find the latter.
    let socket = Socket::from(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
    if socket.r#type()? != Type::STREAM {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a stream socket",
        ));
    }
    // A socket that the peer has reset meanwhile is accepted: its view learns of the end.
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
    /// `epoll` is the epoll instance of the server's event loop, if it has one. An epoll registration
    /// belongs to the open file, not to the descriptor number. After `dup2`, nobody could remove the
    /// registration any more, and every frame would wake the server's loop. This method therefore removes
    /// the registration first.
    ///
    /// The caller makes sure that the server does not close `fd` during the call: the caller holds the
    /// server's lock, or it holds the interpreter's lock and has asked the server's socket object for its
    /// number.
    ///
    /// # Errors
    ///
    /// `fd` no longer refers to the held socket; the file behind `fd` is then unchanged. Otherwise the
    /// error of a system call, or of the start of the runtime.
    pub fn take(self, fd: RawFd, epoll: Option<RawFd>) -> io::Result<Adopted> {
        let Self {
            socket,
            theirs,
            ours,
        } = self;
        if is_nonblocking(socket.as_raw_fd())? {
            theirs.set_nonblocking(true)?;
        }
        // The server's next read returns the end of the file at once.
        ours.shutdown(Shutdown::Write)?;
        if identity(fd)? != identity(socket.as_raw_fd())? {
            return Err(closed_meanwhile());
        }
        if let Some(epoll) = epoll {
            forget_in_epoll(epoll, fd);
        }
        replace(&theirs.into(), fd)?;
        // Reading `ours` needs the runtime; if it cannot be started, this end of the pair is closed.
        let mut rest = Rest {
            ours: Some(ours),
            passes: 0,
        };
        runtime()?.chores().add(move || rest.look());
        Ok(Adopted { socket })
    }
}

/// Holds and takes the socket behind `fd` at once; see [`hold`] and [`Held::take`].
///
/// # Errors
///
/// The errors of both functions.
pub fn adopt(fd: RawFd, epoll: Option<RawFd>) -> io::Result<Adopted> {
    hold(fd)?.take(fd, epoll)
}

/// The error for a descriptor that no longer refers to the held socket.
pub(crate) fn closed_meanwhile() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "the server has closed this connection before its WebSocket could open",
    )
}

/// The device and the inode behind a descriptor. Two open sockets never have both in common.
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

/// Registers a descriptor that outlives the result with the reactor of the runtime that the caller has
/// entered.
pub(super) fn register(fd: RawFd, interest: Interest) -> io::Result<AsyncFd<RawFd>> {
    // SAFETY: the caller keeps the descriptor open for as long as it uses the result.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// What the server still writes. Most servers write a few bytes and close their end at once, so that a look
/// or two among the chores is enough; otherwise a task reads on.
struct Rest {
    ours: Option<UnixStream>,
    /// How often nothing was there.
    passes: u32,
}

impl Rest {
    fn look(&mut self) -> Chore {
        let Some(ours) = &self.ours else {
            return Chore::Done;
        };
        let mut buffer = [MaybeUninit::uninit(); 1024];
        for _ in 0..LOOKS {
            match SockRef::from(ours).recv_with_flags(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(0) => return Chore::Done,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.passes < PASSES => {
                    self.passes += 1;
                    return Chore::Again;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    break;
                }
                Err(_) => return Chore::Done,
            }
        }
        self.ours.take().map(|ours| tokio::spawn(swallow(ours)));
        Chore::Done
    }
}

/// Reads and discards what the server writes, until the server has closed its end. Called on a thread of the
/// runtime.
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

/// Makes `number` refer to the file of `source`, with close-on-exec: Python sets this flag on every
/// descriptor that it makes (PEP 446).
#[cfg(target_os = "linux")]
fn replace(source: &OwnedFd, number: RawFd) -> io::Result<()> {
    loop {
        // SAFETY: `source` is open. `number` belongs to the server and stays open; only the file that it
        // refers to changes, which is the purpose of this module. The same call sets the flag, so that a
        // program started by another thread never inherits the descriptor.
        if unsafe { libc::dup3(source.as_raw_fd(), number, libc::O_CLOEXEC) } >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Makes `number` refer to the file of `source`; without `dup3`, close-on-exec takes a second call.
#[cfg(not(target_os = "linux"))]
fn replace(source: &OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: `source` is open. `number` belongs to the server and stays open; only the file that it
    // refers to changes, which is the purpose of this module.
    if unsafe { libc::dup2(source.as_raw_fd(), number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: F_SETFD takes no pointer.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    Ok(())
}

#[cfg(target_os = "linux")]
fn forget_in_epoll(epoll: RawFd, fd: RawFd) {
    // SAFETY: EPOLL_CTL_DEL ignores the event pointer. A bad descriptor or a missing registration is an
    // error, and means that there is nothing to remove.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) };
}

#[cfg(not(target_os = "linux"))]
fn forget_in_epoll(_epoll: RawFd, _fd: RawFd) {}
