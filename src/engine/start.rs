//! From a socket, or a queue, to a running connection.

use std::{io, sync::Arc};

use socket2::Socket;

use super::{
    adopt,
    connection::{Connection, Handler, actor::Actor},
    outbox::{Capacity, FarEnd, Outbox, Queue, Signal, Wakeup, Way},
    permit::Permit,
    table::{Engine, engine},
};
use crate::{
    config::Config,
    protocol::{Decoder, Encoder, Role, extensions::DeflateParams},
};

/// What a new connection starts from.
#[derive(Debug)]
pub struct Parts {
    /// The connected stream socket.
    pub socket: Socket,
    /// The head of the 101 response, still to be written.
    pub head: Vec<u8>,
    /// Bytes of the peer that were read already.
    pub leftover: Vec<u8>,
    /// What was negotiated about compression.
    pub deflate: Option<DeflateParams>,
    /// The limits.
    pub config: Arc<Config>,
    /// The place among the process's connections; `None` where nobody counts.
    pub permit: Option<Permit>,
}

/// What a new connection without a socket starts from.
#[derive(Debug)]
pub struct QueueParts {
    /// What each direction of the queue holds at most.
    pub capacity: Capacity,
    /// How the far end is told; `None` where it waits by [`FarEnd::wait`] or looks by itself.
    pub wakeup: Option<Wakeup>,
    /// The limits of the connection.
    pub config: Arc<Config>,
    /// The place among the process's connections; `None` where nobody counts.
    pub permit: Option<Permit>,
}

impl Connection {
    /// Writes the head of the response and runs the connection on this process's engine.
    ///
    /// # Errors
    ///
    /// The engine cannot be started or is stopping, or the socket cannot be registered.
    pub fn start(parts: Parts, handler: Arc<dyn Handler>) -> io::Result<Arc<Self>> {
        let engine = open_engine()?;
        let Parts {
            socket,
            head,
            leftover,
            deflate,
            config,
            permit,
        } = parts;
        socket.set_nonblocking(true)?;
        // Not every stream socket is TCP; without it, small frames would wait for an ACK.
        let _ = socket.set_tcp_nodelay(true);
        let socket = {
            let _context = engine.handle().enter();
            Arc::new(adopt::register(socket)?)
        };
        let fresh = Fresh {
            way: Way::Socket(socket),
            signal: Arc::default(),
            head,
            leftover,
            deflate,
            config,
            permit,
        };
        Ok(fresh.run(engine, handler))
    }

    /// Runs a connection whose transport is a queue on this process's engine. The far end drains what the
    /// connection sends, and pushes what the peer says.
    ///
    /// Such a connection has no keepalive: whoever carries the messages on knows whether the peer is there.
    ///
    /// # Errors
    ///
    /// The engine cannot be started or is stopping.
    pub fn over_queue(
        parts: QueueParts,
        handler: Arc<dyn Handler>,
    ) -> io::Result<(Arc<Self>, FarEnd)> {
        let engine = open_engine()?;
        let QueueParts {
            capacity,
            wakeup,
            mut config,
            permit,
        } = parts;
        if config.ping_interval.is_some() {
            Arc::make_mut(&mut config).ping_interval = None;
        }
        let signal = Arc::<Signal>::default();
        let (queue, far) = Queue::new(capacity, wakeup, Arc::clone(&signal));
        let fresh = Fresh {
            way: Way::Queue(queue),
            signal,
            head: Vec::new(),
            leftover: Vec::new(),
            deflate: None,
            config,
            permit,
        };
        Ok((fresh.run(engine, handler), far))
    }
}

/// A connection before it runs, whatever its transport.
struct Fresh {
    way: Way,
    signal: Arc<Signal>,
    /// Goes out before everything else.
    head: Vec<u8>,
    /// Read already.
    leftover: Vec<u8>,
    deflate: Option<DeflateParams>,
    config: Arc<Config>,
    permit: Option<Permit>,
}

impl Fresh {
    fn run(self, engine: &'static Engine, handler: Arc<dyn Handler>) -> Arc<Connection> {
        let (protocol, deflate) = (&self.config.protocol, self.deflate);
        let decoder = Decoder::new(Role::Server, protocol, deflate);
        let encoder = Encoder::new(Role::Server, protocol, deflate);
        let outbox = Outbox::new(
            self.way.clone(),
            encoder,
            self.head,
            Arc::clone(&self.signal),
        );
        let connection = Connection::new(
            Engine::next_id(),
            &engine.shared,
            self.config,
            outbox,
            self.signal,
            handler,
        );
        engine.register(&connection);
        // From the caller's thread: in the usual case the peer has its answer before this returns.
        let _ = connection.outbox().flush_ready();
        let open = Arc::clone(&connection);
        let actor = Actor::new(engine, open, self.way, decoder, self.leftover, self.permit);
        engine.handle().spawn(actor);
        connection
    }
}

/// The engine, while it takes connections.
fn open_engine() -> io::Result<&'static Engine> {
    let engine = engine()?;
    if engine.is_stopping() {
        return Err(io::Error::other("the process is shutting down"));
    }
    Ok(engine)
}
