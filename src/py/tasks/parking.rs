use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use pyo3::{intern, prelude::*};

use super::{
    super::connection::PyConnection,
    task_loop::{PyTaskLoop, Waiter},
};

/// What a task waits for.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Message,
    Room,
}

/// What a task waits for, in the form of a future: the loop wakes the task when the connection has something
/// for it. Such a future has no result.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Parking")]
pub(super) struct PyParking {
    connection: Py<PyConnection>,
    task_loop: Py<PyTaskLoop>,
    wants_room: AtomicBool,
    /// Set when this object is yielded; the task clears it.
    blocking: AtomicBool,
    /// The time is up.
    expired: AtomicBool,
    /// A std mutex: never held while Python code runs.
    timer: Mutex<Option<Py<PyAny>>>,
}

impl PyParking {
    pub(super) fn new(connection: Py<PyConnection>, task_loop: Py<PyTaskLoop>) -> Self {
        Self {
            connection,
            task_loop,
            wants_room: AtomicBool::new(false),
            blocking: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            timer: Mutex::default(),
        }
    }

    pub(super) fn want(&self, wanted: Wanted) {
        let room = matches!(wanted, Wanted::Room);
        self.wants_room.store(room, Relaxed);
    }

    /// The object, to be yielded to the task.
    pub(super) fn yielded(slf: &Py<Self>, py: Python<'_>) -> Py<PyAny> {
        slf.get().blocking.store(true, Relaxed);
        slf.clone_ref(py).into_any()
    }

    pub(super) fn has_expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    /// Ends the wait in so many seconds.
    pub(super) fn expire_in(slf: &Bound<'_, Self>, seconds: f64) -> PyResult<()> {
        let py = slf.py();
        let asyncio = slf.get().task_loop.get().asyncio().bind(py);
        let expire = slf.getattr(intern!(py, "expire"))?;
        let timer = asyncio.call_method1(intern!(py, "call_later"), (seconds, expire))?;
        *slf.get().timer() = Some(timer.unbind());
        Ok(())
    }

    /// Stops the timer; returns whether another task may use this object.
    pub(super) fn end(&self, py: Python<'_>) -> PyResult<bool> {
        let timer = self.timer().take();
        match timer {
            None => Ok(!self.has_expired()),
            Some(timer) => {
                timer.call_method0(py, intern!(py, "cancel"))?;
                Ok(false)
            }
        }
    }

    fn timer(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self) -> u64 {
        self.connection.get().connection.id()
    }

    /// Takes the task out of the loop's list; `None` if it goes on already.
    pub(super) fn unpark(slf: &Bound<'_, Self>) -> Option<Waiter> {
        let this = slf.get();
        this.task_loop.get().unpark(this.id(), slf.as_ptr())
    }
}

#[pymethods]
impl PyParking {
    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.blocking.load(Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Relaxed);
    }

    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.task_loop.get().asyncio().clone_ref(py)
    }

    /// Parks the task whose next step `callback` runs.
    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let task_loop = this.task_loop.get();
        let waiter = Waiter {
            parking: slf.clone().into_any().unbind(),
            wakeup: callback,
            context,
        };
        task_loop.park(this.id(), waiter);
        let connection = this.connection.get();
        let armed = if this.wants_room.load(Relaxed) {
            connection.arm_writable(py)
        } else {
            connection.inbox.arm()
        };
        if !armed && let Some(waiter) = Self::unpark(slf) {
            return task_loop.go_on(py, waiter);
        }
        task_loop.event_loop.write_held();
        Ok(())
    }

    /// Has the task go on, which then raises the exception of its cancellation by itself.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let _ = msg;
        if let Some(waiter) = Self::unpark(slf) {
            slf.get().task_loop.get().go_on(slf.py(), waiter)?;
        }
        Ok(false)
    }

    fn expire(slf: &Bound<'_, Self>) {
        slf.get().expired.store(true, Relaxed);
        if let Some(waiter) = Self::unpark(slf) {
            waiter.step(slf.py());
        }
    }

    #[allow(clippy::unused_self)] // a method of futures
    fn result(&self) {}

    #[allow(clippy::unused_self)]
    fn done(&self) -> bool {
        false
    }
}
