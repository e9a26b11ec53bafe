//! The contract of the brokers, against real servers: `REDIS_SERVER` and `NATS_SERVER` say where
//! their programs are.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dwebsocket::hub::{
    Limits, Position,
    broker::{Broker, BrokerError, Events, Key},
};

const LIMIT: Duration = Duration::from_secs(30);

const LIMITS: Limits = Limits {
    size: 5,
    ttl: Duration::from_secs(60),
};

/// The kinds of servers there are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Redis,
    Nats,
}

impl Kind {
    fn variable(self) -> &'static str {
        match self {
            Self::Redis => "REDIS_SERVER",
            Self::Nats => "NATS_SERVER",
        }
    }

    /// Every server writes what it has taken to the disk before it says so.
    fn arguments(self, port: u16, place: &Path) -> Vec<String> {
        let place = place.display();
        let arguments = match self {
            Self::Redis => format!(
                "--port {port} --bind 127.0.0.1 --save  --appendonly yes --appendfsync always --dir {place}"
            ),
            Self::Nats => {
                let file = format!("{place}/nats.conf");
                let text = format!(
                    "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{place}\", sync_interval: always }}\n"
                );
                fs::write(&file, text).unwrap();
                format!("--config {file}")
            }
        };
        arguments.split(' ').map(Into::into).collect()
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
        }
    }
}

/// Makes a test of each function for each kind of server.
macro_rules! contract {
    ($($test:ident)*) => {
        mod redis {
            $(#[test] fn $test() { super::$test(super::Kind::Redis); })*
        }

        mod nats {
            $(#[test] fn $test() { super::$test(super::Kind::Nats); })*
        }
    };
}

contract! {
    what_is_published_is_heard_in_order_by_who_subscribed
    a_history_has_no_gaps_and_nothing_twice
    old_messages_are_forgotten
    it_comes_back_after_the_server_was_killed
    lost_data_is_another_epoch
    a_server_that_stops_answering_is_noticed
    it_waits_for_a_server_that_is_not_there_yet
}

/// A server of the test's own, with its data in a directory of its own.
struct Server {
    kind: Kind,
    program: String,
    port: u16,
    place: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// `None` where there is no program; in CI there has to be one.
    fn start(kind: Kind, name: &str) -> Option<Self> {
        let variable = kind.variable();
        let Ok(program) = std::env::var(variable) else {
            assert!(std::env::var_os("CI").is_none(), "{variable} is not set");
            println!("skipped: {variable} is not set");
            return None;
        };
        let name = format!("{}-{name}", kind.scheme());
        // Below the range from which the system takes ports for clients: one of them could have it
        // while the server is down.
        let port = (0..12_000_u32)
            .map(|n| {
                20_000
                    + ((std::process::id() * 31
                        + name.bytes().map(u32::from).sum::<u32>() * 97
                        + n)
                        % 12_000) as u16
            })
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .unwrap();
        let place = std::env::temp_dir().join(format!("dwebsocket-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        let mut server = Self {
            kind,
            program,
            port,
            place,
            child: None,
        };
        server.up();
        Some(server)
    }

    fn up(&mut self) {
        let child = Command::new(&self.program)
            .args(self.kind.arguments(self.port, &self.place))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let until = Instant::now() + LIMIT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "the server does not start");
            thread::yield_now();
        }
    }

    fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.kind.scheme(), self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
        let _ = fs::remove_dir_all(&self.place);
    }
}

#[derive(Debug, PartialEq)]
enum Heard {
    Message(String, Bytes, Option<Position>),
    Connected,
    Disconnected,
}

struct Ear(Sender<Heard>);

impl Events for Ear {
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>) {
        let _ = self
            .0
            .send(Heard::Message(channel.into(), envelope, position));
    }

    fn connected(&self) {
        let _ = self.0.send(Heard::Connected);
    }

    fn disconnected(&self, error: &str) {
        eprintln!("{error}");
        let _ = self.0.send(Heard::Disconnected);
    }
}

/// A broker, what it says, and a runtime to ask it on.
struct One {
    broker: Broker,
    ear: Receiver<Heard>,
    runtime: tokio::runtime::Runtime,
}

