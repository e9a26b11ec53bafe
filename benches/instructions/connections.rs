//! Connections whose peers are in this program.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dwebsocket::{
    config::Config,
    engine::{Capacity, Connection, FarEnd, Handler, Parts, Pushed, QueueParts},
    protocol::{DeflateParams, Event, Message},
};

use crate::frame;

/// A view that ignores everything.
struct Ignore;

impl Handler for Ignore {
    fn on_message(&self, _connection: &Arc<Connection>, _message: Message) {}

    fn on_end(&self, _connection: &Connection) {}
}

/// Connects over a pair of sockets. When this returns, the connection's task has run and waits.
pub(crate) fn over_socket(
    config: &Arc<Config>,
    deflate: Option<DeflateParams>,
) -> (Arc<Connection>, Peer) {
    let (server, peer) = UnixStream::pair().unwrap();
    let parts = Parts {
        socket: server.into(),
        head: Vec::new(),
        leftover: Vec::new(),
        deflate,
        config: Arc::clone(config),
        permit: None,
    };
    let connection = Connection::start(parts, Arc::new(Ignore)).unwrap();
    let mut peer = Peer(peer);
    peer.0.write_all(&frame(0x89, b"")).unwrap();
    peer.read(2);
    (connection, peer)
}

/// The peer of a connection over a socket.
pub(crate) struct Peer(UnixStream);

impl Peer {
    /// Reads exactly this many bytes.
    pub(crate) fn read(&mut self, len: usize) {
        self.0.read_exact(&mut vec![0; len]).unwrap();
    }

    /// Reads all bytes that are there.
    pub(crate) fn drain(&mut self) {
        let mut buffer = vec![0; 256 * 1024];
        self.0.set_nonblocking(true).unwrap();
        while matches!(self.0.read(&mut buffer), Ok(1..)) {}
        self.0.set_nonblocking(false).unwrap();
    }
}

/// Connects over a queue. When this returns, the connection's task has run and waits.
pub(crate) fn over_queue(config: &Arc<Config>) -> (Arc<Connection>, FarEnd) {
    let parts = QueueParts {
        capacity: Capacity::default(),
        wakeup: None,
        config: Arc::clone(config),
        permit: None,
    };
    let (connection, far) = Connection::over_queue(parts, Arc::new(Ignore)).unwrap();
    assert_eq!(far.push(Event::Ping(Default::default())), Pushed::Done);
    take(&far, 1);
    (connection, far)
}

/// Takes this many frames at the far end, and waits for them.
pub(crate) fn take(far: &FarEnd, frames: usize) {
    let mut left = frames;
    while left > 0 {
        assert!(far.wait(Instant::now() + Duration::from_secs(60)));
        left -= far.drain(left).len();
    }
}

/// Waits until the engine does not take the next send for one of a row: it would leave such a message to a
/// courier, depending on the time that has passed (`IN_A_ROW` in `src/engine/courier.rs`).
pub(crate) fn apart() {
    thread::sleep(Duration::from_micros(200));
}
