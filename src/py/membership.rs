//! The methods by which a connection joins and leaves groups, for Python.

use std::sync::Arc;

use pyo3::prelude::*;

use super::{connection::PyConnection, errors, hub, repr, wait};
use crate::hub::{Hub, HubError, Join, Joined, Position, member_id};

/// The result of joining a group.
#[pyclass(frozen, get_all, module = "dwebsocket._engine", name = "Joined")]
pub(super) struct PyJoined {
    recovered: bool,
    offset: u64,
    epoch: String,
    missed: usize,
}

#[pymethods]
impl PyJoined {
    fn __repr__(&self) -> String {
        format!(
            "Joined(recovered={}, offset={}, epoch={}, missed={})",
            repr::boolean(self.recovered),
            self.offset,
            repr::text(&self.epoch),
            self.missed
        )
    }
}

impl From<Joined> for PyJoined {
    fn from(joined: Joined) -> Self {
        Self {
            recovered: joined.recovered,
            offset: joined.position.offset,
            epoch: joined.position.epoch.to_string(),
            missed: joined.missed,
        }
    }
}

#[pymethods]
impl PyConnection {
    #[pyo3(signature = (
        group,
        *,
        since = None,
        history = 0,
        ttl = 300.0,
        envelope = false,
        presence = false,
        info = None,
        was = None,
        reply = None,
        timeout = None,
    ))]
    #[allow(clippy::too_many_arguments)] // the interface
    fn join(
        &self,
        py: Python<'_>,
        group: String,
        since: Option<(u64, String)>,
        history: usize,
        ttl: f64,
        envelope: bool,
        presence: bool,
        info: Option<&str>,
        was: Option<Vec<String>>,
        reply: Option<&str>,
        timeout: Option<f64>,
    ) -> PyResult<Option<PyJoined>> {
        if self.connection.is_foreign() {
            return Ok(None);
        }
        let join = Join {
            since: since.map(|(offset, epoch)| Position {
                offset,
                epoch: epoch.into(),
            }),
            limits: hub::limits(history, ttl)?,
            present: presence,
            info: info.unwrap_or("{}").into(),
            was: was.unwrap_or_default(),
            reply: reply.map(Into::into),
            timeout: hub::timeout(timeout)?,
        };
        let hub = hub::hub()?;
        if envelope {
            self.connection.envelop();
        }
        let connection = Arc::clone(&self.connection);
        match wait::apart(py, move || hub.join(&connection, &group, join))? {
            Ok(joined) => Ok(Some(joined.into())),
            Err(HubError::Ended) => Ok(None),
            Err(error) => Err(errors::hub(&error)),
        }
    }

    #[pyo3(signature = (group, reply=None))]
    fn leave(&self, py: Python<'_>, group: &str, reply: Option<&str>) -> PyResult<bool> {
        if self.connection.is_foreign() {
            return Ok(false);
        }
        let hub = hub::hub()?;
        Ok(wait::briefly(py, || {
            hub.leave(&self.connection, group, reply)
        }))
    }

    #[getter]
    fn groups(&self) -> Vec<String> {
        if self.connection.is_foreign() {
            return Vec::new();
        }
        Hub::groups_of(&self.connection)
    }

    fn envelop(&self) {
        self.connection.envelop();
    }

    #[pyo3(signature = (user, timeout=0.0))]
    fn identify(&self, py: Python<'_>, user: &str, timeout: f64) -> PyResult<()> {
        let timeout = errors::seconds("timeout", timeout)?;
        if !self.connection.is_foreign() {
            let hub = hub::hub()?;
            wait::briefly(py, || hub.identify_within(&self.connection, user, timeout));
        }
        Ok(())
    }

    fn forget_user(&self, py: Python<'_>, user: &str) -> PyResult<()> {
        if !self.connection.is_foreign() {
            let hub = hub::hub()?;
            wait::briefly(py, || hub.forget_user(&self.connection, user));
        }
        Ok(())
    }

    /// The id by which the members of its groups know the connection.
    #[getter]
    fn member_id(&self) -> PyResult<String> {
        let id = match member_id(&self.connection) {
            Some(id) => id,
            None => hub::hub()?.member_id(self.connection.id()),
        };
        Ok(id.to_string())
    }
}
