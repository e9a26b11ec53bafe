use std::{os::fd::RawFd, sync::Arc};

use pyo3::prelude::*;

use super::errors;
use crate::runtime::WakeQueue;

/// Tells an event loop which connections are ready.
#[pyclass(frozen, module = "dwebsocket._engine", name = "WakeQueue")]
pub(super) struct PyWakeQueue(pub(super) Arc<WakeQueue>);

#[pymethods]
impl PyWakeQueue {
    #[new]
    fn new() -> PyResult<Self> {
        WakeQueue::new()
            .map(|queue| Self(Arc::new(queue)))
            .map_err(errors::os)
    }

    fn fileno(&self) -> RawFd {
        self.0.fileno()
    }

    fn drain(&self) -> Vec<u64> {
        self.0.drain()
    }

    fn __repr__(&self) -> String {
        format!("<WakeQueue fileno={}>", self.0.fileno())
    }
}
