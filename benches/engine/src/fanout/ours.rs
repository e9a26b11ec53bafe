//! The engine's hub: groups as in the Python package, without Python.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use dwebsocket::config::Config;
use dwebsocket::engine::{Connection, Handler};
use dwebsocket::hub::{Join, Outgoing, PayloadKind as Kind, Target, hub};
use dwebsocket::protocol::Message;

use crate::{Result, ours};

const ROOM: &str = "room";

/// A member, whose own messages are ignored.
struct Member;

impl Handler for Member {
    fn on_message(&self, _connection: &Arc<Connection>, _message: Message) {}

    fn on_end(&self, _connection: &Connection) {}
}

/// A publisher: the task that reads its message sends it to the group.
struct Publisher;

impl Handler for Publisher {
    fn on_message(&self, _connection: &Arc<Connection>, message: Message) {
        let (kind, payload) = match message {
            Message::Text(payload) => (Kind::Text, payload),
            Message::Binary(payload) => (Kind::Binary, payload),
        };
        let outgoing = Outgoing {
            targets: vec![Target::Group(ROOM.to_owned())],
            kind,
            payload,
            excluded: Vec::new(),
            timeout: Duration::ZERO,
        };
        match hub().map(|hub| hub.publish(&outgoing)) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => eprintln!("a message was not sent: {error}"),
            Err(error) => eprintln!("the engine does not run: {error}"),
        }
    }

    fn on_end(&self, _connection: &Connection) {}
}

/// Accepts connections for ever and hands them to the engine, which has its own runtime.
pub fn serve(listener: &TcpListener) -> Result<()> {
    let config = Arc::new(Config::default());
    let member: Arc<dyn Handler> = Arc::new(Member);
    let publisher: Arc<dyn Handler> = Arc::new(Publisher);
    loop {
        let (stream, _) = listener.accept()?;
        let opened = ours::open(stream, &config, |path| {
            let publishes = path.starts_with("/publish");
            Arc::clone(if publishes { &publisher } else { &member })
        });
        match opened {
            Ok((connection, path)) if !path.starts_with("/publish") => join(&connection)?,
            Ok(_) => {}
            Err(error) => eprintln!("a connection was refused: {error}"),
        }
    }
}

fn join(connection: &Arc<Connection>) -> Result<()> {
    hub()?.join(connection, ROOM, Join::default())?;
    Ok(())
}
