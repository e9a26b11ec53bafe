use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::{
    exceptions::{
        PyAttributeError, PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError,
    },
    intern,
    prelude::*,
    pyclass::CompareOp,
    types::PyTuple,
};

use super::{
    line::Line,
    parking::{PyParking, Wanted},
};
use crate::engine::Received;

/// The awaitable of `wait()` and `receive()`, which counts as a coroutine.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Receiving")]
pub(in crate::py) struct PyReceiving {
    line: Arc<Line>,
    /// The WebSocket: it knows what the end means.
    owner: Py<PyAny>,
    /// Whether the end, and the end of the time, raise exceptions.
    raises: bool,
    timeout: Option<f64>,
    /// A std mutex: never held while Python code runs.
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    begun: bool,
    over: bool,
    parking: Option<Py<PyParking>>,
    /// The coroutine that goes on after the end.
    inner: Option<Py<PyAny>>,
}

/// The exception by which an iterator returns a value that is no tuple.
pub(super) fn returned(value: Py<PyAny>) -> PyErr {
    PyStopIteration::new_err(value)
}

impl PyReceiving {
    pub(super) fn new(
        line: Arc<Line>,
        owner: Py<PyAny>,
        raises: bool,
        timeout: Option<f64>,
    ) -> Self {
        Self {
            line,
            owner,
            raises,
            timeout,
            progress: Mutex::default(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn misused(&self) -> PyErr {
        // The exception says it; no warning has to.
        self.progress().begun = true;
        PyTypeError::new_err(self.advice())
    }

    /// Begins a step. Returns the coroutine that goes on, and whether the task has waited.
    fn begin(&self, py: Python<'_>) -> PyResult<(Option<Py<PyAny>>, bool)> {
        let mut progress = self.progress();
        if progress.over && progress.inner.is_none() {
            return Err(PyRuntimeError::new_err(
                "wait() or receive() was awaited twice: call it again for another message",
            ));
        }
        progress.begun = true;
        let inner = progress.inner.as_ref().map(|inner| inner.clone_ref(py));
        Ok((inner, progress.parking.is_some()))
    }

    /// Ends the wait.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let mut progress = self.progress();
        progress.over = true;
        let parking = progress.parking.take();
        drop(progress);
        match parking {
            Some(parking) => self.line.give_back(py, parking),
            None => Ok(()),
        }
    }

    fn step(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (inner, waited) = self.begin(py)?;
        if let Some(inner) = inner {
            return inner.call_method1(py, intern!(py, "send"), (py.None(),));
        }
        let line = &self.line;
        let connection = line.connection.get();
        if connection.connection.is_foreign() {
            return self.meet_end(py);
        }
        if line.is_elsewhere() {
            return Err(PyRuntimeError::new_err(
                "an AsyncWebSocket receives in the event loop of its view only; it sends from anywhere",
            ));
        }
        // Before a message is taken: an exception that ends the rest loses nothing.
        if !waited && line.hurries() {
            line.task_loop.get().event_loop.write_held();
            return Ok(py.None());
        }
        match line.take() {
            Received::Message(message) => {
                self.end(py)?;
                let message = connection.to_python(py, &message);
                if line.task_loop.get().is_heard(py)? {
                    let heard = intern!(py, "_heard");
                    self.owner.call_method1(py, heard, (&message,))?;
                }
                Err(returned(message.unbind()))
            }
            Received::End => {
                connection.connection.acknowledge_end();
                self.meet_end(py)
            }
            Received::Nothing => self.park(py),
        }
    }

    /// Waits until there is something to receive.
    fn park(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let progress = self.progress();
        let parking = progress.parking.as_ref().map(|one| one.clone_ref(py));
        drop(progress);
        let expired = match &parking {
            Some(parking) => parking.get().has_expired(),
            None => self.timeout.is_some_and(|timeout| timeout <= 0.0),
        };
        if expired {
            self.end(py)?;
            if self.raises {
                let late = intern!(py, "_late");
                return self.owner.call_method1(py, late, (self.timeout,));
            }
            return Err(returned(py.None()));
        }
        if let Some(parking) = parking {
            // Another task was faster.
            return Ok(PyParking::yielded(&parking, py));
        }
        self.line.rests();
        let parking = self.line.parking(py, Wanted::Message, self.timeout)?;
        let yielded = PyParking::yielded(&parking, py);
        self.progress().parking = Some(parking);
        Ok(yielded)
    }

    /// Leaves the rest to the WebSocket: what the end means depends on the dialect.
    fn meet_end(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.end(py)?;
        let ended = intern!(py, "_ended");
        let inner = self.owner.call_method1(py, ended, (self.raises,))?;
        self.progress().inner = Some(inner.clone_ref(py));
        inner.call_method1(py, intern!(py, "send"), (py.None(),))
    }

    /// Ends the wait from outside.
    fn leave(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut progress = self.progress();
        progress.begun = true;
        progress.over = true;
        let inner = progress.inner.take();
        let parking = progress.parking.take();
        drop(progress);
        if let Some(parking) = parking {
            let unparked = PyParking::unpark(parking.bind(py));
            drop(unparked);
            self.line.give_back(py, parking)?;
        }
        Ok(inner)
    }
}

#[pymethods]
impl PyReceiving {
    /// The words for a program that has forgotten the `await`.
    #[getter]
    fn advice(&self) -> String {
        let name = if self.raises { "receive" } else { "wait" };
        format!(
            "{name}() was not awaited: in an async view, write 'await request.websocket.{name}()'"
        )
    }

    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.step(py)
    }

    #[pyo3(signature = (value, /))]
    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let _ = value;
        self.step(py)
    }

