//! Where Rust errors become Python exceptions.

use std::time::Duration;

use pyo3::{
    exceptions::{PyOSError, PyRuntimeError, PyValueError},
    prelude::*,
    types::PyDict,
};

use crate::{
    error::HandshakeError,
    hub::{BrokerError, HubError},
};

/// `dwebsocket.exceptions.HandshakeError`, with the status and the headers of the refusal.
pub(super) fn handshake(py: Python<'_>, error: &HandshakeError) -> PyErr {
    let raised = || -> PyResult<PyErr> {
        let class = py
            .import("dwebsocket.exceptions")?
            .getattr("HandshakeError")?;
        let details = PyDict::new(py);
        details.set_item("status", error.status())?;
        details.set_item("headers", error.headers())?;
        Ok(PyErr::from_value(
            class.call((error.to_string(),), Some(&details))?,
        ))
    };
    raised().unwrap_or_else(|error| error)
}

/// The exception for an error of the hub.
pub(super) fn hub(error: &HubError) -> PyErr {
    match error {
        HubError::Unavailable(_) => unavailable(error.to_string()),
        HubError::Name(_)
        | HubError::TooManyTargets
        | HubError::TooManyExcluded
        | HubError::Info(_) => value(error.to_string()),
        HubError::Ended => PyRuntimeError::new_err(error.to_string()),
    }
}

/// The exception for a broker that cannot be asked.
pub(super) fn broker(error: &BrokerError) -> PyErr {
    unavailable(error.to_string())
}

/// `dwebsocket.exceptions.BrokerError`.
fn unavailable(message: String) -> PyErr {
    Python::attach(|py| {
        let class = py
            .import("dwebsocket.exceptions")
            .and_then(|module| module.getattr("BrokerError"));
        let raised = class.and_then(|class| class.call1((message,)));
        raised.map_or_else(|error| error, PyErr::from_value)
    })
}

/// An error of the operating system, as the subclass of `OSError` that fits.
pub(super) fn os(error: std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(_) => error.into(),
        None => PyOSError::new_err(error.to_string()),
    }
}

/// The engine cannot be used.
pub(super) fn engine(error: &std::io::Error) -> PyErr {
    PyRuntimeError::new_err(format!("the WebSocket engine cannot run: {error}"))
}

/// An argument is out of its range.
pub(super) fn value(message: impl Into<String>) -> PyErr {
    PyValueError::new_err(message.into())
}

/// A length of time that came as seconds.
pub(super) fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| value(format!("{name} must be a number of seconds, not {seconds}")))
}
