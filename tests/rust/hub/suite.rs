//! Groups within one process: which members get which messages, in which order, and which ones they missed.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use dwebsocket::{
    config::Config,
    engine::{Connection, Inbox, Overflow},
    hub::{
        Fate, Hub, HubError as JoinError, Join, Joined, Limits, Outgoing, PayloadKind as Kind,
        Position, Target, Who, parse_member_id, presence::MAX_INFO,
    },
};
use tungstenite::Message as Wire;

use crate::{
    broker,
    common::{LIMIT, Peer, connect_inbox, limited},
};

type One = (Arc<Connection>, Arc<Inbox>, Peer);

/// The hub, connected to the broker if this run has one.
pub(crate) fn hub() -> &'static Hub {
    static URL: LazyLock<Option<String>> = LazyLock::new(broker::url);
    let hub = dwebsocket::hub::hub().unwrap();
    if let Some(url) = &*URL {
        hub.connect(url, "test").unwrap();
    }
    hub
}

fn join() -> Join {
    Join {
        timeout: Duration::from_secs(1),
        ..Join::default()
    }
}

pub(crate) fn kept() -> Join {
    Join {
        limits: LIMITS,
        ..join()
    }
}

pub(crate) const LIMITS: Option<Limits> = Some(Limits {
    size: 5,
    ttl: Duration::from_secs(60),
});

fn who(one: &One) -> Who {
    parse_member_id(&hub().member_id(one.0.id())).unwrap()
}

fn member(group: &str) -> One {
    let one = connect_inbox(Config::default());
    hub().join(&one.0, group, join()).unwrap();
    one
}

pub(crate) fn outgoing(targets: &[&str], text: &str) -> Outgoing {
    Outgoing {
        targets: targets
            .iter()
            .map(|name| Target::Group((*name).into()))
            .collect(),
        kind: Kind::Text,
        payload: text.to_owned().into(),
        excluded: Vec::new(),
        timeout: Duration::from_secs(1),
    }
}

fn send(group: &str, text: &str) -> usize {
    hub().publish(&outgoing(&[group], text)).unwrap().local
}

pub(crate) fn keep(group: &str, text: &str) -> Position {
    let outgoing = Outgoing {
        targets: vec![Target::Kept(group.into(), LIMITS.unwrap())],
        ..outgoing(&[group], text)
    };
    hub().publish(&outgoing).unwrap().position.unwrap()
}

fn read(one: &mut One) -> String {
    one.2.read().unwrap().into_text().unwrap().to_string()
}

#[test]
fn every_member_gets_a_message_and_nobody_else() {
    limited(|| {
        let mut members: Vec<_> = (0..10).map(|_| member("all")).collect();
        let mut other = member("other");
        assert_eq!(send("all", "hello"), 10);
        assert_eq!(send("other", "only you"), 1);
        assert_eq!(send("nobody", "is there"), 0);
        for one in &mut members {
            assert_eq!(read(one), "hello");
        }
        assert_eq!(read(&mut other), "only you");
    });
}

#[test]
fn a_sender_may_be_left_out_and_nobody_gets_it_twice() {
    limited(|| {
        let mut both = member("twice.a");
        hub().join(&both.0, "twice.b", join()).unwrap();
        hub().join(&both.0, "twice.*", join()).unwrap();
        let mut out = member("twice.a");
        let message = Outgoing {
            excluded: vec![who(&out)],
            ..outgoing(&["twice.a", "twice.b"], "once")
        };
        assert_eq!(hub().publish(&message).unwrap().local, 1);
        assert_eq!(send("twice.a", "then"), 2);
        assert_eq!(read(&mut both), "once");
        assert_eq!(read(&mut both), "then");
        assert_eq!(read(&mut out), "then");
    });
}

#[test]
fn a_pattern_hears_of_every_group_with_its_prefix() {
    limited(|| {
        let mut all = member("pattern.*");
        let mut one = member("pattern.\u{1F600}");
        assert_eq!(send("pattern.\u{1F600}", "both"), 2);
        assert_eq!(send("pattern.x", "first"), 1);
        assert_eq!(send("patterns", "nobody"), 0);
        assert_eq!(read(&mut all), "both");
        assert_eq!(read(&mut all), "first");
        assert_eq!(read(&mut one), "both");
        let refused = hub().publish(&outgoing(&["pattern.*"], "x")).unwrap_err();
        assert!(refused.to_string().contains("ends in *"), "{refused}");
    });
}

