//! How the kernel is to schedule the engine's threads.
#![allow(unsafe_code)] // libc has no safe way to set a policy.

/// Asks that waking this thread takes the processor from nobody (`SCHED_BATCH`).
///
/// A view that sends to many wakes the engine's threads, and on a machine with few processors one
/// of them would run in its place for milliseconds, with the view's call almost done. Without that,
/// a push to 1,000 took four times as long in one case of ten, and all echoes together 15 to 20 % of
/// the processor. Where somebody has chosen another policy for the process, it stays.
pub(super) fn yield_to_views() {
    // SAFETY: neither call reads or writes memory but `parameters`, which lives until they return; 0 is
    // the calling thread. What goes wrong is told by the results, and leaves the thread as it was.
    unsafe {
        if libc::sched_getscheduler(0) == libc::SCHED_OTHER {
            let parameters = libc::sched_param { sched_priority: 0 };
            libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_scheduled_as_asked() {
        let policy = std::thread::spawn(|| {
            yield_to_views();
            // SAFETY: it takes no memory; 0 is the calling thread.
            unsafe { libc::sched_getscheduler(0) }
        });
        assert_eq!(policy.join().ok(), Some(libc::SCHED_BATCH));
    }
}
