//! Helpers of the tests of a hub with a broker: the hub of this process, another process of the site, and a
//! pump for proxies.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use bytes::Bytes;
use dwebsocket::hub::{
    BrokerState, Hub, Join, Limits, Outgoing, PayloadKind, Position, Target,
    broker::{Broker, Events, Key},
};
use tokio::runtime::Runtime;

use crate::common::{LIMIT, until};

pub fn hub() -> &'static Hub {
    dwebsocket::hub::hub().unwrap()
}

/// Connects the hub of this process, and waits until it is connected.
pub fn connect(url: &str, prefix: &str) {
    hub().connect(url, prefix).unwrap();
    until("the broker is there", || {
        hub().broker_state() == BrokerState::Connected
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
        let sample = text(Target::Group("sample".into()), "missed", LIMIT);
        hub().publish(&sample).unwrap();
        let envelope = heard.recv_timeout(LIMIT).unwrap();
        Self {
            broker,
            runtime,
            envelope,
        }
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