#[test]
fn names_that_break_the_rules_are_refused() {
    limited(|| {
        let (connection, _inbox, _peer) = connect_inbox(Config::default());
        for name in ["", "a\nb", &"x".repeat(256)] {
            let refused = hub().join(&connection, name, join());
            assert!(matches!(refused, Err(JoinError::Name(_))), "{name:?}");
            assert!(hub().publish(&outgoing(&[name], "x")).is_err());
        }
        hub().join(&connection, &"x".repeat(255), join()).unwrap();
    });
}

#[test]
fn a_membership_ends_with_the_connection() {
    limited(|| {
        let (connection, _inbox, mut peer) = member("ends");
        assert_eq!(hub().count(&["ends"]), 1);
        assert_eq!(Hub::groups_of(&connection), ["ends"]);
        peer.close(None).unwrap();
        while peer.read().is_ok() {}
        while hub().count(&["ends"]) > 0 {
            thread::yield_now();
        }
        assert_eq!(send("ends", "x"), 0);
        let late = hub().join(&connection, "ends", join());
        assert_eq!(late, Err(JoinError::Ended));
        assert_eq!(hub().count(&["ends"]), 0);
    });
}

#[test]
fn leaving_is_heard_of_at_once() {
    limited(|| {
        let mut one = member("leave");
        assert!(hub().leave(&one.0, "leave", None));
        assert!(!hub().leave(&one.0, "leave", None));
        assert_eq!(send("leave", "x"), 0);
        hub().join(&one.0, "leave", join()).unwrap();
        hub().join(&one.0, "leave", join()).unwrap();
        assert_eq!(send("leave", "y"), 1);
        assert_eq!(read(&mut one), "y");
    });
}

