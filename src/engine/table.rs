//! The table of the open connections of this process. The engine starts with an empty table at its first
//! use, a fork makes the table void in the child, and [`Engine::stop`] empties it within a time limit.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{connection::Connection, consumer::Turnstile, leaving::Leaving, shared::Shared};
use crate::runtime::{
    Gate, Level, Log, PerProcess,
    figures::{self, Counter},
    fork,
};

/// The engine of this process.
static ENGINE: PerProcess<Engine> = PerProcess::new();

/// The id of the next connection: unique in the process, and never reused.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The open connections of one process, and the tasks that serve all of them.
#[derive(Debug)]
pub struct Engine {
    pub(super) shared: Shared,
    /// A std mutex: held for a map operation, never across an await.
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    /// Signalled when the table becomes empty.
    empty: Condvar,
    /// How far the stop of the process has come.
    pub(super) leaving: Leaving,
}

/// Returns the engine of this process, and starts it if there is none.
///
/// # Errors
///
/// The error of the operating system, if it provides no thread or no epoll instance.
pub fn engine() -> io::Result<&'static Engine> {
    ENGINE.get_or_try_init(Engine::start)
}

/// Returns the engine of this process if it has been started.
#[must_use]
pub fn running() -> Option<&'static Engine> {
    ENGINE.get()
}

/// Stops the engine of this process, and voids it together with the hub and the broker's connection: the
/// next use starts new ones. The old connections count as those of another process. For tests.
pub fn renew(timeout: Duration) {
    let Some(engine) = running() else { return };
    engine.stop(timeout, 1001);
    fork::renew();
    // The thread that waits for the records of the old engine looks for the new one.
    engine
        .log()
        .push(Level::Info, "the engine was stopped".to_owned());
}

impl Engine {
    fn start() -> io::Result<Self> {
        Ok(Self {
            shared: Shared::start()?,
            connections: Mutex::default(),
            empty: Condvar::new(),
            leaving: Leaving::default(),
        })
    }

    /// The runtime's handle, for spawning and for registering sockets.
    #[must_use]
    pub fn handle(&self) -> &tokio::runtime::Handle {
        self.shared.runtime.handle()
    }

    /// The log records of the engine, kept until Python fetches them.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.shared.runtime.log()
    }

    /// The line of threads that have a message to fetch.
    #[must_use]
    pub fn turnstile(&self) -> &Arc<Turnstile> {
        &self.shared.turnstile
    }

    /// All open connections.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.table().values().cloned().collect()
    }

    /// The number of open connections.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table().len()
    }

    /// The gate that threads pass on their way back into the interpreter.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        self.shared.runtime.gate()
    }

    pub(crate) fn next_id() -> u64 {
        NEXT_ID.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn register(&self, connection: &Arc<Connection>) {
        if !connection.is_listed() {
            return;
        }
        figures::count(Counter::Opened, 1);
        self.table().insert(connection.id(), Arc::clone(connection));
    }

    /// Whether a connection is still in the table: it leaves its groups before it leaves the table.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.table().contains_key(&id)
    }

    pub(crate) fn forget(&self, connection: &Connection) {
        if !connection.is_listed() {
            return;
        }
        figures::count_closed(connection.end().map_or(1006, |end| end.code));
        let mut table = self.table();
        table.remove(&connection.id());
        if table.is_empty() {
            self.empty.notify_all();
        }
    }

    /// Starts the close handshake of every connection, and refuses new connections from then on. Returns
    /// the number of connections that were open.
    pub fn close_all(&self, code: u16) -> usize {
        self.refuse();
        self.close_each(code)
    }

    /// Starts the close handshake of every connection; returns their number.
    pub(super) fn close_each(&self, code: u16) -> usize {
        // The list is copied first, so that the table is not locked while connections close.
        let open = self.connections();
        for connection in &open {
            connection.close(code, "");
        }
        open.len()
    }

    /// Closes every connection, waits up to `timeout` for the close handshakes, aborts the remaining
    /// connections and ends the runtime. Returns how many connections were aborted.
    pub fn stop(&self, timeout: Duration, code: u16) -> usize {
        self.close_all(code);
        let deadline = Instant::now() + timeout;
        if !self.wait_until_empty(deadline) {
            let late = self.connections();
            for connection in &late {
                connection.abort();
            }
            self.wait_until_empty(Instant::now() + Duration::from_millis(500));
            self.shared.runtime.shut_down(Duration::from_millis(100));
            return late.len();
        }
        self.shared.runtime.shut_down(Duration::from_millis(500));
        0
    }

    fn wait_until_empty(&self, deadline: Instant) -> bool {
        let mut table = self.table();
        while !table.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            table = self
                .empty
                .wait_timeout(table, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    pub(super) fn table(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
