//! Tests of behaviour that only NATS has.

use std::{collections::HashSet, thread, time::Duration};

use bytes::Bytes;
use dwebsocket::hub::{Limits, broker::BrokerError};

use super::{
    one::{Heard, LIMITS, One, message},
    server::{Kind, LIMIT, Server},
};

/// A server with a configuration of its own.
fn configured(configuration: impl Fn(&Server) -> String) -> Option<Server> {
    let mut server = Server::prepare(Kind::Nats)?;
    server.configuration = Some(configuration(&server));
    server.up();
    Some(server)
}

fn jetstream(server: &Server) -> String {
    format!(
        "jetstream {{ store_dir: \"{}/data\" }}\n",
        server.place.display()
    )
}

#[test]
fn without_jetstream_there_is_no_history_and_it_says_why() {
    let Some(server) = configured(|_| String::new()) else {
        return;
    };
    let one = One::connected(&server);
    one.subscribe("g:x");
    one.publish("g:x", "hello").unwrap();
    assert_eq!(one.hear(), message("g:x", "hello"));
    for error in [
        one.store("g:x", 1).unwrap_err(),
        one.fetched("g:x", None, LIMITS).unwrap_err(),
    ] {
        assert!(error.to_string().contains("nats-server -js"), "{error}");
    }
    assert_eq!(
        one.runtime.block_on(one.broker.sweep(Duration::ZERO)),
        Ok(0)
    );
}

#[test]
fn what_is_too_large_will_never_be_stored() {
    let Some(server) = configured(|server| jetstream(server) + "max_payload: 1000") else {
        return;
    };
    let one = One::connected(&server);
    let large = Bytes::from(vec![b'x'; 1_001]);
    let error = one.store_as("me", "g:x", 1, large, LIMITS).unwrap_err();
    assert_eq!(error, BrokerError::TooLarge(1_000));
    assert!(one.publish("g:x", &"x".repeat(1_001)).is_err());
    assert_eq!(one.store("g:x", 2).unwrap().offset, 1);
}

#[test]
fn who_it_is_stands_in_the_url() {
    let Some(server) =
        configured(|_| "authorization { user: \"me\", password: \"p@ss/word\" }".into())
    else {
        return;
    };
    let port = server.port;
    let one = One::open(&format!("nats://me:p%40ss%2Fword@127.0.0.1:{port}"));
    one.expect(&Heard::Connected);
    let wrong = One::open(&format!("nats://me:wrong@127.0.0.1:{port}"));
    assert_eq!(wrong.hear(), Heard::Disconnected);

    let Some(server) = configured(|_| "authorization { token: \"s3 cret\" }".into()) else {
        return;
    };
    let one = One::open(&format!("nats://s3%20cret@127.0.0.1:{}", server.port));
    one.expect(&Heard::Connected);
}

#[test]
fn any_server_of_a_cluster_will_do() {
    let (Some(gone), Some(server)) = (Server::prepare(Kind::Nats), Server::start(Kind::Nats))
    else {
        return;
    };
    let one = One::open(&format!("{},127.0.0.1:{}", gone.url(), server.port));
    one.expect(&Heard::Connected);
}

#[test]
fn rights_that_are_missing_are_noticed() {
    let Some(server) = configured(|server| {
        jetstream(server)
            + "authorization { users: [ { user: a, password: b, permissions: {
                publish: [\"test.>\", \"$JS.API.>\"]
                subscribe: {allow: \"test.>\", deny: \"test.c.*.g=3Asecret\"}
            } } ] }"
    }) else {
        return;
    };
    let one = One::open(&format!("nats://a:b@127.0.0.1:{}", server.port));
    one.expect(&Heard::Connected);
    // The broker needs no more rights than these.
    one.subscribe("g:open");
    let position = one.store("g:open", 1).unwrap();
    let heard = Heard::Message("g:open".into(), "1".into(), Some(position.clone()));
    assert_eq!(one.hear(), heard);
    assert_eq!(one.fetch("g:open", None), (vec![1], position, true));
    let subscribe = |channel| one.runtime.block_on(one.broker.subscribe(channel));
    let first = subscribe("g:secret");
    one.expect(&Heard::Refused("g:secret".into()));
    // The refusal is known from then on for every caller, and other channels go on.
    let second = subscribe("g:secret").unwrap_err().to_string();
    assert!(second.contains("g=3Asecret"), "{first:?} {second}");
    one.expect(&Heard::Refused("g:secret".into()));
    one.publish("g:open", "still here").unwrap();
    one.expect(&message("g:open", "still here"));
    assert!(one.broker.is_connected());
}

