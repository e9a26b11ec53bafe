//! Tests of behaviour that only Redis has.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    one::{Heard, LIMITS, One, message, pairs},
    proxy::Gate,
    redis_client,
    server::{Kind, LIMIT, Server},
};

/// An entry of a stream: its id, and fields and values in turn.
type Entry = (String, Vec<Vec<u8>>);

/// Sets the ages of the messages of `g:x`, in seconds.
fn set_ages(server: &Server, ages: &[u64]) {
    let client = redis::Client::open(server.url()).unwrap();
    let mut redis = client.get_connection().unwrap();
    let (now, _): (u64, u64) = redis::cmd("TIME").query(&mut redis).unwrap();
    let log = "test:log:{g:x}";
    let mut range = redis::cmd("XRANGE");
    let entries: Vec<Entry> = range.arg(log).arg("-").arg("+").query(&mut redis).unwrap();
    assert_eq!(entries.len(), ages.len());
    redis::cmd("DEL").arg(log).exec(&mut redis).unwrap();
    for ((id, fields), age) in entries.iter().zip(ages) {
        let mut add = redis::cmd("XADD");
        add.arg(log).arg(id).arg("e").arg(&fields[1]);
        add.arg("t").arg((now - age) * 1_000);
        add.exec(&mut redis).unwrap();
    }
}

#[test]
fn a_history_has_no_hole_though_the_clock_was_set_back() {
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    let one = One::connected(&server);
    let many = dwebsocket::hub::Limits {
        size: 10,
        ttl: std::time::Duration::from_secs(100),
    };
    for sequence in 1..=6 {
        let text = sequence.to_string().into();
        one.store_as("me", "g:x", sequence, text, many).unwrap();
    }
    // The third and the fourth message look older than the ones before them, and expired.
    set_ages(&server, &[95, 95, 120, 110, 40, 20]);
    let fetched = one.fetched("g:x", None, many).unwrap();
    let expected = (1..=6).map(|n: u64| (n, n.to_string().into()));
    assert_eq!(pairs(&fetched), expected.collect::<Vec<_>>());
    set_ages(&server, &[120, 110, 95, 95, 40, 20]);
    let fetched = one.fetched("g:x", None, many).unwrap();
    let expected = (3..=6).map(|n: u64| (n, n.to_string().into()));
    assert_eq!(pairs(&fetched), expected.collect::<Vec<_>>());
}

/// Runs a command as another client.
fn command(server: &Server, words: &[&str]) -> redis::Value {
    redis_client::command(&mut redis_client::client(server), words)
}

const LOG: &str = "test:log:{g:x}";
const META: &str = "test:meta:{g:x}";

#[test]
fn entries_of_strangers_are_passed() {
    // The entry that a stranger has written after three messages, the offset of the next message, and the
    // offsets of entries that cannot be read.
    let strange: [(&[&str], u64, &[u64]); 7] = [
        (&["4-0", "junk", "1"], 5, &[4]),
        (&["4-0", "e", "no time"], 5, &[4]),
        (&["4-0", "t", "1"], 5, &[4]),
        (&["4-0", "e", "x", "t", "nan"], 5, &[4]),
        (&["4-0", "e", "x", "t", "-7"], 5, &[4]),
        (&["4-0", "t", "1e300", "e", "x"], 5, &[4]),
        (&["3-7", "e", "x", "t", "1"], 4, &[]),
    ];
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    for (entry, next, unreadable) in strange {
        command(&server, &["FLUSHALL"]);
        let one = One::connected(&server);
        let position = (1..=3)
            .map(|n| one.store("g:x", n).unwrap())
            .last()
            .unwrap();
        command(&server, &[&["XADD", LOG], entry].concat());
        // The stranger's entry is not read yet, because it has no offset.
        assert_eq!(
            one.fetch("g:x", None),
            (vec![1, 2, 3], position.clone(), true)
        );
        let stored = one.store("g:x", 4).unwrap();
        assert_eq!(
            (stored.offset, &stored.epoch),
            (next, &position.epoch),
            "{entry:?}"
        );
        let fetched = one.fetched("g:x", Some(&position), LIMITS).unwrap();
        assert!(fetched.complete, "{entry:?}");
        let expected = (4..=next).map(|offset| {
            let text = if unreadable.contains(&offset) {
                ""
            } else {
                "4"
            };
            (offset, text.into())
        });
        assert_eq!(pairs(&fetched), expected.collect::<Vec<_>>(), "{entry:?}");
        assert_eq!(one.store("g:x", 5).unwrap().offset, next + 1);
    }
}

