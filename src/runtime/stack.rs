//! Keeps huge pages off the stacks of views.
//!
//! A view's stack reserves a large address range (see `THREAD_STACK_SIZE`), and a view uses 20 KiB of it.
//! Where the kernel gives huge pages without being asked (`always` in
//! `/sys/kernel/mm/transparent_hugepage/enabled`), a stack that spans a whole huge page could get 2 MiB at
//! the first touch, or later from `khugepaged`. Linux 6.7 and later do not do that to stacks; on older
//! kernels this module asks for ordinary pages.
#![allow(unsafe_code)]

use std::{fs, io, ptr, sync::OnceLock};

/// The size of a huge page in bytes.
const HUGE: usize = 2 << 20;

/// Asks the kernel for ordinary pages on the calling thread's stack, if the kernel gives huge pages to all.
pub(crate) fn settle() {
    static ALWAYS: OnceLock<bool> = OnceLock::new();
    let always = ALWAYS.get_or_init(|| {
        fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
            .is_ok_and(|modes| modes.contains("[always]"))
    });
    if *always {
        // An error is harmless: a kernel that refuses the advice has no huge pages to give.
        let _ = refuse_huge_pages();
    }
}

/// Turns huge pages off for the calling thread's stack, and gives back the unused memory of huge pages
/// that it has already.
#[cfg(target_os = "linux")]
fn refuse_huge_pages() -> io::Result<()> {
    let (low, size) = bounds()?;
    if size < HUGE {
        return Ok(());
    }
    // SAFETY: the range is the calling thread's own stack, which is mapped as long as the thread runs;
    // the advice changes no content.
    if unsafe { libc::madvise(low as *mut libc::c_void, size, libc::MADV_NOHUGEPAGE) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let here = ptr::from_ref(&low) as usize;
    // No frame uses the stack that far below the running frame.
    let unused = (here & !(HUGE / 8 - 1)).saturating_sub(HUGE / 8);
    if unused > low {
        // SAFETY: the range lies on the calling thread's stack, at least 256 KiB below the running
        // frame, where no frame has data. The range reads as zeros afterwards.
        unsafe { libc::madvise(low as *mut libc::c_void, unused - low, libc::MADV_DONTNEED) };
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn refuse_huge_pages() -> io::Result<()> {
    Ok(())
}

/// The usable part of the calling thread's stack: its lowest address and its size.
#[cfg(target_os = "linux")]
fn bounds() -> io::Result<(usize, usize)> {
    let mut low = ptr::null_mut();
    let (mut size, mut guard) = (0, 0);
    // SAFETY: `pthread_getattr_np` writes `attributes` before the other calls read it, and it is
    // destroyed once; the other calls write to the locals that they get. The results tell errors.
    let failed = unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        let mut failed = libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes);
        if failed == 0 {
            failed =
                libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size);
            if failed == 0 {
                failed = libc::pthread_attr_getguardsize(&raw const attributes, &raw mut guard);
            }
            libc::pthread_attr_destroy(&raw mut attributes);
        }
        failed
    };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    // The C library decides whether the guard is part of the stack. Leaving out as many bytes is right in
    // both cases.
    let low = low as usize;
    Ok((low + guard, size.saturating_sub(guard)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::*;

    fn flags(address: usize) -> String {
        let map = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let mut found = false;
        for line in map.lines() {
            let range = line.split(' ').next().unwrap_or_default();
            if let Some((from, to)) = range.split_once('-')
                && let (Ok(from), Ok(to)) = (
                    usize::from_str_radix(from, 16),
                    usize::from_str_radix(to, 16),
                )
            {
                found = (from..to).contains(&address);
            }
            if found && let Some(flags) = line.strip_prefix("VmFlags: ") {
                return flags.to_owned();
            }
        }
        String::new()
    }

    #[test]
    fn a_stack_gets_no_huge_page_and_keeps_its_frames() {
        let thread = thread::Builder::new().stack_size(6 << 20).spawn(|| {
            let kept = [7_u8; 4096];
            let (low, size) = bounds().unwrap();
            // SAFETY: the range is this thread's stack; the advice changes no content.
            unsafe { libc::madvise(low as *mut libc::c_void, size, libc::MADV_HUGEPAGE) };
            let before = flags(ptr::from_ref(&kept) as usize);
            refuse_huge_pages().unwrap();
            let after = flags(ptr::from_ref(&kept) as usize);
            settle();
            (before, after, std::hint::black_box(kept))
        });
        let (before, after, kept) = thread.unwrap().join().unwrap();
        if before.contains(" hg") {
            assert!(after.contains(" nh"), "{before} -> {after}");
        }
        assert_eq!(kept, [7; 4096]);
    }

    #[test]
    fn a_small_stack_is_left_alone() {
        let thread = thread::Builder::new().stack_size(256 << 10);
        let thread = thread.spawn(|| refuse_huge_pages().is_ok());
        assert!(thread.unwrap().join().unwrap());
    }
}
