//! Gives a process room for many threads that sleep.
//!
//! A thread that sleeps at a lock is in a bucket of the kernel's table of futexes. Whoever wakes one of its
//! threads walks through the bucket. Since Linux 6.16, a process has a table of its own, with four buckets for
//! each processor and 16 at least, however many threads it has. Thousands of views that wait in threads make
//! these buckets long: with 5,000 of them, a message cost 44 microseconds instead of 17.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::PerProcess;

/// The fewest buckets that are asked for: 64 KiB of the kernel's memory.
const LEAST: u32 = 1 << 10;
/// The most: 4 MiB.
const MOST: u32 = 1 << 16;

/// The number of buckets that this process has asked for.
static ASKED: PerProcess<AtomicU32> = PerProcess::new();

/// Makes room for so many threads, unless there is room already. The buckets then have a thread or less
/// each, up to [`MOST`] threads.
pub(crate) fn make_room(threads: usize) {
    let Ok(asked) = ASKED.get_or_try_init(|| Ok(AtomicU32::new(0))) else {
        return;
    };
    if let Some(more) = wanted(threads, asked.load(Relaxed)) {
        asked.store(more, Relaxed);
        ask(more);
    }
}

/// The number of buckets to ask for; `None`: `buckets` are enough.
fn wanted(threads: usize, buckets: u32) -> Option<u32> {
    let threads = u32::try_from(threads).unwrap_or(MOST).min(MOST);
    // The table grows by the factor of four, so that it rarely grows.
    let more = (4 * threads).next_power_of_two().clamp(LEAST, MOST);
    (threads >= buckets && more > buckets).then_some(more)
}

#[cfg(target_os = "linux")]
fn ask(buckets: u32) {
    if buckets > now() {
        // SAFETY: the kernel moves threads that sleep into the new table. Kernels without such tables
        // answer with an error, which is harmless.
        let _ = unsafe { call(PR_FUTEX_HASH_SET_SLOTS, buckets) };
    }
}

#[cfg(not(target_os = "linux"))]
fn ask(_buckets: u32) {}

/// The number of buckets; 0 if the process has no table of its own.
#[cfg(target_os = "linux")]
fn now() -> u32 {
    // SAFETY: the call changes nothing.
    let buckets = unsafe { call(PR_FUTEX_HASH_GET_SLOTS, 0) };
    u32::try_from(buckets).unwrap_or(0)
}

/// The operations of `linux/prctl.h`, which libc does not have yet.
#[cfg(target_os = "linux")]
const PR_FUTEX_HASH: libc::c_int = 78;
#[cfg(target_os = "linux")]
const PR_FUTEX_HASH_SET_SLOTS: libc::c_ulong = 1;
#[cfg(target_os = "linux")]
const PR_FUTEX_HASH_GET_SLOTS: libc::c_ulong = 2;

/// # Safety
///
/// The process can do with the change; no memory of the process is read or written.
#[cfg(target_os = "linux")]
unsafe fn call(operation: libc::c_ulong, buckets: u32) -> libc::c_int {
    let none: libc::c_ulong = 0;
    // SAFETY: the caller's; the arguments are numbers.
    unsafe {
        libc::prctl(
            PR_FUTEX_HASH,
            operation,
            libc::c_ulong::from(buckets),
            none,
            none,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_grows_with_the_threads_but_rarely() {
        assert_eq!(wanted(0, 0), Some(LEAST));
        assert_eq!(wanted(1, LEAST), None);
        assert_eq!(wanted(1_023, LEAST), None);
        assert_eq!(wanted(1_024, LEAST), Some(4_096));
        assert_eq!(wanted(5_000, 4_096), Some(32_768));
        assert_eq!(wanted(40_000, 32_768), Some(MOST));
        assert_eq!(wanted(usize::MAX, MOST), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_gives_what_is_asked_for_if_it_has_such_tables() {
        std::thread::spawn(|| {}).join().unwrap();
        let before = now();
        make_room(1_500);
        // Without a table of its own, a process has the table of all processes.
        assert!(before == 0 || now() >= 8_192, "{before} -> {}", now());
    }
}
