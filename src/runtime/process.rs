//! The runtime of one process: tokio's threads, and the objects that they share with Python's threads.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Chores, Gate, Log, PerProcess, start, trim};

/// The runtime of this process.
static RUNTIME: PerProcess<Runtime> = PerProcess::new();

/// The threads, the log and the gate that a process has once.
#[derive(Debug)]
pub struct Runtime {
    /// Spawns tasks; outlives tokio's runtime itself.
    handle: tokio::runtime::Handle,
    /// Taken out by [`Runtime::shut_down`].
    tokio: Mutex<Option<tokio::runtime::Runtime>>,
    log: Log,
    gate: Gate,
    chores: Arc<Chores>,
    pub(super) held: trim::Held,
}

/// The runtime of this process, which is started if there is none.
///
/// # Errors
///
/// The operating system has no thread or no epoll instance left.
pub fn runtime() -> io::Result<&'static Runtime> {
    RUNTIME.get_or_try_init(|| {
        let tokio = start::runtime()?;
        trim::bound();
        let chores = Arc::<Chores>::default();
        let left = Arc::clone(&chores);
        tokio.spawn(async move { left.run().await });
        Ok(Runtime {
            handle: tokio.handle().clone(),
            tokio: Mutex::new(Some(tokio)),
            log: Log::default(),
            gate: Gate::default(),
            chores,
            held: trim::Held::default(),
        })
    })
}

/// The runtime of this process if it has been started.
#[must_use]
pub fn running() -> Option<&'static Runtime> {
    RUNTIME.get()
}

impl Runtime {
    /// Tokio's handle, for spawning and for registering sockets.
    #[must_use]
    pub fn handle(&self) -> &tokio::runtime::Handle {
        &self.handle
    }

    /// Log records that wait until Python fetches them.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The gate that threads pass on their way back into the interpreter.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Work that can wait for a moment.
    pub(crate) fn chores(&self) -> &Chores {
        &self.chores
    }

    /// Ends tokio's threads; waits for them for at most `timeout`.
    pub(crate) fn shut_down(&self, timeout: Duration) {
        let tokio = self
            .tokio
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(tokio) = tokio {
            tokio.shutdown_timeout(timeout);
            self.chores.end();
        }
    }
}