#[test]
fn the_order_of_each_sender_holds_for_every_member() {
    limited(|| {
        let mut members: Vec<_> = (0..20).map(|_| member("order")).collect();
        let senders: Vec<_> = ["a", "b", "c"]
            .map(|sender| {
                thread::spawn(move || {
                    for number in 0..200 {
                        assert_eq!(send("order", &format!("{sender}{number}")), 20);
                    }
                })
            })
            .into();
        let mut first = None;
        for one in &mut members {
            let all: Vec<_> = (0..600).map(|_| read(one)).collect();
            for sender in ["a", "b", "c"] {
                let own: Vec<_> = all.iter().filter(|text| text.starts_with(sender)).collect();
                assert!((0..200).all(|n| *own[n] == format!("{sender}{n}")));
            }
            // More than promised: all members get the messages in the same order.
            assert_eq!(first.get_or_insert_with(|| all.clone()), &all);
        }
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn a_slow_member_meets_its_policy_and_delays_nobody() {
    limited(|| {
        let small = |policy| Config {
            outbox_bytes: 64 * 1024,
            broadcast_overflow: policy,
            ..Config::default()
        };
        let stuck = [Overflow::Close, Overflow::DropOldest, Overflow::DropNewest]
            .map(|policy| connect_inbox(small(policy)));
        for one in &stuck {
            hub().join(&one.0, "slow", join()).unwrap();
        }
        let mut quick = member("slow");
        let text = "x".repeat(32 * 1024);
        for _ in 0..1_000 {
            send("slow", &text);
            assert_eq!(read(&mut quick).len(), text.len());
        }
        let [close, oldest, newest] = &stuck;
        assert_eq!(close.0.end().unwrap().code, 1013);
        for one in [oldest, newest] {
            assert!(one.0.end().is_none());
            assert!(one.0.stats().dropped_messages > 100);
        }
    });
}

#[test]
fn what_was_missed_comes_first_and_once() {
    limited(|| {
        let (connection, _inbox, peer) = connect_inbox(Config::default());
        let mut one = (connection, _inbox, peer);
        let start = hub().join(&one.0, "missed", kept()).unwrap();
        assert_eq!((start.recovered, start.position.offset), (false, 0));
        let first = keep("missed", "1");
        assert_eq!(read(&mut one), "1");
        assert_eq!(first.offset, 1);
        hub().leave(&one.0, "missed", None);
        keep("missed", "2");
        keep("missed", "3");
        let again = Join {
            since: Some(first.clone()),
            ..kept()
        };
        let joined = hub().join(&one.0, "missed", again.clone()).unwrap();
        let expected = Joined {
            recovered: true,
            position: Position {
                offset: 3,
                epoch: first.epoch.clone(),
            },
            missed: 2,
        };
        assert_eq!(joined, expected);
        keep("missed", "4");
        let got: Vec<_> = (0..3).map(|_| read(&mut one)).collect();
        assert_eq!(got, ["2", "3", "4"]);
        // The member misses more messages than the history keeps.
        for number in 5..=9 {
            keep("missed", &number.to_string());
            read(&mut one);
        }
        let joined = hub().join(&one.0, "missed", again).unwrap();
        assert_eq!((joined.recovered, joined.missed), (false, 0));
        // The position before the first message asks for the whole history.
        let all = Join {
            since: Some(Position {
                offset: 0,
                epoch: "".into(),
            }),
            ..kept()
        };
        assert_eq!(hub().join(&one.0, "missed", all).unwrap().missed, 5);
        // The position belongs to another epoch.
        let foreign = Join {
            since: Some(Position {
                offset: 9,
                epoch: "other".into(),
            }),
            ..kept()
        };
        assert!(!hub().join(&one.0, "missed", foreign).unwrap().recovered);
    });
}

#[test]
fn who_has_not_asked_for_the_history_gets_what_there_is_now() {
    limited(|| {
        let mut all = member("live.*");
        let mut one = member("live.plain");
        for number in 0..200 {
            keep(&format!("live.{}", number % 4), &number.to_string());
            keep("live.plain", &number.to_string());
        }
        let got: Vec<usize> = (0..400).map(|_| read(&mut all).parse().unwrap()).collect();
        let own: Vec<usize> = (0..200).map(|_| read(&mut one).parse().unwrap()).collect();
        assert_eq!(own, (0..200).collect::<Vec<_>>());
        for number in 0..200 {
            assert_eq!(got.iter().filter(|n| **n == number).count(), 2, "{number}");
        }
        // Each member still gets a message once after another one has asked for the history.
        let mut late = connect_inbox(Config::default());
        hub().join(&late.0, "live.plain", kept()).unwrap();
        keep("live.plain", "late");
        for who in [&mut all, &mut one, &mut late] {
            assert_eq!(read(who), "late");
        }
        keep("live.plain", "last");
        for who in [&mut all, &mut one, &mut late] {
            assert_eq!(read(who), "last");
        }
    });
}

#[test]
fn what_is_too_old_is_not_missed() {
    limited(|| {
        let limits = Limits {
            size: 5,
            ttl: Duration::from_secs(1),
        };
        let brief = Join {
            limits: Some(limits),
            since: Some(Position {
                offset: 0,
                epoch: "".into(),
            }),
            ..join()
        };
        let old = Outgoing {
            targets: vec![Target::Kept("old".into(), limits)],
            ..outgoing(&[], "old")
        };
        hub().publish(&old).unwrap();
        let published = Instant::now();
        thread::sleep(limits.ttl / 2);
        // The age of a message does not start anew when a member joins and stays.
        let stays = connect_inbox(Config::default());
        let joined = hub().join(&stays.0, "old", brief.clone()).unwrap();
        if published.elapsed() < limits.ttl {
            assert_eq!(joined.missed, 1);
        }
        thread::sleep((limits.ttl * 5 / 4).saturating_sub(published.elapsed()));
        let late = connect_inbox(Config::default());
        assert_eq!(hub().join(&late.0, "old", brief).unwrap().missed, 0);
    });
}

#[test]
fn who_has_seen_more_than_there_is_has_not_recovered() {
    limited(|| {
        let top = keep("ahead", "1");
        let ahead = Join {
            since: Some(Position {
                offset: 4,
                ..top.clone()
            }),
            ..kept()
        };
        let mut one = connect_inbox(Config::default());
        for _ in 0..2 {
            let joined = hub().join(&one.0, "ahead", ahead.clone()).unwrap();
            assert_eq!((joined.recovered, joined.position), (false, top.clone()));
        }
        keep("ahead", "2");
        assert_eq!(read(&mut one), "2");
    });
}

#[test]
fn who_joins_twice_at_a_time_is_in_the_group_once() {
    limited(|| {
        let (connection, _inbox, _peer) = connect_inbox(Config::default());
        for _ in 0..200 {
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| hub().join(&connection, "both", join()).unwrap());
                }
            });
            assert_eq!(Hub::groups_of(&connection), ["both"]);
            assert!(hub().leave(&connection, "both", None));
            assert!(Hub::groups_of(&connection).is_empty());
        }
        assert_eq!(hub().count(&["both"]), 0);
    });
}

