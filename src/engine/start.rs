//! Makes a running connection from a socket or a queue, and a running event loop.

use std::{io, os::fd::AsRawFd, sync::Arc};

use socket2::Socket;

use super::{
    connection::{
        Connection, Handler,
        actor::Actor,
        input::{CHUNK, Input},
    },
    consumer::{Crew, EventLoop},
    outbox::{Capacity, FarEnd, Outbox, Queue, Signal, Wakeup, Way},
    permit::Permit,
    table::{Engine, engine},
    wire::Wire,
};
use crate::{
    config::Config,
    protocol::{Decoder, Encoder, Role, extensions::DeflateParams},
    runtime::{Chore, figures},
};

/// The parts from which a new connection starts.
#[derive(Debug)]
pub struct Parts {
    /// The connected stream socket.
    pub socket: Socket,
    /// The head of the 101 response, which is not written yet.
    pub head: Vec<u8>,
    /// Bytes of the peer that the server had read past the request.
    pub leftover: Vec<u8>,
    /// The negotiated compression parameters; `None`: no compression.
    pub deflate: Option<DeflateParams>,
    /// The limits of the connection.
    pub config: Arc<Config>,
    /// The place among the process's connections; `None`: the connection is not counted.
    pub permit: Option<Permit>,
}

/// The parts from which a new connection without a socket starts.
#[derive(Debug)]
pub struct QueueParts {
    /// The capacity of each direction of the queue.
    pub capacity: Capacity,
    /// How the far end is notified; `None` if it calls [`FarEnd::wait`] or checks the queue by itself.
    pub wakeup: Option<Wakeup>,
    /// The limits of the connection.
    pub config: Arc<Config>,
    /// The place among the process's connections; `None`: the connection is not counted.
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
        // Without this option, small frames would wait for an ACK. The call fails on a stream socket that
        // is not TCP.
        let _ = socket.set_tcp_nodelay(true);
        let wire = if handler.is_polled() {
            Wire::unwatched(socket)
        } else {
            let _context = engine.handle().enter();
            Wire::watched(socket)?
        };
        let fresh = Fresh {
            way: Way::Socket(Arc::new(wire)),
            signal: Signal::with_chores(engine.shared.runtime.chores()),
            head,
            leftover,
            deflate,
            config,
            permit,
            listed: true,
        };
        Ok(fresh.run(engine, handler))
    }

    /// Runs a connection over a queue instead of a socket, on this process's engine. The far end drains
    /// the frames that the connection sends, and pushes the frames of the peer.
    ///
    /// Such a connection sends no keepalive pings: the program at the far end knows whether the peer is
    /// alive.
    ///
    /// # Errors
    ///
    /// The engine cannot be started or is stopping.
    pub fn over_queue(
        parts: QueueParts,
        handler: Arc<dyn Handler>,
    ) -> io::Result<(Arc<Self>, FarEnd)> {
        queued(parts, handler, true)
    }

    /// Runs a connection over a queue that is no WebSocket: a member of groups, and nothing else. It is not
    /// listed among the connections of the process, so that messages to all connections, the monitoring and
    /// the goodbye of the process leave it out.
    ///
    /// # Errors
    ///
    /// The errors of [`Connection::over_queue`].
    pub fn mailbox(
        parts: QueueParts,
        handler: Arc<dyn Handler>,
    ) -> io::Result<(Arc<Self>, FarEnd)> {
        queued(parts, handler, false)
    }
}

fn queued(
    parts: QueueParts,
    handler: Arc<dyn Handler>,
    listed: bool,
) -> io::Result<(Arc<Connection>, FarEnd)> {
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
        listed,
    };
    Ok((fresh.run(engine, handler), far))
}

impl EventLoop {
    /// Starts a loop without connections, whose watch runs on the engine.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn start(engine: &Engine) -> io::Result<Arc<Self>> {
        let event_loop = Arc::new(Self::new(CHUNK)?);
        let watched = Arc::clone(&event_loop);
        engine.handle().spawn(async move { watched.watch().await });
        Ok(event_loop)
    }
}

impl<T: Send + 'static> Crew<T> {
    /// Starts a crew of at most `most` threads, whose watch runs on the engine.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn start(engine: &Engine, most: usize) -> io::Result<Arc<Self>> {
        let event_loop = EventLoop::start(engine)?;
        event_loop.wait_for_reports()?;
        let crew = Arc::new(Self::new(event_loop, most));
        let watched = Arc::clone(&crew);
        engine.handle().spawn(async move { watched.watch().await });
        Ok(crew)
    }
}

/// A connection before it runs, over any transport.
struct Fresh {
    way: Way,
    signal: Arc<Signal>,
    /// Written before everything else.
    head: Vec<u8>,
    /// Bytes of the peer that were read before.
    leftover: Vec<u8>,
    deflate: Option<DeflateParams>,
    config: Arc<Config>,
    permit: Option<Permit>,
    /// Whether it is one of the process's connections.
    listed: bool,
}

impl Fresh {
    fn run(self, engine: &'static Engine, handler: Arc<dyn Handler>) -> Arc<Connection> {
        let (protocol, deflate) = (&self.config.protocol, self.deflate);
        let decoder = Decoder::new(Role::Server, protocol, deflate);
        let encoder = Encoder::new(Role::Server, protocol, deflate);
        let id = Engine::next_id();
        let outbox = Outbox::new(
            self.way.clone(),
            encoder,
            self.head,
            Arc::clone(&self.signal),
            figures::stripe(id),
        );
        let connection = Connection::new(
            id,
            &engine.shared,
            self.config,
            outbox,
            self.signal,
            handler,
            self.listed,
        );
        engine.register(&connection);
        // The caller's thread writes the head: usually the peer has its response before this function
        // returns.
        let written = matches!(connection.outbox().flush_ready(), Ok(false));
        let open = Arc::clone(&connection);
        let polled = match &self.way {
            Way::Socket(wire) if connection.is_polled() => Some(wire.socket().as_raw_fd()),
            _ => None,
        };
        let patient = polled.is_some() && written && self.leftover.is_empty();
        let way = self.way.clone();
        let config = connection.config();
        let input = Input::new(config, way, decoder, self.leftover, polled.is_some());
        connection.start_input(input);
        if let Some(fd) = polled
            && connection.enter_poller(fd).is_err()
        {
            connection.abort();
        }
        let actor = Actor::new(engine, open, self.way, self.permit);
        if patient {
            // There is nothing for it to do but to keep the time limits.
            let mut actor = Some(actor);
            engine.shared.runtime.chores().add(move || {
                actor.take().map(tokio::spawn);
                Chore::Done
            });
        } else {
            engine.handle().spawn(actor);
        }
        connection
    }
}

/// Returns the engine if it still accepts connections.
fn open_engine() -> io::Result<&'static Engine> {
    let engine = engine()?;
    if engine.is_stopping() {
        return Err(io::Error::other("the process is shutting down"));
    }
    Ok(engine)
}
