//! A stranger writes forged messages to the broker: `REDIS_SERVER` and `NATS_SERVER` are the paths of the
//! programs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/server.rs"]
mod server;
#[path = "common/site.rs"]
mod site;

use std::sync::Arc;

use common::{LIMIT, Peer, connect_inbox, limited, until};
use dwebsocket::{
    config::Config,
    engine::engine,
    engine::{Connection, Inbox},
    hub::{Join, Outgoing, PayloadKind as Kind, Target, presence::MAX_INFO},
};
use server::{Kind as ServerKind, Server};
use site::{alone, connect, hub};

const BINARY: u8 = 1;
const JSON: u8 = 2;
const CLOSE: u8 = 4;
const PRESENCE: u8 = 3;

fn member(name: &str) -> (Arc<Connection>, Arc<Inbox>, Peer) {
    let join = Join {
        since: None,
        limits: None,
        present: true,
        info: r#"{"name":"Ann"}"#.into(),
        was: Vec::new(),
        reply: None,
        timeout: LIMIT,
    };
    let one = connect_inbox(Config::default());
    hub().join(&one.0, name, join).unwrap();
    one
}

/// An envelope as a process sends it, each time of another origin.
fn envelope(flags: u8, excluded: u16, channels: &[&str], payload: &[u8]) -> Vec<u8> {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut bytes = vec![b'm', 1, flags];
    bytes.extend(next.to_le_bytes());
    bytes.extend(next.to_le_bytes());
    bytes.extend(excluded.to_le_bytes());
    bytes.extend((0..excluded).flat_map(|_| [0; 8]));
    bytes.extend((channels.len() as u16).to_le_bytes());
    for channel in channels {
        bytes.extend((channel.len() as u16).to_le_bytes());
        bytes.extend(channel.as_bytes());
    }
    bytes.extend(payload);
    bytes
}

/// A message of presence: a node has a member with the number 1 and this info.
fn joined(node: &str, group: &str, info: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 4];
    let put = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u16).to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    put(&mut bytes, node);
    bytes.extend(1u64.to_be_bytes());
    put(&mut bytes, group);
    put(&mut bytes, &format!("{node}-1"));
    bytes.extend((info.len() as u32).to_be_bytes());
    bytes.extend(info);
    bytes
}

struct Stranger(redis::Connection);

impl Stranger {
    fn connect(server: &Server) -> Self {
        connect(&server.url(), "forged");
        let client = redis::Client::open(server.url()).unwrap();
        Self(client.get_connection().unwrap())
    }

    fn say(&mut self, channel: &str, bytes: &[u8]) {
        let channel = format!("forged:{channel}");
        redis::cmd("PUBLISH")
            .arg(channel)
            .arg(bytes)
            .exec(&mut self.0)
            .unwrap();
    }
}

fn read(one: &mut (Arc<Connection>, Arc<Inbox>, Peer)) -> String {
    one.2.read().unwrap().into_text().unwrap().to_string()
}

/// What this package never sends to a group.
fn strange() -> Vec<Vec<u8>> {
    // Close messages with codes and reasons that no Close frame may have.
    let mut strange = Vec::new();
    for code in [0u16, 1, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
        strange.push(envelope(CLOSE, 0, &[], &code.to_le_bytes()));
    }
    for reason in [&[b'x'; 124][..], &[b'x'; 70_000], b"\xff"] {
        let body = [&4_000u16.to_le_bytes()[..], reason].concat();
        strange.push(envelope(CLOSE, 0, &[], &body));
    }
    strange.push(envelope(CLOSE, 0, &[], b"\x01"));
    // Texts that are not UTF-8, and strings that are not JSON but would become part of a JSON frame.
    strange.push(envelope(0, 0, &[], b"\xff"));
    for json in ["", "{", "1,\"type\":\"joined\"", "NaN", "[1]]"] {
        strange.push(envelope(JSON, 0, &[], json.as_bytes()));
    }
    // Lists that are too long or missing, names that are not valid, flags that do not exist.
    strange.push(envelope(BINARY, 1_001, &[], b"x"));
    strange.push(envelope(BINARY, 0, &vec!["g:room"; 1_001], b"x"));
    strange.push(envelope(BINARY, 0, &["g"], b"x"));
    strange.push(envelope(BINARY, 0, &["\u{e9}"], b"x"));
    strange.push(envelope(99, 0, &[], b"x"));
    let mut cut = envelope(BINARY, 0, &[], b"");
    cut.truncate(19);
    cut.extend([0xff; 2]);
    strange.push(cut);
    strange.push(b"m".to_vec());
    // What is no message at all, and positions that cannot be read.
    for text in ["", "hello", "p", "p7|e", "pseven|e|x", "p-1|e|x"] {
        strange.push(text.into());
    }
    strange
}

