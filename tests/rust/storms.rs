//! A broker refuses the calls of a process with many groups, or gives wrong answers: the process must not
//! ask in a storm. `REDIS_SERVER` and `NATS_SERVER` are the paths of the programs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/redis_client.rs"]
mod redis_client;
#[path = "common/server.rs"]
mod server;
#[path = "common/site.rs"]
mod site;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{LIMIT, Peer, connect_inbox, until};
use dwebsocket::{
    config::Config,
    engine::engine,
    engine::{Connection, Inbox},
    hub::{
        BrokerState, Fate, HubError as JoinError, Join, Joined, Limits, Position, Published, Target,
    },
};
use redis_client::{client, command};
use server::{Kind as ServerKind, Server};
use site::{Other, alone, hub, join, pump, until_broker_is};

const LIMITS: Limits = Limits {
    size: 50,
    ttl: Duration::from_secs(60),
};

const GROUPS: usize = 300;

/// The most questions of a process within [`WINDOW`], for any number of groups.
const FEW: usize = 40;

const WINDOW: Duration = Duration::from_secs(3);

type Member = (Arc<Connection>, Arc<Inbox>, Peer);

fn member() -> Member {
    connect_inbox(Config::default())
}

fn join_since(member: &Member, name: &str, since: Option<Position>) -> Result<Joined, JoinError> {
    let join = Join {
        since,
        ..join(Some(LIMITS))
    };
    hub().join(&member.0, name, join)
}

fn all_kept() -> Option<Position> {
    Some(Position {
        offset: 0,
        epoch: "".into(),
    })
}

fn send(target: Target, text: &str, timeout: Duration) -> Published {
    hub().publish(&site::text(target, text, timeout)).unwrap()
}

fn keep(name: &str, text: &str) -> Published {
    send(Target::Kept(name.into(), LIMITS), text, LIMIT / 4)
}

fn read(member: &mut Member) -> String {
    member.2.read().unwrap().into_text().unwrap().to_string()
}

/// The log records so far.
fn log() -> Vec<String> {
    static ALL: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut all = ALL.lock().unwrap();
    all.extend(
        engine()
            .unwrap()
            .log()
            .drain()
            .into_iter()
            .map(|record| record.message),
    );
    all.clone()
}

fn lines(with: &[&str]) -> usize {
    let lines = log();
    let has = |line: &&String| with.iter().all(|word| line.contains(word));
    lines.iter().filter(has).count()
}

/// The number of calls of a command that the server has counted.
fn calls(client: &mut redis::Connection, name: &str) -> usize {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(client)
        .unwrap();
    let line = stats
        .lines()
        .find(|line| line.starts_with(&format!("cmdstat_{name}:")));
    let calls = line.map(|line| line.split(['=', ',']).nth(1).unwrap().parse().unwrap());
    calls.unwrap_or(0)
}

/// The number of calls of a command within [`WINDOW`].
fn calls_now(client: &mut redis::Connection, name: &str) -> usize {
    let before = calls(client, name);
    thread::sleep(WINDOW);
    calls(client, name) - before
}

fn connect(url: &str) {
    site::connect(url, "storm");
}

/// Stores a message in a group, as another process does.
fn store(other: &Other, name: &str) -> Position {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let sequence = NEXT.fetch_add(1, Ordering::Relaxed) as u64;
    let stored = other.store(name, sequence, LIMITS);
    other.runtime.block_on(stored)
}

