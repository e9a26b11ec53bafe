use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use pyo3::prelude::*;

use super::{
    super::connection::PyConnection,
    parking::{PyParking, Wanted},
    task_loop::PyTaskLoop,
};
use crate::engine::Received;

/// The time for which a view may go on without waiting before other tasks run.
const SLICE: Duration = Duration::from_millis(1);

/// Calls without a wait between two looks at the clock.
const STRIDE: u32 = 16;

/// A connection, and the loop in which its view waits.
pub(super) struct Line {
    pub(super) connection: Py<PyConnection>,
    pub(super) task_loop: Py<PyTaskLoop>,
    /// A std mutex: held for a few instructions.
    pace: Mutex<Pace>,
    /// A parking that no task uses.
    spare: Mutex<Option<Py<PyParking>>>,
}

/// How long a view has gone on without waiting.
#[derive(Default)]
struct Pace {
    calls: u32,
    since: Option<Instant>,
}

impl Line {
    pub(super) fn new(connection: Py<PyConnection>, task_loop: Py<PyTaskLoop>) -> Self {
        Self {
            connection,
            task_loop,
            pace: Mutex::default(),
            spare: Mutex::default(),
        }
    }

    /// Whether the calling thread is not the one of the loop.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.task_loop.get().is_elsewhere()
    }

    /// Takes the oldest message.
    pub(super) fn take(&self) -> Received {
        let PyConnection {
            connection, inbox, ..
        } = self.connection.get();
        if self.task_loop.get().is_in_a_round() {
            inbox.take_in_loop(connection)
        } else {
            inbox.poll(connection)
        }
    }

    /// Counts a call that does not wait; returns whether other tasks should run first. A view that is flooded
    /// would never wait.
    pub(super) fn hurries(&self) -> bool {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.calls += 1;
        if !pace.calls.is_multiple_of(STRIDE) {
            return false;
        }
        let since = *pace.since.get_or_insert_with(Instant::now);
        let long = since.elapsed() > SLICE;
        if long {
            *pace = Pace::default();
        }
        long
    }

    /// Notes that the view waits.
    pub(super) fn rests(&self) {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = Pace::default();
    }

    /// Returns an object that a task can wait for.
    pub(super) fn parking(
        &self,
        py: Python<'_>,
        wanted: Wanted,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyParking>> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = spare.take();
        drop(spare);
        let parking = match kept {
            Some(parking) if timeout.is_none() => parking,
            _ => {
                let (connection, task_loop) =
                    (self.connection.clone_ref(py), self.task_loop.clone_ref(py));
                Py::new(py, PyParking::new(connection, task_loop))?
            }
        };
        parking.get().want(wanted);
        if let Some(seconds) = timeout {
            PyParking::expire_in(parking.bind(py), seconds)?;
        }
        Ok(parking)
    }

    /// Takes back a parking for which no task waits any more.
    pub(super) fn give_back(&self, py: Python<'_>, parking: Py<PyParking>) -> PyResult<()> {
        if parking.get().end(py)? {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            let replaced = spare.replace(parking);
            drop(spare);
            drop(replaced);
        }
        Ok(())
    }
}
