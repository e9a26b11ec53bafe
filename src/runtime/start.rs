//! Starts the threads of the engine, or tells that the system has none left.
//!
//! Tokio's builder panics where the system refuses a thread, and its clean-up then waits for the
//! workers that did start, for ever. Three steps make that harmless:
//!
//! 1. [`spare`] starts as many threads as the runtime needs and holds them until all are there. Where
//!    one is refused, all end, and the runtime is not even tried.
//! 2. Each thread of the runtime waits at a [`Barrier`] until the builder has started all of them. If
//!    somebody else took the last thread meanwhile, those that did start end at the barrier, within
//!    [`PATIENCE`], and the builder's clean-up comes to an end.
//! 3. What the builder throws is caught. Three descriptors of tokio's stay behind then, for its queue
//!    of tasks has the runtime in it that has the queue; so it is not tried again at once ([`Pause`]).

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

/// Threads that the engine has: its workers, and one for calls that block (names looked up in DNS).
/// Tokio would panic in the task that asks for such a call if there were none and none to be had.
const THREADS: usize = WORKER_THREADS + 1;

/// Stack of each: no Python runs there.
const STACK: usize = 512 * 1024;

/// Time within which the builder starts all threads, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(3);

/// Time within which threads that have ended make room for others.
const FAREWELL: Duration = Duration::from_millis(200);

/// As good as for ever: the thread for calls that block must never end.
const KEEP_ALIVE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long nothing is tried after somebody else took the last thread: each time longer.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Builds the runtime.
///
/// # Errors
///
/// The operating system has no thread or no descriptor left, or had none a moment ago.
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
    // Dropping the handle lets the call run on; it returns at once, and its thread stays.
    let blocking = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| ()))));
    if barrier.open(blocking.is_ok()) {
        return Ok(runtime);
    }
    runtime.shutdown_background();
    Err(no_thread())
}

/// Makes sure that the system has `count` threads to give.
fn spare(count: usize) -> io::Result<()> {
    let mut held = Vec::with_capacity(count);
    let mut refused = None;
    let (tell, names) = mpsc::channel();
    for _ in 0..count {
        let (release, released) = mpsc::channel::<()>();
        let tell = tell.clone();
        let probe = thread::Builder::new().stack_size(STACK).spawn(move || {
            let _ = tell.send(std::fs::read_link("/proc/thread-self").ok());
            // Ends when the other half is dropped.
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
    // A thread counts until the kernel has forgotten it, which is a moment after its end.
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

/// When the next attempt may be made. No lock, which a fork could find held.
#[derive(Debug)]
struct Pause {
    /// In milliseconds.
    until: AtomicU64,
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

    /// Begins one, twice as long as the one before.
    fn begin(&self, now: Duration) {
        let length = Duration::from_millis(self.length.load(Ordering::Relaxed));
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.until.store(millis(now + length), Ordering::Relaxed);
        let next = length.saturating_mul(2).min(PAUSES.1);
        self.length.store(millis(next), Ordering::Relaxed);
    }
}

/// What the system says if it has no thread left (EAGAIN).
fn no_thread() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

/// Where the threads of a runtime wait until all of them are there.
#[derive(Debug, Default)]
struct Barrier {
    /// `None` until it is known. A std mutex: held to look at it.
    fine: Mutex<Option<bool>>,
    known: Condvar,
}

impl Barrier {
    /// Lets the threads through or ends them, unless they have ended by themselves. Returns whether
    /// they go on.
    fn open(&self, fine: bool) -> bool {
        let mut state = self.fine.lock().unwrap_or_else(PoisonError::into_inner);
        let decided = *state.get_or_insert(fine);
        drop(state);
        self.known.notify_all();
        decided
    }

    /// Waits; ends the calling thread where the runtime will not come to life.
    fn pass(&self) {
        let state = self.fine.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .known
            .wait_timeout_while(state, PATIENCE, |fine| fine.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        // Too late: then none of them may go on, for some have ended.
        let fine = *state.get_or_insert(false);
        drop(state);
        if !fine {
            // Unwinds to the end of the thread, without the message of a panic.
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
        // Whoever comes later ends, too.
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
