//! Starts the threads of the engine, or returns an error if the system has no thread left.
//!
//! Tokio's builder panics when the system refuses a thread, and its clean-up then waits for ever for
//! the workers that did start. Three steps make that harmless:
//!
//! 1. [`spare`] starts as many threads as the runtime needs and holds them until all of them run. If
//!    the system refuses one, `spare` ends all of them, and tokio's builder is not called.
//! 2. Each thread of the runtime waits at a [`Barrier`] until the builder has started all of them. If
//!    other code took the last thread meanwhile, the threads that did start end at the barrier within
//!    [`PATIENCE`], and the builder's clean-up returns.
//! 3. `build` catches the panic of the builder. Three descriptors of tokio's leak then, because the
//!    runtime and its queue of tasks own each other; a [`Pause`] therefore delays the next attempt.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::schedule;

/// Worker threads of the runtime. The interpreter lock is the bottleneck of a Python process long
/// before two threads of framing and system calls are.
pub(crate) const WORKER_THREADS: usize = 2;

/// Threads of the engine: its workers, and one for calls that block (DNS lookups). The blocking thread
/// starts with the engine: a task that asks for a blocking call panics if tokio cannot start a thread.
const THREADS: usize = WORKER_THREADS + 1;

/// Stack of each thread, in bytes. Small, because no Python runs there.
const STACK: usize = 512 * 1024;

/// Time within which the builder starts all threads, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest wait for the kernel to free the slots of threads that have ended.
const FAREWELL: Duration = Duration::from_millis(200);

/// Idle time after which the thread for blocking calls would end. Ten years: it must never end.
const KEEP_ALIVE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The first and the longest pause between attempts after the system refused a thread to the builder.
/// Each pause is twice as long as the one before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Builds the runtime.
///
/// # Errors
///
/// The operating system has no thread or no descriptor left, or a [`Pause`] after such an error lasts.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    static PAUSE: Pause = Pause::new();
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let now = BEGIN.get_or_init(Instant::now).elapsed();
    if PAUSE.lasts(now) {
        return Err(no_thread());
    }
    spare(THREADS)?;
    build().inspect_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            PAUSE.begin(now);
        }
    })
}

fn build() -> io::Result<tokio::runtime::Runtime> {
    let barrier = Arc::new(Barrier::default());
    let entered = Arc::clone(&barrier);
    let built = catch_unwind(AssertUnwindSafe(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name("dwebsocket")
            .thread_stack_size(STACK)
            .thread_keep_alive(KEEP_ALIVE)
            .on_thread_start(move || {
                entered.pass();
                schedule::yield_to_views();
            })
            .enable_all()
            .build()
    }));
    let runtime = built.unwrap_or_else(|_| Err(no_thread()))?;
    // The empty call starts the blocking thread, which stays. Dropping the handle does not cancel it.
    let blocking = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| ()))));
    if barrier.open(blocking.is_ok()) {
        return Ok(runtime);
    }
    runtime.shutdown_background();
    Err(no_thread())
}

