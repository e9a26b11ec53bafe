//! One open WebSocket on an event loop.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::Result;
use crate::open::Opened;
use crate::wire::{self, Frame};

/// The most bytes of one read.
const CHUNK: usize = 256 * 1024;

/// The state of a connection after a read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    /// The Close frame has arrived, or the end of the stream after it.
    Closed,
    /// The stream ended without a Close frame.
    Broken,
}

/// A connection: the socket, the frame that has arrived in part, and the bytes that wait to be written.
pub struct Peer {
    stream: TcpStream,
    partial: Vec<u8>,
    backlog: Vec<u8>,
    /// Whether the Close frame was sent; nothing may follow it.
    closing: bool,
    /// Whether the server's Close frame has come.
    closed: bool,
}

impl Peer {
    /// Places an open connection on the event loop.
    pub fn new(opened: Opened, registry: &Registry, token: Token) -> Result<Self> {
        opened.stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(opened.stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            partial: opened.leftover,
            backlog: Vec::new(),
            closing: false,
            closed: false,
        })
    }

    /// Writes the bytes that fit at once, and keeps the rest.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.backlog.is_empty() {
            self.backlog.extend_from_slice(bytes);
            return self.flush();
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.backlog.extend_from_slice(rest);
        Ok(())
    }

    /// Writes more of the bytes that wait.
    pub fn flush(&mut self) -> Result<()> {
        let mut done = 0;
        while done < self.backlog.len() {
            match self.stream.write(&self.backlog[done..]) {
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.backlog.drain(..done);
        Ok(())
    }

    /// Sends the Close frame with code 1000.
    pub fn close(&mut self) -> Result<()> {
        let mut frame = Vec::new();
        wire::encode(
            &mut frame,
            wire::CLOSE,
            false,
            [1, 2, 3, 4],
            &1000_u16.to_be_bytes(),
        );
        self.closing = true;
        self.send(&frame)
    }

    /// Ends this side of the TCP connection.
    pub fn shutdown(&self) {
        // An error means that the peer has gone already, which is fine.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads all bytes that have arrived, passes every data frame to `on_data`, and answers pings.
    ///
    /// `scratch` is the caller's buffer, one for all connections of a thread.
    pub fn receive(
        &mut self,
        scratch: &mut Vec<u8>,
        mut on_data: impl FnMut(&Frame<'_>) -> Result<()>,
    ) -> Result<State> {
        scratch.resize(CHUNK, 0);
        let mut state = State::Open;
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) if self.closed => return Ok(State::Closed),
                Ok(0) => return Ok(State::Broken),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(state),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(if self.closed {
                        State::Closed
                    } else {
                        State::Broken
                    });
                }
                Err(error) => return Err(error.into()),
            };
            self.take(&scratch[..count], &mut on_data)?;
            if self.closed {
                state = State::Closed;
            }
            // Fewer bytes than asked for mean that the socket is empty. Its next bytes raise a new event.
            if count < CHUNK {
                return Ok(state);
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        on_data: &mut impl FnMut(&Frame<'_>) -> Result<()>,
    ) -> Result<()> {
        let joined = !self.partial.is_empty();
        let mut held = std::mem::take(&mut self.partial);
        if joined {
            held.extend_from_slice(bytes);
        }
        let mut rest = if joined { held.as_slice() } else { bytes };
        while let Some(frame) = wire::decode(rest)? {
            match frame.opcode {
                wire::PING if !self.closing => {
                    let mut pong = Vec::new();
                    wire::encode(&mut pong, wire::PONG, false, [5, 6, 7, 8], frame.payload);
                    self.send(&pong)?;
                }
                wire::PING | wire::PONG => {}
                wire::CLOSE => self.closed = true,
                _ => on_data(&frame)?,
            }
            rest = &rest[frame.length..];
        }
        if joined {
            let consumed = held.len() - rest.len();
            held.drain(..consumed);
            self.partial = held;
        } else {
            self.partial = rest.to_vec();
        }
        Ok(())
    }
}
