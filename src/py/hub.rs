//! The hub, for Python. Calls that may wait or take a group's lock run detached from the interpreter.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyString},
};

use super::{
    errors,
    parse::{Parsed, TargetKind, Word, payload_kind},
    repr,
    start::ready,
    wait,
};
use crate::{
    engine::habit,
    engine::running,
    hub::{
        self, BrokerState, Hub, HubStats, Limits, Outgoing, PayloadKind, Position, Published,
        Target, Who, broker::Broker, check_name, parse_member_id,
    },
    protocol::close::is_sendable,
};

/// The time limit of the broker for calls that have none of their own, in microseconds. [`hub_configure`]
/// sets it.
static TIMEOUT: AtomicU64 = AtomicU64::new(2_000_000);

pub(super) fn timeout(seconds: Option<f64>) -> PyResult<Duration> {
    match seconds {
        Some(seconds) => errors::seconds("timeout", seconds),
        None => Ok(Duration::from_micros(TIMEOUT.load(Ordering::Relaxed))),
    }
}

pub(super) fn hub() -> PyResult<&'static Hub> {
    // `ready` starts the engine with the interpreter detached, because that takes time.
    let hub = ready().and_then(|_| hub::hub());
    hub.map_err(|error| errors::engine(&error))
}

pub(super) fn limits(history: usize, ttl: f64) -> PyResult<Option<Limits>> {
    let ttl = errors::seconds("ttl", ttl)?;
    Ok((history > 0).then_some(Limits { size: history, ttl }))
}

/// The targets of a message. `histories` has the size and the lifetime of each group's history; it is
/// empty if no group has one.
fn targets(
    kind: TargetKind,
    names: Vec<String>,
    histories: &[(usize, f64)],
) -> PyResult<Vec<Target>> {
    let group = |(place, name): (usize, String)| {
        Ok(match histories.get(place) {
            Some((size, ttl)) => match limits(*size, *ttl)? {
                Some(limits) => Target::Kept(name, limits),
                None => Target::Group(name),
            },
            None => Target::Group(name),
        })
    };
    match kind {
        TargetKind::Group => names.into_iter().enumerate().map(group).collect(),
        TargetKind::User => Ok(names.into_iter().map(Target::User).collect()),
        TargetKind::All => Ok(vec![Target::Everybody]),
    }
}

/// The connections to which member ids belong.
fn excluded(ids: Vec<String>) -> PyResult<Vec<Who>> {
    let parsed = ids.into_iter().map(|id| {
        parse_member_id(&id).ok_or_else(|| {
            errors::value(format!(
                "exclude takes WebSockets and their member_id, not {}",
                repr::text(&id)
            ))
        })
    });
    parsed.collect()
}

/// The result of sending a message to many connections.
#[pyclass(frozen, get_all, module = "dwebsocket._engine", name = "Published")]
pub(super) struct PyPublished {
    local: usize,
    broker: &'static str,
    offset: u64,
    epoch: String,
    dropped: usize,
}

#[pymethods]
impl PyPublished {
    fn __repr__(&self) -> String {
        format!(
            "Published(local={}, broker={}, offset={}, epoch={}, dropped={})",
            self.local,
            repr::text(self.broker),
            self.offset,
            repr::text(&self.epoch),
            self.dropped
        )
    }
}

impl From<Published> for PyPublished {
    fn from(published: Published) -> Self {
        let (offset, epoch) = published
            .position
            .map_or((0, String::new()), |at| (at.offset, at.epoch.to_string()));
        Self {
            local: published.local,
            broker: published.fate.word(),
            offset,
            epoch,
            dropped: published.dropped,
        }
    }
}

