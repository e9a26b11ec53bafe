//! From a socket to a running connection.

use std::{io, sync::Arc};

use socket2::Socket;

use super::{
    adopt,
    connection::{Connection, Handler, actor::Actor},
    outbox::{Outbox, Signal},
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

impl Connection {
    /// Writes the head of the response and runs the connection on this process's engine.
    ///
    /// # Errors
    ///
    /// The engine cannot be started or is stopping, or the socket cannot be registered.
    pub fn start(parts: Parts, handler: Arc<dyn Handler>) -> io::Result<Arc<Self>> {
        let engine = engine()?;
        if engine.is_stopping() {
            return Err(io::Error::other("the process is shutting down"));
        }
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
        let encoder = Encoder::new(Role::Server, &config.protocol, deflate);
        let decoder = Decoder::new(Role::Server, &config.protocol, deflate);
        let signal = Arc::<Signal>::default();
        let outbox = Outbox::new(Arc::clone(&socket), encoder, head, Arc::clone(&signal));
        let connection = Self::new(
            Engine::next_id(),
            &engine.shared,
            config,
            outbox,
            signal,
            handler,
        );
        engine.register(&connection);
        // From the caller's thread: in the usual case the peer has its answer before this returns.
        let _ = connection.outbox().flush_ready();
        let actor = Actor::new(
            engine,
            Arc::clone(&connection),
            socket,
            decoder,
            leftover,
            permit,
        );
        engine.handle().spawn(actor);
        Ok(connection)
    }
}
