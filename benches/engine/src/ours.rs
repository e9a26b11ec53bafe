//! The engine's echo server: a connection as in the Python package, without Python.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use dwebsocket::config::{Compression, Config};
use dwebsocket::engine::{Connection, Handler, Overflow, Parts};
use dwebsocket::protocol::{Message, OpCode, Request, accept};

use crate::{Result, handshake};

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

/// Accepts connections for ever and hands them to the engine, which has its own runtime.
///
/// The name chooses the compression: `dwebsocket` or `dwebsocket-dedicated`, at the engine's default
/// level or, with the suffix `-level6`, at zlib's default level.
pub fn serve(listener: &TcpListener, name: &str) -> Result<()> {
    let mut config = Config::default();
    if name.contains("dedicated") {
        config.protocol.compression = Compression::Dedicated;
    }
    if name.ends_with("level6") {
        config.protocol.compression_level = 6;
    }
    let config = Arc::new(config);
    let handler: Arc<dyn Handler> = Arc::new(Echo);
    loop {
        let (stream, _) = listener.accept()?;
        if let Err(error) = open(stream, &config, |_| Arc::clone(&handler)) {
            eprintln!("a connection was refused: {error}");
        }
    }
}

/// Opens a WebSocket on the engine; `choose` returns the handler for a path. Returns the connection
/// and its path.
pub fn open(
    mut stream: TcpStream,
    config: &Arc<Config>,
    choose: impl FnOnce(&str) -> Arc<dyn Handler>,
) -> Result<(Arc<Connection>, String)> {
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
    let path = handshake::path(&head);
    let connection = Connection::start(parts, choose(path))?;
    Ok((connection, path.to_owned()))
}
