use std::{
    os::fd::RawFd,
    sync::{Arc, Mutex, PoisonError},
};

use pyo3::prelude::*;

use super::{
    connection::PyConnection,
    consumer::{AnyLoop, consumer},
    errors,
    handshake::PyHandshake,
    options::PyOptions,
    permit::PyPermit,
    start::ready,
};
use crate::engine::{Connection, Inbox, Parts, adopt as adopted};

/// A socket taken from the WSGI server.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Adoption")]
pub(super) struct PyAdoption(Mutex<Option<adopted::Adopted>>);

/// A socket of the WSGI server, held until it is adopted or closed.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Held")]
pub(super) struct PyHeld(Mutex<Option<adopted::Held>>);

/// Raises if a socket object has closed its descriptor `fd`.
///
/// A Python socket forgets the number before it closes the descriptor, and does that with the interpreter
/// lock held. The callers keep that lock until they return, so the number stays valid for them.
fn ask(sock: Option<&Bound<'_, PyAny>>, fd: RawFd) -> PyResult<()> {
    match sock {
        Some(sock) if sock.call_method0("fileno")?.extract::<RawFd>()? != fd => {
            Err(errors::os(adopted::closed_meanwhile()))
        }
        _ => Ok(()),
    }
}

#[pyfunction]
#[pyo3(signature = (fd, sock=None))]
pub(super) fn hold(fd: RawFd, sock: Option<&Bound<'_, PyAny>>) -> PyResult<PyHeld> {
    ask(sock, fd)?;
    let held = adopted::hold(fd).map_err(errors::os)?;
    Ok(PyHeld(Mutex::new(Some(held))))
}

#[pyfunction]
#[pyo3(signature = (fd, epoll_fd=None))]
pub(super) fn adopt(fd: RawFd, epoll_fd: Option<RawFd>) -> PyResult<PyAdoption> {
    // The engine starts first: once adopted, the socket cannot be given back.
    ready().map_err(errors::os)?;
    let adoption = adopted::adopt(fd, epoll_fd).map_err(errors::os)?;
    Ok(PyAdoption(Mutex::new(Some(adoption))))
}

#[pymethods]
impl PyHeld {
    #[pyo3(signature = (fd, epoll_fd=None, sock=None))]
    fn adopt(
        &self,
        fd: RawFd,
        epoll_fd: Option<RawFd>,
        sock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyAdoption> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(held) = held else {
            return Err(errors::os(adopted::closed_meanwhile()));
        };
        ask(sock, fd)?;
        let adoption = held.take(fd, epoll_fd).map_err(errors::os)?;
        Ok(PyAdoption(Mutex::new(Some(adoption))))
    }

    fn close(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
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

    #[pyo3(signature = (head, leftover, handshake, options, permit, event_loop=None))]
    #[allow(clippy::too_many_arguments)] // the parts of a connection
    fn start(
        &self,
        head: Vec<u8>,
        leftover: Vec<u8>,
        handshake: &PyHandshake,
        options: &PyOptions,
        permit: &PyPermit,
        event_loop: Option<AnyLoop<'_>>,
    ) -> PyResult<PyConnection> {
        let adoption = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(adopted::Adopted { socket }) = adoption else {
            return Err(errors::value("this adoption was started before"));
        };
        let inbox = Inbox::new(&options.config, consumer(event_loop)?);
        let parts = Parts {
            socket,
            head,
            leftover,
            deflate: handshake.0.deflate,
            config: Arc::clone(&options.config),
            permit: permit.take(),
        };
        let handler = Arc::clone(&inbox);
        // Attached: nothing here waits. To release the interpreter lock between two threads that need it costs
        // more than the system calls.
        let connection =
            Connection::start(parts, handler).map_err(|error| errors::engine(&error))?;
        Ok(PyConnection::new(connection, inbox, options.text_as_bytes))
    }
}
