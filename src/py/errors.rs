//! Converts Rust errors into Python exceptions.

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
        | HubError::Info(_)
        | HubError::Strange => value(error.to_string()),
        HubError::Ended => PyRuntimeError::new_err(error.to_string()),
    }
}

/// The exception for a broker that does not answer.
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

/// The subclass of `OSError` for an error of the operating system, with its `errno`.
pub(super) fn os(error: std::io::Error) -> PyErr {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => {
            let text = text.split(" (os error ").next().unwrap_or_default();
            PyOSError::new_err((number, text.to_owned()))
        }
        None => PyOSError::new_err(text),
    }
}

/// The exception for an engine that cannot run.
pub(super) fn engine(error: &std::io::Error) -> PyErr {
    PyRuntimeError::new_err(format!("the WebSocket engine cannot run: {error}"))
}

/// The exception for an argument that is out of its range.
pub(super) fn value(message: impl Into<String>) -> PyErr {
    PyValueError::new_err(message.into())
}

/// The longest time that a call accepts, as the settings do: adding it to the present never overflows.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// Converts seconds into a [`Duration`].
pub(super) fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| value(format!("{name} must be a number of seconds, not {seconds}")))
}