#[test]
fn however_many_subscriptions_are_refused_none_is_taken_for_made() {
    const CHANNELS: usize = 1_000;
    let Some(mut server) = configured(|server| {
        jetstream(server)
            + "authorization { users: [ { user: a, password: b, permissions: {
                publish: \"test.>\"
                subscribe: {allow: \"test.>\", deny: \"test.c.*.g=3Asecret.>\"}
            } } ] }"
    }) else {
        return;
    };
    let one = One::open(&format!("nats://a:b@127.0.0.1:{}", server.port));
    one.expect(&Heard::Connected);
    one.subscribe("g:open");
    let names: HashSet<_> = (0..CHANNELS).map(|n| format!("g:secret.{n}")).collect();
    let refused = || {
        let mut refused = HashSet::new();
        while refused.len() < CHANNELS {
            match one.ear.recv_timeout(LIMIT / 3) {
                Ok(Heard::Refused(name)) => refused.insert(name),
                Ok(_) => continue,
                Err(_) => break,
            };
        }
        refused
    };
    // The members of a page full of groups subscribe at the same time, too.
    one.runtime.block_on(async {
        let subscribing = names.iter().map(|name| one.broker.subscribe(name));
        futures_util::future::join_all(subscribing).await;
    });
    let first = refused();
    assert!(first == names, "{} of {CHANNELS}", first.len());
    // A new connection makes all subscriptions again.
    server.down();
    one.expect(&Heard::Disconnected);
    server.up();
    one.expect(&Heard::Connected);
    let again = refused();
    assert!(again == names, "{} of {CHANNELS}", again.len());
    one.publish("g:open", "still here").unwrap();
    one.expect(&message("g:open", "still here"));
}