#[test]
fn reads_that_are_refused_are_no_storm() {
    alone("reads_that_are_refused_are_no_storm", || {
        let Some(server) = Server::in_memory() else {
            return;
        };
        let mut redis = client(&server);
        command(
            &mut redis,
            &[
                "ACL", "SETUSER", "site", "on", ">s3cret", "~*", "&*", "+@all",
            ],
        );
        connect(&format!("redis://site:s3cret@127.0.0.1:{}/", server.port));
        let mut one = member();
        for number in 0..GROUPS {
            join_since(&one, &format!("many.{number}"), None).unwrap();
        }
        let other = Other::start(&server.url(), "storm");
        command(&mut redis, &["ACL", "SETUSER", "site", "-xrange"]);
        // Each group misses a message, and must read its history.
        for number in 0..GROUPS {
            let name = format!("many.{number}");
            let last = format!("storm:meta:{{g:{name}}}");
            command(&mut redis, &["HSET", &last, "top", "1"]);
            command(
                &mut redis,
                &[
                    "XADD",
                    &format!("storm:log:{{g:{name}}}"),
                    "1-0",
                    "junk",
                    "1",
                ],
            );
            store(&other, &name);
        }
        until("the log tells", || lines(&["refuses to read"]) > 0);
        // At first, each group asks once.
        thread::sleep(WINDOW);
        let asked = calls_now(&mut redis, "evalsha");
        println!("{asked} questions within {WINDOW:?}");
        assert!(asked <= FEW, "{asked} questions");
        assert_eq!(lines(&["refuses to read"]), 1, "{:?}", log());
        let port = server.port.to_string();
        assert_eq!(
            lines(&["refuses to read", &port, "many.", "asked again in"]),
            1,
            "{:?}",
            log()
        );
        assert_eq!(lines(&["s3cret"]), 0);
        // A join fails instead of reporting that no message was missed.
        store(&other, "new");
        assert!(join_since(&member(), "new", all_kept()).is_err());
        command(&mut redis, &["ACL", "SETUSER", "site", "+xrange"]);
        for _ in 0..GROUPS {
            assert_eq!(read(&mut one), "missed");
        }
        until("the log tells of the end", || {
            lines(&["read the history of", "again", "refusals"]) == 1
        });
    });
}

#[test]
fn stores_that_are_refused_are_no_storm() {
    alone("stores_that_are_refused_are_no_storm", || {
        let Some(server) = Server::in_memory() else {
            return;
        };
        connect(&server.url());
        let mut redis = client(&server);
        command(&mut redis, &["CONFIG", "SET", "maxmemory", "1"]);
        for number in 0..GROUPS {
            let target = Target::Kept(format!("full.{number}"), LIMITS);
            let published = send(target, "wait", Duration::ZERO);
            assert_eq!(published.fate, Fate::Pending);
        }
        until("the log tells", || lines(&["refuses to store", "OOM"]) > 0);
        // At first, each group asks once.
        thread::sleep(WINDOW);
        let asked = calls_now(&mut redis, "evalsha");
        println!("{asked} questions within {WINDOW:?}");
        assert!(asked <= FEW, "{asked} questions");
        assert_eq!(lines(&["refuses to store"]), 1, "{:?}", log());
        // Messages to groups without a history are still delivered.
        let other = Other::start(&server.url(), "storm");
        drop(other);
        command(&mut redis, &["CONFIG", "SET", "maxmemory", "0"]);
        assert!(hub().flush(LIMIT));
        until("the log tells of the end", || {
            lines(&["store messages to", "again", "refusals"]) == 1
        });
    });
}

/// Joins after each of several positions. The third and the fourth entry cannot be read.
fn check_what_is_told(at: &Position) {
    let after = |offset| {
        Some(Position {
            offset,
            ..at.clone()
        })
    };
    for (since, recovered, missed) in [
        (all_kept(), false, 0),
        (after(2), false, 0),
        (after(4), true, 2),
        (after(6), true, 0),
        (after(1 << 62), false, 0),
    ] {
        let joined = join_since(&member(), "odd", since.clone()).unwrap();
        let got = (joined.recovered, joined.missed, joined.position.offset);
        assert_eq!(got, (recovered, missed, 6), "{since:?}");
    }
}

