//! The promises of every broker.

use std::{
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dwebsocket::hub::{Limits, Position};

use super::{
    one::{Heard, LIMITS, One, message, pairs},
    server::Server,
};

pub(crate) fn what_is_published_is_heard_in_order_by_who_subscribed(server: Server) {
    let (one, two) = (One::connected(&server), One::connected(&server));
    let odd = "g:a*b?[c]\\ \u{1F600}|{x}";
    two.subscribe(odd);
    two.subscribe("g:a*b?*");
    two.subscribe("g:left");
    two.unsubscribe("g:left");
    for number in 0..100 {
        one.publish(odd, &number.to_string()).unwrap();
    }
    one.publish("g:left", "nobody").unwrap();
    one.publish("g:a*b?z", "by its prefix").unwrap();
    one.publish("g:aXbYz", "no").unwrap();
    one.publish("g:a*b?end", "end").unwrap();
    // The listener gets each message once per subscription, and the messages of each subscription in order.
    let mut numbers = [0, 0];
    let mut ends = [
        message("g:a*b?z", "by its prefix"),
        message("g:a*b?end", "end"),
    ]
    .into_iter();
    while numbers != [100, 100] || !ends.as_slice().is_empty() {
        let heard = two.hear();
        let next = |number: &i32| message(odd, &number.to_string());
        match numbers.iter().position(|number| heard == next(number)) {
            Some(place) => numbers[place] += 1,
            None => assert_eq!(Some(heard), ends.next(), "{numbers:?}"),
        }
    }
    one.runtime.block_on(one.broker.close());
    assert!(one.publish("g:x", "x").is_err());
}

pub(crate) fn a_history_has_no_gaps_and_nothing_twice(server: Server) {
    let (one, two) = (One::connected(&server), One::connected(&server));
    two.subscribe("g:h");
    let empty = one.fetch("g:h", None);
    assert_eq!((&empty.0[..], empty.1.offset, empty.2), (&[][..], 0, true));
    let mut last = empty.1.clone();
    let mut last_envelope = Bytes::new();
    for sequence in 1..=7 {
        let position = one.store("g:h", sequence).unwrap();
        assert_eq!(position.offset, sequence);
        assert_eq!(position.epoch, last.epoch);
        // Store it again, as after a lost answer.
        assert_eq!(one.store("g:h", sequence).unwrap(), position);
        let envelope = sequence.to_string().into();
        let heard = Heard::Message("g:h".into(), envelope, Some(position.clone()));
        // A message that was stored again may be heard again.
        let again = Heard::Message("g:h".into(), last_envelope, Some(last));
        let mut now = two.hear();
        while now == again {
            now = two.hear();
        }
        assert_eq!(now, heard);
        last_envelope = sequence.to_string().into();
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

pub(crate) fn old_messages_are_forgotten(server: Server) {
    let one = One::connected(&server);
    let brief = Limits {
        size: 5,
        ttl: Duration::from_millis(30),
    };
    let position = one.store_as("me", "g:t", 1, "x".into(), brief).unwrap();
    thread::sleep(Duration::from_millis(50));
    let fetched = one.fetched("g:t", None, brief).unwrap();
    assert_eq!(fetched.entries, []);
    assert_eq!(fetched.top, position);
    let fetched = one.fetched("g:t", None, LIMITS).unwrap();
    let ages: Vec<_> = fetched.entries.iter().map(|stored| stored.age).collect();
    assert!(
        ages.iter().all(|age| *age >= Duration::from_millis(50)),
        "{ages:?}"
    );
    // A member that was there all the time has missed nothing, and the next message has the next number.
    let fetched = one.fetched("g:t", Some(&position), brief).unwrap();
    assert!(fetched.complete);
    let next = one.store_as("me", "g:t", 2, "y".into(), brief).unwrap();
    assert_eq!((next.offset, next.epoch), (2, position.epoch));
}

pub(crate) fn it_comes_back_after_the_server_was_killed(mut server: Server) {
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
    // Store it again, as after a lost answer.
    assert_eq!(one.store("g:k", 1).unwrap(), stored);
    assert_eq!(one.store("g:k", 2).unwrap().offset, 2);
    one.publish("g:many.x", "again").unwrap();
    two.expect(&message("g:many.x", "again"));
}

pub(crate) fn lost_data_is_another_epoch(mut server: Server) {
    let one = One::connected(&server);
    let stored = one.store("g:l", 1).unwrap();
    server.down();
    server.lose_everything();
    server.up();
    one.expect(&Heard::Connected);
    let (entries, top, complete) = one.fetch("g:l", Some(&stored));
    assert_eq!((entries.len(), top.offset, complete), (0, 0, false));
    assert_ne!(top.epoch, stored.epoch);
    // The epoch is new also for a client that stored in the old history and does not know of the loss yet.
    let again = one.store("g:l", 2).unwrap();
    assert_eq!((again.offset, again.epoch), (1, top.epoch));
}

pub(crate) fn a_server_that_stops_answering_is_noticed(server: Server) {
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

pub(crate) fn it_waits_for_a_server_that_is_not_there_yet(mut server: Server) {
    server.down();
    let one = One::open(&server.url());
    assert_eq!(one.hear(), Heard::Disconnected);
    assert!(!one.broker.is_connected());
    server.up();
    one.expect(&Heard::Connected);
    assert!(one.broker.is_connected());
}

pub(crate) fn who_changes_the_limits_keeps_the_history(server: Server) {
    let (one, two) = (One::connected(&server), One::connected(&server));
    let more = Limits { size: 8, ..LIMITS };
    let mut last = None;
    for sequence in 1..=6 {
        let (who, name, limits) = match sequence % 2 {
            0 => (&one, "one", LIMITS),
            _ => (&two, "two", more),
        };
        last = Some(
            who.store_as(name, "g:c", sequence, "x".into(), limits)
                .unwrap(),
        );
    }
    let (offsets, top, _) = one.fetch("g:c", None);
    assert_eq!((offsets, Some(top)), (vec![2, 3, 4, 5, 6], last));
}

pub(crate) fn a_long_history_is_read_whole(server: Server) {
    let one = One::connected(&server);
    let many = Limits {
        size: 2_500,
        ..LIMITS
    };
    for sequence in 1..=2_600 {
        let text = sequence.to_string();
        one.store_as("me", "g:long", sequence, text.into(), many)
            .unwrap();
    }
    let fetched = one.fetched("g:long", None, many).unwrap();
    let expected = (101..=2_600).map(|n: u64| (n, n.to_string().into()));
    assert_eq!(pairs(&fetched), expected.collect::<Vec<_>>());
    assert_eq!(fetched.top.offset, 2_600);
}

pub(crate) fn names_may_be_long_and_in_any_script(server: Server) {
    let (one, two) = (One::connected(&server), One::connected(&server));
    for (number, name) in [
        "\u{1F600}".repeat(64),
        "..".into(),
        "a. b".into(),
        "=41".into(),
    ]
    .iter()
    .enumerate()
    {
        let channel = format!("g:{name}");
        two.subscribe(&channel);
        one.publish(&channel, "hello").unwrap();
        assert_eq!(two.hear(), message(&channel, "hello"));
        let position = one.store(&channel, number as u64).unwrap();
        let text = number.to_string().into();
        assert_eq!(
            two.hear(),
            Heard::Message(channel.clone(), text, Some(position.clone()))
        );
        assert_eq!(one.fetch(&channel, None), (vec![1], position, true));
    }
}
