//! The goodbye of a process that is told to stop. This file has one test, because the test ends the engine
//! of the process.
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

use common::{limited, until};
use dwebsocket::{
    config::Config,
    engine::{engine, running},
};
use far::Over;

/// At one connection in 20 ms, closing all takes so long that the test sees some of them open.
const MANY: usize = 1_000;

#[test]
fn connections_are_closed_one_after_the_other_and_late_ones_too() {
    limited(|| {
        let all: Vec<_> = (0..MANY)
            .map(|_| Over::Queue.one(Config::default()))
            .collect();
        let closed = || {
            all.iter()
                .filter(|one| one.connection.end().is_some())
                .count()
        };
        let engine = engine().unwrap();
        assert!(!engine.is_leaving());
        engine.leave(1012, Duration::from_secs(3_600));
        // A second call changes nothing.
        engine.leave(1001, Duration::ZERO);
        assert!(engine.is_leaving() && !engine.is_stopping() && !engine.has_left());
        until("the first is closed", || closed() > 0);
        assert!(closed() < MANY);
        // A connection that comes meanwhile is served, until the end of the goodbye.
        let late = Over::Queue.one(Config::default());
        assert!(late.connection.end().is_none());
        engine.refuse();
        assert!(engine.is_stopping());
        let stopped = thread::spawn(move || engine.stop(Duration::ZERO, 1012));
        for one in all.iter().chain([&late]) {
            until("this one is closed", || one.connection.end().is_some());
        }
        stopped.join().unwrap();
        assert!(running().unwrap().is_stopping());
    });
}