#[test]
fn a_join_that_changes_nothing_is_silent() {
    limited(|| {
        let named = |name: &str, present| Join {
            present,
            info: format!(r#"{{"name":"{name}"}}"#).into(),
            ..join()
        };
        let mut one = connect_inbox(Config::default());
        one.0.envelop();
        hub().join(&one.0, "silent", named("A", true)).unwrap();
        let mut two = connect_inbox(Config::default());
        two.0.envelop();
        hub().join(&two.0, "silent", named("B", true)).unwrap();
        let mut told = |event: &str, name: &str| {
            let frame = read(&mut one);
            let begin = format!(r#"{{"type":"{event}","group":"silent""#);
            assert!(frame.starts_with(&begin), "{frame}");
            assert!(
                frame.contains(&format!(r#"{{"name":"{name}"}}"#)),
                "{frame}"
            );
        };
        told("join", "B");
        for number in 0..10 {
            let again = Join {
                reply: Some(number.to_string().into()),
                ..named("B", true)
            };
            hub().join(&two.0, "silent", again).unwrap();
            assert!(read(&mut two).contains(&format!(r#""id":{number}"#)));
        }
        // A change is told to the group.
        hub().join(&two.0, "silent", named("C", true)).unwrap();
        told("leave", "B");
        told("join", "C");
        hub().join(&two.0, "silent", named("C", false)).unwrap();
        told("leave", "C");
        assert_eq!(Hub::groups_of(&two.0), ["silent"]);
        assert_eq!(hub().members(&["silent"]).len(), 1);
        hub().join(&two.0, "silent", named("D", true)).unwrap();
        told("join", "D");
        assert!(hub().leave(&two.0, "silent", None));
        told("leave", "D");
    });
}

#[test]
fn who_joins_and_leaves_at_a_time_is_a_member_or_not() {
    limited(|| {
        let (connection, _inbox, _peer) = connect_inbox(Config::default());
        for _ in 0..500 {
            thread::scope(|scope| {
                scope.spawn(|| hub().join(&connection, "in or out", join()).unwrap());
                scope.spawn(|| hub().leave(&connection, "in or out", None));
                scope.spawn(|| hub().join(&connection, "in or out", join()).unwrap());
            });
            let groups = Hub::groups_of(&connection).len();
            assert_eq!(hub().count(&["in or out"]), groups);
        }
    });
}

#[test]
fn who_is_present_and_not_present_at_a_time_is_nobody_in_the_end() {
    limited(|| {
        let one = connect_inbox(Config::default());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            // Its questions delay what the others say about who is there.
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let _ = hub().members(&["ghost"]);
                }
            });
            for _ in 0..500 {
                thread::scope(|scope| {
                    for present in [true, false] {
                        let join = Join { present, ..join() };
                        let connection = &one.0;
                        scope.spawn(move || hub().join(connection, "ghost", join).unwrap());
                    }
                });
                assert!(hub().leave(&one.0, "ghost", None));
                let left = hub().members(&["ghost"]).len();
                done.store(left > 0, Relaxed);
                assert_eq!(left, 0, "a ghost");
            }
            done.store(true, Relaxed);
        });
    });
}

#[test]
fn a_member_that_joins_again_misses_nothing() {
    limited(|| {
        let mut one = member("again");
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..1_000 {
                    send("again", &number.to_string());
                }
            });
            for _ in 0..1_000 {
                hub().join(&one.0, "again", join()).unwrap();
            }
        });
        for number in 0..1_000 {
            assert_eq!(read(&mut one), number.to_string());
        }
    });
}