#[test]
fn a_strange_entry_is_passed_and_whoever_joins_is_told_the_truth() {
    alone(
        "a_strange_entry_is_passed_and_whoever_joins_is_told_the_truth",
        || {
            let Some(server) = Server::in_memory() else {
                return;
            };
            connect(&server.url());
            let mut redis = client(&server);
            let mut one = member();
            join_since(&one, "odd", None).unwrap();
            assert_eq!(keep("odd", "1").position.unwrap().offset, 1);
            let at = keep("odd", "2").position.unwrap();
            // The first is a valid entry but not a message; the second is not a valid entry.
            command(
                &mut redis,
                &[
                    "XADD",
                    "storm:log:{g:odd}",
                    "3-0",
                    "e",
                    "nonsense",
                    "t",
                    "1",
                ],
            );
            command(
                &mut redis,
                &["XADD", "storm:log:{g:odd}", "4-0", "what", "ever"],
            );
            assert_eq!(keep("odd", "5").position.unwrap().offset, 5);
            assert_eq!(keep("odd", "6").position.unwrap().offset, 6);
            for text in ["1", "2", "5", "6"] {
                assert_eq!(read(&mut one), text);
            }
            check_what_is_told(&at);
            let (kept, top) = hub().history("odd", LIMITS, LIMIT).unwrap();
            let offsets: Vec<_> = kept.iter().map(|(offset, ..)| *offset).collect();
            assert_eq!((offsets, top.offset), (vec![1, 2, 5, 6], 6));
            assert_eq!(lines(&["was ignored", "g:odd"]), 1, "{:?}", log());
            // The result is the same if the group is new to the process.
            drop(one);
            until("the group is forgotten", || {
                hub().stats(engine().unwrap()).groups == 0
            });
            check_what_is_told(&at);
        },
    );
}

#[test]
fn a_position_far_ahead_is_not_believed_for_ever() {
    alone("a_position_far_ahead_is_not_believed_for_ever", || {
        let Some(server) = Server::in_memory() else {
            return;
        };
        connect(&server.url());
        let mut redis = client(&server);
        let (mut kept, mut plain) = (member(), member());
        join_since(&kept, "far", None).unwrap();
        hub().join(&plain.0, "plain", join(None)).unwrap();
        let other = Other::start(&server.url(), "storm");
        let at = keep("far", "first").position.unwrap();
        let begun = keep("plain", "first").position.unwrap();
        let mut texts = vec!["first"];
        for (name, at) in [("far", &at), ("plain", &begun)] {
            for offset in [100, 1 << 40, 1 << 53, 1 << 62, u64::MAX] {
                let mut forged = format!("p{offset}|{}|", at.epoch).into_bytes();
                forged.extend_from_slice(&other.envelope);
                let channel = format!("storm:g:{name}");
                redis::cmd("PUBLISH")
                    .arg(channel)
                    .arg(forged)
                    .exec(&mut redis)
                    .unwrap();
            }
        }
        texts.push("second");
        assert_eq!(keep("far", "second").position.unwrap().offset, 2);
        keep("plain", "second");
        for text in &texts {
            assert_eq!(read(&mut kept), *text);
        }
        // The same envelope has arrived several times, and counts once.
        let mut heard = Vec::new();
        while heard.last().is_none_or(|text| text != "second") {
            heard.push(read(&mut plain));
        }
        heard.retain(|text| text != "missed");
        assert_eq!(heard, texts);
        until("nothing is asked any more", || {
            calls_now(&mut client(&server), "evalsha") == 0
        });
        let joined = join_since(&member(), "far", Some(at)).unwrap();
        assert_eq!((joined.recovered, joined.missed), (true, 1));
    });
}

#[test]
fn a_message_that_is_stored_while_a_forged_one_is_doubted_arrives() {
    alone(
        "a_message_that_is_stored_while_a_forged_one_is_doubted_arrives",
        || {
            let Some(server) = Server::in_memory() else {
                return;
            };
            connect(&server.url());
            let mut redis = client(&server);
            let mut one = member();
            join_since(&one, "mixed", None).unwrap();
            let other = Other::start(&server.url(), "storm");
            let at = keep("mixed", "first").position.unwrap();
            assert_eq!(read(&mut one), "first");
            for number in 0..50 {
                let mut forged = format!("p{}|{}|", 1_000 + number, at.epoch).into_bytes();
                forged.extend_from_slice(&other.envelope);
                redis::cmd("PUBLISH")
                    .arg("storm:g:mixed")
                    .arg(forged)
                    .exec(&mut redis)
                    .unwrap();
                keep("mixed", &number.to_string());
                assert_eq!(read(&mut one), number.to_string());
            }
        },
    );
}

/// A port whose target can change, as that of a DNS name. Open connections keep their target.
struct Name {
    port: u16,
    to: Arc<AtomicU16>,
    connections: Arc<AtomicUsize>,
}

