//! The outbox, from a connection's `send` to the system call. A system call counts as one instruction.

use std::sync::Arc;

use dwebsocket::{
    config::{Config, Overflow},
    engine::{Connection, FarEnd, Pushed, Sent},
    hub::{Join, Outgoing, PayloadKind, Target, hub},
    protocol::{DeflateParams, Event, Message, OpCode},
};

use crate::{
    connections::{Peer, apart, over_queue, over_socket, take},
    count, json,
    pause::Pause,
    text,
};

fn connect(config: Config, deflate: Option<DeflateParams>) -> (Arc<Connection>, Peer) {
    over_socket(&Arc::new(config), deflate)
}

fn send(connection: &Arc<Connection>, opcode: OpCode, payload: &[u8]) {
    let sent = connection.send(opcode, payload, Overflow::Refuse);
    assert_eq!(sent, Sent::Done);
}

/// Messages that are written at once, straight from the sender's memory.
fn write_through(payload: &[u8], rounds: usize, deflate: Option<DeflateParams>) {
    let (connection, mut peer) = connect(Config::default(), deflate);
    let _pause = Pause::begin();
    for _ in 0..rounds {
        apart();
        count(&mut || send(&connection, OpCode::Text, payload));
        peer.drain();
    }
}

pub(crate) fn send_32() {
    write_through(text(32).as_bytes(), 200, None);
}

pub(crate) fn send_64k() {
    write_through(text(65_536).as_bytes(), 50, None);
}

pub(crate) fn send_deflate() {
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    write_through(json(1).as_bytes(), 50, Some(params));
}

/// Makes the outbox wait for its courier: until that runs, messages are queued.
fn queue_next(connection: &Arc<Connection>) {
    join(connection);
    assert_eq!(publish("first"), 1);
}

fn join(connection: &Arc<Connection>) {
    let hub = hub().unwrap();
    hub.join(connection, "outbox", Join::default()).unwrap();
}

fn publish(text: &str) -> usize {
    let outgoing = Outgoing {
        targets: vec![Target::Group("outbox".into())],
        kind: PayloadKind::Text,
        payload: text.to_owned().into(),
        excluded: Vec::new(),
        timeout: Default::default(),
    };
    hub().unwrap().publish(&outgoing).unwrap().local
}

/// Messages that are queued behind others.
pub(crate) fn queue_32() {
    let (connection, _peer) = connect(Config::default(), None);
    let _pause = Pause::begin();
    queue_next(&connection);
    let text = text(32);
    count(&mut || {
        for _ in 0..1_000 {
            send(&connection, OpCode::Text, text.as_bytes());
        }
    });
}

/// Queued messages that are encoded and written together. A ping makes the sending thread do that.
fn flush(payload: &[u8], messages: usize, rounds: usize) {
    let (connection, mut peer) = connect(Config::default(), None);
    let _pause = Pause::begin();
    queue_next(&connection);
    for _ in 0..rounds {
        for _ in 0..messages {
            send(&connection, OpCode::Binary, payload);
        }
        count(&mut || assert!(connection.ping(b"")));
        assert_eq!(connection.stats().outbox_bytes, 0);
        peer.drain();
    }
}

pub(crate) fn flush_32() {
    flush(text(32).as_bytes(), 200, 10);
}

pub(crate) fn flush_64k() {
    flush(text(65_536).as_bytes(), 2, 20);
}

/// Messages to many, which couriers write: three for each connection at a time.
pub(crate) fn courier() {
    let config = Arc::new(Config::default());
    let mut members: Vec<_> = (0..200).map(|_| over_socket(&config, None)).collect();
    for (connection, _) in &members {
        join(connection);
    }
    let text = text(100);
    for _ in 0..5 {
        let pause = Pause::begin();
        for _ in 0..3 {
            assert_eq!(publish(&text), members.len());
        }
        drop(pause);
        for (_, peer) in &mut members {
            peer.read(3 * (2 + text.len()));
        }
    }
}

/// Messages for an outbox that is full, with the policies that drop one of them.
pub(crate) fn full() {
    let config = Config {
        outbox_messages: 100,
        ..Config::default()
    };
    let (connection, _peer) = connect(config, None);
    let _pause = Pause::begin();
    queue_next(&connection);
    let text = text(32);
    let send = |overflow| connection.send(OpCode::Text, text.as_bytes(), overflow);
    while send(Overflow::Refuse) == Sent::Done {}
    count(&mut || {
        for _ in 0..500 {
            assert_eq!(send(Overflow::DropOldest), Sent::DroppedOldest(1));
            assert_eq!(send(Overflow::DropNewest), Sent::Dropped);
            assert_eq!(send(Overflow::Refuse), Sent::Full);
        }
    });
}

/// Messages in both directions over a queue instead of a socket.
pub(crate) fn far_end() {
    let (connection, far) = over_queue(&Arc::new(Config::default()));
    let text = text(200);
    for _ in 0..20 {
        let _pause = Pause::begin();
        apart();
        count(&mut || exchange(&connection, &far, &text));
    }
}

fn exchange(connection: &Arc<Connection>, far: &FarEnd, text: &str) {
    send(connection, OpCode::Text, text.as_bytes());
    take(far, 1);
    for _ in 0..10 {
        let message = Message::Text(text.to_owned().into());
        assert_eq!(far.push(Event::Message(message)), Pushed::Done);
    }
}
