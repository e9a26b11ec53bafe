//! A client of a broker, the events that it reports, and a runtime for its calls.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use dwebsocket::hub::{
    Limits, Position,
    broker::{Broker, BrokerError, Events, Fetched, Key},
};

use super::server::{LIMIT, Server};

pub(crate) const LIMITS: Limits = Limits {
    size: 5,
    ttl: Duration::from_secs(60),
};

#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Message(String, Bytes, Option<Position>),
    Connected,
    Disconnected,
    Refused(String),
}

pub(crate) struct Ear(pub(crate) Sender<Heard>);

impl Events for Ear {
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>) {
        let heard = Heard::Message(channel.into(), envelope, position);
        let _ = self.0.send(heard);
    }

    fn connected(&self) {
        let _ = self.0.send(Heard::Connected);
    }

    fn lost(&self) {}

    fn refused(&self, channel: &str, error: &BrokerError) {
        eprintln!("{error}");
        let _ = self.0.send(Heard::Refused(channel.into()));
    }

    fn disconnected(&self, error: &str) {
        eprintln!("{error}");
        let _ = self.0.send(Heard::Disconnected);
    }
}

/// Blocks the task that delivers a message until the test lets it go on.
pub(crate) struct Slow {
    may_go_on: Mutex<bool>,
    goes_on: Condvar,
    ear: Ear,
    lost: AtomicUsize,
    was_cut: AtomicBool,
}

impl Slow {
    pub(crate) fn go_on(&self) {
        *self.may_go_on.lock().unwrap() = true;
        self.goes_on.notify_all();
    }

    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Relaxed)
    }
}

impl Events for Slow {
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>) {
        // The client's own task may be queued on this thread and must not be blocked, too.
        tokio::task::block_in_place(|| {
            let go = self.may_go_on.lock().unwrap();
            drop(self.goes_on.wait_while(go, |go| !*go).unwrap());
        });
        self.ear.message(channel, envelope, position);
    }

    fn connected(&self) {
        self.ear.connected();
    }

    fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    fn disconnected(&self, error: &str) {
        // An attempt to connect again may fail for another reason.
        let is_first = !self.was_cut.swap(true, Relaxed);
        assert!(!is_first || error.contains("were lost"), "{error}");
        self.ear.disconnected(error);
    }
}

pub(crate) struct One {
    pub(crate) broker: Broker,
    pub(crate) ear: Receiver<Heard>,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl One {
    pub(crate) fn open(url: &str) -> Self {
        let (tell, ear) = channel();
        Self::with(url, 1, Arc::new(Ear(tell)), ear)
    }

    fn with(url: &str, threads: usize, events: Arc<dyn Events>, ear: Receiver<Heard>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap();
        let broker = {
            let _context = runtime.enter();
            Broker::open(url, "test", events).unwrap()
        };
        Self {
            broker,
            ear,
            runtime,
        }
    }

    /// Listens to `g:fast`, and takes no message before it may go on.
    pub(crate) fn slow(server: &Server) -> (Self, Arc<Slow>) {
        let (tell, ear) = channel();
        let slow = Arc::new(Slow {
            may_go_on: Mutex::default(),
            goes_on: Condvar::new(),
            ear: Ear(tell),
            lost: AtomicUsize::new(0),
            was_cut: AtomicBool::new(false),
        });
        let events = Arc::<Slow>::clone(&slow);
        let one = Self::with(&server.url(), 2, events, ear);
        assert_eq!(one.hear(), Heard::Connected);
        one.subscribe("g:fast");
        (one, slow)
    }

    pub(crate) fn connected(server: &Server) -> Self {
        let one = Self::open(&server.url());
        one.expect(&Heard::Connected);
        one
    }

    pub(crate) fn hear(&self) -> Heard {
        self.ear.recv_timeout(LIMIT).unwrap()
    }

    /// Waits for an event, and skips other events before it.
    pub(crate) fn expect(&self, expected: &Heard) {
        let until = Instant::now() + LIMIT;
        while self.hear() != *expected {
            assert!(Instant::now() < until, "never {expected:?}");
        }
    }

    pub(crate) fn subscribe(&self, channel: &str) {
        self.runtime
            .block_on(self.broker.subscribe(channel))
            .unwrap();
    }

    pub(crate) fn unsubscribe(&self, channel: &str) {
        self.runtime.block_on(self.broker.unsubscribe(channel));
    }

    pub(crate) fn publish(&self, channel: &str, text: &str) -> Result<(), BrokerError> {
        let text = Bytes::copy_from_slice(text.as_bytes());
        self.runtime.block_on(self.broker.publish(channel, text))
    }

    pub(crate) fn store(&self, channel: &str, sequence: u64) -> Result<Position, BrokerError> {
        self.store_as("me", channel, sequence, sequence.to_string().into(), LIMITS)
    }

    pub(crate) fn store_as(
        &self,
        publisher: &str,
        channel: &str,
        sequence: u64,
        envelope: Bytes,
        limits: Limits,
    ) -> Result<Position, BrokerError> {
        let key = Key {
            publisher: publisher.into(),
            sequence,
        };
        self.runtime
            .block_on(self.broker.store(channel, envelope, &key, limits))
    }

    pub(crate) fn fetched(
        &self,
        channel: &str,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        self.runtime
            .block_on(self.broker.fetch(channel, after, limits))
    }

    pub(crate) fn fetch(
        &self,
        channel: &str,
        after: Option<&Position>,
    ) -> (Vec<u64>, Position, bool) {
        let fetched = self.fetched(channel, after, LIMITS).unwrap();
        let offsets = fetched.entries.iter().map(|stored| stored.offset);
        (offsets.collect(), fetched.top, fetched.complete)
    }
}

pub(crate) fn message(channel: &str, text: &str) -> Heard {
    let text = Bytes::copy_from_slice(text.as_bytes());
    Heard::Message(channel.into(), text, None)
}

/// The offsets and envelopes of a history.
pub(crate) fn pairs(fetched: &Fetched) -> Vec<(u64, Bytes)> {
    let entries = fetched.entries.iter();
    entries
        .map(|stored| (stored.offset, stored.envelope.clone()))
        .collect()
}
