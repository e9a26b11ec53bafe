use std::sync::Arc;

use pyo3::prelude::*;

use super::{
    super::{
        connection::PyConnection,
        parse::{Parsed, Policy},
    },
    line::Line,
    receiving::PyReceiving,
    sending::PySending,
    task_loop::PyTaskLoop,
};
use crate::{config::Overflow, engine::Sent};

/// A connection whose view is a task.
#[pyclass(frozen, module = "dwebsocket._engine", name = "TaskPort")]
pub(in crate::py) struct PyTaskPort {
    line: Arc<Line>,
    policy: Policy,
    /// The answer to each message that was sent by the policy.
    sending: Py<PySending>,
}

impl PyTaskPort {
    /// Puts a message into the outbox; returns whether the outbox has taken it.
    fn put(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        binary: Option<bool>,
        policy: Policy,
    ) -> PyResult<bool> {
        let connection = self.line.connection.get();
        let overflow = match policy {
            Policy::Auto | Policy::Block => Overflow::Overdraw,
            Policy::Now(overflow) => overflow,
        };
        let mut sent = connection.put(py, message, binary, overflow)?;
        if sent == Sent::Full {
            match policy {
                // A view that does not wait has filled the outbox twice.
                Policy::Auto => sent = connection.put(py, message, binary, Overflow::Close)?,
                _ => connection.connection.count_dropped(),
            }
        }
        Ok(matches!(sent, Sent::Done | Sent::DroppedOldest(_)))
    }
}

#[pymethods]
impl PyTaskPort {
    #[new]
    fn new(
        py: Python<'_>,
        connection: Py<PyConnection>,
        task_loop: Py<PyTaskLoop>,
        overflow: Parsed<Policy>,
        timeout: Option<f64>,
    ) -> PyResult<Self> {
        let line = Arc::new(Line::new(connection, task_loop));
        let policy = overflow.0;
        let sending = PySending::new(Arc::clone(&line), timeout, policy == Policy::Auto);
        Ok(Self {
            line,
            policy,
            sending: Py::new(py, sending)?,
        })
    }

    #[pyo3(signature = (owner, timeout=None, /))]
    fn wait(&self, owner: Py<PyAny>, timeout: Option<f64>) -> PyReceiving {
        PyReceiving::new(Arc::clone(&self.line), owner, false, timeout)
    }

    #[pyo3(signature = (owner, timeout=None, /))]
    fn receive(&self, owner: Py<PyAny>, timeout: Option<f64>) -> PyReceiving {
        PyReceiving::new(Arc::clone(&self.line), owner, true, timeout)
    }

    /// Sends a message by the connection's policy; `None` if the outbox has not taken it.
    #[pyo3(signature = (message, binary, /))]
    fn offer(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        binary: Option<bool>,
    ) -> PyResult<Option<Py<PySending>>> {
        let sent = self.put(py, message, binary, self.policy)?;
        Ok(sent.then(|| self.sending.clone_ref(py)))
    }

    #[pyo3(signature = (message, binary, overflow, timeout, /))]
    fn send(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        binary: Option<bool>,
        overflow: Parsed<Policy>,
        timeout: Option<f64>,
    ) -> PyResult<Option<PySending>> {
        let policy = overflow.0;
        let sent = self.put(py, message, binary, policy)?;
        let closes = policy == Policy::Auto;
        Ok(sent.then(|| PySending::new(Arc::clone(&self.line), timeout, closes)))
    }

    /// Has the loop call `callback` once the connection has ended; never inside of this call, whose task the
    /// callback may cancel.
    #[pyo3(signature = (callback, /))]
    fn at_end(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let task_loop = self.line.task_loop.get();
        let connection = self.line.connection.get();
        task_loop.at_end(&connection.connection, callback.clone_ref(py));
        if !connection.inbox.arm_end() {
            task_loop.forget_end(connection.connection.id());
            task_loop.call_soon(py, callback)?;
        }
        Ok(())
    }

    fn forget_end(&self) {
        let connection = &self.line.connection.get().connection;
        self.line.task_loop.get().forget_end(connection.id());
    }
}
