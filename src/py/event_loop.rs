//! An event loop that runs greenlets, and the connections whose views wait in it.
//!
//! A greenlet that waits is *parked*: the loop keeps it until there is something for it to receive, and the
//! greenlet switches to the hub. The hub takes the greenlets out again, one by one, and switches to each.

use std::{
    collections::{HashMap, VecDeque},
    os::fd::RawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pyo3::{intern, prelude::*};

use super::{
    connection::PyConnection,
    errors,
    parse::{Parsed, Policy},
    sender::PySender,
    start::ready,
    wait,
};
use crate::{
    engine::{EventLoop, Received},
    runtime::IdHash,
};

/// The time for which a view may take message after message before other greenlets run, and for which the
/// greenlets of one round run before the loop looks at its other descriptors and timers.
const SLICE: Duration = Duration::from_millis(1);

/// The pause before another attempt to send a message for which there may be room.
const PAUSE: Duration = Duration::from_millis(1);

/// Greenlets that run between two looks at the clock.
const STRIDE: u32 = 8;

thread_local! {
    static HERE: u8 = const { 0 };
}

/// A number that no other thread of this time has.
pub(super) fn here() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// The loop of a hub.
#[pyclass(frozen, module = "dwebsocket._engine", name = "EventLoop")]
pub(super) struct PyEventLoop {
    pub(super) event_loop: Arc<EventLoop>,
    /// Returns the current greenlet.
    current: Py<PyAny>,
    /// Tells whether the hub's loop must go on, because greenlets wait.
    keep: Py<PyAny>,
    /// A std mutex: never held while Python code runs.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    parked: HashMap<u64, Parked, IdHash>,
    /// Counts how often a greenlet was parked.
    parks: u64,
    /// Connections whose greenlets are to go on, if they were parked before this count: a greenlet that goes on
    /// and finds nothing is parked again, and must wait for another report.
    ready: VecDeque<(u64, u64)>,
    /// Greenlets until the next look at the clock, and when this round of them began.
    stride: u32,
    began: Option<Instant>,
    /// Whether the loop should attend again soon.
    unfinished: bool,
    /// Whether greenlets are taken out one by one.
    runs: bool,
    /// What the hub's loop was told last.
    kept: bool,
    /// What is switched to when there is something for the handlers of a connection.
    handled: HashMap<u64, Py<PyAny>, IdHash>,
}

/// The greenlets that wait for one connection, in the order in which they were parked.
struct Parked {
    first: Waiter,
    others: Vec<Waiter>,
}

struct Waiter {
    greenlet: Py<PyAny>,
    /// The count of `State::parks` before.
    number: u64,
}

impl State {
    fn park(&mut self, id: u64, greenlet: Py<PyAny>) {
        let number = self.parks;
        self.parks += 1;
        let waiter = Waiter { greenlet, number };
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

    /// Has the greenlets go on that are parked for the connections now.
    fn rouse(&mut self, ids: Vec<u64>) {
        let before = self.parks;
        self.ready.extend(ids.into_iter().map(|id| (id, before)));
    }

    /// Takes the greenlet that has waited longest for the connection, if it was parked before `before`. If others
    /// wait as well, or the connection has handlers, they are next: a report does not tell for which of them it
    /// is.
    fn unpark_first(&mut self, id: u64, before: u64) -> Option<Py<PyAny>> {
        let parked = self.parked.get(&id)?;
        if parked.first.number >= before {
            return None;
        }
        if !parked.others.is_empty() || self.handled.contains_key(&id) {
            self.ready.push_front((id, before));
        }
        self.take_first(id)
    }

    fn take_first(&mut self, id: u64) -> Option<Py<PyAny>> {
        let parked = self.parked.get_mut(&id)?;
        let first = if parked.others.is_empty() {
            self.parked.remove(&id)?.first
        } else {
            let next = parked.others.remove(0);
            std::mem::replace(&mut parked.first, next)
        };
        Some(first.greenlet)
    }

    /// Takes this greenlet; `None` if it is not parked.
    fn unpark(&mut self, id: u64, greenlet: &Py<PyAny>) -> Option<Py<PyAny>> {
        let parked = self.parked.get_mut(&id)?;
        if parked.first.greenlet.is(greenlet) {
            return self.take_first(id);
        }
        let mut others = parked.others.iter();
        let at = others.position(|one| one.greenlet.is(greenlet))?;
        Some(parked.others.remove(at).greenlet)
    }

    /// Whether the hub's loop need not be told anything now.
    fn is_settled(&self) -> bool {
        self.runs || self.kept == self.is_awaited()
    }

    /// Whether greenlets or handlers wait for something.
    fn is_awaited(&self) -> bool {
        !self.parked.is_empty() || !self.handled.is_empty()
    }

    /// The next greenlet to go on.
    fn next(&mut self, py: Python<'_>) -> Option<Py<PyAny>> {
        if self.stride == 0 {
            self.stride = STRIDE;
            if self.began.is_some_and(|began| began.elapsed() > SLICE) {
                self.unfinished |= !self.ready.is_empty();
                return None;
            }
        }
        loop {
            let (id, before) = self.ready.pop_front()?;
            let greenlet = self.unpark_first(id, before);
            let found = greenlet.or_else(|| Some(self.handled.get(&id)?.clone_ref(py)));
            if found.is_some() {
                self.stride -= 1;
                return found;
            }
        }
    }
}

impl PyEventLoop {
    /// Has the hub's loop go on while greenlets wait.
    fn keep(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.state();
        if state.is_settled() {
            return Ok(());
        }
        let waits = !state.kept;
        state.kept = waits;
        drop(state);
        self.keep.call1(py, (waits,)).map(drop)
    }

    fn park(&self, py: Python<'_>, id: u64, greenlet: Py<PyAny>) -> PyResult<()> {
        let mut state = self.state();
        state.park(id, greenlet);
        let kept = state.kept;
        drop(state);
        if kept { Ok(()) } else { self.keep(py) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PyEventLoop {
    fn drop(&mut self) {
        self.event_loop.end();
    }
}

#[pymethods]
impl PyEventLoop {
    #[new]
    fn new(current: Py<PyAny>, keep: Py<PyAny>) -> PyResult<Self> {
        let event_loop = ready().and_then(EventLoop::start).map_err(errors::os)?;
        Ok(Self {
            event_loop,
            current,
            keep,
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

    fn attend(&self, py: Python<'_>) {
        let event_loop = &self.event_loop;
        let (reported, left) = py.detach(|| event_loop.attend());
        let mut state = self.state();
        state.rouse(reported);
        state.unfinished = left;
        state.stride = STRIDE;
        state.began = Some(Instant::now());
        state.runs = true;
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.is_foreign() {
            // A greenlet of this round has forked: the child leaves the others to its parent.
            return Ok(None);
        }
        let mut state = self.state();
        let next = state.next(py);
        if next.is_none() {
            state.runs = false;
            drop(state);
            self.event_loop.write_held();
            self.keep(py)?;
        }
        Ok(next)
    }

    /// Has the loop switch to `switch` whenever there is something for a connection, until `forget`.
    fn handle(&self, py: Python<'_>, id: u64, switch: Py<PyAny>) -> PyResult<()> {
        let replaced = self.state().handled.insert(id, switch);
        drop(replaced);
        self.event_loop.report(id);
        self.keep(py)
    }

    fn forget(&self, py: Python<'_>, id: u64) -> PyResult<()> {
        let forgotten = self.state().handled.remove(&id);
        drop(forgotten);
        self.keep(py)
    }

    #[getter]
    fn is_unfinished(&self) -> bool {
        self.state().unfinished
    }

    /// Takes a parked greenlet out; false if it is not parked any more.
    fn unpark(&self, id: u64, greenlet: Py<PyAny>) -> bool {
        let parked = self.state().unpark(id, &greenlet);
        parked.is_some()
    }
}

/// A connection whose view waits in a loop.
#[pyclass(frozen, module = "dwebsocket._engine", name = "LoopPort")]
pub(super) struct PyLoopPort {
    connection: Py<PyConnection>,
    event_loop: Py<PyEventLoop>,
    /// The hub's switch.
    switch: Py<PyAny>,
    /// Starts a timer that ends a greenlet's wait; returns the timer.
    alarm: Py<PyAny>,
    /// Lets other greenlets run.
    rest: Py<PyAny>,
    /// The thread of the loop; see [`here`].
    thread: usize,
    /// When the view first took a message without a wait.
    since: Mutex<Option<Instant>>,
}

/// What a greenlet waits for.
#[derive(Clone, Copy)]
enum Wanted {
    Message,
    Room,
}

impl PyLoopPort {
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes in the habit of the calling greenlet that it sends.
    fn note_sender(&self, py: Python<'_>) -> PyResult<()> {
        let name = intern!(py, "_dwebsocket_sender");
        let current = self.event_loop.get().current.bind(py).call0()?;
        let sender = match current.getattr_opt(name)? {
            Some(sender) => sender.cast_into::<PySender>()?,
            None => {
                let sender = Bound::new(py, PySender::default())?;
                current.setattr(name, &sender)?;
                sender
            }
        };
        sender.get().note(self.connection.get().connection.id());
        Ok(())
    }

    fn is_elsewhere(&self) -> bool {
        here() != self.thread
    }

    /// Parks the calling greenlet until the engine reports the connection; false: the time is up.
    fn park(&self, py: Python<'_>, wanted: Wanted, deadline: Option<Instant>) -> PyResult<bool> {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(false);
        }
        let connection = self.connection.get();
        let event_loop = self.event_loop.get();
        let id = connection.connection.id();
        let me = event_loop.current.call0(py)?;
        event_loop.park(py, id, me.clone_ref(py))?;
        let armed = match wanted {
            Wanted::Message => connection.inbox.arm(),
            Wanted::Room => connection.arm_writable(py),
        };
        if !armed {
            let parked = event_loop.state().unpark(id, &me);
            drop(parked);
            event_loop.keep(py)?;
            if matches!(wanted, Wanted::Room) {
                // The room may be too small for the message, for as long as the peer reads nothing: attempts
                // without a pause would keep the processor busy.
                self.rest.call1(py, (PAUSE.as_secs_f64(),))?;
            }
            return Ok(true);
        }
        event_loop.event_loop.write_held();
        let result = match deadline {
            None => self.switch.call0(py).map(drop),
            Some(deadline) => self.switch_until(py, deadline, id, &me),
        };
        // Whoever took it out has resumed this greenlet, unless an exception does.
        let mut state = event_loop.state();
        let parked = state.unpark(id, &me);
        let settled = state.is_settled();
        drop(state);
        drop(parked);
        *self.since() = None;
        if !settled {
            event_loop.keep(py)?;
        }
        result?;
        Ok(deadline.is_none_or(|deadline| Instant::now() < deadline))
    }

    #[cold]
    fn switch_until(
        &self,
        py: Python<'_>,
        deadline: Instant,
        id: u64,
        me: &Py<PyAny>,
    ) -> PyResult<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timer = self
            .alarm
            .call1(py, (left.as_secs_f64(), id, me.clone_ref(py)))?;
        let result = self.switch.call0(py).map(drop);
        timer.call_method0(py, intern!(py, "close"))?;
        result
    }

    /// Lets other greenlets run now and then: a view that is flooded would never wait.
    fn let_others_run(&self, py: Python<'_>) -> PyResult<()> {
        let since = *self.since();
        if since.is_some_and(|since| since.elapsed() > SLICE) {
            *self.since() = None;
            self.event_loop.get().event_loop.write_held();
            self.rest.call0(py)?;
        }
        Ok(())
    }
}

#[pymethods]
impl PyLoopPort {
    #[new]
    fn new(
        connection: Py<PyConnection>,
        event_loop: Py<PyEventLoop>,
        switch: Py<PyAny>,
        alarm: Py<PyAny>,
        rest: Py<PyAny>,
    ) -> Self {
        Self {
            connection,
            event_loop,
            switch,
            alarm,
            rest,
            thread: here(),
            since: Mutex::default(),
        }
    }

    #[pyo3(signature = (timeout=None))]
    fn receive<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let connection = self.connection.get();
        if timeout == Some(0.0) || self.is_elsewhere() {
            return connection.receive(py, timeout);
        }
        // Before a message is taken: an exception that ends the rest loses nothing.
        self.let_others_run(py)?;
        let mut deadline = None;
        let mut waited = false;
        loop {
            // Another greenlet may have forked during the wait.
            if connection.connection.is_foreign() {
                return Ok(None);
            }
            match connection.inbox.take_in_loop(&connection.connection) {
                Received::Message(message) => {
                    if !waited {
                        self.since().get_or_insert_with(Instant::now);
                    }
                    return Ok(Some(connection.to_python(py, &message)));
                }
                Received::End => {
                    connection.connection.acknowledge_end();
                    return Ok(None);
                }
                Received::Nothing => {}
            }
            if !waited {
                deadline = wait::deadline(timeout);
            }
            waited = true;
            if !self.park(py, Wanted::Message, deadline)? {
                return connection.receive(py, Some(0.0));
            }
        }
    }

    /// Waits until the outbox may have room; false: the time is up.
    #[pyo3(signature = (timeout=None))]
    fn wait_for_room(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.park(py, Wanted::Room, wait::deadline(timeout))
    }

    /// Whether the calling thread is not the one of the loop.
    #[getter]
    fn is_foreign(&self) -> bool {
        self.is_elsewhere()
    }

    fn offer(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        binary: Option<bool>,
        overflow: Parsed<Policy>,
    ) -> PyResult<bool> {
        let connection = self.connection.get();
        self.note_sender(py)?;
        connection.send(py, message, binary, overflow, None)
    }
}
