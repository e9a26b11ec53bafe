//! The bytes that a socket has taken and its peer has not.
#![allow(unsafe_code)]

use std::os::fd::RawFd;

/// The bytes that were written to a socket and have not arrived at the peer's system yet; 0 where the system
/// does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn on_the_way(socket: RawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request (SIOCOUTQ, which has the number of TIOCOUTQ) writes one integer to the pointer, that
    // of a local variable. It changes nothing, whatever the descriptor is.
    let failed = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) };
    if failed == 0 {
        usize::try_from(bytes).unwrap_or(0)
    } else {
        0
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn on_the_way(_socket: RawFd) -> usize {
    0
}