#[test]
fn who_was_left_out_is_left_out_after_a_reconnect_too() {
    limited(|| {
        let mut first = connect_inbox(Config::default());
        let start = hub().join(&first.0, "echo", kept()).unwrap().position;
        let message = Outgoing {
            targets: vec![Target::Kept("echo".into(), LIMITS.unwrap())],
            excluded: vec![who(&first)],
            ..outgoing(&["echo"], "my own")
        };
        hub().publish(&message).unwrap();
        keep("echo", "another's");
        // The broker confirms a message before it delivers it, so wait for the delivery.
        assert_eq!(read(&mut first), "another's");
        let again = Join {
            since: Some(start),
            was: vec!["nonsense".into(), hub().member_id(first.0.id()).to_string()],
            ..kept()
        };
        let mut second = connect_inbox(Config::default());
        let joined = hub().join(&second.0, "echo", again.clone()).unwrap();
        assert_eq!(
            (joined.recovered, joined.missed, joined.position.offset),
            (true, 1, 2)
        );
        keep("echo", "new");
        assert_eq!(read(&mut second), "another's");
        assert_eq!(read(&mut second), "new");
        // A connection that was another member gets all messages.
        let stranger = connect_inbox(Config::default());
        let other = Join {
            was: vec![hub().member_id(second.0.id()).to_string()],
            ..again
        };
        assert_eq!(hub().join(&stranger.0, "echo", other).unwrap().missed, 3);
    });
}

#[test]
fn who_is_left_out_is_not_counted() {
    limited(|| {
        let before = member("counted");
        let out = connect_inbox(Config::default());
        let (after, other) = (
            connect_inbox(Config::default()),
            connect_inbox(Config::default()),
        );
        let was = |one: &One| Join {
            was: vec![hub().member_id(one.0.id()).to_string()],
            ..kept()
        };
        hub().join(&out.0, "counted", kept()).unwrap();
        hub().join(&after.0, "counted", was(&before)).unwrap();
        hub().join(&other.0, "counted", was(&out)).unwrap();
        let stranger = connect_inbox(Config::default());
        let count = |excluded: &[&One]| {
            let message = Outgoing {
                targets: vec![Target::Kept("counted".into(), LIMITS.unwrap())],
                excluded: excluded.iter().map(|one| who(one)).collect(),
                ..outgoing(&[], "x")
            };
            hub().publish(&message).unwrap().local
        };
        assert_eq!(count(&[]), 4);
        assert_eq!(count(&[&stranger]), 4);
        assert_eq!(count(&[&before]), 2, "and the one that was it");
        assert_eq!(count(&[&out, &out, &other, &stranger]), 2);
    });
}

#[test]
fn who_was_left_out_is_left_out_when_it_joins_after_that() {
    limited(|| {
        let mut one = connect_inbox(Config::default());
        let id = who(&one);
        let without_one = |text: &str| {
            let message = Outgoing {
                targets: vec![Target::Kept("own echo".into(), LIMITS.unwrap())],
                excluded: vec![id],
                ..outgoing(&[], text)
            };
            hub().publish(&message).unwrap();
        };
        without_one("before it joins");
        keep("own echo", "1");
        let all = Join {
            since: Some(Position {
                offset: 0,
                epoch: "".into(),
            }),
            ..kept()
        };
        let joined = hub().join(&one.0, "own echo", all.clone()).unwrap();
        assert_eq!((joined.recovered, joined.missed), (true, 1));
        without_one("as a member");
        keep("own echo", "2");
        assert_eq!(["1", "2"].map(|_| read(&mut one)), ["1", "2"]);
        // Once as a member, and once after it has left.
        for _ in 0..2 {
            let joined = hub().join(&one.0, "own echo", all.clone()).unwrap();
            assert_eq!((joined.recovered, joined.missed), (true, 2));
            assert_eq!(["1", "2"].map(|_| read(&mut one)), ["1", "2"]);
            assert!(hub().leave(&one.0, "own echo", None));
        }
    });
}

