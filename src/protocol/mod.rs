//! RFC 6455 and RFC 7692 without I/O: bytes in, events and bytes out.
//!
//! No module of this layer uses a socket, a task, a clock or Python.
//!
//! * [`handshake`] checks the opening handshake and writes the 101; [`extensions`] negotiates
//!   permessage-deflate in it.
//! * [`Decoder`] turns bytes into [`Event`]s, [`Encoder`] turns messages into frames.
//! * [`close`] knows the close codes.

mod broadcast;
pub mod close;
mod decoder;
mod deflate;
mod encoder;
pub mod extensions;
pub mod handshake;
mod header;
mod mask;
mod message;
mod pool;
mod tokens;
mod utf8;

pub use broadcast::Broadcast;
pub use close::CloseFrame;
pub use decoder::Decoder;
pub use encoder::{ControlFrame, EncodedFrame, Encoder};
pub use extensions::DeflateParams;
pub use handshake::{Handshake, Request, accept};
pub use header::{FrameHeaderBytes, OpCode};
pub use message::{Event, Message};

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads masked frames and writes plain ones.
    Server,
    /// Reads plain frames and writes masked ones. For tests, benchmarks and fuzzing only: its masking
    /// keys come from a small generator, not from a strong source of entropy (RFC 6455 section 5.3).
    Client,
}
