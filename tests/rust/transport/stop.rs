//! The engine's stop, over each transport. This file has one test, because the test ends the engine of the
//! process.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used
)]

#[path = "../common/mod.rs"]
mod common;
mod far;

use std::{thread, time::Duration};

use common::limited;
use dwebsocket::{
    config::Config,
    engine::{Connection, Consumer, Inbox, QueueParts, engine, running},
};
use far::Over;

#[test]
fn the_engine_says_goodbye_and_cuts_off_whoever_does_not_answer() {
    limited(|| {
        let polite = [Over::Socket, Over::Queue].map(|over| over.one(Config::default()));
        let silent = [Over::Socket, Over::Queue].map(|over| over.one(Config::default()));
        let ends: Vec<_> = polite.iter().map(|one| one.connection.clone()).collect();
        let peers = polite.map(|mut one| {
            thread::spawn(move || {
                let (code, reason) = one.far.hear_close();
                one.far.close(code, &reason);
                assert!(one.far.is_over());
                code
            })
        });
        let stopped = thread::spawn(|| engine().unwrap().stop(Duration::from_millis(500), 1001));
        for peer in peers {
            assert_eq!(peer.join().unwrap(), 1001);
        }
        assert_eq!(stopped.join().unwrap(), silent.len());
        for connection in ends {
            assert_eq!(connection.end().unwrap().code, 1001);
        }
        for one in silent {
            assert_eq!(one.connection.end().unwrap().code, 1006);
        }
        assert!(running().unwrap().is_stopping());
        let inbox = Inbox::new(&Config::default(), Consumer::Threads(Default::default()));
        let late = Connection::over_queue(
            QueueParts {
                capacity: Default::default(),
                wakeup: None,
                config: Default::default(),
                permit: None,
            },
            inbox,
        );
        assert!(late.is_err());
    });
}
