//! Waits that are detached from the interpreter.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::{
    engine,
    hub::{self, BrokerState},
};

/// The time between two checks for signals in a wait on the main thread.
const SLICE: Duration = Duration::from_millis(100);

/// The length of a slice of a wait that has no deadline, for a call that needs one.
pub(super) const LONG: Duration = Duration::from_secs(60 * 60);

/// A wait of this length or longer has no deadline.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);

static SEALED: AtomicBool = AtomicBool::new(false);

/// Keeps all threads that wait from attaching to the interpreter from now on, because it is being torn
/// down. Before Python 3.14, attaching would unwind the thread through Rust and abort the process.
pub(super) fn seal() {
    SEALED.store(true, Ordering::Release);
}

/// The deadline of a wait of `timeout` seconds; `None`: no deadline.
pub(super) fn deadline(timeout: Option<f64>) -> Option<Instant> {
    let seconds = timeout?.max(0.0);
    let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(FOREVER);
    (timeout < FOREVER).then(|| Instant::now() + timeout)
}

/// Runs `wait` detached from the interpreter until it returns a value or the deadline has passed.
///
/// `wait` gets the deadline of one slice. On the main thread each slice is at most [`SLICE`] long, because
/// only that thread runs Python's signal handlers (Ctrl-C). If a handler raises, `give_back` gets what `wait`
/// has returned meanwhile.
pub(super) fn detached<T: Send>(
    py: Python<'_>,
    deadline: Option<Instant>,
    wait: impl Fn(Option<Instant>) -> Option<T> + Sync,
    give_back: impl FnOnce(T),
) -> PyResult<Option<T>> {
    let main = is_main_thread();
    loop {
        let slice = if main {
            let slice = Instant::now() + SLICE;
            Some(deadline.map_or(slice, |deadline| deadline.min(slice)))
        } else {
            deadline
        };
        let (result, pass) = py.detach(|| {
            let result = wait(slice);
            let pass = engine::running().map(|engine| engine.gate().enter());
            while SEALED.load(Ordering::Acquire) {
                thread::park();
            }
            (result, pass)
        });
        // This thread has the interpreter lock, so another thread may now ask for the lock.
        drop(pass);
        if main && let Err(raised) = py.check_signals() {
            if let Some(result) = result {
                give_back(result);
            }
            return Err(raised);
        }
        if result.is_some() || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(result);
        }
    }
}

/// Runs `work` detached from the interpreter. `work` may take locks, but must not wait for the broker.
pub(super) fn briefly<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    py.detach(|| {
        let result = work();
        // The main thread tears the interpreter down and must come back.
        while SEALED.load(Ordering::Acquire) && !is_main_thread() {
            thread::park();
        }
        result
    })
}

/// Runs `work`, which may wait for the broker, detached from the interpreter.
///
/// For a call on the main thread, a helper thread does the work. The main thread waits for the helper in
/// slices and runs signal handlers between them: a handler that raises (Ctrl-C) ends the call. The helper
/// then finishes alone, and its result is dropped.
pub(super) fn apart<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    if !is_main_thread() || !has_broker() {
        return Ok(briefly(py, work));
    }
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (sender, receiver) = sync_channel(1);
    let given = Arc::clone(&work);
    let spawned = thread::Builder::new()
        .name("websocket-call".into())
        .spawn(move || {
            let work = take(&given);
            if let Some(work) = work {
                let _ = sender.send(work());
            }
        });
    let mut receiver = receiver;
    loop {
        let (outcome, back) = py.detach(move || (receiver.recv_timeout(SLICE), receiver));
        receiver = back;
        match outcome {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    match spawned.map(thread::JoinHandle::join) {
        // The panic of the helper continues in the caller.
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        // The system has no thread left, so this thread does the work, and Ctrl-C waits for its end.
        Ok(Ok(())) | Err(_) => match take(&work) {
            Some(work) => Ok(briefly(py, work)),
            None => Err(PyRuntimeError::new_err("the helper thread has no result")),
        },
    }
}

fn has_broker() -> bool {
    hub::running().is_some_and(|hub| hub.broker_state() != BrokerState::None)
}

#[cfg(target_os = "linux")]
fn is_main_thread() -> bool {
    use std::cell::Cell;

    thread_local! {
        /// The fork generation for which the answer was found, and the answer: the thread that forks
        /// becomes the main thread of the child.
        static MAIN: Cell<Option<(u32, bool)>> = const { Cell::new(None) };
    }
    let generation = crate::runtime::fork::generation();
    match MAIN.get() {
        Some((known, main)) if known == generation => main,
        _ => {
            let main = crate::runtime::fork::is_main_thread();
            MAIN.set(Some((generation, main)));
            main
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn is_main_thread() -> bool {
    true
}
