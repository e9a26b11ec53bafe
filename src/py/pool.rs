//! The threads that call handlers: see `engine/consumer/crew`.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pyo3::prelude::*;

use super::{
    errors,
    handled::{Left, PyHandled},
    handling::let_wait,
    start::ready,
    wait::{self, LONG},
};
use crate::{
    engine::{Call, Crew, Duty, EventLoop, Next},
    runtime::{IdHash, ThreadClock},
};

/// The time for which a thread that is not needed waits for a duty.
const KEEP: Duration = Duration::from_secs(10);

/// A helper that computes for more than one part in so many of its time ceases to help.
const COMPUTES: u32 = 2;

thread_local! {
    /// Whether this thread may have database connections open.
    static DATABASES: Cell<bool> = const { Cell::new(false) };
}

/// Notes that the calling thread may have a database connection open.
#[pyfunction]
pub(super) fn note_database() {
    DATABASES.set(true);
}

/// The threads, and their connections.
#[pyclass(frozen, module = "dwebsocket._engine", name = "HandlerPool")]
pub(super) struct PyPool {
    crew: Arc<Crew<Py<PyHandled>>>,
    /// Starts a thread, which calls `serve`.
    spawn: Py<PyAny>,
    /// A std mutex: never held while Python code runs.
    members: Mutex<HashMap<u64, Py<PyHandled>, IdHash>>,
}

/// How long a thread computes, and how long it does something else.
struct Meter(Option<(ThreadClock, Instant, Duration)>);

impl Meter {
    fn new() -> Self {
        let clock = ThreadClock::of_caller();
        Self(clock.and_then(|clock| Some((clock, Instant::now(), clock.now()?))))
    }

    /// Whether the thread has computed for most of the last millisecond or more.
    fn computes(&mut self) -> bool {
        let Some((clock, since, before)) = self.0 else {
            return true;
        };
        let passed = since.elapsed();
        if passed < Duration::from_millis(1) {
            return false;
        }
        let Some(now) = clock.now() else { return true };
        self.0 = Some((clock, Instant::now(), now));
        now.saturating_sub(before) * COMPUTES > passed
    }
}

impl PyPool {
    pub(super) fn event_loop(&self) -> &Arc<EventLoop> {
        self.crew.event_loop()
    }

    fn members(&self) -> MutexGuard<'_, HashMap<u64, Py<PyHandled>, IdHash>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one more thread if all of them are busy.
    fn hire(&self, py: Python<'_>) {
        if self.crew.enlist()
            && let Err(error) = self.spawn.call0(py)
        {
            // The system has no thread left: those that there are go on.
            self.crew.discharge();
            error.write_unraisable(py, None);
        }
    }

    /// Serves until the duty ends.
    fn work(&self, py: Python<'_>, lead: u64, rest: &Bound<'_, PyAny>) {
        let mut duty = Duty::Lead(lead);
        let mut meter = None;
        loop {
            let computed = meter.as_mut().is_some_and(Meter::computes);
            match self.crew.next(duty, computed) {
                Next::Work(handled) => {
                    self.serve_one(py, duty, &handled);
                    release(rest, false);
                }
                Next::Wait => self.wait(py, rest),
                Next::Help => {
                    duty = Duty::Help;
                    meter = Some(Meter::new());
                }
                Next::Leave => return,
            }
        }
    }

    fn serve_one(&self, py: Python<'_>, duty: Duty, handled: &Py<PyHandled>) {
        match handled.get().serve(py) {
            Left::Nothing => {}
            Left::More => {
                let again = self.crew.line_up_again(duty, handled.clone_ref(py));
                if let Some(handled) = again {
                    handled.get().let_go();
                    self.event_loop().report(handled.get().id());
                }
            }
            Left::End => {
                let gone = self.members().remove(&handled.get().id());
                drop(gone);
            }
        }
    }

    /// Waits for the sockets, and lines up the connections for which there is something to do.
    fn wait(&self, py: Python<'_>, rest: &Bound<'_, PyAny>) {
        let event_loop = self.event_loop();
        let pause = release(rest, false);
        let (mut reported, left) = wait::briefly(py, || {
            event_loop.write_held();
            event_loop.wait(pause);
            event_loop.attend()
        });
        if reported.is_empty() && pause.is_some() && !left {
            release(rest, true);
        }
        let members = self.members();
        let found: Vec<_> = reported
            .drain(..)
            .filter_map(|id| members.get(&id))
            .filter(|handled| handled.get().claim())
            .map(|handled| handled.clone_ref(py))
            .collect();
        drop(members);
        self.crew.line_up(found);
    }

    fn serve_duties(&self, py: Python<'_>, rest: &Bound<'_, PyAny>) {
        let mut keep = KEEP;
        loop {
            let pause = release(rest, false);
            let crew = &self.crew;
            match wait::briefly(py, || crew.wait_for_duty(pause.unwrap_or(keep))) {
                Call::Lead(lead) => {
                    keep = KEEP;
                    self.hire(py);
                    self.work(py, lead, rest);
                }
                Call::Spare | Call::Idle if pause.is_some() => {
                    release(rest, true);
                }
                // This thread stays, and needs no tick.
                Call::Idle => keep = LONG,
                Call::Spare | Call::Ended => return,
            }
        }
    }
}

/// Closes the database connections of this thread that must not be kept, or all of them. Returns the time after
/// which the others are to be closed.
fn release(rest: &Bound<'_, PyAny>, everything: bool) -> Option<Duration> {
    if !DATABASES.get() {
        return None;
    }
    let pause = rest.call1((everything,)).and_then(|pause| pause.extract());
    let pause: Option<f64> = pause.unwrap_or_else(|error: PyErr| {
        // A connection that cannot be closed must not keep the thread from its work.
        error.write_unraisable(rest.py(), Some(rest));
        None
    });
    DATABASES.set(pause.is_some());
    pause.map(|pause| Duration::try_from_secs_f64(pause).unwrap_or(KEEP))
}

#[pymethods]
impl PyPool {
    #[new]
    fn new(spawn: Py<PyAny>, most: usize) -> PyResult<Self> {
        let_wait((most / 2).max(1));
        let crew = ready()
            .and_then(|engine| Crew::start(engine, most.max(1)))
            .map_err(errors::os)?;
        Ok(Self {
            crew,
            spawn,
            members: Mutex::default(),
        })
    }

    /// Starts the first thread.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        if self.crew.threads() == 0
            && self.crew.enlist()
            && let Err(error) = self.spawn.call0(py)
        {
            self.crew.discharge();
            return Err(error);
        }
        Ok(())
    }

    /// Serves a connection from now on.
    fn add(&self, handled: Py<PyHandled>) {
        let id = handled.get().id();
        let replaced = self.members().insert(id, handled);
        drop(replaced);
        self.event_loop().report(id);
    }

    /// What a thread of the pool runs.
    fn serve(&self, py: Python<'_>, rest: &Bound<'_, PyAny>) {
        self.serve_duties(py, rest);
        self.crew.discharge();
    }

    #[getter]
    fn threads(&self) -> usize {
        self.crew.threads()
    }

    #[getter]
    fn is_foreign(&self) -> bool {
        self.event_loop().is_foreign()
    }

    /// Has the threads end.
    fn close(&self) {
        self.crew.end();
    }

    fn __repr__(&self) -> String {
        format!("<HandlerPool threads={}>", self.crew.threads())
    }
}
