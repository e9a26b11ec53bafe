//! What there is in Redis alone.

use super::{
    one::{One, pairs},
    server::{Kind, Server},
};

/// An entry of a stream: its id, and fields and values in turn.
type Entry = (String, Vec<Vec<u8>>);

/// Sets the times of the messages of `g:x`: so many seconds before now.
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
    // The third and the fourth look older than those before them, and too old.
    set_ages(&server, &[95, 95, 120, 110, 40, 20]);
    let fetched = one.fetched("g:x", None, many).unwrap();
    let expected = (1..=6).map(|n: u64| (n, n.to_string().into()));
    assert_eq!(pairs(&fetched), expected.collect::<Vec<_>>());
    set_ages(&server, &[120, 110, 95, 95, 40, 20]);
    let fetched = one.fetched("g:x", None, many).unwrap();
    let expected = (3..=6).map(|n: u64| (n, n.to_string().into()));
    assert_eq!(pairs(&fetched), expected.collect::<Vec<_>>());
}