/// Checks that the system has `count` threads to give: starts them and ends them again.
fn spare(count: usize) -> io::Result<()> {
    let mut held = Vec::with_capacity(count);
    let mut refused = None;
    let (tell, names) = mpsc::channel();
    for _ in 0..count {
        let (release, released) = mpsc::channel::<()>();
        let tell = tell.clone();
        let probe = thread::Builder::new().stack_size(STACK).spawn(move || {
            let _ = tell.send(std::fs::read_link("/proc/thread-self").ok());
            // Returns when `release` is dropped.
            let _ = released.recv();
        });
        match probe {
            Ok(probe) => held.push((probe, release)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    drop(tell);
    for (probe, release) in held {
        drop(release);
        let _ = probe.join();
    }
    // The kernel counts a thread for a moment after its end, as long as /proc lists it.
    let deadline = Instant::now() + FAREWELL;
    for name in names.iter().flatten() {
        wait_until_gone(&Path::new("/proc").join(name), deadline);
    }
    refused.map_or(Ok(()), Err)
}

fn wait_until_gone(name: &Path, deadline: Instant) {
    while name.exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(200));
    }
}

/// The time before which no further attempt is made. Atomics instead of a lock, because a fork may copy
/// a lock while another thread holds it.
#[derive(Debug)]
struct Pause {
    /// The end of the pause, in milliseconds.
    until: AtomicU64,
    /// The length of the next pause, in milliseconds.
    length: AtomicU64,
}

impl Pause {
    const fn new() -> Self {
        Self {
            until: AtomicU64::new(0),
            length: AtomicU64::new(PAUSES.0.as_millis() as u64),
        }
    }

    fn lasts(&self, now: Duration) -> bool {
        now < Duration::from_millis(self.until.load(Ordering::Relaxed))
    }

    /// Begins a pause, twice as long as the one before and at most the second of [`PAUSES`].
    fn begin(&self, now: Duration) {
        let length = Duration::from_millis(self.length.load(Ordering::Relaxed));
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.until.store(millis(now + length), Ordering::Relaxed);
        let next = length.saturating_mul(2).min(PAUSES.1);
        self.length.store(millis(next), Ordering::Relaxed);
    }
}

/// The error of a system that has no thread left (EAGAIN).
fn no_thread() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

/// The point at which the threads of a runtime wait until all of them have started.
#[derive(Debug, Default)]
struct Barrier {
    /// Whether all threads have started; `None` until that is known. A std mutex: held for a read or a
    /// write only.
    fine: Mutex<Option<bool>>,
    known: Condvar,
}

impl Barrier {
    /// Lets the threads through (`fine`) or ends them. A thread that has waited longer than [`PATIENCE`]
    /// has decided already: then all end. Returns whether the threads go on.
    fn open(&self, fine: bool) -> bool {
        let mut state = self.fine.lock().unwrap_or_else(PoisonError::into_inner);
        let decided = *state.get_or_insert(fine);
        drop(state);
        self.known.notify_all();
        decided
    }

    /// Waits for the decision; ends the calling thread if the runtime does not start.
    fn pass(&self) {
        let state = self.fine.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .known
            .wait_timeout_while(state, PATIENCE, |fine| fine.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        // After a time-out no thread may go on, because this one ends.
        let fine = *state.get_or_insert(false);
        drop(state);
        if !fine {
            // Unwinds the whole thread without printing the message of a panic.
            resume_unwind(Box::new("the engine did not start"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_has_its_threads() {
        let runtime = runtime().unwrap();
        let answer = runtime.block_on(async {
            let blocking = tokio::task::spawn_blocking(|| 7).await;
            let task = tokio::spawn(async { 8 }).await;
            (blocking.ok(), task.ok())
        });
        assert_eq!(answer, (Some(7), Some(8)));
    }

    #[test]
    fn attempts_that_were_lost_keep_apart() {
        let pause = Pause::new();
        let (mut now, mut lost) = (Duration::from_secs(7), 0);
        assert!(!pause.lasts(now));
        while now < Duration::from_secs(3600) {
            if !pause.lasts(now) {
                pause.begin(now);
                lost += 1;
            }
            now += Duration::from_millis(100);
        }
        assert!((15..30).contains(&lost), "{lost}");
    }

    #[test]
    fn threads_end_at_a_barrier_that_says_no() {
        let barrier = Arc::new(Barrier::default());
        let waits = Arc::clone(&barrier);
        let thread = thread::spawn(move || waits.pass());
        assert!(!barrier.open(false));
        assert!(thread.join().is_err());
        // A thread that comes later ends, too.
        assert!(!barrier.open(true));
        assert!(catch_unwind(AssertUnwindSafe(|| barrier.pass())).is_err());
    }

    #[test]
    fn threads_pass_a_barrier_that_is_open() {
        let barrier = Arc::new(Barrier::default());
        let waits = Arc::clone(&barrier);
        let thread = thread::spawn(move || waits.pass());
        assert!(barrier.open(true));
        assert!(thread.join().is_ok());
    }

    #[test]
    fn nobody_waits_for_ever_at_a_barrier() {
        let barrier = Arc::new(Barrier::default());
        let waits = Arc::clone(&barrier);
        assert!(thread::spawn(move || waits.pass()).join().is_err());
        assert!(!barrier.open(true));
    }
}