impl One {
    fn open(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (tell, ear) = channel();
        let broker = {
            let _context = runtime.enter();
            Broker::open(url, "test", Arc::new(Ear(tell))).unwrap()
        };
        Self {
            broker,
            ear,
            runtime,
        }
    }

    fn connected(server: &Server) -> Self {
        let one = Self::open(&server.url());
        one.expect(&Heard::Connected);
        one
    }

    fn hear(&self) -> Heard {
        self.ear.recv_timeout(LIMIT).unwrap()
    }

    /// Waits for something, whatever comes before it.
    fn expect(&self, expected: &Heard) {
        let until = Instant::now() + LIMIT;
        while self.hear() != *expected {
            assert!(Instant::now() < until, "never {expected:?}");
        }
    }

    fn subscribe(&self, channel: &str) {
        self.runtime
            .block_on(self.broker.subscribe(channel))
            .unwrap();
    }

    fn publish(&self, channel: &str, text: &str) -> Result<(), BrokerError> {
        let text = Bytes::copy_from_slice(text.as_bytes());
        self.runtime.block_on(self.broker.publish(channel, text))
    }

    fn store(&self, channel: &str, sequence: u64) -> Result<Position, BrokerError> {
        let key = Key {
            publisher: "me".into(),
            sequence,
        };
        let envelope = sequence.to_string().into();
        self.runtime
            .block_on(self.broker.store(channel, envelope, &key, LIMITS))
    }

    fn fetch(&self, channel: &str, after: Option<&Position>) -> (Vec<u64>, Position, bool) {
        let fetched = self
            .runtime
            .block_on(self.broker.fetch(channel, after, LIMITS))
            .unwrap();
        let offsets = fetched.entries.iter().map(|(offset, _)| *offset);
        (offsets.collect(), fetched.top, fetched.complete)
    }
}

fn message(channel: &str, text: &str) -> Heard {
    Heard::Message(
        channel.into(),
        Bytes::copy_from_slice(text.as_bytes()),
        None,
    )
}

fn what_is_published_is_heard_in_order_by_who_subscribed(kind: Kind) {
    let Some(server) = Server::start(kind, "publish") else {
        return;
    };
    let (one, two) = (One::connected(&server), One::connected(&server));
    let odd = "g:a*b?[c]\\ \u{1F600}|{x}";
    two.subscribe(odd);
    two.subscribe("g:a*b?*");
    two.subscribe("g:left");
    two.runtime.block_on(two.broker.unsubscribe("g:left"));
    for number in 0..100 {
        one.publish(odd, &number.to_string()).unwrap();
    }
    one.publish("g:left", "nobody").unwrap();
    one.publish("g:a*b?z", "by its prefix").unwrap();
    one.publish("g:aXbYz", "no").unwrap();
    one.publish("g:a*b?end", "end").unwrap();
    for number in 0..100 {
        // Once for each subscription.
        for _ in 0..2 {
            assert_eq!(two.hear(), message(odd, &number.to_string()));
        }
    }
    assert_eq!(two.hear(), message("g:a*b?z", "by its prefix"));
    assert_eq!(two.hear(), message("g:a*b?end", "end"));
    one.runtime.block_on(one.broker.close());
    assert!(one.publish("g:x", "x").is_err());
}

fn a_history_has_no_gaps_and_nothing_twice(kind: Kind) {
    let Some(server) = Server::start(kind, "store") else {
        return;
    };
    let (one, two) = (One::connected(&server), One::connected(&server));
    two.subscribe("g:h");
    let empty = one.fetch("g:h", None);
    assert_eq!((&empty.0[..], empty.1.offset, empty.2), (&[][..], 0, true));
    let mut last = empty.1.clone();
    for sequence in 1..=7 {
        let position = one.store("g:h", sequence).unwrap();
        assert_eq!(position.offset, sequence);
        assert_eq!(position.epoch, last.epoch);
        // Again, as after a lost answer.
        assert_eq!(one.store("g:h", sequence).unwrap(), position);
        let envelope = sequence.to_string().into();
        let heard = Heard::Message("g:h".into(), envelope, Some(position.clone()));
        assert_eq!(two.hear(), heard);
        last = position;
    }
    assert_eq!(two.fetch("g:h", None).0, [3, 4, 5, 6, 7]);
    let at = |offset| Position {
        offset,
        epoch: last.epoch.clone(),
    };
    assert_eq!(
        two.fetch("g:h", Some(&at(5))),
        (vec![6, 7], last.clone(), true)
    );
    assert_eq!(two.fetch("g:h", Some(&at(7))), (vec![], last.clone(), true));
    assert!(!two.fetch("g:h", Some(&at(1))).2);
    let foreign = Position {
        offset: 7,
        epoch: "x".into(),
    };
    assert!(!two.fetch("g:h", Some(&foreign)).2);
}

