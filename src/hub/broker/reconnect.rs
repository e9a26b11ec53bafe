//! Makes a connection again whenever it breaks, with growing pauses in between.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::contract::{BrokerError, Events};

/// How long a command may take.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a connection is ended whose messages wait in this process.
pub(super) const TOO_FAST: &str =
    "messages were lost: they came faster than this process could take them";

/// The shortest and the longest pause between attempts to connect.
const SHORTEST: Duration = Duration::from_millis(50);
pub(in crate::hub) const LONGEST: Duration = Duration::from_secs(5);

/// A server, for the loop that stays connected to it.
pub(super) trait Server: Send + Sync + 'static {
    /// A connection, for `serve`.
    type Connection: Send;

    /// Gets the events of the connection.
    fn events(&self) -> &dyn Events;

    /// Closing this ends the loop.
    fn closing(&self) -> &Closing;

    /// Connects, and makes all remembered subscriptions.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, BrokerError>> + Send;

    /// Passes messages on until the connection ends.
    fn serve(&self, connection: Self::Connection) -> impl Future<Output = Served> + Send;

    /// Called when there is no connection any more.
    fn forget(&self);
}

/// The end of a connection.
pub(super) struct Served {
    /// Why the connection has ended.
    pub(super) error: BrokerError,
    /// A command has succeeded over the connection: the next pause is short again. A server that accepts
    /// connections and is of no use is called with growing pauses.
    pub(super) useful: bool,
}

/// Tells the loop that its server is not needed any more.
#[derive(Debug, Default)]
pub(super) struct Closing {
    closed: AtomicBool,
    told: Notify,
}

impl Closing {
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.told.notify_one();
    }

    /// Returns when [`Self::close`] is called.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// Stays connected until the server's [`Closing`] is closed.
pub(super) async fn stay_connected<S: Server>(server: Arc<S>) {
    let mut backoff = Backoff::default();
    while !server.closing().is_closed() {
        let error = match server.connect().await {
            Ok(connection) => {
                let begun = Instant::now();
                server.events().connected();
                let served = server.serve(connection).await;
                if served.useful || begun.elapsed() > LONGEST {
                    backoff = Backoff::default();
                }
                served.error
            }
            Err(error) => error,
        };
        server.forget();
        if server.closing().is_closed() {
            return;
        }
        let pause = backoff.next();
        server.events().disconnected(&away(&error, pause));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = server.closing().told() => {}
        }
    }
}

/// Growing pauses, of random length so that not all processes connect at once.
#[derive(Debug)]
pub(in crate::hub) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Backoff {
    pub(in crate::hub) fn next(&mut self) -> Duration {
        let most = self.0;
        self.0 = (most * 2).min(LONGEST);
        most.mul_f64(0.5 + chance() / 2.0)
    }
}

/// The words for [`Events::disconnected`]: the error, and when the next attempt comes.
fn away(error: &BrokerError, pause: Duration) -> String {
    let error = match error {
        BrokerError::Unavailable(words) => words.clone(),
        other => other.to_string(),
    };
    format!(
        "{error}; the next attempt comes in {} ms, others at most {} s apart",
        pause.as_millis(),
        LONGEST.as_secs()
    )
}

/// A random number from 0 to 1.
pub(super) fn chance() -> f64 {
    (RandomState::new().hash_one(()) % 1_000) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;

    use super::*;
    use crate::hub::position::Position;

    /// A server that refuses, or takes the connection and ends it.
    struct Fake {
        told: Arc<Told>,
        takes: bool,
        useful: bool,
        closing: Closing,
    }

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Events for Told {
        fn message(&self, _: &str, _: Bytes, _: Option<Position>) {}
        fn connected(&self) {
            self.0.lock().unwrap().push("connected".into());
        }
        fn lost(&self) {}
        fn disconnected(&self, error: &str) {
            self.0.lock().unwrap().push(error.into());
        }
    }

    impl Server for Fake {
        type Connection = ();

        fn events(&self) -> &dyn Events {
            &*self.told
        }

        fn closing(&self) -> &Closing {
            &self.closing
        }

        async fn connect(&self) -> Result<(), BrokerError> {
            if self.told.0.lock().unwrap().len() > 4 {
                self.closing.close();
            }
            let refused = BrokerError::Unavailable("no".into());
            self.takes.then_some(()).ok_or(refused)
        }

        async fn serve(&self, (): ()) -> Served {
            Served {
                error: BrokerError::Unavailable("gone".into()),
                useful: self.useful,
            }
        }

        fn forget(&self) {}
    }

    /// The pauses, in milliseconds, and how often there was a connection.
    async fn run(takes: bool, useful: bool) -> (Vec<u64>, usize) {
        let told = Arc::<Told>::default();
        let server = Arc::new(Fake {
            told: Arc::clone(&told),
            takes,
            useful,
            closing: Closing::default(),
        });
        stay_connected(server).await;
        let told = told.0.lock().unwrap();
        let pauses = told.iter().filter_map(|text| {
            let words = text.split_once(" comes in ")?.1;
            words.split_once(" ms")?.0.parse().ok()
        });
        let connected = told.iter().filter(|text| *text == "connected").count();
        (pauses.collect(), connected)
    }

    #[tokio::test]
    async fn pauses_grow_until_a_connection_was_useful() {
        let (pauses, connected) = run(false, false).await;
        assert_eq!(connected, 0);
        assert!(pauses.windows(2).all(|two| two[1] >= two[0]), "{pauses:?}");
        assert!(pauses.last().unwrap() >= &400, "{pauses:?}");
        let (pauses, connected) = run(true, true).await;
        assert!(connected > 1 && pauses.iter().all(|pause| *pause <= 50));
        let (pauses, _) = run(true, false).await;
        assert!(pauses[2] >= 100, "{pauses:?}");
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= SHORTEST);
        assert!(pauses[19] >= LONGEST / 2 && pauses[19] <= LONGEST);
    }
}
