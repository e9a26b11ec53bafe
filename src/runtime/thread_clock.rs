//! The time that a thread has computed.
#![allow(unsafe_code)]

use std::time::Duration;

/// The clock of one thread, which other threads of the process may read.
#[derive(Clone, Copy, Debug)]
pub struct ThreadClock(#[cfg(target_os = "linux")] libc::clockid_t);

#[cfg(target_os = "linux")]
impl ThreadClock {
    /// The clock of the calling thread.
    #[must_use]
    pub fn of_caller() -> Option<Self> {
        let mut clock = 0;
        // SAFETY: the thread is the caller, and the pointer is that of a local variable.
        let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        (failed == 0).then_some(Self(clock))
    }

    /// The time that the thread has computed; `None` if the thread has ended.
    #[must_use]
    pub fn now(self) -> Option<Duration> {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the pointer is that of a local variable; the kernel refuses a clock that it does not know.
        let failed = unsafe { libc::clock_gettime(self.0, &raw mut now) };
        let seconds = u64::try_from(now.tv_sec).ok()?;
        let nanoseconds = u32::try_from(now.tv_nsec).ok()?;
        (failed == 0).then(|| Duration::new(seconds, nanoseconds))
    }
}

#[cfg(not(target_os = "linux"))]
impl ThreadClock {
    /// There is no such clock.
    #[must_use]
    pub fn of_caller() -> Option<Self> {
        None
    }

    /// Nothing: there is no such clock.
    #[must_use]
    pub fn now(self) -> Option<Duration> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_counts_what_its_thread_computes_and_not_what_it_sleeps() {
        let clock = ThreadClock::of_caller().unwrap();
        let before = clock.now().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let slept = clock.now().unwrap() - before;
        while clock.now().unwrap() - before < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        assert!(slept < Duration::from_millis(50), "{slept:?}");
    }

    #[test]
    fn another_thread_may_read_the_clock() {
        let clock = ThreadClock::of_caller().unwrap();
        let there = std::thread::spawn(move || clock.now()).join().unwrap();
        assert!(there.is_some());
    }
}