#[test]
fn who_was_left_out_is_left_out_of_what_is_sent_after_a_reconnect_too() {
    limited(|| {
        let mut before = connect_inbox(Config::default());
        let mut after = connect_inbox(Config::default());
        hub().join(&before.0, "late echo", kept()).unwrap();
        let mut others = member("late echo");
        let again = Join {
            was: vec![hub().member_id(before.0.id()).to_string()],
            ..kept()
        };
        // A view sends for the connection that was, after the client has come back.
        let send_late = |text: &str| {
            let late = |target| Outgoing {
                targets: vec![target],
                excluded: vec![who(&before)],
                ..outgoing(&[], text)
            };
            let group = || "late echo".to_owned();
            hub()
                .publish(&late(Target::Kept(group(), LIMITS.unwrap())))
                .unwrap();
            hub().publish(&late(Target::Group(group()))).unwrap();
        };
        let expect = |one: &mut One, texts: &[&str]| {
            // The broker may give back the one that it keeps after the other one.
            let mut got: Vec<_> = texts.iter().map(|_| read(one)).collect();
            got.sort();
            assert_eq!(got, texts);
        };
        hub().join(&after.0, "late echo", again).unwrap();
        send_late("a");
        keep("late echo", "b");
        expect(&mut others, &["a", "a", "b"]);
        expect(&mut after, &["b"]);
        // One that says nothing of a former connection gets all.
        hub().leave(&after.0, "late echo", None);
        hub().join(&after.0, "late echo", kept()).unwrap();
        send_late("c");
        keep("late echo", "d");
        expect(&mut others, &["c", "c", "d"]);
        expect(&mut after, &["c", "c", "d"]);
        expect(&mut before, &["b", "d"]);
    });
}

#[test]
fn each_group_keeps_what_is_its_own() {
    limited(|| {
        let short = Limits {
            size: 2,
            ttl: Duration::from_secs(60),
        };
        let mut one = member("own.none");
        for (name, limits) in [("own.five", LIMITS), ("own.two", Some(short))] {
            let join = Join { limits, ..join() };
            hub().join(&one.0, name, join).unwrap();
        }
        let targets = vec![
            Target::Group("own.none".into()),
            Target::Kept("own.five".into(), LIMITS.unwrap()),
            Target::Kept("own.two".into(), short),
        ];
        for number in 0..4 {
            let message = Outgoing {
                targets: targets.clone(),
                ..outgoing(&[], &number.to_string())
            };
            let published = hub().publish(&message).unwrap();
            assert_eq!((published.local, published.position), (3, None));
        }
        for (name, count) in [("own.none", 0), ("own.five", 4), ("own.two", 2)] {
            let (entries, _) = hub()
                .history(name, LIMITS.unwrap(), Duration::from_secs(5))
                .unwrap();
            assert_eq!(entries.len(), count, "{name}");
        }
        let mut got: Vec<_> = (0..12).map(|_| read(&mut one)).collect();
        if broker::FATE == Fate::Sent {
            // Groups with a history wait for the broker, and groups without one do not.
            got.sort();
        }
        let four = ["0", "1", "2", "3"];
        assert_eq!(got, four.map(|text| [text; 3]).concat());
    });
}

#[test]
fn a_member_of_several_groups_is_counted_once() {
    limited(|| {
        let (one, two) = (member("count.plain"), member("count.plain"));
        let seen = |info: &str| Join {
            present: true,
            info: info.into(),
            ..join()
        };
        hub().join(&one.0, "count.a", seen("1")).unwrap();
        hub().join(&one.0, "count.b", seen("2")).unwrap();
        hub().join(&two.0, "count.b", seen("3")).unwrap();
        assert_eq!(hub().count(&["count.a", "count.b"]), 2);
        assert_eq!(hub().count(&["count.a", "count.plain"]), 2);
        let members = hub().members(&["count.a", "count.b"]);
        let infos: Vec<_> = members.iter().map(|member| &*member.info).collect();
        assert_eq!(infos, ["1", "3"]);
    });
}

