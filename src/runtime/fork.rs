//! The hook by which the child of a fork recognizes itself.
//!
//! The hook is registered with `pthread_atfork`, not with Python's `os.register_at_fork`, because
//! uWSGI forks in C. The hook increments one atomic number and does nothing else: at the moment of the
//! fork, any lock may be held by a thread that the child does not have. Each value of one process is
//! stored with this number, and is void where the numbers differ (see
//! [`PerProcess`](super::PerProcess)).
#![allow(unsafe_code)]

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

/// Counts the forks between this process and the one that loaded the library.
static GENERATION: AtomicU32 = AtomicU32::new(0);

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Voids every value of this process, as a fork does in the child: the process makes new ones. The caller has
/// stopped the threads that use the old values.
pub(crate) fn renew() {
    GENERATION.fetch_add(1, Ordering::AcqRel);
}

/// The number of this process among the processes forked from one another. A value that was made under
/// another number belongs to an ancestor and must not be touched.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

pub(crate) fn install_hook() -> io::Result<()> {
    if INSTALLED.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    // SAFETY: `in_child` is a plain function of the C ABI that lives as long as the library, which
    // Python never unloads; its only operation, an atomic increment, is async-signal-safe.
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => Ok(()),
        error => {
            INSTALLED.store(false, Ordering::Release);
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Whether this is the process's first thread, the one in which Python runs signal handlers.
#[cfg(all(target_os = "linux", feature = "python"))]
pub(crate) fn is_main_thread() -> bool {
    // SAFETY: both calls take no argument and cannot fail.
    unsafe { libc::gettid() == libc::getpid() }
}
