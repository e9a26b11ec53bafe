//! Messages that are being stored in a broker's history: `REDIS_SERVER` is the path of the Redis program.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/redis_client.rs"]
mod redis_client;
#[path = "common/server.rs"]
mod server;
#[path = "common/site.rs"]
mod site;

use std::{collections::HashSet, thread, time::Duration};

use common::{LIMIT, limited, until};
use dwebsocket::{
    engine::engine,
    hub::{BrokerState, Fate, Limits, Outgoing, PayloadKind as Kind, Target},
};
use redis_client::{client, command};
use server::Server;
use site::{alone, hub, text, until_broker_is};

const THREADS: usize = 8;
const EACH: usize = 400;

const LIMITS: Limits = Limits {
    size: THREADS * EACH,
    ttl: Duration::from_secs(60),
};

fn outgoing(text: String) -> Outgoing {
    Outgoing {
        targets: vec![Target::Kept("kept".into(), LIMITS)],
        kind: Kind::Text,
        payload: text.into(),
        excluded: Vec::new(),
        timeout: LIMIT,
    }
}

/// Publishes a message, and returns the offset that the broker has given it.
fn publish(text: String) -> u64 {
    let published = hub().publish(&outgoing(text)).unwrap();
    assert_eq!(published.fate, Fate::Stored);
    published.position.unwrap().offset
}

#[test]
fn what_many_threads_send_is_stored_once_each_in_the_order_of_each_thread() {
    let Some(mut server) = Server::in_memory() else {
        return;
    };
    limited(move || {
        hub().connect(&server.url(), "storing").unwrap();
        let sending = (0..THREADS).map(|thread| {
            thread::spawn(move || {
                let send = |number| publish(format!("{thread} {number}"));
                (0..EACH).map(send).collect::<Vec<_>>()
            })
        });
        let sending: Vec<_> = sending.collect();
        let offsets: Vec<_> = sending.into_iter().map(|one| one.join().unwrap()).collect();

        let different: HashSet<_> = offsets.iter().flatten().collect();
        assert_eq!(different.len(), THREADS * EACH, "two have one offset");
        let (kept, top) = hub().history("kept", LIMITS, LIMIT).unwrap();
        assert_eq!(top.offset, (THREADS * EACH) as u64);
        assert_eq!(kept.len(), THREADS * EACH);
        for (offset, _, payload) in kept {
            let text = String::from_utf8(payload.to_vec()).unwrap();
            let (thread, number) = text.split_once(' ').unwrap();
            let (thread, number): (usize, usize) =
                (thread.parse().unwrap(), number.parse().unwrap());
            assert_eq!(offsets[thread][number], offset, "{text}");
        }

        let waiting = || hub().stats(engine().unwrap()).waiting;
        assert_eq!(waiting(), 0);
        server.down();
        until_broker_is(BrokerState::Away);
        for number in 1..=3 {
            let published = hub().publish(&outgoing("late".into())).unwrap();
            assert_eq!((published.fate, waiting()), (Fate::Pending, number));
        }
        server.up();
        until("what waited is stored", || waiting() == 0);
    });
}

#[test]
fn what_waits_in_all_groups_together_is_bounded_in_bytes() {
    let name = "what_waits_in_all_groups_together_is_bounded_in_bytes";
    alone(name, || {
        const LARGE: usize = 4 << 20;
        const FIT: usize = 16;
        let Some(mut server) = Server::in_memory() else {
            return;
        };
        site::connect(&server.url(), "storing");
        server.down();
        until_broker_is(BrokerState::Away);
        let fate = |group: String, payload: &str| {
            let kept = Target::Kept(group, LIMITS);
            hub().publish(&text(kept, payload, LIMIT)).unwrap().fate
        };
        let large = "x".repeat(LARGE);
        for number in 1..FIT {
            assert_eq!(fate(format!("large.{number}"), &large), Fate::Pending);
        }
        // Small messages take more than their size.
        let mut small = 0;
        while fate(format!("small.{}", small % 10), "x") == Fate::Pending {
            small += 1;
        }
        assert!((3_000..=LARGE / 1_024).contains(&small), "{small}");
        // Nothing waits in this group yet.
        assert_eq!(fate("one.more".into(), "x"), Fate::Unavailable);
        let waiting = || hub().stats(engine().unwrap()).waiting;
        assert_eq!(waiting(), FIT - 1 + small);
        server.up();
        until("what waited is stored", || waiting() == 0);
        assert_eq!(fate("one.more".into(), &large), Fate::Stored);
    });
}

#[test]
fn a_group_that_the_broker_refuses_does_not_stop_the_others() {
    let name = "a_group_that_the_broker_refuses_does_not_stop_the_others";
    alone(name, || {
        let Some(server) = Server::in_memory() else {
            return;
        };
        site::connect(&server.url(), "storing");
        let mut redis = client(&server);
        command(
            &mut redis,
            &["SET", "storing:meta:{g:refused}", "no history"],
        );
        let fate = |group: &str, payload: &str| {
            let kept = Target::Kept(group.into(), LIMITS);
            let soon = Duration::from_millis(1);
            hub().publish(&text(kept, payload, soon)).unwrap().fate
        };
        let large = "x".repeat(4 << 20);
        while fate("refused", &large) == Fate::Pending {}
        let kept = Target::Kept("sound".into(), LIMITS);
        let published = hub().publish(&text(kept, "x", LIMIT)).unwrap();
        assert_eq!(published.fate, Fate::Stored);
    });
}
