//! A broker that has lost its data: `REDIS_SERVER` is the path of the Redis program.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/server.rs"]
mod server;
#[path = "common/site.rs"]
mod site;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{LIMIT, Peer, connect_inbox, limited};
use dwebsocket::{
    config::Config,
    engine::{Connection, Inbox},
    hub::{Limits, Outgoing, PayloadKind as Kind, Target},
};
use server::Server;
use site::{connect, hub, join};

const LIMITS: Limits = Limits {
    size: 50,
    ttl: Duration::from_secs(60),
};

fn member(limits: Option<Limits>) -> (Arc<Connection>, Arc<Inbox>, Peer) {
    let join = join(limits);
    let one = connect_inbox(Config::default());
    hub().join(&one.0, "lost", join).unwrap();
    one
}

fn keep(text: &str) -> u64 {
    let outgoing = Outgoing {
        targets: vec![Target::Kept("lost".into(), LIMITS)],
        kind: Kind::Text,
        payload: text.to_owned().into(),
        excluded: Vec::new(),
        timeout: LIMIT,
    };
    hub().publish(&outgoing).unwrap().position.unwrap().offset
}

/// The number of scripts that the server has run.
fn scripts(server: &mut redis::Connection) -> usize {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(server)
        .unwrap();
    let line = stats
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha:"));
    let calls = line.unwrap().split(['=', ',']).nth(1).unwrap();
    calls.parse().unwrap()
}

#[test]
fn offsets_of_a_history_that_is_gone_are_forgotten() {
    let Some(server) = Server::in_memory() else {
        return;
    };
    limited(move || {
        connect(&server.url(), "lost");
        let mut plain = member(None);
        for number in 1..=20 {
            assert_eq!(keep("old"), number);
            assert_eq!(plain.2.read().unwrap().into_text().unwrap(), "old");
        }
        let mut client = redis::Client::open(server.url())
            .unwrap()
            .get_connection()
            .unwrap();
        redis::cmd("FLUSHALL").exec(&mut client).unwrap();
        // A new history begins, and all members get its messages.
        let mut kept = member(Some(LIMITS));
        assert_eq!(keep("new"), 1);
        for who in [&mut plain, &mut kept] {
            assert_eq!(who.2.read().unwrap().into_text().unwrap(), "new");
        }
        // All members whose clients know the frame are told of the next loss, also those without the history.
        for who in [&plain, &kept] {
            who.0.envelop();
        }
        redis::cmd("FLUSHALL").exec(&mut client).unwrap();
        assert_eq!(keep("newer"), 1);
        for who in [&mut plain, &mut kept] {
            let frame = who.2.read().unwrap().into_text().unwrap();
            assert!(frame.starts_with(r#"{"type":"reset""#), "{frame}");
        }
        assert_eq!(keep("newest"), 2);
        for who in [&mut plain, &mut kept] {
            let frame = who.2.read().unwrap().into_text().unwrap();
            assert!(frame.contains(r#""data":"newest""#), "{frame}");
        }
        // The hub does not wait for offsets of the old history: half a second passes without a question.
        let end = Instant::now() + LIMIT / 2;
        loop {
            let before = scripts(&mut client);
            thread::sleep(Duration::from_millis(500));
            if scripts(&mut client) == before {
                return;
            }
            assert!(Instant::now() < end, "the server is asked again and again");
        }
    });
}
