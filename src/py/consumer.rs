//! How the view of a new connection waits: in a thread, in an event loop, or in handlers.

use std::sync::Arc;

use pyo3::prelude::*;

use super::{errors, event_loop::PyEventLoop, pool::PyPool, start::ready, tasks::PyTaskLoop};
use crate::engine::{Consumer, EventLoop};

/// A loop in which a view waits.
#[derive(FromPyObject)]
pub(super) enum AnyLoop<'py> {
    /// Of greenlets.
    Greenlets(Bound<'py, PyEventLoop>),
    /// Of asyncio's tasks.
    Tasks(Bound<'py, PyTaskLoop>),
    /// Of the threads that call handlers.
    Pool(Bound<'py, PyPool>),
}

impl AnyLoop<'_> {
    pub(super) fn event_loop(&self) -> Arc<EventLoop> {
        Arc::clone(match self {
            Self::Greenlets(hub) => &hub.get().event_loop,
            Self::Tasks(one) => &one.get().event_loop,
            Self::Pool(pool) => pool.get().event_loop(),
        })
    }
}

/// The way in which the view of a new connection waits for its messages; `None`: it blocks a thread.
pub(super) fn consumer(event_loop: Option<AnyLoop<'_>>) -> PyResult<Consumer> {
    Ok(match event_loop {
        Some(found) => Consumer::EventLoop(found.event_loop()),
        None => Consumer::Threads(Arc::clone(
            ready().map_err(|error| errors::engine(&error))?.turnstile(),
        )),
    })
}
