//! The monitoring of a site, for Python. Questions and answers are JSON.

use std::path::PathBuf;

use pyo3::{prelude::*, types::PyBytes};

use super::{errors, wait};
use crate::{
    monitor,
    runtime::figures::{self, Counter},
};

#[pyfunction]
pub(super) fn monitor_attach(py: Python<'_>, directory: PathBuf) -> PyResult<()> {
    py.detach(|| monitor::attach(&directory))
        .map_err(errors::os)
}

#[pyfunction]
pub(super) fn monitor_serve(py: Python<'_>) -> PyResult<()> {
    py.detach(monitor::serve).map_err(errors::os)
}

#[pyfunction]
pub(super) fn monitor_read(py: Python<'_>, directory: PathBuf) -> PyResult<String> {
    py.detach(|| monitor::read(&directory)).map_err(errors::os)
}

#[pyfunction]
pub(super) fn monitor_answer(py: Python<'_>, question: &str) -> String {
    py.detach(|| monitor::answer(question.as_bytes()))
}

#[pyfunction]
pub(super) fn monitor_ask(
    py: Python<'_>,
    question: String,
    timeout: f64,
) -> PyResult<Vec<Py<PyBytes>>> {
    let timeout = errors::seconds("timeout", timeout)?;
    let answers = wait::apart(py, move || monitor::ask(question.as_bytes(), timeout))?;
    let answers = answers.iter().map(|one| PyBytes::new(py, one).unbind());
    Ok(answers.collect())
}

#[pyfunction]
pub(super) fn count_refused(status: u16) {
    figures::count_refused(status);
}

#[pyfunction]
pub(super) fn count_view_error() {
    figures::count(Counter::ViewErrors, 1);
}
