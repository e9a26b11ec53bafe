//! The Python classes: thin handles around the engine.
//!
//! Rules of this layer: a call that can wait runs detached from the interpreter, no Rust lock is held
//! while a thread attaches, and no argument from Python causes a panic.

mod adoption;
mod connection;
mod errors;
mod event_loop;
mod handshake;
mod hub;
mod log;
mod membership;
mod options;
mod parse;
mod permit;
mod repr;
mod sender;
mod start;
mod wait;
mod wake;

use std::time::Duration;

use pyo3::prelude::*;

use crate::engine;

#[pyfunction]
#[pyo3(signature = (code=1001))]
fn close_all(py: Python<'_>, code: u16) -> usize {
    py.detach(|| engine::running().map_or(0, |engine| engine.close_all(code)))
}

#[pyfunction]
#[pyo3(signature = (timeout, code=1001))]
fn stop(py: Python<'_>, timeout: f64, code: u16) -> PyResult<usize> {
    let timeout = errors::seconds("timeout", timeout)?;
    Ok(py.detach(|| stop_engine(timeout, code)))
}

fn stop_engine(timeout: Duration, code: u16) -> usize {
    engine::running().map_or(0, |engine| engine.stop(timeout, code))
}

#[pyfunction]
fn seal() {
    wait::seal();
}

#[pymodule(gil_used = false)]
mod _engine {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{
        adoption::{PyAdoption, PyHeld, adopt, hold},
        close_all,
        connection::PyConnection,
        event_loop::{PyEventLoop, PyLoopPort},
        handshake::{PyHandshake, handshake},
        hub::{
            PyHubStats, PyPublished, broker_address, broker_check, count, disconnect, history,
            hub_configure, hub_flush, hub_stats, members, occupied, position, publish,
        },
        log::{drain_log, log_to, wait_log},
        membership::PyJoined,
        options::PyOptions,
        permit::{PyPermit, connection_count, reserve},
        seal,
        sender::{PySender, forget_sends, turns},
        start::{json_depth, settle_stack, start},
        stop,
        wake::PyWakeQueue,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // Old code may import `BrokerError` from this module.
        let exceptions = module.py().import("dwebsocket.exceptions")?;
        module.add("BrokerError", exceptions.getattr("BrokerError")?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
