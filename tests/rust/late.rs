//! What the broker says comes late, or not at all: no member misses a message for that. `REDIS_SERVER` is
//! the path of the Redis program.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/proxy.rs"]
mod proxy;
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

use common::{Peer, connect_inbox, until};
use dwebsocket::{
    config::Config,
    engine::{Connection, Inbox},
    hub::{BrokerState, Limits},
};
use proxy::{Part, Proxy};
use server::Server;
use site::{Other, alone, connect, hub, join};

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
    _server: Server,
}

impl Pair {
    fn start() -> Option<Self> {
        let server = Server::in_memory()?;
        let (proxy, port) = Proxy::start(server.port);
        connect(&format!("redis://127.0.0.1:{port}/"), "late");
        Some(Self {
            proxy,
            other: Other::start(&server.url(), "late"),
            _server: server,
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
            self.proxy.held.load(Ordering::SeqCst) == parts
        });
    }

    /// The other process stores its message in a group while this one hears nothing. Answers are on their
    /// way all the time.
    fn store_unheard(&self, group: &str) {
        self.proxy.deafen();
        until("the broker is away", || {
            hub().broker_state() == BrokerState::Away
        });
        self.store(group);
        self.proxy.mend();
        until("the broker is back", || {
            hub().broker_state() == BrokerState::Connected
        });
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
