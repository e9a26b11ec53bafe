//! The signal by which a server tells its worker to end.
#![allow(unsafe_code)] // libc has no safe way to ask for a signal's disposition.

use std::{io, mem::MaybeUninit, ptr};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Returns a stream of the SIGTERMs that this process gets from now on; `None` if the process has no
/// handler for SIGTERM.
///
/// The handler of before, the server's, is still called for each signal. Without one, SIGTERM has to end
/// the process, and a handler of ours would keep it alive.
///
/// # Errors
///
/// The operating system refuses, or the process has no descriptor left.
pub(crate) fn told_to_end() -> io::Result<Option<Signal>> {
    if !is_handled(libc::SIGTERM)? {
        return Ok(None);
    }
    signal(SignalKind::terminate()).map(Some)
}

/// Whether this process calls a function when it gets a signal.
fn is_handled(number: libc::c_int) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null pointer instead of a new action leaves the disposition as it is; the other pointer is
    // valid for writes of one `sigaction`.
    if unsafe { libc::sigaction(number, ptr::null(), action.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so it has written the current action.
    let handler = unsafe { action.assume_init() }.sa_sigaction;
    Ok(handler != libc::SIG_DFL && handler != libc::SIG_IGN)
}

#[cfg(test)]
mod tests {
    use super::is_handled;

    #[test]
    fn a_signal_without_a_handler_is_not_handled() {
        assert!(!is_handled(libc::SIGTERM).is_ok_and(|handled| handled));
        assert!(is_handled(libc::SIGKILL + 1_000).is_err());
    }
}