#[pyfunction]
#[pyo3(signature = (*, broker, prefix="dwebsocket", timeout=2.0))]
pub(super) fn hub_configure(
    py: Python<'_>,
    broker: Option<&str>,
    prefix: &str,
    timeout: f64,
) -> PyResult<()> {
    let timeout = errors::seconds("timeout", timeout)?.as_micros();
    TIMEOUT.store(
        u64::try_from(timeout).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
    let Some(url) = broker else {
        return Ok(());
    };
    let hub = hub()?;
    wait::briefly(py, || hub.connect(url, prefix)).map_err(|error| errors::value(error.to_string()))
}

#[pyfunction]
pub(super) fn broker_check(url: &str) -> PyResult<()> {
    Broker::check(url).map_err(|error| errors::value(error.to_string()))
}

#[pyfunction]
#[pyo3(signature = (
    kind,
    targets,
    data,
    *,
    binary = false,
    json = false,
    exclude = None,
    histories = None,
    timeout = None,
))]
#[allow(clippy::too_many_arguments)] // the interface
pub(super) fn publish(
    py: Python<'_>,
    kind: Parsed<TargetKind>,
    targets: Vec<String>,
    data: &Bound<'_, PyAny>,
    binary: bool,
    json: bool,
    exclude: Option<Vec<String>>,
    histories: Option<Vec<(usize, f64)>>,
    timeout: Option<f64>,
) -> PyResult<PyPublished> {
    let (payload, is_text) = if let Ok(text) = data.cast::<PyString>() {
        (text.to_str()?.as_bytes().to_vec(), true)
    } else {
        (data.cast::<PyBytes>()?.as_bytes().to_vec(), false)
    };
    if !is_text && !binary && std::str::from_utf8(&payload).is_err() {
        return Err(errors::value("a text message must be valid UTF-8"));
    }
    let outgoing = Outgoing {
        targets: self::targets(kind.0, targets, &histories.unwrap_or_default())?,
        kind: payload_kind(json, binary),
        payload: payload.into(),
        excluded: excluded(exclude.unwrap_or_default())?,
        timeout: self::timeout(timeout)?,
    };
    let hub = hub()?;
    habit::note(habit::MANY);
    // Only a message to a group with a history waits for the broker's answer.
    let published = match outgoing
        .targets
        .iter()
        .any(|one| matches!(one, Target::Kept(..)))
    {
        true => wait::apart(py, move || hub.publish(&outgoing))?,
        false => wait::briefly(py, || hub.publish(&outgoing)),
    };
    Ok(published.map_err(|error| errors::hub(&error))?.into())
}

#[pyfunction]
#[pyo3(signature = (kind, targets, code=1000, reason="", timeout=None))]
pub(super) fn disconnect(
    py: Python<'_>,
    kind: Parsed<TargetKind>,
    targets: Vec<String>,
    code: u16,
    reason: &str,
    timeout: Option<f64>,
) -> PyResult<PyPublished> {
    if !is_sendable(code) {
        return Err(errors::value(format!(
            "{code} is not a close code that may be sent (RFC 6455 section 7.4)"
        )));
    }
    let targets = self::targets(kind.0, targets, &[])?;
    let timeout = self::timeout(timeout)?;
    let hub = hub()?;
    let published = wait::briefly(py, || hub.disconnect(targets, code, reason, timeout));
    Ok(published.map_err(|error| errors::hub(&error))?.into())
}

#[pyfunction]
pub(super) fn members(py: Python<'_>, groups: Vec<String>) -> PyResult<Vec<(String, String)>> {
    let hub = hub()?;
    let members = wait::apart(py, move || hub.members(&names(&groups)))?;
    let members = members.iter();
    Ok(members
        .map(|member| (member.id.to_string(), member.info.to_string()))
        .collect())
}

#[pyfunction]
pub(super) fn count(py: Python<'_>, groups: Vec<String>) -> PyResult<usize> {
    let hub = hub()?;
    wait::apart(py, move || hub.count(&names(&groups)))
}

fn names(groups: &[String]) -> Vec<&str> {
    groups.iter().map(String::as_str).collect()
}

/// Raises `ValueError` if no group can have the name.
#[pyfunction]
#[pyo3(signature = (name, may_be_wildcard=false))]
pub(super) fn check_group(name: &str, may_be_wildcard: bool) -> PyResult<()> {
    check_name(name, may_be_wildcard).map_err(|error| errors::value(error.to_string()))
}

#[pyfunction]
pub(super) fn occupied(py: Python<'_>, prefix: String) -> PyResult<Vec<(String, usize)>> {
    let hub = hub()?;
    let counts = wait::apart(py, move || hub.occupied(&prefix))?;
    let counts = counts.iter();
    Ok(counts
        .map(|(group, count)| (group.to_string(), *count))
        .collect())
}

