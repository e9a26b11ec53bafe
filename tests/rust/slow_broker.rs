//! A broker that answers late: `REDIS_SERVER` is the path of the Redis program.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/server.rs"]
mod server;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use common::{LIMIT, connect_inbox, limited, until};
use dwebsocket::{
    config::Config,
    hub::{BrokerState, Join, Limits},
};
use server::Server;

/// The delay of each answer. Two answers take longer than an empty group is kept, and four answers take less
/// than the time limit of a command.
const DELAY: Duration = Duration::from_millis(600);

/// A port at which the server answers after [`DELAY`].
fn slow(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            pass(from, to, Duration::ZERO);
            pass(server, client, DELAY);
        }
    });
    port
}

/// Passes on the bytes of one socket to another, each part after `delay`.
fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (read, parts) = channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let part = (Instant::now() + delay, buffer[..count].to_vec());
            let _ = read.send(part);
        }
    });
    thread::spawn(move || {
        for (due, part) in parts {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&part).is_err() {
                return;
            }
        }
    });
}

#[test]
fn a_slow_broker_does_not_keep_anybody_from_joining() {
    let Some(server) = Server::in_memory() else {
        return;
    };
    limited(move || {
        let hub = dwebsocket::hub::hub().unwrap();
        let url = format!("redis://127.0.0.1:{}/", slow(server.port));
        hub.connect(&url, "slow").unwrap();
        until("the broker is there", || {
            hub.broker_state() == BrokerState::Connected
        });
        let join = Join {
            since: None,
            limits: Some(Limits {
                size: 5,
                ttl: Duration::from_secs(60),
            }),
            present: false,
            info: "{}".into(),
            was: Vec::new(),
            reply: None,
            timeout: LIMIT,
        };
        let (connection, _inbox, _peer) = connect_inbox(Config::default());
        let joined = hub.join(&connection, "slow", join).unwrap();
        assert_eq!(joined.position.offset, 0);
    });
}