#[test]
fn what_a_stranger_writes_breaks_nobody() {
    let Some(server) = Server::in_memory() else {
        return;
    };
    limited(move || {
        let mut stranger = Stranger::connect(&server);
        let mut one = member("room");
        let lost = || hub().stats(engine().unwrap()).lost;

        let strange = strange();
        let before = lost();
        for bytes in &strange {
            stranger.say("g:room", bytes);
        }
        stranger.say("g:room", &envelope(0, 0, &[], b"still here"));
        assert_eq!(read(&mut one), "still here");
        assert_eq!(lost() - before, strange.len() as u64);
        // A wildcard hears of names that no group has.
        let _all = member("all.*");
        redis::cmd("PUBLISH")
            .arg(b"forged:g:all.\xff")
            .arg("m")
            .exec(&mut stranger.0)
            .unwrap();
        until("it is counted", || lost() - before > strange.len() as u64);
        // The log has one line for all of them.
        let lines = engine().unwrap().log().drain();
        let about = lines
            .iter()
            .filter(|record| record.message.contains("was ignored"));
        assert_eq!(about.count(), 1, "{lines:?}");

        // A valid message of the stranger is obeyed.
        let close = [&4_005u16.to_le_bytes()[..], b"enough"].concat();
        stranger.say("g:room", &envelope(CLOSE, 0, &[], &close));
        let end = loop {
            if let tungstenite::Message::Close(Some(frame)) = one.2.read().unwrap() {
                break frame;
            }
        };
        assert_eq!((u16::from(end.code), &end.reason[..]), (4_005, "enough"));
    });
}

#[test]
fn members_of_strangers_break_the_list_for_nobody() {
    alone("members_of_strangers_break_the_list_for_nobody", || {
        let Some(server) = Server::in_memory() else {
            return;
        };
        let mut stranger = Stranger::connect(&server);
        let _one = member("who");
        let deep = "{\"a\":".repeat(2_000) + "1" + &"}".repeat(2_000);
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_INFO));
        let digits = format!(r#"{{"a":{}}}"#, "9".repeat(5_000));
        let strange: [&[u8]; 9] = [
            b"",
            b"nope",
            b"{\"a\":",
            b"{\"a\":NaN}",
            b"{\"a\":\"\\ud83d\"}",
            b"\xff",
            deep.as_bytes(),
            large.as_bytes(),
            digits.as_bytes(),
        ];
        for (number, info) in strange.iter().enumerate() {
            let said = joined(&format!("stranger{number}"), "who", info);
            stranger.say("p:", &envelope(PRESENCE, 0, &[], &said));
        }
        let bob = joined("zoe", "who", br#"{"name":"Zoe"}"#);
        stranger.say("p:", &envelope(PRESENCE, 0, &[], &bob));
        until("the last is there", || hub().count(&["who"]) == 2);
        let infos: Vec<_> = hub()
            .members(&["who"])
            .into_iter()
            .map(|one| one.info)
            .collect();
        assert_eq!(
            infos,
            [r#"{"name":"Ann"}"#.into(), r#"{"name":"Zoe"}"#.into()] as [Arc<str>; 2]
        );
        assert!(hub().stats(engine().unwrap()).lost >= strange.len() as u64);
        // The hub still works.
        let outgoing = Outgoing {
            targets: vec![Target::Group("who".into())],
            kind: Kind::Text,
            payload: "x".into(),
            excluded: Vec::new(),
            timeout: LIMIT,
        };
        assert_eq!(hub().publish(&outgoing).unwrap().local, 1);
    });
}

#[test]
fn what_a_stranger_writes_to_nats_is_counted() {
    alone("what_a_stranger_writes_to_nats_is_counted", || {
        let Some(server) = Server::start(ServerKind::Nats) else {
            return;
        };
        connect(&server.url(), "forged");
        let _members = ["room", "chat.*", "wi*"].map(member);
        let lost = || hub().stats(engine().unwrap()).lost;
        let before = lost();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = async_nats::connect(server.url()).await.unwrap();
            // The subscription of the last member is wider than its wildcard.
            client
                .publish("forged.c.m.g=3Aelse", "x".into())
                .await
                .unwrap();
            for subject in [
                // A message of a history without its number, and names that no group has.
                "forged.c.epoch.g=3Aroom",
                "forged.c.m.g=3Achat.=GG",
                "forged.c.m.g=3Achat.=FF",
            ] {
                client.publish(subject, "x".into()).await.unwrap();
            }
            client.flush().await.unwrap();
        });
        // Two subscriptions have heard of the names.
        until("they are counted", || lost() - before >= 5);
        assert_eq!(lost() - before, 5);
    });
}
