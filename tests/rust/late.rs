//! What the broker says comes late, or not at all: no member misses a message for that. `REDIS_SERVER` and
//! `NATS_SERVER` are the paths of the programs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/proxy.rs"]
mod proxy;
#[path = "common/redis_client.rs"]
mod redis_client;
#[path = "common/server.rs"]
mod server;
#[path = "common/site.rs"]
mod site;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use common::{LIMIT, Peer, connect_inbox, until};
use dwebsocket::{
    config::Config,
    engine::{Connection, Inbox, engine},
    hub::{BrokerState, Fate, Limits, Target},
};
use proxy::{Part, Proxy};
use redis_client::{client, command};
use server::{Kind, Server};
use site::{Other, alone, connect, hub, join, text, until_broker_is};

const LIMITS: Limits = Limits {
    size: 5,
    ttl: Duration::from_secs(60),
};

/// The time in which the process asks for what it has missed, after it has connected again.
const SOON: Duration = Duration::from_millis(200);

type Member = (Arc<Connection>, Arc<Inbox>, Peer);

fn member(group: &str, limits: Option<Limits>) -> Member {
    let one = connect_inbox(Config::default());
    hub().join(&one.0, group, join(limits)).unwrap();
    one
}

fn read(member: &mut Member) -> String {
    member.2.read().unwrap().into_text().unwrap().to_string()
}

/// A process that is connected through a proxy, and another one that is not.
struct Pair {
    proxy: Arc<Proxy>,
    other: Other,
    server: Server,
}

impl Pair {
    fn start() -> Option<Self> {
        let server = Server::in_memory()?;
        let all = ["on", ">s3cret", "~*", "&*", "+@all"];
        command(
            &mut client(&server),
            &[&["ACL", "SETUSER", "site"][..], &all].concat(),
        );
        let (proxy, port) = Proxy::start(server.port);
        connect(&format!("redis://site:s3cret@127.0.0.1:{port}/"), "late");
        Some(Self {
            proxy,
            other: Other::start(&server.url(), "late"),
            server,
        })
    }

    /// The other process stores its message in a group.
    fn store(&self, group: &str) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let sequence = NEXT.fetch_add(1, Ordering::Relaxed);
        let stored = self.other.store(group, sequence, LIMITS);
        self.other.runtime.block_on(stored);
    }

    fn until_held(&self, parts: usize) {
        until("the proxy holds something back", || {
            self.proxy.held.load(Ordering::SeqCst) >= parts
        });
    }

    /// The other process stores its message in a group while this one hears nothing. Answers are on their
    /// way all the time.
    fn store_unheard(&self, group: &str) {
        self.proxy.deafen();
        until_broker_is(BrokerState::Away);
        self.store(group);
        self.proxy.mend();
        until_broker_is(BrokerState::Connected);
        thread::sleep(SOON);
    }
}

#[test]
fn an_answer_from_before_a_reconnect_does_not_end_the_search() {
    alone(
        "an_answer_from_before_a_reconnect_does_not_end_the_search",
        || {
            let Some(pair) = Pair::start() else {
                return;
            };
            let mut one = member("room", Some(LIMITS));
            pair.proxy.hold(&[Part::Answers]);
            pair.store_unheard("room");
            pair.until_held(1);
            pair.store_unheard("room");
            pair.proxy.hold(&[]);
            for _ in 0..2 {
                assert_eq!(read(&mut one), "missed");
            }
        },
    );
}

#[test]
fn a_first_read_from_before_a_reconnect_is_no_end() {
    alone("a_first_read_from_before_a_reconnect_is_no_end", || {
        let Some(pair) = Pair::start() else {
            return;
        };
        // The server learns the script, so that the next call is the only one.
        member("warm", Some(LIMITS));
        pair.proxy.hold(&[Part::Answers]);
        let joining = thread::spawn(|| member("room", Some(LIMITS)));
        pair.until_held(1);
        pair.store_unheard("room");
        pair.proxy.hold(&[]);
        let mut one = joining.join().unwrap();
        assert_eq!(read(&mut one), "missed");
    });
}

/// The other process stores two more messages in a group, and the members read each message once.
fn read_each_once(pair: &mut Pair, members: &mut [&mut Member], group: &str) {
    for text in ["next", "end"] {
        pair.other.learn(text);
        pair.store(group);
    }
    for one in members {
        for text in ["missed", "next", "end"] {
            assert_eq!(read(one), text);
        }
    }
}

#[test]
fn members_without_the_history_get_what_was_on_its_way_when_it_was_read() {
    alone(
        "members_without_the_history_get_what_was_on_its_way_when_it_was_read",
        || {
            let Some(mut pair) = Pair::start() else {
                return;
            };
            let (mut all, mut plain) = (member("room.*", None), member("room.1", None));
            pair.proxy.hold(&[Part::Messages]);
            pair.store("room.1");
            pair.until_held(1);
            let one = connect_inbox(Config::default());
            let joined = hub().join(&one.0, "room.1", join(Some(LIMITS))).unwrap();
            assert_eq!(joined.position.offset, 1);
            pair.proxy.hold(&[]);
            read_each_once(&mut pair, &mut [&mut all, &mut plain], "room.1");
        },
    );
}