#[test]
fn a_stream_that_strangers_have_filled_is_gone_on_with() {
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    // Ids by the clock, as Redis gives them by default, and ids at the end of the range of offsets.
    for (id, same_epoch) in [
        ("*", true),
        ("9007199254740990-0", false),
        ("18446744073709551615-0", false),
    ] {
        command(&server, &["FLUSHALL"]);
        let one = One::connected(&server);
        let before = (1..=3)
            .map(|n| one.store("g:x", n).unwrap())
            .last()
            .unwrap();
        command(&server, &["XADD", LOG, id, "some", "thing"]);
        let first = one.store("g:x", 4).unwrap();
        let second = one.store("g:x", 5).unwrap();
        assert_eq!(
            (second.offset, &second.epoch),
            (first.offset + 1, &first.epoch),
            "{id}"
        );
        assert_eq!(first.epoch == before.epoch, same_epoch, "{id}");
        assert!(!one.fetch("g:x", Some(&before)).2, "{id}");
        let fetched = one.fetched("g:x", None, LIMITS).unwrap();
        assert_eq!(pairs(&fetched).last(), Some(&(second.offset, "5".into())));
        assert_eq!(fetched.top, second);
    }
}

#[test]
fn where_a_history_stands_is_not_believed_if_it_cannot_be() {
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    let long = "e".repeat(33);
    for (field, value) in [
        ("top", "many"),
        ("top", "-1"),
        ("top", "1.5"),
        ("top", "4611686018427387904"),
        ("top", "nan"),
        ("top", "inf"),
        ("epoch", ""),
        ("epoch", "a|b"),
        ("epoch", &long),
    ] {
        for reads in [true, false] {
            command(&server, &["FLUSHALL"]);
            let one = One::connected(&server);
            let before = (1..=3)
                .map(|n| one.store("g:x", n).unwrap())
                .last()
                .unwrap();
            command(&server, &["HSET", META, field, value]);
            if reads {
                let (offsets, top, complete) = one.fetch("g:x", Some(&before));
                assert_eq!((offsets.len(), top.offset, complete), (0, 0, false));
                assert_ne!(top.epoch, before.epoch);
            }
            let stored = one.store("g:x", 4).unwrap();
            assert_eq!(stored.offset, 1, "{field} {value}");
            assert_ne!(stored.epoch, before.epoch);
            assert_eq!(one.fetch("g:x", None), (vec![1], stored, true));
        }
    }
}

#[test]
fn messages_that_somebody_has_removed_are_a_hole_that_can_be_passed() {
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    let one = One::connected(&server);
    let first = one.store("g:x", 1).unwrap();
    for n in 2..=5 {
        one.store("g:x", n).unwrap();
    }
    command(&server, &["XDEL", LOG, "3-0", "5-0"]);
    let fetched = one.fetched("g:x", Some(&first), LIMITS).unwrap();
    let expected = [(2, "2"), (3, ""), (4, "4"), (5, "")].map(|(n, text)| (n, text.into()));
    assert_eq!(
        (pairs(&fetched), fetched.complete),
        (expected.to_vec(), true)
    );
    assert_eq!(one.store("g:x", 6).unwrap().offset, 6);
    // A position far ahead of all entries does not make the reader fill the gap with empty messages.
    command(&server, &["HSET", META, "top", "4503599627370496"]);
    let fetched = one.fetched("g:x", Some(&first), LIMITS).unwrap();
    assert_eq!((fetched.entries.len(), fetched.complete), (0, false));
    assert_eq!(one.store("g:x", 7).unwrap().offset, 4_503_599_627_370_497);
}

#[test]
fn positions_of_clients_may_be_any_number() {
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    let one = One::connected(&server);
    let stored = one.store("g:x", 1).unwrap();
    for offset in [2, 1 << 53, 1 << 62, u64::MAX - 1, u64::MAX] {
        let after = dwebsocket::hub::Position {
            offset,
            ..stored.clone()
        };
        assert_eq!(
            one.fetch("g:x", Some(&after)),
            (vec![], stored.clone(), false)
        );
    }
}

/// A client with the rights that the documentation asks for, under the prefix of this test.
fn with_documented_rights(server: &Server) -> One {
    let text = include_str!("../../../docs/brokers.md");
    let (_, rest) = text.split_once("\nACL SETUSER").unwrap();
    let (rights, _) = rest.split_once("```").unwrap();
    let rights = rights.replace("dwebsocket", "test");
    let words: Vec<_> = ["ACL", "SETUSER"]
        .into_iter()
        .chain(rights.split_whitespace())
        .collect();
    command(server, &words);
    let one = One::open(&format!("redis://site:secret@127.0.0.1:{}/", server.port));
    one.expect(&Heard::Connected);
    one
}

