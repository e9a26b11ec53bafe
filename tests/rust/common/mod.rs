//! Helpers of the engine's tests: peers, handlers, and a time limit.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::{
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use dwebsocket::{
    config::Config,
    engine::{self, Connection, Consumer, Handler, Inbox, Overflow, Parts, Sent},
    protocol::{Message, OpCode},
};
use tungstenite::{WebSocket, protocol::Role};

/// Time limit of a test: a test that takes longer hangs, and fails.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Runs `test` within [`LIMIT`].
pub fn limited(test: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match finished.recv_timeout(LIMIT) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Waits until `done` returns true; panics after [`LIMIT`].
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub type Peer = WebSocket<TcpStream>;

/// A connected pair of sockets: the server's end and the peer's.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    peer.set_nodelay(true).unwrap();
    (listener.accept().unwrap().0, peer)
}

pub fn parts(server: TcpStream, config: Config) -> Parts {
    Parts {
        socket: server.into(),
        head: Vec::new(),
        leftover: Vec::new(),
        deflate: None,
        config: Arc::new(config),
        permit: None,
    }
}

/// A connection with `handler`, and its peer.
pub fn connect(config: Config, handler: Arc<dyn Handler>) -> (Arc<Connection>, Peer) {
    let (server, peer) = tcp_pair();
    let connection = Connection::start(parts(server, config), handler).unwrap();
    (
        connection,
        WebSocket::from_raw_socket(peer, Role::Client, None),
    )
}

/// Threads that wait in turn and read the sockets of the others, as in Python.
pub fn threads() -> Consumer {
    let engine = engine::engine().unwrap();
    Consumer::Threads(Arc::clone(engine.turnstile()))
}

/// A connection whose messages wait in an inbox, as those of a view do.
pub fn connect_inbox(config: Config) -> (Arc<Connection>, Arc<Inbox>, Peer) {
    let inbox = Inbox::new(&config, threads());
    let (connection, peer) = connect(config, Arc::clone(&inbox) as Arc<dyn Handler>);
    (connection, inbox, peer)
}

/// Sends each message back, within the actor.
pub struct Echo;

impl Handler for Echo {
    fn on_message(&self, connection: &Arc<Connection>, message: Message) {
        let (opcode, data) = match &message {
            Message::Text(data) => (OpCode::Text, data),
            Message::Binary(data) => (OpCode::Binary, data),
        };
        connection.send(opcode, data, Overflow::Close);
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn on_end(&self, _connection: &Connection) {}
}

/// Sends until the outbox of a connection and the transport behind it are full. Returns the result of the
/// last send.
pub fn fill(connection: &Arc<Connection>, overflow: Overflow) -> Sent {
    let payload = vec![b'x'; 64 * 1024];
    for _ in 0..1_000 {
        match connection.send(OpCode::Binary, &payload, overflow) {
            Sent::Done => {}
            other => return other,
        }
    }
    panic!("the outbox has no limit");
}

/// Fills the outbox of a connection until no room for `len` bytes appears any more. The kernel may enlarge
/// its buffers a moment after they have been full.
pub fn fill_up(connection: &Arc<Connection>, len: usize) {
    let soon = || Some(Instant::now() + Duration::from_millis(10));
    assert_eq!(fill(connection, Overflow::Refuse), Sent::Full);
    while connection.wait_for_room(len, soon()) {
        assert_eq!(fill(connection, Overflow::Refuse), Sent::Full);
    }
}