#[test]
fn a_wildcard_gets_what_is_stored_while_the_first_member_joins() {
    alone(
        "a_wildcard_gets_what_is_stored_while_the_first_member_joins",
        || {
            let Some(mut pair) = Pair::start() else {
                return;
            };
            let mut all = member("room.*", None);
            pair.proxy.hold(&[Part::Questions]);
            let one = connect_inbox(Config::default());
            let connection = Arc::clone(&one.0);
            let joining =
                thread::spawn(move || hub().join(&connection, "room.1", join(Some(LIMITS))));
            // The process has subscribed, and the server has not got the question yet.
            pair.until_held(1);
            pair.proxy.hold(&[Part::Questions, Part::Messages]);
            pair.store("room.1");
            pair.until_held(2);
            pair.proxy.hold(&[Part::Messages]);
            let joined = joining.join().unwrap().unwrap();
            assert_eq!(joined.position.offset, 1);
            pair.proxy.hold(&[]);
            read_each_once(&mut pair, &mut [&mut all], "room.1");
        },
    );
}

#[test]
fn who_joined_while_the_broker_was_away_hears_through_it_afterwards() {
    alone(
        "who_joined_while_the_broker_was_away_hears_through_it_afterwards",
        || {
            let Some(pair) = Pair::start() else {
                return;
            };
            pair.proxy.cut();
            until_broker_is(BrokerState::Away);
            let mut all = member("room.*", None);
            pair.proxy.mend();
            until("the broker is back, and is asked once more", || {
                let mut redis = client(&pair.server);
                let calls: String = redis::cmd("INFO")
                    .arg("commandstats")
                    .query(&mut redis)
                    .unwrap();
                // The connection makes the subscription, and the group's review does.
                let count = calls.split("cmdstat_psubscribe:calls=").nth(1);
                let count = count.and_then(|count| count.split(',').next());
                count.is_some_and(|count| count.parse::<u32>().unwrap() >= 2)
            });
            thread::sleep(5 * SOON);
            pair.proxy.hold(&[Part::Messages]);
            keep("room.1", "by way of the broker");
            let plain = text(Target::Group("room.2".into()), "at once", LIMIT);
            hub().publish(&plain).unwrap();
            assert_eq!(read(&mut all), "at once");
            pair.proxy.hold(&[]);
            assert_eq!(read(&mut all), "by way of the broker");
        },
    );
}

#[test]
fn a_group_that_was_deaf_gets_what_it_has_missed_without_a_further_message() {
    alone(
        "a_group_that_was_deaf_gets_what_it_has_missed_without_a_further_message",
        || {
            let Some(pair) = Pair::start() else {
                return;
            };
            let mut one = member("room", Some(LIMITS));
            let may_listen = |rule| {
                let words = ["ACL", "SETUSER", "site", rule];
                command(&mut client(&pair.server), &words);
            };
            let asked = pair.proxy.scripts.load(Ordering::SeqCst);
            may_listen("resetchannels");
            pair.proxy.deafen();
            pair.proxy.mend();
            until("the process asks for what it has missed", || {
                pair.proxy.scripts.load(Ordering::SeqCst) > asked
            });
            thread::sleep(SOON);
            pair.store("room");
            may_listen("allchannels");
            assert_eq!(read(&mut one), "missed");
        },
    );
}

/// A NATS whose user must not listen to these subjects. It is not running yet.
fn nats_without(denied: &str) -> Option<Server> {
    let mut server = Server::prepare(Kind::Nats)?;
    forbid(&mut server, denied);
    Some(server)
}

fn forbid(server: &mut Server, denied: &str) {
    let place = server.place.display();
    let rights = format!("publish: \">\", subscribe: {{ allow: \">\", deny: \"{denied}\" }}");
    let user = format!("user: site, password: s3cret, permissions: {{ {rights} }}");
    server.configuration = Some(format!(
        "jetstream {{ store_dir: \"{place}/data\" }}
        authorization {{ users: [ {{ {user} }} ] }}"
    ));
}

fn connect_to_nats(server: &Server) {
    connect(
        &format!("nats://site:s3cret@127.0.0.1:{}", server.port),
        "late",
    );
}

/// This process stores a message in a group.
fn keep(group: &str, words: &str) {
    let message = text(Target::Kept(group.into(), LIMITS), words, LIMIT);
    assert_eq!(hub().publish(&message).unwrap().fate, Fate::Stored);
}

#[test]
fn a_deaf_group_gets_what_its_own_process_stores() {
    alone("a_deaf_group_gets_what_its_own_process_stores", || {
        let Some(mut server) = nats_without("late.none") else {
            return;
        };
        server.up();
        connect_to_nats(&server);
        let mut one = member("room", Some(LIMITS));
        server.down();
        forbid(&mut server, "late.c.*.g=3Aroom");
        server.up();
        let log = engine().unwrap().log();
        until("the group is deaf", || {
            let records = log.drain().into_iter();
            let mut lines = records.map(|record| record.message);
            lines.any(|line| line.contains("refuses to listen"))
        });
        for text in ["first", "second"] {
            keep("room", text);
            assert_eq!(read(&mut one), text);
        }
    });
}

#[test]
fn deaf_members_without_the_history_get_what_their_own_process_stores() {
    alone(
        "deaf_members_without_the_history_get_what_their_own_process_stores",
        || {
            let Some(mut server) = nats_without("late.c.*.g=3Aroom.>") else {
                return;
            };
            server.up();
            connect_to_nats(&server);
            let (mut plain, mut all) = (member("room.1", None), member("room.*", None));
            for text in ["first", "second"] {
                keep("room.1", text);
                assert_eq!(read(&mut plain), text);
                assert_eq!(read(&mut all), text);
                // Only the wildcard is here.
                keep("room.2", text);
                assert_eq!(read(&mut all), text);
            }
        },
    );
}
