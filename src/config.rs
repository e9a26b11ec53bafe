//! The configuration of a connection: limits, time limits and queue sizes.

use std::time::Duration;

/// How the server treats permessage-deflate (RFC 7692).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Never negotiated.
    Off,
    /// Negotiated without context takeover in either direction: no message refers to an earlier one,
    /// so all connections share a few compressors and an idle connection holds none.
    #[default]
    Shared,
    /// Negotiated with context takeover where the client allows it. The ratio is better, and each
    /// connection holds the memory of a window in each direction as long as it is open.
    Dedicated,
}

/// The limits of the protocol core.
#[derive(Clone, Debug)]
pub struct ProtocolConfig {
    /// The most bytes of one message, after reassembly and inflation. Default 1 MiB.
    pub max_message_size: usize,
    /// The most bytes of one frame's payload, as it is on the wire. Default: no limit.
    pub max_frame_size: usize,
    /// The most empty frames of one message, so that a message of empty frames ends. Frames with a
    /// payload are limited by `max_message_size`. Default 16,384.
    pub max_fragments: u32,
    /// Whether text that is not UTF-8 fails the connection (RFC 6455 section 8.1). Default true; the
    /// classic dialect, that of the old package, sets false and delivers such text as bytes.
    pub validate_utf8: bool,
    /// How permessage-deflate is negotiated. Default [`Compression::Shared`].
    pub compression: Compression,
    /// Messages shorter than this many bytes are sent uncompressed. Default 256.
    pub compression_threshold: usize,
    /// zlib's level, 1 to 9. Default 1: it compresses JSON to a third of its size. Level 6 compresses
    /// to a quarter, and takes four times the processor time.
    pub compression_level: u8,
}

impl Default for ProtocolConfig {
    fn default() -> Self {
        Self {
            max_message_size: 1 << 20,
            max_frame_size: usize::MAX,
            max_fragments: 16_384,
            validate_utf8: true,
            compression: Compression::default(),
            compression_threshold: 256,
            compression_level: 1,
        }
    }
}

/// The fate of a message when the outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Fail the connection with 1013.
    Close,
    /// Drop the oldest queued messages to make room.
    DropOldest,
    /// Drop the new message.
    DropNewest,
    /// Do not take the message, and return `Sent::Full` to the caller.
    Refuse,
    /// Take the message as long as the outbox has room for one byte, or for the message within twice its
    /// limits, and return `Sent::Full` after that: the caller waits for room when it has sent.
    Overdraw,
}

/// The limits of one connection. Shared by all connections of a kind.
#[derive(Clone, Debug)]
pub struct Config {
    /// The limits of the protocol core.
    pub protocol: ProtocolConfig,
    /// Time between keepalive pings; `None`: no pings. Default 20 s.
    pub ping_interval: Option<Duration>,
    /// Time to wait for the pong before the peer is taken for gone. Default 20 s.
    pub ping_timeout: Duration,
    /// Time within which the response head must be written out. Default 10 s.
    pub handshake_timeout: Duration,
    /// Time to wait for the peer's Close frame in the close handshake. Default 10 s.
    pub close_timeout: Duration,
    /// Time without a message from the peer before the connection is closed; `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// Messages that may wait for the view before reading stops. Default 256.
    pub inbox_messages: usize,
    /// Bytes that may wait for the view before reading stops. Default 1 MiB.
    pub inbox_bytes: usize,
    /// Messages that may wait to be written. Default 4,096.
    pub outbox_messages: usize,
    /// Bytes that may wait to be written. Default 4 MiB.
    pub outbox_bytes: usize,
    /// The fate of a message to a group when the outbox is full. Default: [`Overflow::Close`]. A sender
    /// to a group does not wait for room, so [`Overflow::Refuse`] drops the message.
    pub broadcast_overflow: Overflow,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            protocol: ProtocolConfig::default(),
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            idle_timeout: None,
            inbox_messages: 256,
            inbox_bytes: 1 << 20,
            outbox_messages: 4_096,
            outbox_bytes: 4 << 20,
            broadcast_overflow: Overflow::Close,
        }
    }
}
