//! Python reserves a place among the connections of the process before it accepts a handshake.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use crate::engine::Permit;

/// A place among the process's connections.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Permit")]
pub(super) struct PyPermit(Mutex<Option<Permit>>);

impl PyPermit {
    fn place(&self) -> MutexGuard<'_, Option<Permit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the place to a connection; `None` if another one has it.
    pub(super) fn take(&self) -> Option<Permit> {
        self.place().take()
    }
}

#[pymethods]
impl PyPermit {
    fn __repr__(&self) -> &'static str {
        match *self.place() {
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