type PyHistory<'py> = (Vec<(u64, Bound<'py, PyAny>)>, u64, String);

#[pyfunction]
#[pyo3(signature = (group, limit, size, ttl=300.0, timeout=None))]
pub(super) fn history<'py>(
    py: Python<'py>,
    group: String,
    limit: usize,
    size: usize,
    ttl: f64,
    timeout: Option<f64>,
) -> PyResult<PyHistory<'py>> {
    let ttl = errors::seconds("ttl", ttl)?;
    let limits = Limits { size, ttl };
    let timeout = self::timeout(timeout)?;
    let hub = hub()?;
    let (entries, top) = wait::apart(py, move || hub.history(&group, limits, timeout))?
        .map_err(|error| errors::broker(&error))?;
    let skipped = entries.len().saturating_sub(limit);
    let entries = entries.into_iter().skip(skipped);
    let entries = entries.map(|(offset, kind, payload)| {
        let data = match (kind, std::str::from_utf8(&payload)) {
            (PayloadKind::Text | PayloadKind::Json, Ok(text)) => PyString::new(py, text).into_any(),
            _ => PyBytes::new(py, &payload).into_any(),
        };
        (offset, data)
    });
    Ok((entries.collect(), top.offset, top.epoch.to_string()))
}

#[pyfunction]
#[pyo3(signature = (group, size, ttl=300.0, timeout=None))]
pub(super) fn position(
    py: Python<'_>,
    group: String,
    size: usize,
    ttl: f64,
    timeout: Option<f64>,
) -> PyResult<(u64, String)> {
    let ttl = errors::seconds("ttl", ttl)?;
    let limits = Limits { size, ttl };
    let timeout = self::timeout(timeout)?;
    let hub = hub()?;
    let Position { offset, epoch } =
        wait::apart(py, move || hub.position(&group, limits, timeout))?
            .map_err(|error| errors::broker(&error))?;
    Ok((offset, epoch.to_string()))
}

/// The address of the broker, without the user name and the password.
#[pyfunction]
pub(super) fn broker_address(py: Python<'_>) -> Option<String> {
    py.detach(|| hub::running()?.broker_address())
}

/// The present numbers of the hub, and its losses since the process began.
#[pyclass(frozen, get_all, module = "dwebsocket._engine", name = "HubStats")]
pub(super) struct PyHubStats {
    connections: usize,
    groups: usize,
    memberships: usize,
    users: usize,
    dropped: u64,
    waiting: usize,
    lost: u64,
    broker: &'static str,
}

impl From<HubStats> for PyHubStats {
    fn from(stats: HubStats) -> Self {
        Self {
            connections: stats.connections,
            groups: stats.groups,
            memberships: stats.memberships,
            users: stats.users,
            dropped: stats.dropped,
            waiting: stats.waiting,
            lost: stats.lost,
            broker: stats.broker.word(),
        }
    }
}

/// The stats of a process without a hub.
const NOTHING: HubStats = HubStats {
    connections: 0,
    groups: 0,
    memberships: 0,
    users: 0,
    dropped: 0,
    waiting: 0,
    lost: 0,
    broker: BrokerState::None,
};

/// The numbers of the hub. If no engine runs, none is started.
#[pyfunction]
pub(super) fn hub_stats(py: Python<'_>) -> PyHubStats {
    let stats = wait::briefly(py, || {
        let engine = running()?;
        Some(hub::hub().ok()?.stats(engine))
    });
    stats.unwrap_or(NOTHING).into()
}

/// Forgets the histories of groups without members, unless a broker keeps them. For tests.
#[pyfunction]
pub(super) fn hub_forget_histories(py: Python<'_>) {
    wait::briefly(py, || {
        if let Some(hub) = hub::running() {
            hub.forget_histories();
        }
    });
}

/// Waits until the broker has every message; false if some still wait after `timeout` seconds.
#[pyfunction]
pub(super) fn hub_flush(py: Python<'_>, timeout: f64) -> PyResult<bool> {
    let timeout = errors::seconds("timeout", timeout)?;
    wait::apart(py, move || {
        hub::running().is_none_or(|hub| hub.flush(timeout))
    })
}
