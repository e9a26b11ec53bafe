//! The parts of a process that all its connections use.

use std::{io, sync::Arc, sync::atomic::AtomicUsize};

use super::{consumer::Turnstile, courier::Couriers};
use crate::runtime::{Runtime, runtime};

/// The parts that connections share. No part depends on a connection.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) runtime: &'static Runtime,
    /// The line of threads that have a message to fetch.
    pub(super) turnstile: Arc<Turnstile>,
    /// The tasks that write what senders leave in outboxes.
    pub(super) couriers: Couriers,
    /// The number of connections that pause reading because their peers flood.
    pub(super) floods: AtomicUsize,
}

impl Shared {
    /// Starts the tasks that serve all connections.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = runtime()?;
        let turnstile = Arc::new(Turnstile::default());
        let watched = Arc::clone(&turnstile);
        runtime.handle().spawn(async move { watched.watch().await });
        Ok(Self {
            turnstile,
            couriers: Couriers::start(runtime.handle()),
            floods: AtomicUsize::new(0),
            runtime,
        })
    }
}
