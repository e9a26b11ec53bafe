//! Gives memory back to the system after slow peers.
//!
//! A queue returns its memory to the allocator when its messages are written or dropped. glibc keeps most
//! of that memory, because it lies between blocks that are still in use, and gives it back when
//! `malloc_trim` is called. That call takes milliseconds in which other threads may wait for memory. So it
//! is made in two cases only: after the queues have held [`MUCH`] and most of that has gone, or after
//! [`PLENTY`] has passed through them. Each thread's arena keeps the most that it ever had, and messages of
//! many sizes leave gaps that no later message fits.
#![allow(unsafe_code)] // libc has no safe way to ask.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Bytes that the queues must have held; less is not worth a call.
const MUCH: usize = 4 << 20;

/// Bytes that must have passed through the queues. After that many, every arena has gaps.
const PLENTY: usize = 256 << 20;

/// The bytes that the queues of the process hold, in steps (see `Weight`).
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(super) now: AtomicUsize,
    /// The most bytes held since memory was given back last.
    most: AtomicUsize,
    /// Bytes added since memory was given back last.
    passed: AtomicUsize,
    /// Whether a task is about to give memory back.
    pub(super) due: AtomicBool,
}

impl Held {
    pub(super) fn add(&self, bytes: usize) {
        let now = self.now.fetch_add(bytes, Relaxed) + bytes;
        self.most.fetch_max(now, Relaxed);
        self.passed.fetch_add(bytes, Relaxed);
    }

    /// Subtracts bytes. True tells the caller to give memory back: no other task is about to.
    pub(super) fn remove(&self, bytes: usize) -> bool {
        let before = self.now.fetch_sub(bytes, Relaxed);
        self.has_gone(before.saturating_sub(bytes)) && !self.due.swap(true, Relaxed)
    }

    fn has_gone(&self, now: usize) -> bool {
        let most = self.most.load(Relaxed);
        (most >= MUCH && now <= most / 4) || self.passed.load(Relaxed) >= PLENTY
    }

    /// Returns whether there is memory to give back; if so, starts counting anew.
    pub(super) fn take(&self) -> bool {
        let now = self.now.load(Relaxed);
        let gone = self.has_gone(now);
        if gone {
            self.most.store(now, Relaxed);
            self.passed.store(0, Relaxed);
        }
        gone
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn trim() {
    // SAFETY: `malloc_trim` may be called at any time and from any thread, and touches free memory only.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn trim() {}

/// Bounds the free memory that glibc keeps, unless the process's environment says how much.
///
/// glibc takes a block from the system by `mmap` from a threshold on, and each arena keeps free memory at
/// its end up to another threshold. Both begin at 128 KiB, but the first large block that is freed raises
/// them: to as much as 32 and 64 MiB. Each of the arenas (eight for each processor) then keeps the largest
/// messages that it has ever held, and the process grows for hours. A threshold that is set stays.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn bound() {
    /// Blocks from this size on, in bytes, go back to the system when they are freed.
    const MMAP_THRESHOLD: libc::c_int = 1 << 20;
    /// Free memory in bytes that an arena keeps at its end.
    const TRIM_THRESHOLD: libc::c_int = 512 << 10;
    if std::env::vars_os().any(|(name, value)| is_about_malloc(&name, &value)) {
        return;
    }
    // SAFETY: `mallopt` takes the allocator's lock and sets two numbers; allocations of other threads read
    // either the old value or the new one, and work with both.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn bound() {}

/// Whether a variable of the environment sets one of the thresholds (mallopt(3), "GNU C Library tunables").
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn is_about_malloc(name: &std::ffi::OsStr, value: &std::ffi::OsStr) -> bool {
    match name.to_str() {
        Some("MALLOC_MMAP_THRESHOLD_" | "MALLOC_TRIM_THRESHOLD_" | "MALLOC_TOP_PAD_") => true,
        Some("GLIBC_TUNABLES") => {
            ["mmap_threshold", "trim_threshold", "top_pad"]
                .iter()
                .any(|name| {
                    value
                        .to_string_lossy()
                        .contains(&format!("glibc.malloc.{name}="))
                })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_most_of_much_has_gone() {
        let held = Held::default();
        held.add(MUCH - 1);
        assert!(!held.remove(MUCH - 1), "that was not much");
        held.add(4 * MUCH);
        assert!(!held.remove(2 * MUCH), "half of it is there still");
        assert!(held.remove(MUCH));
        assert!(!held.remove(MUCH / 2), "somebody is at it");
        assert!(held.take());
        assert!(!held.take());
        // Counting has started anew, from the bytes that are left.
        held.due.store(false, Relaxed);
        assert!(!held.remove(MUCH / 2));
        held.add(2 * MUCH);
        assert!(held.remove(2 * MUCH));
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn the_environment_decides_on_the_allocator() {
        for (name, value, expected) in [
            ("MALLOC_TRIM_THRESHOLD_", "131072", true),
            ("MALLOC_MMAP_THRESHOLD_", "131072", true),
            ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1", true),
            ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2", false),
            ("GLIBC_TUNABLES", "glibc.pthread.rseq=0", false),
            ("MALLOC_ARENA_MAX", "2", false),
            ("PATH", "glibc.malloc.", false),
        ] {
            assert_eq!(
                is_about_malloc(name.as_ref(), value.as_ref()),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn memory_is_given_back_after_very_much_has_passed() {
        const PART: usize = 64 * 1024;
        let held = Held::default();
        for _ in 1..PLENTY / PART {
            held.add(PART);
            assert!(!held.remove(PART));
        }
        held.add(PART);
        assert!(held.remove(PART));
        assert!(held.take());
        assert!(!held.take());
    }
}
