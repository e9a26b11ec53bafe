//! The peer of a connection, over a socket or over a queue, behind one interface.

use std::{
    io::Read,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dwebsocket::{
    config::Config,
    engine::{
        Capacity, Connection, Consumer, FarEnd, Handler, Inbox, Pushed, QueueParts, Received,
    },
    protocol::{CloseFrame, Event, Message},
};
use tungstenite::{Message as Wire, protocol::CloseFrame as WireClose};

use crate::common::{self, LIMIT, Peer, until};

/// The transport over which a behaviour is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Socket,
    Queue,
}

/// The peer.
pub enum Far {
    Socket(Box<Peer>),
    Queue(FarEnd),
}

/// A connection with its inbox and its peer.
pub struct One {
    pub connection: Arc<Connection>,
    pub inbox: Arc<Inbox>,
    pub far: Far,
}

impl Over {
    pub fn connect(self, config: Config, handler: Arc<dyn Handler>) -> (Arc<Connection>, Far) {
        match self {
            Self::Socket => {
                let (connection, peer) = common::connect(config, handler);
                (connection, Far::Socket(Box::new(peer)))
            }
            Self::Queue => {
                let parts = QueueParts {
                    capacity: Capacity::default(),
                    wakeup: None,
                    config: Arc::new(config),
                    permit: None,
                };
                let (connection, far) = Connection::over_queue(parts, handler).unwrap();
                (connection, Far::Queue(far))
            }
        }
    }

    pub fn one(self, config: Config) -> One {
        let inbox = Inbox::new(&config, Consumer::Threads(Arc::default()));
        let (connection, far) = self.connect(config, Arc::clone(&inbox) as _);
        One {
            connection,
            inbox,
            far,
        }
    }
}

impl One {
    /// The result for a view that waits.
    pub fn wait(&self) -> Received {
        let received = self
            .inbox
            .wait(&self.connection, Some(Instant::now() + LIMIT));
        if received == Received::End {
            self.connection.acknowledge_end();
        }
        received
    }
}

impl Far {
    /// Sends a text message; waits while the connection has no room for it.
    pub fn say(&mut self, text: &str) {
        match self {
            Self::Socket(peer) => peer.send(Wire::text(text)).unwrap(),
            Self::Queue(far) => push(far, &Event::Message(Message::Text(copy(text)))),
        }
    }

    pub fn pong(&mut self, payload: &Bytes) {
        match self {
            // The peer's library has the pong ready; `flush` writes it.
            Self::Socket(peer) => peer.flush().unwrap(),
            Self::Queue(far) => push(far, &Event::Pong(payload.clone())),
        }
    }

    pub fn ping(&mut self, payload: &str) {
        match self {
            Self::Socket(peer) => peer.send(Wire::Ping(copy(payload))).unwrap(),
            Self::Queue(far) => push(far, &Event::Ping(copy(payload))),
        }
    }

    /// Starts the close handshake, or answers it.
    pub fn close(&mut self, code: u16, reason: &str) {
        match self {
            Self::Socket(peer) => {
                let frame = WireClose {
                    code: code.into(),
                    reason: reason.into(),
                };
                // If the connection has sent a Close, the library has answered it already.
                let _ = peer.close(Some(frame));
                let _ = peer.flush();
            }
            Self::Queue(far) => {
                let reason = reason.into();
                far.push(Event::Close(Some(CloseFrame { code, reason })));
            }
        }
    }

    /// The next event that the connection sends.
    pub fn hear(&mut self) -> Event {
        match self {
            Self::Socket(peer) => match peer.read().unwrap() {
                Wire::Text(text) => Event::Message(Message::Text(text.into())),
                Wire::Binary(data) => Event::Message(Message::Binary(data)),
                Wire::Ping(payload) => Event::Ping(payload),
                Wire::Pong(payload) => Event::Pong(payload),
                Wire::Close(frame) => Event::Close(frame.map(|frame| CloseFrame {
                    code: frame.code.into(),
                    reason: frame.reason.to_string(),
                })),
                Wire::Frame(_) => panic!("a raw frame"),
            },
            Self::Queue(far) => {
                assert!(far.wait(Instant::now() + LIMIT), "nothing comes");
                far.drain(1).pop().expect("the connection is gone")
            }
        }
    }

    /// Reads the frame of a large binary message, some of it every few milliseconds. A queue has it at once.
    pub fn hear_in_portions(&mut self, data: &[u8]) {
        let Self::Socket(peer) = self else {
            return assert_eq!(
                self.hear(),
                Event::Message(Message::Binary(data.to_vec().into()))
            );
        };
        let mut frame = vec![0; 10 + data.len()];
        for portion in frame.chunks_mut(128 << 10) {
            thread::sleep(Duration::from_millis(10));
            peer.get_mut().read_exact(portion).unwrap();
        }
        assert!(frame[10..] == *data);
    }

    pub fn hear_text(&mut self) -> String {
        match self.hear() {
            Event::Message(Message::Text(data)) => String::from_utf8(data.to_vec()).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The code and the reason of the next Close; skips events before it.
    pub fn hear_close(&mut self) -> (u16, String) {
        loop {
            match self.hear() {
                Event::Close(Some(CloseFrame { code, reason })) => return (code, reason),
                Event::Close(None) => return (1005, String::new()),
                _ => {}
            }
        }
    }

    /// Waits until the connection has released the transport.
    pub fn is_over(&mut self) -> bool {
        match self {
            Self::Socket(peer) => peer.read().is_err(),
            Self::Queue(far) => {
                until("the queue is over", || far.is_over());
                true
            }
        }
    }
}

fn copy(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn push(far: &FarEnd, event: &Event) {
    until("there is room", || match far.push(event.clone()) {
        Pushed::Done => true,
        Pushed::Full => false,
        Pushed::Closed => panic!("the connection takes nothing any more"),
    });
}