impl Name {
    fn of(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = Arc::new(AtomicU16::new(server));
        let connections = Arc::new(AtomicUsize::new(0));
        let (now, count) = (Arc::clone(&to), Arc::clone(&connections));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", now.load(Ordering::SeqCst)))
                else {
                    continue;
                };
                let both = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pass(both.0, both.1));
                thread::spawn(move || pass(server, client));
            }
        });
        Self {
            port,
            to,
            connections,
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    pump(&mut from, &mut to, |_| {});
    let _ = from.shutdown(Shutdown::Both);
}

fn two_servers() -> Option<(Server, Server)> {
    let (one, two) = (Server::in_memory()?, Server::in_memory()?);
    let port = one.port.to_string();
    command(&mut client(&two), &["REPLICAOF", "127.0.0.1", &port]);
    until("the replica follows", || {
        let role: Vec<redis::Value> = redis::cmd("ROLE").query(&mut client(&two)).unwrap();
        role.get(3) == Some(&redis::Value::BulkString(b"connected".to_vec()))
    });
    Some((one, two))
}

fn fail_over(from: &Server, to: &Server, name: &Name) {
    command(&mut client(to), &["REPLICAOF", "NO", "ONE"]);
    let port = to.port.to_string();
    command(&mut client(from), &["REPLICAOF", "127.0.0.1", &port]);
    name.to.store(to.port, Ordering::SeqCst);
}

#[test]
fn a_process_follows_a_name_to_the_new_primary() {
    alone("a_process_follows_a_name_to_the_new_primary", || {
        let Some((one, two)) = two_servers() else {
            return;
        };
        let name = Name::of(one.port);
        connect(&format!("redis://127.0.0.1:{}/", name.port));
        let mut member = member();
        join_since(&member, "moving", None).unwrap();
        assert_eq!(keep("moving", "before").fate, Fate::Stored);
        assert_eq!(read(&mut member), "before");
        fail_over(&one, &two, &name);
        // No message reveals the failover, so the keep-alive must find it.
        until("the process has moved", || {
            lines(&["away", "replica"]) == 1 && hub().broker_state() == BrokerState::Connected
        });
        let numbers: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query(&mut client(&two))
            .unwrap();
        assert!(
            numbers.contains("cmd=subscribe") || numbers.contains("sub=3"),
            "{numbers}"
        );
        assert_eq!(keep("moving", "after").fate, Fate::Stored);
        assert_eq!(read(&mut member), "after");
        assert_eq!(lines(&["is back", "after"]), 1, "{:?}", log());
        // Fail over back. This time, a message that cannot be stored reveals it.
        fail_over(&two, &one, &name);
        let published = keep("moving", "home");
        assert!(matches!(published.fate, Fate::Stored | Fate::Pending));
        assert_eq!(read(&mut member), "home");
        let live = send(Target::Group("moving".into()), "live", LIMIT);
        assert_eq!(live.fate, Fate::Sent);
    });
}

#[test]
fn a_name_that_leads_to_a_replica_is_no_storm() {
    alone("a_name_that_leads_to_a_replica_is_no_storm", || {
        let Some((_one, two)) = two_servers() else {
            return;
        };
        let name = Name::of(two.port);
        hub()
            .connect(&format!("redis://127.0.0.1:{}/", name.port), "storm")
            .unwrap();
        until("it is refused", || {
            hub().broker_state() == BrokerState::Away
        });
        thread::sleep(WINDOW);
        let before = name.connections.load(Ordering::SeqCst);
        thread::sleep(WINDOW);
        let tries = name.connections.load(Ordering::SeqCst) - before;
        assert!(tries <= 6, "{tries} connections");
        assert_eq!(
            lines(&["away", "replica", "next attempt"]),
            1,
            "{:?}",
            log()
        );
        command(&mut client(&two), &["REPLICAOF", "NO", "ONE"]);
        until_broker_is(BrokerState::Connected);
    });
}

