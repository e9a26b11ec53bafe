use std::{
    collections::{HashMap, VecDeque},
    os::fd::RawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pyo3::{intern, prelude::*, types::PyDict};

use super::super::{errors, event_loop::here, start::ready, wait};
use crate::{
    engine::{Connection, EventLoop},
    runtime::IdHash,
};

/// The time for which the tasks of one round run before the loop looks at its other descriptors and timers.
const SLICE: Duration = Duration::from_millis(1);

/// Tasks that run between two looks at the clock.
const STRIDE: u32 = 8;

/// A task that is parked.
pub(super) struct Waiter {
    /// The object for which the task waits.
    pub(super) parking: Py<PyAny>,
    /// Runs the next step of the task.
    pub(super) wakeup: Py<PyAny>,
    pub(super) context: Option<Py<PyAny>>,
}

impl Waiter {
    /// Runs the next step of the task. No other task may be in a step.
    pub(super) fn step(self, py: Python<'_>) {
        let done = match self.context {
            Some(context) => {
                context.call_method1(py, intern!(py, "run"), (self.wakeup, self.parking))
            }
            None => self.wakeup.call1(py, (self.parking,)),
        };
        // The task keeps the exceptions of its own code.
        if let Err(error) = done {
            error.write_unraisable(py, None);
        }
    }

    /// Has the loop run the next step of the task.
    fn later(self, py: Python<'_>, asyncio: &Py<PyAny>) -> PyResult<()> {
        let options = PyDict::new(py);
        options.set_item(intern!(py, "context"), self.context)?;
        let arguments = (self.wakeup, self.parking);
        asyncio
            .bind(py)
            .call_method(intern!(py, "call_soon"), arguments, Some(&options))
            .map(drop)
    }
}

/// The tasks that wait for one connection, in the order in which they were parked.
struct Parked {
    first: Waiter,
    others: Vec<Waiter>,
}

#[derive(Default)]
struct State {
    parked: HashMap<u64, Parked, IdHash>,
    /// The tasks that are to go on.
    ready: VecDeque<Waiter>,
    /// What is called when there is something for the handlers of a connection, and its argument.
    handled: HashMap<u64, (Py<PyAny>, Py<PyAny>), IdHash>,
    /// Called when the connection has ended.
    at_end: HashMap<u64, (Arc<Connection>, Py<PyAny>), IdHash>,
    /// Whether a round of tasks runs.
    runs: bool,
    /// Whether the loop was asked for another round.
    asked: bool,
}

impl State {
    /// Has the tasks go on that wait for these connections, and the handlers of these connections: a report
    /// does not tell which of them it is for. Returns the callbacks of those that have ended.
    fn rouse(&mut self, py: Python<'_>, ids: Vec<u64>) -> Vec<Py<PyAny>> {
        let mut ended = Vec::new();
        for id in ids {
            if let Some(parked) = self.parked.remove(&id) {
                self.ready.push_back(parked.first);
                self.ready.extend(parked.others);
            }
            if let Some((wake, handled)) = self.handled.get(&id) {
                self.ready.push_back(Waiter {
                    parking: handled.clone_ref(py),
                    wakeup: wake.clone_ref(py),
                    context: None,
                });
            }
            if self.at_end.is_empty() {
                continue;
            }
            let over = |(connection, _): &(Arc<Connection>, _)| connection.has_ended();
            if self.at_end.get(&id).is_some_and(over)
                && let Some((_, callback)) = self.at_end.remove(&id)
            {
                ended.push(callback);
            }
        }
        ended
    }

    fn park(&mut self, id: u64, waiter: Waiter) {
        match self.parked.get_mut(&id) {
            Some(parked) => parked.others.push(waiter),
            None => {
                let parked = Parked {
                    first: waiter,
                    others: Vec::new(),
                };
                self.parked.insert(id, parked);
            }
        }
    }

    /// Takes this task out; `None` if it is not parked.
    fn unpark(&mut self, id: u64, parking: *mut pyo3::ffi::PyObject) -> Option<Waiter> {
        let parked = self.parked.get_mut(&id)?;
        if parked.first.parking.as_ptr() == parking {
            if parked.others.is_empty() {
                return self.parked.remove(&id).map(|parked| parked.first);
            }
            let next = parked.others.remove(0);
            return Some(std::mem::replace(&mut parked.first, next));
        }
        let mut others = parked.others.iter();
        let at = others.position(|one| one.parking.as_ptr() == parking)?;
        Some(parked.others.remove(at))
    }
}

/// A loop of asyncio, as the connections of its views see it.
#[pyclass(frozen, module = "dwebsocket._engine", name = "TaskLoop")]
pub(in crate::py) struct PyTaskLoop {
    pub(in crate::py) event_loop: Arc<EventLoop>,
    /// The loop of asyncio.
    asyncio: Py<PyAny>,
    /// The signal that is sent for each message; it costs nothing without receivers.
    signal: Py<PyAny>,
    /// The thread of the loop.
    thread: usize,
    /// A std mutex: never held while Python code runs.
    state: Mutex<State>,
}

impl PyTaskLoop {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn asyncio(&self) -> &Py<PyAny> {
        &self.asyncio
    }

    /// Whether the calling thread is not the one of the loop.
    pub(super) fn is_elsewhere(&self) -> bool {
        here() != self.thread
    }

    /// Whether a round of tasks runs, after which held answers are written.
    pub(super) fn is_in_a_round(&self) -> bool {
        self.state().runs
    }

    /// Whether the signal has receivers.
    pub(super) fn is_heard(&self, py: Python<'_>) -> PyResult<bool> {
        let receivers = self.signal.bind(py).getattr(intern!(py, "receivers"))?;
        receivers.is_truthy()
    }

    pub(super) fn park(&self, id: u64, waiter: Waiter) {
        self.state().park(id, waiter);
    }

    pub(super) fn unpark(&self, id: u64, parking: *mut pyo3::ffi::PyObject) -> Option<Waiter> {
        self.state().unpark(id, parking)
    }

    /// Has a task go on in this round or, without one, in the next round of the loop.
    pub(super) fn go_on(&self, py: Python<'_>, waiter: Waiter) -> PyResult<()> {
        let mut state = self.state();
        if state.runs {
            state.ready.push_back(waiter);
            return Ok(());
        }
        drop(state);
        waiter.later(py, &self.asyncio)
    }

    /// Calls `callback` in the loop when the connection has ended.
    pub(super) fn at_end(&self, connection: &Arc<Connection>, callback: Py<PyAny>) {
        let entry = (Arc::clone(connection), callback);
        let replaced = self.state().at_end.insert(connection.id(), entry);
        drop(replaced);
    }

    pub(super) fn forget_end(&self, id: u64) {
        let forgotten = self.state().at_end.remove(&id);
        drop(forgotten);
    }

    /// Runs the tasks that are to go on; returns whether some are left. The child of a task that forks leaves
    /// the others to its parent.
    fn run(&self, py: Python<'_>) -> bool {
        let began = Instant::now();
        let mut stride = STRIDE;
        while !self.is_foreign() {
            let next = self.state().ready.pop_front();
            let Some(waiter) = next else { break };
            waiter.step(py);
            stride -= 1;
            if stride == 0 {
                stride = STRIDE;
                if began.elapsed() > SLICE {
                    break;
                }
            }
        }
        let mut state = self.state();
        state.runs = false;
        let left = !state.ready.is_empty() && !self.is_foreign();
        drop(state);
        self.event_loop.write_held();
        left
    }

    /// Has the loop call a function, after what it has to do already.
    pub(super) fn call_soon(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let name = intern!(py, "call_soon");
        self.asyncio.call_method1(py, name, (callback,)).map(drop)
    }
}

impl Drop for PyTaskLoop {
    fn drop(&mut self) {
        self.event_loop.end();
    }
}

#[pymethods]
impl PyTaskLoop {
    #[new]
    fn new(asyncio: Py<PyAny>, signal: Py<PyAny>) -> PyResult<Self> {
        let event_loop = ready().and_then(EventLoop::start).map_err(errors::os)?;
        Ok(Self {
            event_loop,
            asyncio,
            signal,
            thread: here(),
            state: Mutex::default(),
        })
    }

    #[getter]
    fn is_foreign(&self) -> bool {
        self.event_loop.is_foreign()
    }

    fn filenos(&self) -> (RawFd, RawFd) {
        self.event_loop.filenos()
    }

    fn attend(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let event_loop = &this.event_loop;
        let (reported, left) = wait::briefly(py, || event_loop.attend());
        let mut state = this.state();
        let ended = state.rouse(py, reported);
        state.runs = true;
        drop(state);
        let left = this.run(py) || left;
        // The tasks that wait for messages have seen the end before.
        for callback in ended {
            this.call_soon(py, callback)?;
        }
        if left && !std::mem::replace(&mut this.state().asked, true) {
            this.call_soon(py, slf.getattr(intern!(py, "attend_again"))?.unbind())?;
        }
        Ok(())
    }

    /// The round that [`PyTaskLoop::attend`] has asked for.
    fn attend_again(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state().asked = false;
        Self::attend(slf)
    }

    /// Calls `wake(handled)` in the loop whenever there is something for a connection, until `forget`.
    fn handle(&self, id: u64, wake: Py<PyAny>, handled: Py<PyAny>) {
        let replaced = self.state().handled.insert(id, (wake, handled));
        drop(replaced);
        self.event_loop.report(id);
    }

    fn forget(&self, id: u64) {
        let forgotten = self.state().handled.remove(&id);
        drop(forgotten);
    }

    /// Forgets the tasks that wait: the loop is closed.
    fn close(&self) {
        let state = std::mem::take(&mut *self.state());
        drop(state);
        self.event_loop.end();
    }
}
