//! Sets the scheduling policy of the engine's threads.
#![allow(unsafe_code)] // libc has no safe way to set a policy.

/// Asks the kernel not to preempt another thread when the calling thread wakes (`SCHED_BATCH`).
///
/// A view that sends to many connections wakes the engine's threads. On a machine with few processors,
/// an engine thread would then run in the view's place for milliseconds, although the view's call is
/// almost done. Under the ordinary policy, one in ten pushes to 1,000 connections took four times as long,
/// and echoes lost 15 to 20 % of the processor. A process that has another policy keeps it.
pub(super) fn yield_to_views() {
    // SAFETY: `parameters` is the only memory that the calls read, and lives until they return; 0 is the
    // calling thread. A call that fails returns an error and leaves the thread as it was.
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
            // SAFETY: the call takes no memory; 0 is the calling thread.
            unsafe { libc::sched_getscheduler(0) }
        });
        assert_eq!(policy.join().ok(), Some(libc::SCHED_BATCH));
    }
}
