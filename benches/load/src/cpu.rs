//! The CPU time of any process, in nanoseconds, read from its CPU-time clock.

use crate::Result;

/// The CPU time that a process has used so far, including ended threads; `None`: this process.
pub fn used(pid: Option<i32>) -> Result<u64> {
    let clock = match pid {
        None => libc::CLOCK_PROCESS_CPUTIME_ID,
        Some(pid) => {
            let mut clock = 0;
            // SAFETY: `clock` is a valid place for the result.
            let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
            if error != 0 {
                return Err(std::io::Error::from_raw_os_error(error).into());
            }
            clock
        }
    };
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(u64::try_from(time.tv_sec)? * 1_000_000_000 + u64::try_from(time.tv_nsec)?)
}
