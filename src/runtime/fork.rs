//! What a child of a fork must forget, and how it learns that it is one.
//!
//! The hook is registered with `pthread_atfork`, not with Python's `os.register_at_fork`, because
//! uWSGI forks in C. It touches atomics only: every lock may be held, at the moment of the fork, by
//! a thread that the child does not have.
#![allow(unsafe_code)]

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use crate::engine::{ENGINE, Engine, permit};

/// Counts the forks between this process and the one that loaded the library.
static GENERATION: AtomicU32 = AtomicU32::new(0);

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Which process this is, among those forked from one another. What was made under another number
/// belongs to an ancestor and must not be touched.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

pub(crate) fn install_hook() -> io::Result<()> {
    if INSTALLED.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    // SAFETY: `in_child` is a plain function of the C ABI that lives as long as the library, which
    // Python never unloads, and does only what is async-signal-safe: atomic stores.
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
    ENGINE.store(std::ptr::null_mut(), Ordering::Release);
    permit::reset();
}

/// The engine behind a pointer that came from [`ENGINE`].
pub(crate) fn leaked(engine: *mut Engine) -> &'static Engine {
    // SAFETY: every pointer stored in ENGINE came from `Box::into_raw`, is never freed (an engine
    // lives until its process ends) and is shared from the moment it is stored.
    unsafe { &*engine }
}

/// The engine that lost the race to be this process's.
pub(crate) fn reclaim(engine: *mut Engine) -> Box<Engine> {
    // SAFETY: the pointer came from `Box::into_raw` just before and was never stored or shared.
    unsafe { Box::from_raw(engine) }
}

/// Whether this is the process's first thread, the one in which Python runs signal handlers.
#[cfg(all(target_os = "linux", feature = "python"))]
pub(crate) fn is_main_thread() -> bool {
    // SAFETY: both calls take no argument and cannot fail.
    unsafe { libc::gettid() == libc::getpid() }
}