#[test]
fn an_info_that_cannot_be_told_is_refused() {
    limited(|| {
        let one = connect_inbox(Config::default());
        for (len, refused) in [(MAX_INFO, false), (MAX_INFO + 1, true)] {
            let large = Join {
                present: true,
                info: format!("\"{}\"", "x".repeat(len - 2)).into(),
                ..join()
            };
            let joined = hub().join(&one.0, "large", large);
            assert_eq!(joined == Err(JoinError::Info(len)), refused);
        }
        assert_eq!(hub().members(&["large"])[0].info.len(), MAX_INFO);
    });
}

#[test]
fn a_history_expires() {
    limited(|| {
        let one = connect_inbox(Config::default());
        let brief = Limits {
            size: 5,
            ttl: Duration::from_millis(50),
        };
        let join = Join {
            limits: Some(brief),
            ..join()
        };
        let start = hub().join(&one.0, "brief", join.clone()).unwrap().position;
        let outgoing = Outgoing {
            targets: vec![Target::Kept("brief".into(), brief)],
            ..outgoing(&["brief"], "x")
        };
        hub().publish(&outgoing).unwrap();
        thread::sleep(Duration::from_millis(60));
        let late = Join {
            since: Some(start),
            ..join
        };
        assert!(!hub().join(&one.0, "brief", late).unwrap().recovered);
    });
}

#[test]
fn a_group_that_keeps_nothing_has_no_history_to_begin() {
    limited(|| {
        let none = Limits {
            size: 0,
            ttl: Duration::from_secs(60),
        };
        let nowhere = Position {
            offset: 0,
            epoch: "".into(),
        };
        let read = hub().history("nothing", none, LIMIT).unwrap();
        assert_eq!((read.0.len(), &read.1), (0, &nowhere));
        assert_eq!(hub().position("nothing", none, LIMIT).unwrap(), nowhere);
    });
}

#[test]
fn enveloped_members_learn_the_position_and_who_is_there() {
    limited(|| {
        let mut one = connect_inbox(Config::default());
        one.0.envelop();
        let options = Join {
            reply: Some("1".into()),
            present: true,
            info: r#"{"name":"A"}"#.into(),
            ..kept()
        };
        let joined = hub().join(&one.0, "json", options.clone()).unwrap();
        let epoch = joined.position.epoch;
        assert_eq!(
            read(&mut one),
            format!(
                r#"{{"type":"joined","group":"json","id":1,"recovered":false,"offset":0,"epoch":"{epoch}","missed":0}}"#
            )
        );
        keep("json", "hi");
        assert_eq!(
            read(&mut one),
            format!(
                r#"{{"type":"message","group":"json","data":"hi","offset":1,"epoch":"{epoch}"}}"#
            )
        );
        let two = connect_inbox(Config::default());
        hub()
            .join(
                &two.0,
                "json",
                Join {
                    reply: None,
                    ..options
                },
            )
            .unwrap();
        let id = hub().member_id(two.0.id());
        assert_eq!(
            read(&mut one),
            format!(
                r#"{{"type":"join","group":"json","member":{{"id":"{id}","info":{{"name":"A"}}}}}}"#
            )
        );
        assert_eq!(hub().members(&["json"]).len(), 2);
        two.0.abort();
        assert!(read(&mut one).starts_with(r#"{"type":"leave","group":"json""#));
        assert_eq!(hub().count(&["json"]), 1);
    });
}

#[test]
fn users_and_everybody_can_be_reached_and_sent_away() {
    limited(|| {
        let mut ours = [
            connect_inbox(Config::default()),
            connect_inbox(Config::default()),
        ];
        for one in &ours {
            hub().identify(&one.0, "user-7");
        }
        let message = Outgoing {
            targets: vec![Target::User("user-7".into())],
            ..outgoing(&[], "for you")
        };
        let published = hub().publish(&message).unwrap();
        assert_eq!((published.local, published.fate), (2, broker::FATE));
        for one in &mut ours {
            assert_eq!(read(one), "for you");
        }
        let user = vec![Target::User("user-7".into())];
        let gone = hub()
            .disconnect(user, 4001, "logged out", Duration::ZERO)
            .unwrap();
        assert_eq!(gone.local, 2);
        for one in &mut ours {
            match one.2.read().unwrap() {
                Wire::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 4001),
                other => panic!("{other:?}"),
            }
        }
    });
}
