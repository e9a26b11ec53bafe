use std::{
    os::fd::RawFd,
    sync::{Arc, Mutex, PoisonError},
};

use pyo3::prelude::*;

use super::{
    PyPermit, connection::PyConnection, errors, handshake::PyHandshake, options::PyOptions,
    wake::PyWakeQueue,
};
use crate::{
    connection::{Connection, Consumer, Inbox, Parts, adopt as adopted},
    runtime::engine,
};

/// A socket taken from the WSGI server.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Adoption")]
pub(super) struct PyAdoption(Mutex<Option<adopted::Adopted>>);

#[pyfunction]
#[pyo3(signature = (fd, epoll_fd=None))]
pub(super) fn adopt(fd: RawFd, epoll_fd: Option<RawFd>) -> PyResult<PyAdoption> {
    let adoption = adopted::adopt(fd, epoll_fd).map_err(errors::os)?;
    Ok(PyAdoption(Mutex::new(Some(adoption))))
}

#[pymethods]
impl PyAdoption {
    fn __repr__(&self) -> &'static str {
        let adoption = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *adoption {
            Some(_) => "<Adoption>",
            None => "<Adoption started>",
        }
    }

    #[pyo3(signature = (head, leftover, handshake, options, permit, wake=None))]
    #[allow(clippy::too_many_arguments)] // what a connection is made of
    fn start(
        &self,
        py: Python<'_>,
        head: Vec<u8>,
        leftover: Vec<u8>,
        handshake: &PyHandshake,
        options: &PyOptions,
        permit: &PyPermit,
        wake: Option<&PyWakeQueue>,
    ) -> PyResult<PyConnection> {
        let adoption = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(adopted::Adopted { socket }) = adoption else {
            return Err(errors::value("this adoption was started before"));
        };
        let consumer = match wake {
            Some(wake) => Consumer::EventLoop(Arc::clone(&wake.0)),
            None => Consumer::Threads(Arc::clone(
                engine()
                    .map_err(|error| errors::engine(&error))?
                    .turnstile(),
            )),
        };
        let inbox = Inbox::new(&options.config, consumer);
        let parts = Parts {
            socket,
            head,
            leftover,
            deflate: handshake.0.deflate,
            config: Arc::clone(&options.config),
            permit: permit
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        };
        let handler = Arc::clone(&inbox);
        let connection = py
            .detach(|| Connection::start(parts, handler))
            .map_err(|error| errors::engine(&error))?;
        Ok(PyConnection::new(connection, inbox, options.text_as_bytes))
    }
}