#[test]
fn the_documented_rights_are_enough() {
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    let one = with_documented_rights(&server);
    one.subscribe("g:x");
    one.subscribe("g:chat.*");
    one.publish("g:chat.1", "hello").unwrap();
    one.expect(&message("g:chat.1", "hello"));
    let stored = one.store("g:x", 1).unwrap();
    one.expect(&Heard::Message(
        "g:x".into(),
        "1".into(),
        Some(stored.clone()),
    ));
    // Entries and values of strangers make the scripts take every branch.
    command(&server, &["XADD", LOG, "2-0", "junk", "1"]);
    assert_eq!(one.store("g:x", 2).unwrap().offset, 3);
    assert!(one.fetch("g:x", Some(&stored)).2);
    command(&server, &["HSET", META, "top", "nonsense"]);
    assert_eq!(one.fetch("g:x", None).1.offset, 0);
    one.unsubscribe("g:chat.*");
}

#[test]
fn a_wildcard_that_is_not_allowed_keeps_nobody_else_away() {
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    let one = with_documented_rights(&server);
    one.subscribe("g:x");
    let refused = one.runtime.block_on(one.broker.subscribe("g:other.*"));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("NOPERM"), "{refused}");
    for _ in 0..3 {
        command(&server, &["CLIENT", "KILL", "TYPE", "pubsub"]);
        one.expect(&Heard::Disconnected);
        one.expect(&Heard::Refused("g:other.*".into()));
        one.expect(&Heard::Connected);
        one.publish("g:x", "still here").unwrap();
        one.expect(&message("g:x", "still here"));
    }
    command(&server, &["ACL", "SETUSER", "site", "&test:g:other.*"]);
    one.subscribe("g:other.*");
    one.publish("g:other.1", "now").unwrap();
    one.expect(&message("g:other.1", "now"));
}

#[test]
fn after_a_blip_subscriptions_do_not_wait_for_one_another() {
    const CHANNELS: usize = 2_000;
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    let (gate, port) = Gate::start(server.port);
    let one = One::open(&format!("redis://127.0.0.1:{port}/"));
    one.expect(&Heard::Connected);
    for number in 0..CHANNELS {
        one.subscribe(&format!("u:{number}"));
    }
    gate.shut(true);
    let before = gate.asked();
    command(&server, &["CLIENT", "KILL", "TYPE", "pubsub"]);
    one.expect(&Heard::Disconnected);
    // The server has answered none of them yet.
    let begun = Instant::now();
    while gate.asked() - before < 100 {
        assert!(begun.elapsed() < LIMIT / 3, "they wait for answers");
        thread::sleep(Duration::from_millis(5));
    }
    gate.shut(false);
    one.expect(&Heard::Connected);
    for number in [0, CHANNELS / 2, CHANNELS - 1] {
        let channel = format!("u:{number}");
        one.publish(&channel, "still here").unwrap();
        one.expect(&message(&channel, "still here"));
    }
}

#[test]
fn what_comes_too_fast_is_not_lost_in_silence() {
    const MESSAGES: usize = 1_600;
    let Some(server) = Server::start(Kind::Redis) else {
        return;
    };
    // Redis itself cuts nobody off.
    let buffer = "client-output-buffer-limit";
    command(&server, &["CONFIG", "SET", buffer, "pubsub 0 0 0"]);
    let (listener, slow) = One::slow(&server);
    let one = One::connected(&server);
    let large = "x".repeat(64 << 10);
    for _ in 0..MESSAGES {
        one.publish("g:fast", &large).unwrap();
    }
    // All of them have been read by the client, or are in the buffers of the kernel.
    let begun = Instant::now();
    while !clients(&server)
        .lines()
        .all(|client| client.contains(" omem=0 "))
    {
        assert!(begun.elapsed() < LIMIT, "the messages stay in Redis");
        thread::sleep(Duration::from_millis(10));
    }
    slow.go_on();
    let mut messages = 0;
    while let Heard::Message(..) = listener.hear() {
        messages += 1;
    }
    assert!(messages < MESSAGES);
    let lost = slow.lost();
    assert!((1..=MESSAGES - messages).contains(&lost), "{lost}");
    // The first attempt to connect may fail.
    while listener.hear() != Heard::Connected {}
    one.publish("g:fast", "small").unwrap();
    assert_eq!(listener.hear(), message("g:fast", "small"));
}

/// What the server tells of the clients that have subscribed.
fn clients(server: &Server) -> String {
    let mut redis = redis_client::client(server);
    let mut list = redis::cmd("CLIENT");
    list.arg("LIST").arg("TYPE").arg("pubsub");
    list.query(&mut redis).unwrap()
}
