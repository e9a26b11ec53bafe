//! The engine's log records, for Python.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use pyo3::prelude::*;

use super::{parse, wait, wake::PyWakeQueue};
use crate::{engine::running, runtime::Record};

type PyRecord = (u8, String, f64);

fn record(record: Record) -> PyRecord {
    let at = record.at.duration_since(UNIX_EPOCH);
    let at = at.unwrap_or(Duration::ZERO).as_secs_f64();
    (parse::level(record.level), record.message, at)
}

#[pyfunction]
pub(super) fn drain_log() -> Vec<PyRecord> {
    // Attached, since each view's end comes here: there is nothing to wait for.
    let records = running().map(|engine| engine.log().drain());
    let records = records.unwrap_or_default().into_iter();
    records.map(record).collect()
}

/// Waits for a record; false if no engine runs or no record has come within `timeout` seconds.
#[pyfunction]
#[pyo3(signature = (timeout=None))]
pub(super) fn wait_log(py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
    // This thread waits for one engine. After a fork, another thread waits for the next engine.
    let Some(engine) = running() else {
        return Ok(false);
    };
    let wait = |deadline| engine.log().wait(deadline).then_some(());
    let waited = wait::detached(py, wait::deadline(timeout), wait, drop)?;
    Ok(waited.is_some())
}

#[pyfunction]
pub(super) fn log_to(py: Python<'_>, queue: &PyWakeQueue) -> bool {
    let queue = Arc::clone(&queue.0);
    py.detach(|| {
        running()
            .map(|engine| engine.log().report_to(queue))
            .is_some()
    })
}
