//! The hub, without a broker. The members' transports are queues, so that no system call is among the work.

use std::{sync::Arc, time::Duration};

use dwebsocket::{
    config::Config,
    engine::{Connection, FarEnd},
    hub::{Join, Limits, Outgoing, PayloadKind, Position, Published, Target, hub},
};

use crate::{
    connections::{over_queue, take},
    count,
    pause::Pause,
    text,
};

type Member = (Arc<Connection>, FarEnd);

const GROUP: &str = "chat.room-1";

/// A history that keeps the last 100 messages.
const LIMITS: Limits = Limits {
    size: 100,
    ttl: Duration::from_secs(3600),
};

fn connections(number: usize) -> Vec<Member> {
    let config = Arc::new(Config::default());
    (0..number).map(|_| over_queue(&config)).collect()
}

fn join(connection: &Arc<Connection>, how: Join) {
    hub().unwrap().join(connection, GROUP, how).unwrap();
}

fn leave(connection: &Arc<Connection>) {
    assert!(hub().unwrap().leave(connection, GROUP, None));
}

fn kept() -> Join {
    Join {
        limits: Some(LIMITS),
        ..Join::default()
    }
}

fn present() -> Join {
    Join {
        present: true,
        info: r#"{"name":"somebody"}"#.into(),
        ..Join::default()
    }
}

fn send(target: Target) -> Published {
    let outgoing = Outgoing {
        targets: vec![target],
        kind: PayloadKind::Text,
        payload: text(100).into(),
        excluded: Vec::new(),
        timeout: Duration::ZERO,
    };
    hub().unwrap().publish(&outgoing).unwrap()
}

pub(crate) fn join_leave() {
    let members = connections(1_000);
    let _pause = Pause::begin();
    count(&mut || {
        for (connection, _) in &members {
            join(connection, Join::default());
        }
        for (connection, _) in &members {
            leave(connection);
        }
    });
}

/// Publishes to a group of 1,000; the couriers have written each message before the next is sent.
fn publish_to(target: &Target, how: &Join, enveloped: bool) {
    let members = connections(1_000);
    for (connection, _) in &members {
        if enveloped {
            connection.envelop();
        }
        join(connection, how.clone());
    }
    for _ in 0..5 {
        let pause = Pause::begin();
        count(&mut || assert_eq!(send(target.clone()).local, members.len()));
        drop(pause);
        for (_, far) in &members {
            take(far, 1);
        }
    }
}

pub(crate) fn publish() {
    publish_to(&Target::Group(GROUP.into()), &Join::default(), false);
}

pub(crate) fn publish_json() {
    publish_to(&Target::Group(GROUP.into()), &Join::default(), true);
}

pub(crate) fn publish_kept() {
    publish_to(&Target::Kept(GROUP.into(), LIMITS), &kept(), true);
}

/// Members that come back, and get the last 50 messages of a history of 100.
pub(crate) fn recover() {
    let members = connections(100);
    let _pause = Pause::begin();
    let kept_one = || send(Target::Kept(GROUP.into(), LIMITS)).position.unwrap();
    let positions: Vec<Position> = (0..100).map(|_| kept_one()).collect();
    let back = Join {
        since: Some(positions[49].clone()),
        ..kept()
    };
    count(&mut || {
        for (connection, _) in &members {
            connection.envelop();
            let joined = hub().unwrap().join(connection, GROUP, back.clone());
            assert_eq!(joined.unwrap().missed, 50);
        }
    });
}

/// Members that join and leave; all others are told.
pub(crate) fn presence() {
    let members = connections(200);
    let _pause = Pause::begin();
    for (connection, _) in &members {
        connection.envelop();
    }
    count(&mut || {
        for (connection, _) in &members {
            join(connection, present());
        }
        for (connection, _) in &members {
            leave(connection);
        }
    });
}

/// Lists and counts 1,000 members.
pub(crate) fn members() {
    let members = connections(1_000);
    let _pause = Pause::begin();
    for (connection, _) in &members {
        join(connection, present());
    }
    let hub = hub().unwrap();
    count(&mut || {
        assert_eq!(hub.members(&[GROUP]).len(), members.len());
        assert_eq!(hub.count(&[GROUP]), members.len());
        assert_eq!(hub.occupied("chat.").len(), 1);
    });
}
