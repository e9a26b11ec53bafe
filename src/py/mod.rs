//! The Python classes: thin handles around the engine.
//!
//! Rules of this layer: a call that can wait runs detached from the interpreter, no Rust lock is held
//! while a thread attaches, and no argument from Python causes a panic.

mod adoption;
mod connection;
mod consumer;
mod errors;
mod event_loop;
mod handled;
mod handling;
mod handshake;
mod hub;
mod log;
mod membership;
mod monitor;
mod options;
mod parse;
mod permit;
mod pool;
mod queue;
mod repr;
mod sender;
mod start;
mod tasks;
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

/// Stops the engine; the next use starts another one. For tests.
#[pyfunction]
fn renew(py: Python<'_>, timeout: f64) -> PyResult<()> {
    let timeout = errors::seconds("timeout", timeout)?;
    py.detach(|| engine::renew(timeout));
    Ok(())
}

#[pyfunction]
#[pyo3(signature = (code, spread, at_signal=false))]
fn leave(py: Python<'_>, code: u16, spread: f64, at_signal: bool) -> PyResult<()> {
    let spread = errors::seconds("spread", spread)?;
    py.detach(|| match engine::running() {
        Some(engine) if at_signal => engine.leave_at_signal(code, spread),
        Some(engine) => engine.leave(code, spread),
        None => {}
    });
    Ok(())
}

#[pyfunction]
fn refuse() {
    if let Some(engine) = engine::running() {
        engine.refuse();
    }
}

#[pyfunction]
fn is_leaving() -> bool {
    engine::running().is_some_and(engine::Engine::is_leaving)
}

#[pyfunction]
fn has_left() -> bool {
    engine::running().is_none_or(engine::Engine::has_left)
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
        handled::PyHandled,
        handling::handles,
        handshake::{PyHandshake, handshake},
        has_left,
        hub::{
            PyHubStats, PyPublished, broker_address, broker_check, check_group, count, disconnect,
            history, hub_configure, hub_flush, hub_forget_histories, hub_stats, members, occupied,
            position, publish,
        },
        is_leaving, leave,
        log::{drain_log, log_to, wait_log},
        membership::PyJoined,
        monitor::{
            count_refused, count_view_error, monitor_answer, monitor_ask, monitor_attach,
            monitor_read, monitor_serve,
        },
        options::PyOptions,
        permit::{PyPermit, connection_count, reserve},
        pool::{PyPool, note_database},
        queue::{PyFarEnd, connect_mailbox, connect_queue},
        refuse, renew, seal,
        sender::{PySender, forget_sends, turns},
        start::{json_depth, settle_thread, start},
        stop,
        tasks::{PyReceiving, PySending, PyTaskLoop, PyTaskPort},
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
