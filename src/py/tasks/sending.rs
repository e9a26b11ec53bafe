use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use pyo3::{prelude::*, types::PyBool};

use super::{
    line::Line,
    parking::{PyParking, Wanted},
    receiving::returned,
};

/// The awaitable of `send()`, which is no coroutine: the message is in the outbox already, and to await it
/// waits for room. One object serves all messages of a connection that are sent with the same options.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Sending")]
pub(in crate::py) struct PySending {
    line: Arc<Line>,
    /// Seconds to wait for room.
    timeout: Option<f64>,
    /// Whether the connection is closed after that.
    closes: bool,
}

impl PySending {
    pub(super) fn new(line: Arc<Line>, timeout: Option<f64>, closes: bool) -> Self {
        Self {
            line,
            timeout,
            closes,
        }
    }
}

fn answer(py: Python<'_>, sent: bool) -> PyErr {
    returned(PyBool::new(py, sent).to_owned().into_any().unbind())
}

#[pymethods]
impl PySending {
    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, line) = (slf.py(), &slf.get().line);
        if line.is_elsewhere() {
            // The task of another loop cannot wait here.
            return Ok(slf.clone().into_any());
        }
        let full = line.connection.get().ask_for_room(py);
        let hurries = !full && line.hurries();
        if !full && !hurries {
            return Ok(slf.clone().into_any());
        }
        let room = PyRoom {
            line: Arc::clone(line),
            timeout: slf.get().timeout,
            closes: slf.get().closes,
            hurries: AtomicBool::new(hurries),
            parking: Mutex::default(),
        };
        Ok(Bound::new(py, room)?.into_any())
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// There is room.
    #[allow(clippy::unused_self)]
    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(answer(py, true))
    }

    fn __repr__(&self) -> String {
        let id = self.line.connection.get().connection.id();
        format!("<send() to connection {id}>")
    }
}

/// Waits for room in an outbox.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Room")]
struct PyRoom {
    line: Arc<Line>,
    timeout: Option<f64>,
    closes: bool,
    /// Whether there is room, and other tasks should run first.
    hurries: AtomicBool,
    /// A std mutex: never held while Python code runs.
    parking: Mutex<Option<Py<PyParking>>>,
}

impl PyRoom {
    fn parking(&self) -> MutexGuard<'_, Option<Py<PyParking>>> {
        self.parking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let parking = self.parking().take();
        match parking {
            Some(parking) => self.line.give_back(py, parking),
            None => Ok(()),
        }
    }
}

#[pymethods]
impl PyRoom {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.hurries.swap(false, Relaxed) {
            self.line.task_loop.get().event_loop.write_held();
            return Ok(py.None());
        }
        let connection = self.line.connection.get();
        if !connection.ask_for_room(py) {
            self.end(py)?;
            return Err(answer(py, connection.connection.end().is_none()));
        }
        let kept = self.parking().as_ref().map(|parking| parking.clone_ref(py));
        if let Some(parking) = kept {
            if parking.get().has_expired() {
                self.end(py)?;
                if self.closes {
                    connection.connection.give_up();
                }
                return Err(answer(py, !self.closes));
            }
            return Ok(PyParking::yielded(&parking, py));
        }
        self.line.rests();
        let parking = self.line.parking(py, Wanted::Room, self.timeout)?;
        let yielded = PyParking::yielded(&parking, py);
        *self.parking() = Some(parking);
        Ok(yielded)
    }
}

impl Drop for PyRoom {
    fn drop(&mut self) {
        let Some(parking) = self.parking().take() else {
            return;
        };
        // The task was cancelled: its timer must not go on.
        Python::try_attach(|py| {
            // This object may go while an exception is on its way.
            let raised = PyErr::take(py);
            if let Err(error) = parking.get().end(py) {
                error.write_unraisable(py, None);
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }
}