fn old_messages_are_forgotten(kind: Kind) {
    let Some(server) = Server::start(kind, "ttl") else {
        return;
    };
    let one = One::connected(&server);
    let brief = Limits {
        size: 5,
        ttl: Duration::from_millis(30),
    };
    let key = Key {
        publisher: "me".into(),
        sequence: 1,
    };
    let store = one.broker.store("g:t", "x".into(), &key, brief);
    let position = one.runtime.block_on(store).unwrap();
    thread::sleep(Duration::from_millis(50));
    let fetched = one
        .runtime
        .block_on(one.broker.fetch("g:t", None, brief))
        .unwrap();
    assert_eq!((fetched.entries.len(), fetched.top), (0, position));
}

fn it_comes_back_after_the_server_was_killed(kind: Kind) {
    let Some(mut server) = Server::start(kind, "kill") else {
        return;
    };
    let (one, two) = (One::connected(&server), One::connected(&server));
    two.subscribe("g:k");
    two.subscribe("g:many*");
    let stored = one.store("g:k", 1).unwrap();
    server.down();
    one.expect(&Heard::Disconnected);
    two.expect(&Heard::Disconnected);
    assert!(one.publish("g:k", "lost").is_err());
    assert!(one.store("g:k", 2).is_err());
    server.up();
    one.expect(&Heard::Connected);
    two.expect(&Heard::Connected);
    assert_eq!(one.fetch("g:k", None), (vec![1], stored.clone(), true));
    assert_eq!(one.store("g:k", 2).unwrap().offset, 2);
    one.publish("g:many.x", "again").unwrap();
    two.expect(&message("g:many.x", "again"));
}

fn lost_data_is_another_epoch(kind: Kind) {
    let Some(mut server) = Server::start(kind, "lost") else {
        return;
    };
    let one = One::connected(&server);
    let stored = one.store("g:l", 1).unwrap();
    server.down();
    fs::remove_dir_all(&server.place).unwrap();
    fs::create_dir_all(&server.place).unwrap();
    server.up();
    one.expect(&Heard::Connected);
    let (entries, top, complete) = one.fetch("g:l", Some(&stored));
    assert_eq!((entries.len(), top.offset, complete), (0, 0, false));
    assert_ne!(top.epoch, stored.epoch);
}

fn a_server_that_stops_answering_is_noticed(kind: Kind) {
    let Some(server) = Server::start(kind, "stop") else {
        return;
    };
    let one = One::connected(&server);
    one.subscribe("g:s");
    server.signal("-STOP");
    let begun = Instant::now();
    one.expect(&Heard::Disconnected);
    assert!(begun.elapsed() < Duration::from_secs(10));
    server.signal("-CONT");
    one.expect(&Heard::Connected);
    one.publish("g:s", "back").unwrap();
    one.expect(&message("g:s", "back"));
}

fn it_waits_for_a_server_that_is_not_there_yet(kind: Kind) {
    let Some(mut server) = Server::start(kind, "late") else {
        return;
    };
    server.down();
    let one = One::open(&server.url());
    assert_eq!(one.hear(), Heard::Disconnected);
    assert!(!one.broker.is_connected());
    server.up();
    one.expect(&Heard::Connected);
    assert!(one.broker.is_connected());
}

#[test]
fn a_url_that_cannot_be_used_is_refused_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _context = runtime.enter();
    for url in ["localhost", "carrier-pigeon://x", "redis://[::bad"] {
        let (tell, _ear) = channel();
        let refused = Broker::open(url, "test", Arc::new(Ear(tell)));
        assert!(matches!(refused, Err(BrokerError::Url(_))), "{url}");
    }
}
