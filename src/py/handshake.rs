use pyo3::prelude::*;

use super::{errors, options::PyOptions, repr};
use crate::protocol::handshake::{Handshake, Request, accept};

/// An opening handshake that passed every check.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Handshake")]
pub(super) struct PyHandshake(pub(super) Handshake);

#[pymethods]
impl PyHandshake {
    #[getter]
    fn protocols(&self) -> Vec<String> {
        self.0.protocols.clone()
    }

    fn __repr__(&self) -> String {
        let protocols: Vec<_> = self.0.protocols.iter().map(|one| repr::text(one)).collect();
        format!(
            "<Handshake protocols=[{}] extensions={}>",
            protocols.join(", "),
            repr::optional(self.0.extensions.as_deref().map(repr::text))
        )
    }

    fn response(
        &self,
        subprotocol: Option<&str>,
        headers: Vec<(String, String)>,
    ) -> PyResult<Vec<u8>> {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.0
            .response(subprotocol, &headers)
            .map_err(|error| errors::value(error.to_string()))
    }
}

#[pyfunction]
#[pyo3(signature = (*, method, connection, upgrade, key, version, protocols, extensions, options))]
#[allow(clippy::too_many_arguments)] // one for each header that RFC 6455 names
pub(super) fn handshake(
    py: Python<'_>,
    method: &str,
    connection: &str,
    upgrade: &str,
    key: Option<&str>,
    version: Option<&str>,
    protocols: &str,
    extensions: &str,
    options: &PyOptions,
) -> PyResult<PyHandshake> {
    let request = Request {
        method,
        connection,
        upgrade,
        key,
        version,
        protocols,
        extensions,
    };
    match accept(&request, &options.config.protocol) {
        Ok(handshake) => Ok(PyHandshake(handshake)),
        Err(error) => Err(errors::handshake(py, &error)),
    }
}
