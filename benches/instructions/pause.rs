//! Keeps the engine's threads from working.

use std::{
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use dwebsocket::engine::engine;

/// The worker threads of the engine (`WORKER_THREADS` in `src/runtime/start.rs`).
const WORKERS: usize = 2;

/// While a pause lasts, no thread of the engine runs: none takes a lock that the counted code needs, none
/// writes what this thread queues, and no worker sleeps that would have to be woken. Without that, the counts
/// would depend on the order in which threads happen to run.
pub(crate) struct Pause {
    _release: Vec<Sender<()>>,
}

impl Pause {
    /// Waits until every worker is held.
    pub(crate) fn begin() -> Self {
        let (tell, held) = channel();
        let hold = || {
            let (release, released) = channel::<()>();
            let tell = tell.clone();
            engine().unwrap().handle().spawn(async move {
                tell.send(()).unwrap();
                // Returns when `release` is dropped.
                let _ = released.recv();
            });
            release
        };
        let release = (0..WORKERS).map(|_| hold()).collect();
        for _ in 0..WORKERS {
            let told = held.recv_timeout(Duration::from_secs(60));
            told.expect("the engine has WORKERS workers");
        }
        Self { _release: release }
    }
}
