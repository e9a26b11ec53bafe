//! Helpers of the tests of a hub with a broker: the hub of this process, another process of the site, and a
//! pump for proxies.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use bytes::Bytes;
use dwebsocket::hub::{
    BrokerState, Hub, Join, Limits, Outgoing, PayloadKind, Position, Target,
    broker::{Broker, Events, Key},
};
use tokio::runtime::Runtime;

use crate::common::{LIMIT, limited, until};

/// Runs a test in a process of its own: a process has one hub, and a hub has one broker.
pub fn alone(name: &str, test: impl FnOnce() + Send + 'static) {
    if std::env::var("ALONE").as_deref() == Ok(name) {
        return limited(test);
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env("ALONE", name)
        .status()
        .unwrap();
    assert!(status.success());
}

pub fn hub() -> &'static Hub {
    dwebsocket::hub::hub().unwrap()
}

/// Connects the hub of this process, and waits until it is connected.
pub fn connect(url: &str, prefix: &str) {
    hub().connect(url, prefix).unwrap();
    until_broker_is(BrokerState::Connected);
}

pub fn until_broker_is(state: BrokerState) {
    until(&format!("the broker is {state:?}"), || {
        hub().broker_state() == state
    });
}

/// The usual arguments of a join.
pub fn join(limits: Option<Limits>) -> Join {
    Join {
        limits,
        timeout: LIMIT,
        ..Join::default()
    }
}

/// A text message.
pub fn text(target: Target, text: &str, timeout: Duration) -> Outgoing {
    Outgoing {
        targets: vec![target],
        kind: PayloadKind::Text,
        payload: text.to_owned().into(),
        excluded: Vec::new(),
        timeout,
    }
}

/// Passes on the envelopes that arrive; an empty one stands for a new connection.
struct Ear(Sender<Bytes>);

impl Events for Ear {
    fn message(&self, _channel: &str, envelope: Bytes, _position: Option<Position>) {
        let _ = self.0.send(envelope);
    }

    fn connected(&self) {
        let _ = self.0.send(Bytes::new());
    }

    fn lost(&self) {}

    fn disconnected(&self, _error: &str) {}
}

/// Another process of the site, as the broker sees it.
pub struct Other {
    pub broker: Broker,
    pub runtime: Runtime,
    pub envelope: Bytes,
    heard: Receiver<Bytes>,
}

impl Other {
    /// Connects, and records an envelope of this process, which [`Other::store`] sends again and again.
    pub fn start(url: &str, prefix: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (tell, heard) = channel();
        let broker = {
            let _context = runtime.enter();
            Broker::open(url, prefix, Arc::new(Ear(tell))).unwrap()
        };
        assert!(heard.recv_timeout(LIMIT).unwrap().is_empty());
        runtime.block_on(broker.subscribe("g:sample")).unwrap();
        let mut other = Self {
            broker,
            runtime,
            envelope: Bytes::new(),
            heard,
        };
        other.learn("missed");
        other
    }

    /// Records an envelope with another text: the hub of this process publishes it.
    pub fn learn(&mut self, text: &str) {
        let sample = self::text(Target::Group("sample".into()), text, LIMIT);
        hub().publish(&sample).unwrap();
        self.envelope = self.heard.recv_timeout(LIMIT).unwrap();
    }

    /// Stores the message in a group.
    pub async fn store(&self, group: &str, sequence: u64, limits: Limits) -> Position {
        let key = Key {
            publisher: "another".into(),
            sequence,
        };
        let channel = format!("g:{group}");
        let envelope = self.envelope.clone();
        let stored = self.broker.store(&channel, envelope, &key, limits);
        stored.await.unwrap()
    }
}

/// Passes on the bytes of one socket to another until the first ends. `see` gets each part before it is
/// passed on.
pub fn pump(from: &mut TcpStream, to: &mut TcpStream, mut see: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut buffer) {
        see(&buffer[..count]);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
