//! Keeps the engine's threads from working.

use std::{
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use dwebsocket::engine::engine;

/// The longest wait for a worker, under valgrind on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// While a pause lasts, no thread of the engine runs: none takes a lock that the counted code needs, none
/// writes what this thread queues, and no worker sleeps that would have to be woken. Without that, the counts
/// would depend on the order in which threads happen to run.
pub(crate) struct Pause {
    _release: Vec<Sender<()>>,
}

impl Pause {
    /// Waits until every worker is held.
    pub(crate) fn begin() -> Self {
        let engine = engine().unwrap().handle();
        let workers = engine.metrics().num_workers();
        let (tell, held) = channel();
        let hold = || {
            let (release, released) = channel::<()>();
            let tell = tell.clone();
            engine.spawn(async move {
                tell.send(()).unwrap();
                // Returns when `release` is dropped.
                let _ = released.recv();
            });
            release
        };
        let release = (0..workers).map(|_| hold()).collect();
        for _ in 0..workers {
            held.recv_timeout(LIMIT).unwrap();
        }
        Self { _release: release }
    }
}
