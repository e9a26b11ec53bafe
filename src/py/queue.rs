//! Connections over a queue, for an event loop that speaks to the server, or for a thread of the package's own.

use std::{io, sync::Arc, time::Instant};

use bytes::Bytes;
use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString},
};

use super::{
    connection::PyConnection,
    consumer::{AnyLoop, consumer},
    errors,
    options::PyOptions,
    permit::PyPermit,
    wait,
    wake::PyWakeQueue,
};
use crate::{
    engine::{Capacity, Connection, FarEnd, Inbox, Permit, Pushed, QueueParts, Wakeup},
    protocol::{CloseFrame, Event, Message},
};

/// The far end of a connection's queue.
#[pyclass(frozen, module = "dwebsocket._engine", name = "FarEnd")]
pub(super) struct PyFarEnd {
    connection: Arc<Connection>,
    far: FarEnd,
}

#[pyfunction]
#[pyo3(signature = (options, permit, wake, token, event_loop=None))]
pub(super) fn connect_queue(
    options: &PyOptions,
    permit: &PyPermit,
    wake: &PyWakeQueue,
    token: u64,
    event_loop: Option<AnyLoop<'_>>,
) -> PyResult<(PyConnection, PyFarEnd)> {
    let wakeup = Wakeup {
        queue: Arc::clone(&wake.0),
        token,
    };
    let inbox = Inbox::new(&options.config, consumer(event_loop)?);
    let parts = parts(options, Some(wakeup), permit.take());
    let handler = Arc::clone(&inbox);
    let both_ends = Connection::over_queue(parts, handler);
    ends(both_ends, inbox, options.text_as_bytes)
}

#[pyfunction]
#[pyo3(signature = (options))]
pub(super) fn connect_mailbox(options: &PyOptions) -> PyResult<(PyConnection, PyFarEnd)> {
    let inbox = Inbox::new(&options.config, consumer(None)?);
    let handler = Arc::clone(&inbox);
    let both_ends = Connection::mailbox(parts(options, None, None), handler);
    ends(both_ends, inbox, false)
}

fn parts(options: &PyOptions, wakeup: Option<Wakeup>, permit: Option<Permit>) -> QueueParts {
    QueueParts {
        capacity: Capacity::default(),
        wakeup,
        config: Arc::clone(&options.config),
        permit,
    }
}

/// Both ends of a connection, as Python has them.
fn ends(
    both: io::Result<(Arc<Connection>, FarEnd)>,
    inbox: Arc<Inbox>,
    text_as_bytes: bool,
) -> PyResult<(PyConnection, PyFarEnd)> {
    let (connection, far) = both.map_err(|error| errors::engine(&error))?;
    let far = PyFarEnd {
        connection: Arc::clone(&connection),
        far,
    };
    Ok((PyConnection::new(connection, inbox, text_as_bytes), far))
}

impl PyFarEnd {
    fn hear(&self, event: Event) -> Option<bool> {
        match self.connection.hear(&self.far, event) {
            Pushed::Done => Some(true),
            Pushed::Full => Some(false),
            Pushed::Closed => None,
        }
    }
}

#[pymethods]
impl PyFarEnd {
    fn __repr__(&self) -> String {
        format!("<FarEnd of connection {}>", self.connection.id())
    }

    fn push(&self, message: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
        let message = if let Ok(text) = message.cast::<PyString>() {
            Message::Text(Bytes::copy_from_slice(text.to_str()?.as_bytes()))
        } else if let Ok(bytes) = message.cast::<PyBytes>() {
            Message::Binary(Bytes::copy_from_slice(bytes.as_bytes()))
        } else {
            let name = message.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "a message is str or bytes, not {name}"
            )));
        };
        Ok(self.hear(Event::Message(message)))
    }

    #[pyo3(signature = (code=None, reason=""))]
    fn close(&self, code: Option<u16>, reason: &str) -> Option<bool> {
        self.hear(Event::Close(code.map(|code| CloseFrame {
            code,
            reason: reason.to_owned(),
        })))
    }

    fn hang_up(&self) {
        self.far.hang_up();
    }

    fn drain<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        let found = PyList::empty(py);
        for event in self.far.drain(most) {
            if let Some(event) = to_python(py, event)? {
                found.append(event)?;
            }
        }
        Ok(found)
    }

    fn arm(&self) -> bool {
        self.far.arm()
    }

    fn arm_room(&self) -> bool {
        self.far.arm_room()
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let wait = |deadline: Option<Instant>| {
            let deadline = deadline.unwrap_or_else(|| Instant::now() + wait::LONG);
            self.far.wait(deadline).then_some(())
        };
        let found = wait::detached(py, wait::deadline(timeout), wait, drop)?;
        Ok(found.is_some())
    }

    #[getter]
    fn is_ended(&self) -> bool {
        self.far.is_ended()
    }

    #[getter]
    fn is_over(&self) -> bool {
        self.far.is_over()
    }
}

/// The event as an ASGI server takes it; `None` for a ping or a pong, for which ASGI has no message.
fn to_python(py: Python<'_>, event: Event) -> PyResult<Option<Bound<'_, PyDict>>> {
    let found = PyDict::new(py);
    let kind = intern!(py, "type");
    match event {
        Event::Message(message) => {
            found.set_item(kind, intern!(py, "websocket.send"))?;
            let (Message::Text(data) | Message::Binary(data)) = &message;
            match (&message, std::str::from_utf8(data)) {
                (Message::Text(_), Ok(text)) => {
                    found.set_item(intern!(py, "text"), PyString::new(py, text))?;
                }
                _ => found.set_item(intern!(py, "bytes"), PyBytes::new(py, data))?,
            }
        }
        Event::Close(frame) => {
            found.set_item(kind, intern!(py, "websocket.close"))?;
            let (code, reason) = frame.map_or((1000, String::new()), |one| (one.code, one.reason));
            found.set_item(intern!(py, "code"), code)?;
            found.set_item(intern!(py, "reason"), reason)?;
        }
        Event::Ping(_) | Event::Pong(_) => return Ok(None),
    }
    Ok(Some(found))
}
