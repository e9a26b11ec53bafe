//! A publisher and a listener behave as the hub does, while their connections are cut.

use std::{
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use dwebsocket::hub::{Limits, Position};

use super::{
    one::{Heard, One, pairs},
    proxy::{Chance, Proxy},
    server::{LIMIT, Server},
};

const MESSAGES: u64 = 400;

/// The most bytes that a connection passes on: some ten messages of the publisher, and some fifty of the
/// listener, which must read all messages that it missed in one answer.
const MOST: [u64; 2] = [5_000, 40_000];

/// The messages are kept for longer than a slow machine takes to store and read them.
const LIMITS: Limits = Limits {
    size: 10_000,
    ttl: LIMIT.saturating_mul(10),
};

fn text(number: u64) -> Bytes {
    let size = (number * 7_919 % 300) as usize;
    format!("{number} {}", "x".repeat(size)).into()
}

pub(crate) fn nothing_is_lost_or_doubled_however_often_the_connection_is_cut(server: Server) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = now.unwrap().as_nanos() as u64 | 1;
    println!("seed {seed}");
    let proxies = MOST.map(|most| Proxy::start(server.port, most, seed));
    let [here, there] = [0, 1].map(|n: usize| server.kind.url(proxies[n].port));
    let until = Instant::now() + 3 * LIMIT;
    thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_all(&One::open(&here), until));
        let listener = scope.spawn(|| listen_to_all(&One::open(&there), until));
        publisher.join().unwrap();
        proxies[1].be_calm();
        assert_eq!(listener.join().unwrap(), (1..=MESSAGES).collect::<Vec<_>>());
    });
    let fetched = One::connected(&server)
        .fetched("g:cut", None, LIMITS)
        .unwrap();
    let expected: Vec<_> = (1..=MESSAGES)
        .map(|number| (number, text(number)))
        .collect();
    assert!(
        pairs(&fetched) == expected,
        "the history is not what was stored"
    );
    let cuts = proxies.each_ref().map(Proxy::cuts);
    println!("{cuts:?} cuts");
    assert!(cuts[0] > 10 && cuts[1] > 0);
}

/// Stores numbered messages, each of them again until the broker confirms it.
fn publish_all(one: &One, until: Instant) {
    let mut chance = Chance(1);
    for number in 1..=MESSAGES {
        while let Err(error) = one.store_as("me", "g:cut", number, text(number), LIMITS) {
            assert!(Instant::now() < until, "{number}: {error}");
            thread::sleep(Duration::from_millis(chance.below(20)));
        }
    }
}

/// Takes messages by their numbers, and fetches the missing ones. Returns the numbers.
fn listen_to_all(one: &One, until: Instant) -> Vec<u64> {
    let _ = one.runtime.block_on(one.broker.subscribe("g:cut"));
    let mut position: Option<Position> = None;
    let mut got = Vec::new();
    while got.len() < MESSAGES as usize {
        assert!(Instant::now() < until, "{got:?}");
        let last = position.as_ref().map_or(0, |position| position.offset);
        match one.ear.recv_timeout(Duration::from_millis(200)) {
            Ok(Heard::Message(_, envelope, Some(at))) if at.offset == last + 1 => {
                assert_eq!(envelope, text(at.offset));
                assert!(position.is_none_or(|position| position.epoch == at.epoch));
                got.push(at.offset);
                position = Some(at);
            }
            Ok(Heard::Message(_, _, Some(at))) if at.offset <= last => {}
            // A message may be missing.
            _ => {
                let Ok(fetched) = one.fetched("g:cut", position.as_ref(), LIMITS) else {
                    continue;
                };
                assert!(fetched.complete, "after {last}");
                for (offset, envelope) in pairs(&fetched) {
                    assert_eq!(envelope, text(offset));
                    got.push(offset);
                }
                position = Some(fetched.top);
            }
        }
    }
    got
}
