//! Several NATS servers that keep one history.

use std::{
    thread,
    time::{Duration, Instant},
};

use dwebsocket::hub::{Limits, Position, broker::BrokerError};

use super::{
    one::{Heard, One, message, pairs},
    server::{Kind, Server, free_port},
};

const MANY: Limits = Limits {
    size: 1_000,
    ttl: Duration::from_secs(60),
};

/// Time limit for a new leader. Servers elect one within some seconds, but many tests run side by side.
const PATIENCE: Duration = Duration::from_secs(60);

struct Cluster(Vec<Server>);

impl Cluster {
    fn start() -> Option<Self> {
        let ports: Vec<_> = (0..3).map(|_| free_port()).collect();
        let routes: Vec<_> = ports
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""))
            .collect();
        let routes = routes.join(", ");
        let servers = ports.iter().map(|port| {
            let mut server = Server::prepare(Kind::Nats)?;
            server.configuration = Some(format!(
                "server_name: \"{}\"
                jetstream {{ store_dir: \"{}/data\" }}
                cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [ {routes} ] }}",
                server.port,
                server.place.display(),
            ));
            server.up();
            Some(server)
        });
        servers.collect::<Option<_>>().map(Self)
    }

    fn connect(&self, options: &str) -> One {
        let servers: Vec<_> = self.0.iter().map(Server::url).collect();
        let one = One::open(&format!("{}{options}", servers.join(",")));
        one.expect(&Heard::Connected);
        one
    }

    /// The server that leads the only stream.
    fn leader(&mut self) -> &mut Server {
        let until = Instant::now() + PATIENCE;
        loop {
            let info = self.info();
            let leader = info["streams"][0]["cluster"]["leader"].as_str();
            let leader = leader.and_then(|name| name.parse::<u16>().ok());
            if let Some(port) = leader {
                let mut servers = self.0.iter_mut();
                return servers.find(|server| server.port == port).unwrap();
            }
            assert!(Instant::now() < until, "there is no leader: {info}");
        }
    }

    /// The servers' report about all streams.
    fn info(&self) -> serde_json::Value {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let urls: Vec<_> = self.0.iter().map(Server::url).collect();
        let answer = runtime.block_on(async {
            let client = async_nats::connect(urls).await.ok()?;
            let answer = client
                .request("$JS.API.STREAM.LIST", "".into())
                .await
                .ok()?;
            serde_json::from_slice(&answer.payload).ok()
        });
        answer.unwrap_or_default()
    }
}

/// Stores a message as the hub does: tries again until it is stored.
fn store(one: &One, channel: &str, sequence: u64) -> Position {
    again(|| one.store_as("me", channel, sequence, sequence.to_string().into(), MANY))
}

fn again<T>(ask: impl Fn() -> Result<T, BrokerError>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_history_with_replicas_outlives_the_loss_of_a_server() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    let one = cluster.connect("?replicas=3");
    let other = cluster.connect("?replicas=3");
    again(|| other.runtime.block_on(other.broker.subscribe("g:c")));
    let first = store(&one, "g:c", 1);
    let mut sequence = 1;
    for _ in 0..2 {
        let leader = cluster.leader();
        leader.down();
        let gone = leader.port;
        // First while the leader is away, then after it is back.
        for back in [false, true] {
            if back {
                let mut servers = cluster.0.iter_mut();
                servers.find(|server| server.port == gone).unwrap().up();
            }
            for _ in 0..10 {
                sequence += 1;
                let position = store(&one, "g:c", sequence);
                assert_eq!((position.offset, &position.epoch), (sequence, &first.epoch));
            }
        }
    }
    for reader in [&one, &other] {
        let fetched = again(|| reader.fetched("g:c", None, MANY));
        let expected = (1..=sequence).map(|n| (n, n.to_string().into()));
        assert_eq!(pairs(&fetched), expected.collect::<Vec<_>>());
        assert_eq!(fetched.top.epoch, first.epoch);
    }
    // The position of each message that was heard is the one at which it was stored.
    let mut heard = 0;
    while let Ok(event) = other.ear.try_recv() {
        if let Heard::Message(_, envelope, position) = event {
            assert_eq!(envelope, position.unwrap().offset.to_string());
            heard += 1;
        }
    }
    assert!(heard > 0);
}

#[test]
fn a_history_is_read_whole_whichever_server_answers() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let (one, other) = (
        cluster.connect("?replicas=3"),
        cluster.connect("?replicas=3"),
    );
    store(&one, "g:c", 1);
    for sequence in 2..=300 {
        let position = store(&one, "g:c", sequence);
        let fetched = again(|| other.fetched("g:c", None, MANY));
        assert_eq!(fetched.top, position);
        assert_eq!(fetched.entries.len() as u64, sequence);
    }
}

#[test]
fn who_has_subscribed_hears_what_is_said_to_another_server() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let [one, other] = [&cluster.0[0], &cluster.0[1]].map(One::connected);
    for n in 0..20 {
        let channel = format!("g:{n}");
        other.subscribe(&channel);
        // The servers may not have found each other yet.
        again(|| {
            one.publish(&channel, "hello")?;
            let heard = other.ear.recv_timeout(Duration::from_millis(500));
            match heard {
                Ok(heard) if heard == message(&channel, "hello") => Ok(()),
                _ => Err(BrokerError::Unavailable(format!("not heard: {heard:?}"))),
            }
        });
    }
}

#[test]
fn a_history_that_is_there_gets_its_replicas() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let replicas = || {
        again(|| {
            let info = cluster.info();
            let replicas = info["streams"][0]["config"]["num_replicas"].as_u64();
            replicas.ok_or_else(|| BrokerError::Unavailable(info.to_string()))
        })
    };
    let one = cluster.connect("");
    let first = store(&one, "g:c", 1);
    assert_eq!(replicas(), 1);
    let other = cluster.connect("?replicas=3");
    let second = store(&other, "g:c", 2);
    assert_eq!((second.offset, second.epoch), (2, first.epoch));
    assert_eq!(replicas(), 3);
}

#[test]
fn a_single_server_keeps_no_replicas_and_says_so() {
    let Some(server) = Server::start(Kind::Nats) else {
        return;
    };
    let one = One::open(&format!("{}?replicas=3", server.url()));
    one.expect(&Heard::Connected);
    let error = one.store("g:c", 1).unwrap_err().to_string();
    assert!(error.contains("replicas"), "{error}");
}
