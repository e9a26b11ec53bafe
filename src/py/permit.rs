//! Python reserves a place among the connections of the process before it accepts a handshake.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::engine::Permit;

/// A place among the process's connections.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Permit")]
pub(super) struct PyPermit(pub(super) Mutex<Option<Permit>>);

#[pymethods]
impl PyPermit {
    fn __repr__(&self) -> &'static str {
        let permit = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *permit {
            Some(_) => "<Permit>",
            None => "<Permit given away>",
        }
    }
}

#[pyfunction]
pub(super) fn reserve(limit: usize) -> Option<PyPermit> {
    Permit::take(limit).map(|permit| PyPermit(Mutex::new(Some(permit))))
}

#[pyfunction]
pub(super) fn connection_count() -> usize {
    Permit::taken()
}