#[test]
fn a_replica_that_does_not_tell_its_role_is_left_too() {
    alone("a_replica_that_does_not_tell_its_role_is_left_too", || {
        let Some((one, two)) = two_servers() else {
            return;
        };
        for server in [&one, &two] {
            let mut redis = client(server);
            command(
                &mut redis,
                &[
                    "ACL", "SETUSER", "site", "on", ">x", "~*", "&*", "+@all", "-role",
                ],
            );
        }
        let name = Name::of(one.port);
        connect(&format!("redis://site:x@127.0.0.1:{}/", name.port));
        let mut member = member();
        join_since(&member, "quiet", None).unwrap();
        assert_eq!(keep("quiet", "before").fate, Fate::Stored);
        fail_over(&one, &two, &name);
        keep("quiet", "after");
        for text in ["before", "after"] {
            assert_eq!(read(&mut member), text);
        }
        assert!(calls(&mut client(&one), "role") < 10);
        // If the name leads back to a replica that accepts connections, the attempts are few.
        name.to.store(one.port, Ordering::SeqCst);
        command(&mut client(&two), &["CLIENT", "KILL", "TYPE", "pubsub"]);
        command(&mut client(&two), &["CLIENT", "KILL", "TYPE", "normal"]);
        let target = Target::Kept("quiet".into(), LIMITS);
        send(target, "last", Duration::ZERO);
        thread::sleep(WINDOW);
        let before = name.connections.load(Ordering::SeqCst);
        thread::sleep(WINDOW);
        let tries = name.connections.load(Ordering::SeqCst) - before;
        assert!(tries <= 12, "{tries} connections");
        name.to.store(two.port, Ordering::SeqCst);
        assert_eq!(read(&mut member), "last");
    });
}

#[test]
fn nats_that_refuses_histories_is_no_storm() {
    alone("nats_that_refuses_histories_is_no_storm", || {
        let Some(mut server) = Server::prepare(ServerKind::Nats) else {
            return;
        };
        let monitor = server::free_port();
        let store = format!(
            "http: \"127.0.0.1:{monitor}\"\njetstream {{ store_dir: \"{}/data\" }}\n",
            server.place.display()
        );
        let users = |deny: &str| {
            format!(
                "authorization {{ users: [ {{ user: a, password: s3cret, permissions: {{
                    publish: {{ allow: \">\", deny: [ {deny} ] }}, subscribe: \">\" }} }} ] }}"
            )
        };
        server.configuration = Some(store.clone() + &users("\"none\""));
        server.up();
        connect(&format!("nats://a:s3cret@127.0.0.1:{}", server.port));
        let groups = 40;
        let mut one = member();
        for number in 0..groups {
            join_since(&one, &format!("many.{number}"), None).unwrap();
        }
        server.down();
        server.configuration =
            Some(store.clone() + &users("\"$JS.API.DIRECT.GET.>\", \"$JS.API.STREAM.INFO.>\""));
        server.up();
        until("the log tells", || {
            lines(&["refuses to read", "Permissions Violation"]) > 0
        });
        // The log still grows: it is read once, so that one line is not missing in one of two counts.
        let port = server.port.to_string();
        let mut refusals = log();
        refusals.retain(|line| line.contains("refuses to read"));
        assert!(
            refusals.iter().all(|line| line.contains(&port)),
            "{refusals:?}"
        );
        assert_eq!(lines(&["s3cret"]), 0);
        thread::sleep(WINDOW);
        let before = nats_messages(monitor);
        thread::sleep(WINDOW);
        let asked = nats_messages(monitor) - before;
        println!("{asked} messages within {WINDOW:?}");
        assert!(asked <= 2 * FEW as u64, "{asked} messages");
        // The connection still serves everything else.
        assert_eq!(send(Target::Everybody, "live", LIMIT).fate, Fate::Sent);
        assert_eq!(read(&mut one), "live");
        server.down();
        server.configuration = Some(store + &users("\"none\""));
        server.up();
        until("it may again", || {
            keep("many.0", "again").fate == Fate::Stored
        });
        assert_eq!(read(&mut one), "again");
    });
}

/// The number of messages that the server has received, read from its monitoring port.
fn nats_messages(port: u16) -> u64 {
    let mut monitor = TcpStream::connect(("127.0.0.1", port)).unwrap();
    monitor.write_all(b"GET /varz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    monitor.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["in_msgs"].as_u64().unwrap()
}