    #[pyo3(signature = (*error))]
    fn throw(&self, py: Python<'_>, error: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let inner = self.progress().inner.as_ref().map(|one| one.clone_ref(py));
        if let Some(inner) = inner {
            return inner.call_method1(py, intern!(py, "throw"), error.clone());
        }
        self.leave(py)?;
        let kind = error.get_item(0)?;
        let given = error.get_item(1).ok().filter(|value| !value.is_none());
        Err(match given {
            Some(value) if value.is_instance_of::<pyo3::exceptions::PyBaseException>() => {
                PyErr::from_value(value)
            }
            Some(value) => PyErr::from_value(kind.call1((value,))?),
            None if kind.is_callable()
                && !kind.is_instance_of::<pyo3::exceptions::PyBaseException>() =>
            {
                PyErr::from_value(kind.call0()?)
            }
            None => PyErr::from_value(kind),
        })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.leave(py)? {
            Some(inner) => inner.call_method0(py, intern!(py, "close")).map(drop),
            None => Ok(()),
        }
    }

    fn __bool__(&self) -> PyResult<bool> {
        Err(self.misused())
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else {
            return Err(self.misused());
        };
        let same = std::ptr::eq(self, other.get());
        match op {
            CompareOp::Eq => Ok(same),
            CompareOp::Ne => Ok(!same),
            _ => Err(self.misused()),
        }
    }

    fn __hash__(&self) -> usize {
        std::ptr::from_ref(self).addr() >> 4
    }

    fn __getattr__(&self, name: &str) -> PyResult<Py<PyAny>> {
        let advice = self.advice();
        self.progress().begun = true;
        Err(PyAttributeError::new_err(format!(
            "there is no attribute '{name}'; {advice}"
        )))
    }

    fn __repr__(&self) -> String {
        let name = if self.raises { "receive" } else { "wait" };
        let id = self.line.connection.get().connection.id();
        format!("<{name}() of connection {id}>")
    }
}

impl Drop for PyReceiving {
    fn drop(&mut self) {
        if self.progress().begun {
            return;
        }
        let advice = self.advice();
        Python::try_attach(|py| {
            // This object may go while an exception is on its way.
            let raised = PyErr::take(py);
            let category = py.get_type::<PyRuntimeWarning>();
            let text = std::ffi::CString::new(advice).unwrap_or_default();
            if let Err(error) = PyErr::warn(py, &category, &text, 1) {
                error.write_unraisable(py, None);
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }
}
