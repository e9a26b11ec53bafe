//! The engine's server: connections and groups as in the Python package, without Python.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use dwebsocket::config::{Compression, Config};
use dwebsocket::engine::{Connection, Handler, Overflow, Parts};
use dwebsocket::hub::{Join, Outgoing, PayloadKind as Kind, Target, hub};
use dwebsocket::protocol::{Message, OpCode, Request, accept};

use crate::{Purpose, Result, handshake};

const ROOM: &str = "room";

/// An echo: the task that reads a message sends it back.
struct Echo;

impl Handler for Echo {
    fn on_message(&self, connection: &Arc<Connection>, message: Message) {
        let (opcode, payload) = match &message {
            Message::Text(payload) => (OpCode::Text, payload),
            Message::Binary(payload) => (OpCode::Binary, payload),
        };
        connection.send(opcode, payload, Overflow::Close);
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn on_end(&self, _connection: &Connection) {}
}

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
///
/// The name chooses the compression: `dwebsocket-off`, or `dwebsocket` or `dwebsocket-dedicated`, at the
/// engine's default level or, with the suffix `-level6`, at zlib's default level.
pub fn serve(listener: &TcpListener, name: &str) -> Result<()> {
    let mut config = Config::default();
    if name.contains("dedicated") {
        config.protocol.compression = Compression::Dedicated;
    } else if name.ends_with("off") {
        config.protocol.compression = Compression::Off;
    }
    if name.ends_with("level6") {
        config.protocol.compression_level = 6;
    }
    let config = Arc::new(config);
    let handlers = Handlers {
        echo: Arc::new(Echo),
        member: Arc::new(Member),
        publisher: Arc::new(Publisher),
    };
    loop {
        let (stream, _) = listener.accept()?;
        if let Err(error) = open(stream, &config, &handlers) {
            eprintln!("a connection was refused: {error}");
        }
    }
}

/// The handler of each purpose.
struct Handlers {
    echo: Arc<dyn Handler>,
    member: Arc<dyn Handler>,
    publisher: Arc<dyn Handler>,
}

/// Opens a WebSocket on the engine.
fn open(mut stream: TcpStream, config: &Arc<Config>, handlers: &Handlers) -> Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        let mut chunk = [0; 512];
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err("the client went away".into());
        }
        head.extend_from_slice(&chunk[..count]);
    }
    let head = String::from_utf8(head)?;
    let header = |name| handshake::header(&head, name);
    let request = Request {
        method: "GET",
        connection: header("connection"),
        upgrade: header("upgrade"),
        key: Some(header("sec-websocket-key")),
        version: Some(header("sec-websocket-version")),
        protocols: header("sec-websocket-protocol"),
        extensions: header("sec-websocket-extensions"),
    };
    let handshake = accept(&request, &config.protocol)?;
    let parts = Parts {
        head: handshake.response(None, &[])?,
        socket: stream.into(),
        leftover: Vec::new(),
        deflate: handshake.deflate,
        config: Arc::clone(config),
        permit: None,
    };
    let purpose = Purpose::of(handshake::path(&head));
    let handler = match purpose {
        Purpose::Echo => &handlers.echo,
        Purpose::Member => &handlers.member,
        Purpose::Publisher => &handlers.publisher,
    };
    let connection = Connection::start(parts, Arc::clone(handler))?;
    if purpose == Purpose::Member {
        hub()?.join(&connection, ROOM, Join::default())?;
    }
    Ok(())
}
