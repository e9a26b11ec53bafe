//! Sockets that are read by whoever attends the poller, while that thread is late or busy.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use common::{Peer, connect, connect_inbox, limited, until};
use dwebsocket::{
    config::Config,
    engine::{Connection, End, Handler, Overflow, Received, Sent},
    protocol::{Message, OpCode},
};
use tungstenite::Message as Wire;

/// The tests run one after another, since each of them holds up whoever reads.
fn alone(test: impl FnOnce() + Send + 'static) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    limited(test);
}

/// How long whoever reads is held up.
const HELD: Duration = Duration::from_millis(600);

/// Holds up whoever reads at each message.
struct HoldsUp;

impl Handler for HoldsUp {
    fn on_message(&self, _connection: &Arc<Connection>, _message: Message) {
        thread::sleep(HELD);
    }

    fn is_polled(&self) -> bool {
        true
    }

    fn on_end(&self, _connection: &Connection) {}
}

/// A thread that waits for a message and reads for all, and a peer whose messages hold it up.
struct Late {
    idle: (Arc<Connection>, Peer),
    thread: thread::JoinHandle<Received>,
    peer: Peer,
}

impl Late {
    fn new() -> Self {
        let (connection, inbox, idle) = connect_inbox(Config::default());
        let waits = Arc::clone(&connection);
        let thread = thread::spawn(move || inbox.wait(&waits, None));
        let (_, peer) = connect(Config::default(), Arc::new(HoldsUp));
        thread::sleep(Duration::from_millis(50));
        Self {
            idle: (connection, idle),
            thread,
            peer,
        }
    }

    fn hold_up(&mut self) {
        self.peer.send(Wire::text("wait")).unwrap();
        thread::sleep(Duration::from_millis(10));
    }

    fn end(self) {
        self.idle.0.close(1000, "");
        assert_eq!(self.thread.join().unwrap(), Received::End);
    }
}

/// A peer that answers pings until the connection ends.
fn answers(mut peer: Peer) {
    thread::spawn(move || while peer.read().is_ok() {});
}

#[test]
fn a_pong_that_nobody_has_read_yet_counts() {
    alone(|| {
        let mut late = Late::new();
        let config = Config {
            ping_interval: Some(Duration::from_millis(50)),
            ping_timeout: Duration::from_millis(100),
            ..Config::default()
        };
        let (connection, _inbox, peer) = connect_inbox(config);
        answers(peer);
        until("a ping is answered", || connection.latency().is_some());
        late.hold_up();
        thread::sleep(HELD);
        assert_eq!(connection.end(), None);
        late.end();
    });
}

#[test]
fn a_message_that_nobody_has_read_yet_keeps_a_connection_from_being_idle() {
    alone(|| {
        let mut late = Late::new();
        let config = Config {
            idle_timeout: Some(Duration::from_millis(200)),
            ..Config::default()
        };
        let (connection, _inbox, mut peer) = connect_inbox(config);
        late.hold_up();
        let end = Instant::now() + HELD;
        while Instant::now() < end {
            peer.send(Wire::text("busy")).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(connection.end(), None);
        late.end();
    });
}

#[test]
fn a_close_frame_that_nobody_has_read_yet_counts() {
    alone(|| {
        let mut late = Late::new();
        let config = Config {
            close_timeout: Duration::from_millis(200),
            ..Config::default()
        };
        let (connection, _inbox, peer) = connect_inbox(config);
        answers(peer);
        late.hold_up();
        connection.close(4000, "");
        thread::sleep(HELD);
        let code = connection.end().map(|End { code, .. }| code);
        assert_eq!(code, Some(4000));
        late.end();
    });
}

#[test]
fn waits_that_end_at_once_do_not_keep_messages_in_the_sockets() {
    alone(|| {
        for wait in [50, 100, 200, 400, 800, 1600].map(Duration::from_nanos) {
            let (hasty, inbox, _idle) = connect_inbox(Config::default());
            let (_connection, quiet, mut peer) = connect_inbox(Config::default());
            let ends = Arc::clone(&hasty);
            let thread = thread::spawn(move || {
                while inbox.wait(&hasty, Some(Instant::now() + wait)) != Received::End {}
            });
            for n in 1..=20 {
                let began = Instant::now();
                peer.send(Wire::text("text")).unwrap();
                until("the message is read", || quiet.pending() == n);
                let late = began.elapsed();
                assert!(late < Duration::from_millis(250), "{late:?}, {wait:?}");
            }
            ends.close(1000, "");
            thread.join().unwrap();
        }
    });
}

/// Panics at each message.
struct Panics;

impl Handler for Panics {
    fn on_message(&self, _connection: &Arc<Connection>, _message: Message) {
        panic!("a defect");
    }

    fn is_polled(&self) -> bool {
        true
    }

    fn on_end(&self, _connection: &Connection) {}
}

#[test]
fn a_panic_ends_its_connection_and_no_other() {
    alone(|| {
        let (waiting, inbox, mut other) = connect_inbox(Config::default());
        let waits = Arc::clone(&waiting);
        let thread = thread::spawn(move || inbox.wait(&waits, None));
        for _ in 0..3 {
            let (connection, mut peer) = connect(Config::default(), Arc::new(Panics));
            thread::sleep(Duration::from_millis(20));
            peer.send(Wire::text("text")).unwrap();
            until("the connection ends", || connection.end().is_some());
            assert!(peer.read().is_err());
        }
        other.send(Wire::text("text")).unwrap();
        assert!(matches!(thread.join().unwrap(), Received::Message(_)));
        // Now the watch reads.
        let (_connection, quiet, mut peer) = connect_inbox(Config::default());
        let (connection, mut defect) = connect(Config::default(), Arc::new(Panics));
        thread::sleep(Duration::from_millis(20));
        defect.send(Wire::text("text")).unwrap();
        until("the connection ends", || connection.end().is_some());
        peer.send(Wire::text("text")).unwrap();
        until("the message is read", || quiet.pending() == 1);
    });
}

/// Sends small messages, one after another, until the connection ends.
fn talks(mut peer: TcpStream, pause: Duration) {
    while peer.write_all(b"\x82\x81\0\0\0\0x").is_ok() {
        let began = Instant::now();
        while began.elapsed() < pause {
            thread::yield_now();
        }
    }
}

#[test]
fn a_download_goes_on_although_its_peer_sends_meanwhile() {
    const MANY: usize = 96 << 20;
    alone(|| {
        let payload = vec![b'x'; MANY];
        let mut chunk = vec![0; 1 << 20];
        for pause in (4..16).map(|tens| Duration::from_micros(10 * tens)) {
            let (connection, inbox, peer) = connect_inbox(Config::default());
            let waits = Arc::clone(&connection);
            let view = thread::spawn(move || while inbox.wait(&waits, None) != Received::End {});
            let mut reader = peer.get_ref().try_clone().unwrap();
            let writer = peer.get_ref().try_clone().unwrap();
            let talker = thread::spawn(move || talks(writer, pause));
            let sent = connection.send(OpCode::Binary, &payload, Overflow::Refuse);
            assert_eq!(sent, Sent::Done);
            let mut bytes = 0;
            while bytes < MANY {
                bytes += reader.read(&mut chunk).unwrap();
            }
            connection.abort();
            view.join().unwrap();
            talker.join().unwrap();
        }
    });
}
