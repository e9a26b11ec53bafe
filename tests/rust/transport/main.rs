//! The behaviour of a connection, over each transport: a socket, and a queue that a far end drains.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used
)]

#[path = "../common/mod.rs"]
mod common;
mod far;
mod queue;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{Echo, LIMIT, fill, fill_up, limited, until};
use dwebsocket::{
    config::Config,
    engine::{Connection, Overflow, Received, Sent, habit},
    hub::{self, HubError as JoinError, Join, Limits, Outgoing, PayloadKind as Kind, Target},
    protocol::{Event, Message, OpCode},
};
use far::Over;

/// Runs each behaviour over each transport.
macro_rules! over_each {
    ($($name:ident),* $(,)?) => {
        mod over_a_socket {
            $(#[test] fn $name() { super::limited(|| super::$name(super::Over::Socket)); })*
        }
        mod over_a_queue {
            $(#[test] fn $name() { super::limited(|| super::$name(super::Over::Queue)); })*
        }
    };
}

over_each!(
    messages_of_every_size_come_back,
    many_keep_their_order_both_ways,
    a_full_inbox_stops_the_peer_and_nothing_is_lost,
    the_policies_of_a_full_outbox,
    a_blocked_sender_goes_on_when_the_peer_reads,
    a_sender_that_serves_one_waits_and_another_closes,
    a_blocked_sender_is_released_by_the_end,
    the_peers_close_is_answered_after_the_messages_and_the_replies,
    a_close_has_a_code_and_a_reason_and_ends_with_the_answer,
    a_close_that_is_not_answered_ends_at_the_time_limit,
    a_slow_reader_gets_all_that_was_sent_before_the_close,
    a_reader_that_stops_is_cut_off_before_it_has_the_close,
    a_slow_reader_of_a_large_message_is_alive,
    a_vanished_peer_is_1006,
    nothing_follows_the_close,
    a_message_that_is_too_long_closes_with_1009,
    an_idle_connection_closes_with_1001,
    a_peer_that_nobody_reads_is_not_idle,
    pings_are_answered_and_measure_latency,
    statistics_count_both_ways,
    members_get_what_their_groups_get,
    a_slow_member_meets_its_policy,
    history_is_replayed,
    presence_tells_of_members,
    a_connection_that_is_gone_leaves_its_groups,
);

fn text(data: &str) -> Received {
    Received::Message(Message::Text(Bytes::copy_from_slice(data.as_bytes())))
}

fn send(connection: &Arc<Connection>, text: &str) -> Sent {
    connection.send(OpCode::Text, text.as_bytes(), Overflow::Close)
}

fn small_outbox() -> Config {
    Config {
        outbox_bytes: 1 << 20,
        ..Config::default()
    }
}

fn messages_of_every_size_come_back(over: Over) {
    let (_connection, mut far) = over.connect(Config::default(), Arc::new(Echo));
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        let data = "x".repeat(size);
        far.say(&data);
        assert!(far.hear_text() == data, "{size}");
    }
}

fn many_keep_their_order_both_ways(over: Over) {
    let one = over.one(Config::default());
    let mut far = one.far;
    let connection = Arc::clone(&one.connection);
    let sender = thread::spawn(move || {
        for n in 0..3_000 {
            let data = n.to_string();
            while connection.send(OpCode::Text, data.as_bytes(), Overflow::Refuse) == Sent::Full {
                connection.wait_for_room(data.len(), None);
            }
        }
    });
    for n in 0..3_000 {
        assert_eq!(far.hear_text(), n.to_string());
    }
    sender.join().unwrap();
    let (connection, inbox) = (one.connection, one.inbox);
    let view = thread::spawn(move || {
        for n in 0..3_000 {
            let received = inbox.wait(&connection, Some(Instant::now() + LIMIT));
            assert_eq!(received, text(&n.to_string()));
        }
    });
    for n in 0..3_000 {
        far.say(&n.to_string());
    }
    view.join().unwrap();
}

fn a_full_inbox_stops_the_peer_and_nothing_is_lost(over: Over) {
    let config = Config {
        inbox_messages: 4,
        ..Config::default()
    };
    let mut one = over.one(config);
    let mut far = one.far;
    let writer = thread::spawn(move || {
        for n in 0..500 {
            far.say(&n.to_string());
        }
        far
    });
    for n in 0..500 {
        let received = one
            .inbox
            .wait(&one.connection, Some(Instant::now() + LIMIT));
        assert_eq!(received, text(&n.to_string()));
        assert!(one.inbox.pending() <= 4);
    }
    one.far = writer.join().unwrap();
}

fn the_policies_of_a_full_outbox(over: Over) {
    for (overflow, expected, dropped) in [
        (Overflow::Close, Sent::Overflowed, None),
        (Overflow::DropNewest, Sent::Dropped, Some(1)),
        (Overflow::DropOldest, Sent::DroppedOldest(1), Some(1)),
        (Overflow::Refuse, Sent::Full, Some(0)),
    ] {
        let one = over.one(small_outbox());
        assert_eq!(fill(&one.connection, overflow), expected);
        let stats = one.connection.stats();
        assert!(stats.outbox_bytes <= (1 << 20) + (128 << 10), "{stats:?}");
        if let Some(dropped) = dropped {
            assert_eq!(stats.dropped_messages, dropped);
            assert!(!one.connection.has_ended());
        } else {
            assert!(one.connection.has_ended());
            assert_eq!(one.connection.end().unwrap().code, 1013);
        }
    }
}

fn a_blocked_sender_goes_on_when_the_peer_reads(over: Over) {
    let mut one = over.one(small_outbox());
    fill_up(&one.connection, 64 * 1024);
    let mut far = one.far;
    let reader = thread::spawn(move || {
        while far.hear() != Event::Message(Message::Text("last".into())) {}
        far
    });
    assert!(one.connection.wait_for_room(64 * 1024, None));
    let sent = one.connection.send(OpCode::Text, b"last", Overflow::Refuse);
    assert_eq!(sent, Sent::Done);
    one.far = reader.join().unwrap();
}

/// The policy "auto" of `send()`: if the outbox is full, a sender that serves the connection waits, and any
/// other sender closes the connection.
fn a_sender_that_serves_one_waits_and_another_closes(over: Over) {
    let auto = |connection: &Arc<Connection>, payload: &[u8]| {
        habit::note(connection.id());
        match connection.send(OpCode::Binary, payload, Overflow::Refuse) {
            Sent::Full if habit::serves(connection.id()) => {
                connection.wait_for_room(payload.len(), None);
                connection.send(OpCode::Binary, payload, Overflow::Refuse)
            }
            Sent::Full => connection.send(OpCode::Binary, payload, Overflow::Close),
            sent => sent,
        }
    };
    let one = over.one(small_outbox());
    let payload = vec![b'x'; 64 * 1024];
    let mut far = one.far;
    let reader = thread::spawn(move || {
        for _ in 0..200 {
            far.hear();
        }
        far
    });
    for _ in 0..200 {
        assert_eq!(auto(&one.connection, &payload), Sent::Done);
    }
    drop(reader.join().unwrap());
    let crowd = [over.one(small_outbox()), over.one(small_outbox())];
    for _ in 0..1_000 {
        for one in &crowd {
            auto(&one.connection, &payload);
        }
    }
    for one in &crowd {
        assert_eq!(one.connection.end().unwrap().code, 1013);
    }
}

fn a_blocked_sender_is_released_by_the_end(over: Over) {
    let one = over.one(small_outbox());
    fill(&one.connection, Overflow::Refuse);
    let blocked = {
        let connection = Arc::clone(&one.connection);
        thread::spawn(move || connection.wait_for_room(64 * 1024, None))
    };
    drop(one.far);
    assert!(blocked.join().unwrap());
    until("the connection is closed", || {
        one.connection.send(OpCode::Text, b"", Overflow::Refuse) == Sent::Closed
    });
}

fn the_peers_close_is_answered_after_the_messages_and_the_replies(over: Over) {
    let mut one = over.one(Config::default());
    one.far.say("last");
    one.far.close(4001, "bye");
    assert_eq!(one.wait(), text("last"));
    // The view replies before it receives again; the reply must reach the peer.
    assert_eq!(send(&one.connection, "reply"), Sent::Done);
    assert_eq!(one.wait(), Received::End);
    assert_eq!(one.far.hear_text(), "reply");
    assert_eq!(one.far.hear_close().0, 4001);
    let end = one.connection.end().unwrap();
    assert_eq!((end.code, end.reason.as_str()), (4001, "bye"));
    assert_eq!(send(&one.connection, "late"), Sent::Closed);
    assert!(one.far.is_over());
}

fn a_close_has_a_code_and_a_reason_and_ends_with_the_answer(over: Over) {
    let mut one = over.one(Config::default());
    let waiter = {
        let (connection, inbox) = (Arc::clone(&one.connection), Arc::clone(&one.inbox));
        thread::spawn(move || inbox.wait(&connection, Some(Instant::now() + LIMIT)))
    };
    send(&one.connection, "before");
    assert!(one.connection.close(4002, "enough"));
    assert!(!one.connection.close(1000, "again"));
    assert_eq!(waiter.join().unwrap(), Received::End);
    assert_eq!(one.far.hear_text(), "before");
    assert_eq!(one.far.hear_close(), (4002, "enough".into()));
    one.far.close(4002, "enough");
    assert!(one.far.is_over());
    let end = one.connection.end().unwrap();
    assert_eq!((end.code, end.error), (4002, None));
}

fn a_close_that_is_not_answered_ends_at_the_time_limit(over: Over) {
    let config = Config {
        close_timeout: Duration::from_millis(50),
        ..Config::default()
    };
    let one = over.one(config);
    one.connection.close(1000, "");
    until("the peer is given up", || {
        one.connection.end().unwrap().code == 1006
    });
    assert!(
        one.connection
            .end()
            .unwrap()
            .error
            .unwrap()
            .contains("Close")
    );
}

/// Reads `count` messages of 256 KiB, more slowly than the time limits of a test allow for all of them.
fn hear_slowly(far: &mut far::Far, count: usize) {
    for _ in 0..count {
        thread::sleep(Duration::from_millis(10));
        let Event::Message(Message::Binary(data)) = far.hear() else {
            panic!("no message")
        };
        assert_eq!(data.len(), 256 << 10);
    }
}

fn a_slow_reader_gets_all_that_was_sent_before_the_close(over: Over) {
    let config = Config {
        close_timeout: Duration::from_millis(300),
        outbox_bytes: 64 << 20,
        ..Config::default()
    };
    let mut one = over.one(config);
    let block = vec![b'x'; 256 << 10];
    for _ in 0..100 {
        one.connection.send(OpCode::Binary, &block, Overflow::Close);
    }
    one.connection.close(4003, "");
    hear_slowly(&mut one.far, 100);
    assert_eq!(one.far.hear_close().0, 4003);
}

fn a_reader_that_stops_is_cut_off_before_it_has_the_close(over: Over) {
    let config = Config {
        close_timeout: Duration::from_millis(100),
        outbox_bytes: 64 << 20,
        ..Config::default()
    };
    let one = over.one(config);
    let block = vec![b'x'; 256 << 10];
    for _ in 0..100 {
        one.connection.send(OpCode::Binary, &block, Overflow::Close);
    }
    one.connection.close(1000, "");
    until("the peer is given up", || {
        one.connection.end().unwrap().code == 1006
    });
}

/// The ping goes out behind the part of a message that is under way.
fn a_slow_reader_of_a_large_message_is_alive(over: Over) {
    let config = Config {
        ping_interval: Some(Duration::from_millis(200)),
        ping_timeout: Duration::from_millis(200),
        outbox_bytes: 64 << 20,
        ..Config::default()
    };
    let mut one = over.one(config);
    let block = vec![b'x'; 16 << 20];
    one.connection.send(OpCode::Binary, &block, Overflow::Close);
    one.far.hear_in_portions(&block);
    assert!(one.connection.end().is_none(), "{:?}", one.connection.end());
}

fn a_vanished_peer_is_1006(over: Over) {
    let mut one = over.one(Config::default());
    one.far.say("still there");
    assert_eq!(one.wait(), text("still there"));
    let (connection, inbox) = (one.connection, one.inbox);
    drop(one.far);
    let received = inbox.wait(&connection, Some(Instant::now() + LIMIT));
    assert_eq!(received, Received::End);
    assert_eq!(connection.end().unwrap().code, 1006);
}

fn nothing_follows_the_close(over: Over) {
    let mut one = over.one(Config::default());
    send(&one.connection, "x");
    one.connection.close(1000, "");
    assert_eq!(send(&one.connection, "y"), Sent::Closed);
    assert!(!one.connection.ping(b"z"));
    assert_eq!(one.far.hear_text(), "x");
    assert!(matches!(one.far.hear(), Event::Close(Some(_))));
    one.far.close(1000, "");
    assert!(one.far.is_over());
}

fn a_message_that_is_too_long_closes_with_1009(over: Over) {
    let mut config = Config::default();
    config.protocol.max_message_size = 100;
    let mut one = over.one(config);
    one.far.say(&"x".repeat(101));
    assert_eq!(one.wait(), Received::End);
    assert_eq!(one.far.hear_close().0, 1009);
    let end = one.connection.end().unwrap();
    assert_eq!(end.code, 1009);
    assert!(end.error.is_some());
}

fn an_idle_connection_closes_with_1001(over: Over) {
    let config = Config {
        idle_timeout: Some(Duration::from_millis(50)),
        ..Config::default()
    };
    let mut one = over.one(config);
    assert_eq!(one.far.hear_close().0, 1001);
}

fn a_peer_that_nobody_reads_is_not_idle(over: Over) {
    let config = Config {
        inbox_messages: 2,
        idle_timeout: Some(Duration::from_millis(100)),
        ..Config::default()
    };
    let mut one = over.one(config);
    for n in 0..8 {
        one.far.say(&n.to_string());
    }
    for n in 0..8 {
        thread::sleep(Duration::from_millis(150));
        assert_eq!(one.wait(), text(&n.to_string()));
    }
    assert_eq!(one.wait(), Received::End);
    assert_eq!(one.connection.end().unwrap().code, 1001);
}

fn pings_are_answered_and_measure_latency(over: Over) {
    let mut one = over.one(Config::default());
    one.far.ping("hi");
    assert_eq!(one.far.hear(), Event::Pong("hi".into()));
    assert!(one.connection.ping(b"mine"));
    let payload = Bytes::from("mine");
    assert_eq!(one.far.hear(), Event::Ping(payload.clone()));
    one.far.pong(&payload);
    until("the pong is back", || one.connection.latency().is_some());
}

fn statistics_count_both_ways(over: Over) {
    let mut one = over.one(small_outbox());
    one.far.say("12345");
    assert_eq!(one.wait(), text("12345"));
    send(&one.connection, "123");
    send(&one.connection, "1234");
    assert_eq!(one.far.hear_text(), "123");
    assert_eq!(one.far.hear_text(), "1234");
    let stats = one.connection.stats();
    assert_eq!((stats.received_messages, stats.received_bytes), (1, 5));
    assert_eq!((stats.sent_messages, stats.sent_bytes), (2, 7));
    assert_eq!((stats.outbox_messages, stats.outbox_bytes), (0, 0));
    assert_eq!(fill(&one.connection, Overflow::DropNewest), Sent::Dropped);
    let stats = one.connection.stats();
    assert_eq!(stats.dropped_messages, 1);
    assert!(stats.outbox_messages > 0 && stats.outbox_bytes > 512 << 10);
}

fn join() -> Join {
    Join {
        timeout: Duration::from_secs(1),
        ..Join::default()
    }
}

/// The name of a group that no other test uses.
fn name(over: Over, what: &str) -> String {
    format!("{over:?}.{what}")
}

fn outgoing(target: Target, text: &str) -> Outgoing {
    Outgoing {
        targets: vec![target],
        kind: Kind::Text,
        payload: text.to_owned().into(),
        excluded: Vec::new(),
        timeout: Duration::from_secs(1),
    }
}

fn publish(group: &str, text: &str) -> usize {
    let outgoing = outgoing(Target::Group(group.into()), text);
    hub::hub().unwrap().publish(&outgoing).unwrap().local
}

fn members_get_what_their_groups_get(over: Over) {
    let (group, hub) = (name(over, "all"), hub::hub().unwrap());
    let mut members: Vec<_> = (0..3).map(|_| over.one(Config::default())).collect();
    // A member over a socket gets the same messages.
    members.push(Over::Socket.one(Config::default()));
    for one in &members {
        hub.join(&one.connection, &group, join()).unwrap();
    }
    for n in 0..100 {
        assert_eq!(publish(&group, &n.to_string()), 4);
    }
    for one in &mut members {
        for n in 0..100 {
            assert_eq!(one.far.hear_text(), n.to_string());
        }
    }
}

fn a_slow_member_meets_its_policy(over: Over) {
    let (group, hub) = (name(over, "slow"), hub::hub().unwrap());
    let policies = [Overflow::Close, Overflow::DropOldest, Overflow::DropNewest];
    let stuck = policies.map(|broadcast_overflow| {
        let config = Config {
            outbox_bytes: 64 * 1024,
            broadcast_overflow,
            ..Config::default()
        };
        let one = over.one(config);
        hub.join(&one.connection, &group, join()).unwrap();
        one
    });
    let text = "x".repeat(32 * 1024);
    for _ in 0..1_000 {
        publish(&group, &text);
    }
    let [close, oldest, newest] = &stuck;
    assert_eq!(close.connection.end().unwrap().code, 1013);
    for one in [oldest, newest] {
        assert!(one.connection.end().is_none());
        assert!(one.connection.stats().dropped_messages > 100);
    }
}

fn history_is_replayed(over: Over) {
    let (group, hub) = (name(over, "history"), hub::hub().unwrap());
    let limits = Limits {
        size: 5,
        ttl: Duration::from_secs(60),
    };
    let keep = |text: &str| {
        let kept = Target::Kept(group.clone(), limits);
        hub.publish(&outgoing(kept, text))
            .unwrap()
            .position
            .unwrap()
    };
    let first = keep("1");
    keep("2");
    keep("3");
    let mut one = over.one(Config::default());
    one.connection.envelop();
    let again = Join {
        since: Some(first),
        limits: Some(limits),
        ..join()
    };
    let joined = hub.join(&one.connection, &group, again).unwrap();
    assert_eq!((joined.recovered, joined.missed), (true, 2));
    keep("4");
    for n in 2..=4 {
        let frame = one.far.hear_text();
        assert!(frame.contains(&format!(r#""offset":{n}"#)), "{frame}");
    }
}

fn presence_tells_of_members(over: Over) {
    let (group, hub) = (name(over, "presence"), hub::hub().unwrap());
    let present = |info: &str| Join {
        present: true,
        info: info.into(),
        ..join()
    };
    let mut one = over.one(Config::default());
    one.connection.envelop();
    let info = r#"{"name":"one"}"#;
    hub.join(&one.connection, &group, present(info)).unwrap();
    let two = over.one(Config::default());
    let info = r#"{"name":"two"}"#;
    hub.join(&two.connection, &group, present(info)).unwrap();
    assert_eq!(hub.members(&[&group]).len(), 2);
    let frame = one.far.hear_text();
    assert!(
        frame.contains(r#""type":"join""#) && frame.contains(info),
        "{frame}"
    );
    drop(two.far);
    let frame = one.far.hear_text();
    assert!(frame.contains(r#""type":"leave""#), "{frame}");
    assert_eq!(hub.members(&[&group]).len(), 1);
}

fn a_connection_that_is_gone_leaves_its_groups(over: Over) {
    let (group, hub) = (name(over, "gone"), hub::hub().unwrap());
    let one = over.one(Config::default());
    hub.join(&one.connection, &group, join()).unwrap();
    assert_eq!(hub.count(&[&group]), 1);
    drop(one.far);
    until("it has left", || hub.count(&[&group]) == 0);
    let late = hub.join(&one.connection, &group, join());
    assert_eq!(late, Err(JoinError::Ended));
}