#[test]
fn what_may_not_be_published_or_stored_fails_soon_and_keeps_nobody_away() {
    let Some(server) = configured(|server| {
        jetstream(server)
            + "authorization { users: [
                { user: a, password: b, permissions: {
                    publish: {allow: [\"test.>\", \"$JS.API.>\"], deny: [\"test.c.m.g=3Ano\", \"test.s.>\"]}
                    subscribe: \"test.>\"
                } }
                { user: c, password: d, permissions: { publish: \"test.>\", subscribe: \"test.>\" } }
            ] }"
    }) else {
        return;
    };
    for (who, stores) in [("a:b", true), ("c:d", false)] {
        let one = One::open(&format!("nats://{who}@127.0.0.1:{}", server.port));
        one.expect(&Heard::Connected);
        one.subscribe("g:yes");
        if stores {
            let _ = one.publish("g:no", "x");
            let error = one.publish("g:no", "x").unwrap_err().to_string();
            assert!(error.contains("Permissions Violation"), "{error}");
        }
        let begun = std::time::Instant::now();
        for _ in 0..5 {
            let stored = one.store("g:yes", 1).unwrap_err().to_string();
            assert!(stored.contains("Permissions Violation"), "{stored}");
        }
        // No call has waited three seconds for an answer that never comes.
        assert!(begun.elapsed() < Duration::from_secs(12));
        one.publish("g:yes", "hello").unwrap();
        one.expect(&message("g:yes", "hello"));
    }
}

#[test]
fn messages_that_somebody_has_removed_are_a_hole_that_can_be_passed() {
    let Some(server) = Server::start(Kind::Nats) else {
        return;
    };
    let one = One::connected(&server);
    let positions: Vec<_> = (1..=5).map(|n| one.store("g:r", n).unwrap()).collect();
    for removed in [3, 5] {
        one.runtime.block_on(remove(&server, removed));
    }
    let fetched = one.fetched("g:r", Some(&positions[0]), LIMITS).unwrap();
    let entries: Vec<_> = fetched
        .entries
        .iter()
        .map(|one| (one.offset, &one.envelope[..]))
        .collect();
    let expected: [(u64, &[u8]); 4] = [(2, b"2"), (3, b""), (4, b"4"), (5, b"")];
    assert_eq!(entries, expected);
    assert_eq!((fetched.top.offset, fetched.complete), (5, true));
    assert_eq!(one.store("g:r", 6).unwrap().offset, 6);
}

/// Removes a message from every stream.
async fn remove(server: &Server, sequence: u64) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let names = client
        .request("$JS.API.STREAM.NAMES", Bytes::new())
        .await
        .unwrap();
    let names: serde_json::Value = serde_json::from_slice(&names.payload).unwrap();
    for name in names["streams"].as_array().unwrap() {
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{}", name.as_str().unwrap());
        let question = serde_json::json!({ "seq": sequence }).to_string();
        client.request(subject, question.into()).await.unwrap();
    }
}

#[test]
fn a_history_that_nobody_uses_is_removed() {
    let Some(server) = Server::start(Kind::Nats) else {
        return;
    };
    let one = One::connected(&server);
    let brief = Limits {
        size: 5,
        ttl: Duration::from_millis(20),
    };
    let old = one.store_as("me", "g:old", 1, "x".into(), brief).unwrap();
    let used = one.store("g:used", 1).unwrap();
    let unused = one.fetched("g:unused", None, brief).unwrap().top;
    thread::sleep(Duration::from_millis(60));
    let sweep = |unused| one.runtime.block_on(one.broker.sweep(unused)).unwrap();
    assert_eq!(sweep(LIMIT), 0);
    assert_eq!(sweep(Duration::ZERO), 2);
    // A history is removed only after twice its ttl. For this one that time has not passed.
    assert_eq!(one.fetch("g:used", None), (vec![1], used, true));
    let again = one.store_as("me", "g:old", 2, "y".into(), brief).unwrap();
    assert_eq!(again.offset, 1);
    assert_ne!(again.epoch, old.epoch);
    assert_ne!(one.fetch("g:unused", None).1.epoch, unused.epoch);
}

#[test]
fn the_position_outlives_the_messages() {
    let Some(mut server) = Server::start(Kind::Nats) else {
        return;
    };
    let one = One::connected(&server);
    let mut last = None;
    for sequence in 1..=3 {
        last = Some(one.store("g:e", sequence).unwrap());
    }
    let last = last.unwrap();
    one.runtime.block_on(purge(&server));
    server.down();
    one.expect(&Heard::Disconnected);
    server.up();
    one.expect(&Heard::Connected);
    assert_eq!(one.fetch("g:e", Some(&last)), (vec![], last.clone(), true));
    // The stream counts as used within the week: the server knows the time of the last message.
    let week = Duration::from_secs(7 * 24 * 3600);
    assert_eq!(one.runtime.block_on(one.broker.sweep(week)), Ok(0));
    let next = one.store("g:e", 4).unwrap();
    assert_eq!((next.offset, next.epoch), (4, last.epoch));
}

/// Removes all messages of all streams, as if they had expired.
async fn purge(server: &Server) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let names = client
        .request("$JS.API.STREAM.NAMES", Bytes::new())
        .await
        .unwrap();
    let names: serde_json::Value = serde_json::from_slice(&names.payload).unwrap();
    for name in names["streams"].as_array().unwrap() {
        let subject = format!("$JS.API.STREAM.PURGE.{}", name.as_str().unwrap());
        client.request(subject, Bytes::new()).await.unwrap();
    }
}

#[test]
fn what_comes_too_fast_is_not_lost_in_silence() {
    let Some(server) = Server::start(Kind::Nats) else {
        return;
    };
    let (listener, slow) = One::slow(&server);
    let one = One::connected(&server);
    one.runtime.block_on(async {
        for _ in 0..20 {
            let some = (0..5_000).map(|_| one.broker.publish("g:fast", "x".into()));
            for sent in futures_util::future::join_all(some).await {
                sent.unwrap();
            }
        }
    });
    slow.go_on();
    let mut messages = 0;
    while let Heard::Message(..) = listener.hear() {
        messages += 1;
    }
    assert!(messages < 100_000);
    let lost = slow.lost();
    assert!((1..=100_000 - messages).contains(&lost), "{lost}");
    assert_eq!(listener.hear(), Heard::Connected);
}
