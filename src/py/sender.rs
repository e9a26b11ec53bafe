//! Records the connections to which a greenlet sends. For threads, the engine records them itself.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::engine::habit::{self, Habit};

/// The number of times that the calling thread has turned from one connection to another.
#[pyfunction]
pub(super) fn turns() -> u64 {
    habit::turns()
}

/// Forgets the connections to which the calling thread has sent.
#[pyfunction]
pub(super) fn forget_sends() {
    habit::forget();
}

/// The habit of a sender that is a greenlet.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Sender")]
#[derive(Default)]
pub(super) struct PySender(Mutex<Habit>);

#[pymethods]
impl PySender {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    pub(super) fn note(&self, id: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(id);
    }

    fn serves(&self, id: u64) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .serves(id)
    }

    #[getter]
    fn turns(&self) -> u64 {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .turns()
    }
}
