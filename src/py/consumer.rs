//! How the view of a new connection waits: in a thread, or in an event loop.

use std::sync::Arc;

use pyo3::prelude::*;

use super::{errors, event_loop::PyEventLoop, start::ready, tasks::PyTaskLoop};
use crate::engine::Consumer;

/// A loop in which a view waits.
#[derive(FromPyObject)]
pub(super) enum AnyLoop<'py> {
    /// Of greenlets.
    Greenlets(Bound<'py, PyEventLoop>),
    /// Of asyncio's tasks.
    Tasks(Bound<'py, PyTaskLoop>),
}

/// The way in which the view of a new connection waits for its messages; `None`: it blocks a thread.
pub(super) fn consumer(event_loop: Option<AnyLoop<'_>>) -> PyResult<Consumer> {
    Ok(match event_loop {
        Some(AnyLoop::Greenlets(hub)) => Consumer::EventLoop(Arc::clone(&hub.get().event_loop)),
        Some(AnyLoop::Tasks(one)) => Consumer::EventLoop(Arc::clone(&one.get().event_loop)),
        None => Consumer::Threads(Arc::clone(
            ready().map_err(|error| errors::engine(&error))?.turnstile(),
        )),
    })
}
