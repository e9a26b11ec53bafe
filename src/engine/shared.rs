//! The parts of a process that all its connections use.

use std::{io, sync::Arc, sync::atomic::AtomicUsize};

use super::{connection::input::CHUNK, consumer::Turnstile, courier::Couriers, poller::Poller};
use crate::runtime::{Runtime, runtime};

/// The parts that connections share. No part depends on a connection.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) runtime: &'static Runtime,
    /// The line of threads that have a message to fetch.
    pub(super) turnstile: Arc<Turnstile>,
    /// Reads sockets for the views that wait in threads.
    pub(super) poller: Arc<Poller>,
    /// The tasks that write what senders leave in outboxes.
    pub(super) couriers: Couriers,
    /// The number of connections that pause reading because their peers flood.
    pub(super) floods: AtomicUsize,
}

impl Shared {
    /// Starts the tasks that serve all connections.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = runtime()?;
        let poller = Arc::new(Poller::new(CHUNK)?);
        let turnstile = Arc::new(Turnstile::with_poller(Arc::clone(&poller)));
        let attended = Arc::clone(&poller);
        runtime
            .handle()
            .spawn(async move { attended.watch().await });
        let watched = Arc::clone(&turnstile);
        runtime.handle().spawn(async move { watched.watch().await });
        Ok(Self {
            turnstile,
            poller,
            couriers: Couriers::start(runtime.handle()),
            floods: AtomicUsize::new(0),
            runtime,
        })
    }
}
