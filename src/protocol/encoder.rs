//! Messages in, bytes out.

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
};

use bytes::Bytes;

use crate::{
    config::ProtocolConfig,
    protocol::{
        Broadcast, DeflateParams, FrameHeaderBytes, OpCode, Role, close, deflate::Deflater,
        header::SHORT, mask,
    },
};

/// A data frame: its header, and its payload as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame<'a> {
    /// The header, to be written first.
    pub header: FrameHeaderBytes,
    /// The payload, borrowed from the caller unless it was compressed or masked.
    pub payload: Cow<'a, [u8]>,
}

/// A whole control frame, stored without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlFrame {
    bytes: [u8; CONTROL],
    length: u8,
}

/// The longest control frame: header, masking key, payload.
const CONTROL: usize = 2 + 4 + SHORT as usize;

impl AsRef<[u8]> for ControlFrame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Encodes messages and control frames.
#[derive(Debug)]
pub struct Encoder {
    /// The state of a client's generator of masking keys.
    keys: Option<u64>,
    deflater: Option<Deflater>,
    threshold: usize,
}

impl Encoder {
    /// Makes the encoder of a new connection.
    #[must_use]
    pub fn new(role: Role, config: &ProtocolConfig, deflate: Option<DeflateParams>) -> Self {
        let keys = (role == Role::Client).then(|| RandomState::new().hash_one(0) | 1);
        let deflater = deflate.and_then(|params| {
            let takeover = params.own_context(role);
            Deflater::new(
                params.own_window_bits(role),
                config.compression_level,
                takeover,
            )
        });
        Self {
            keys,
            deflater,
            threshold: config.compression_threshold,
        }
    }

    /// Whether messages may be compressed.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.deflater.is_some()
    }

    /// Encodes a message as one frame; messages are never fragmented.
    ///
    /// `opcode` is [`OpCode::Text`] or [`OpCode::Binary`]. The caller makes sure that the payload of
    /// [`OpCode::Text`] is UTF-8.
    pub fn message<'a>(&mut self, opcode: OpCode, payload: &'a [u8]) -> EncodedFrame<'a> {
        let compressed = match &mut self.deflater {
            Some(deflater) if payload.len() >= self.threshold => deflater.compress(payload),
            Some(_) | None => None,
        };
        let is_compressed = compressed.is_some();
        let mut payload = compressed.map_or(Cow::Borrowed(payload), Cow::Owned);
        let key = self.next_key();
        if let Some(key) = key {
            mask::apply(payload.to_mut(), key);
        }
        let header = FrameHeaderBytes::new(opcode, is_compressed, key, payload.len());
        EncodedFrame { header, payload }
    }

    /// The frame of a message to many connections, for a server.
    ///
    /// The compressed frame refers to no earlier message of this connection. If it is used, a compressor
    /// with context takeover is dropped, because its window lacks the message: the next message starts
    /// with an empty window, which is always allowed (RFC 7692 section 7.2.1).
    pub fn broadcast<'a>(&mut self, message: &'a Broadcast) -> &'a Bytes {
        debug_assert!(self.keys.is_none(), "a client's frames are not shared");
        let compressed = match &mut self.deflater {
            Some(deflater) if message.len() >= self.threshold => {
                let frame = message.deflated(deflater.kind());
                if frame.is_some() {
                    deflater.release();
                }
                frame
            }
            Some(_) | None => None,
        };
        compressed.unwrap_or_else(|| message.plain())
    }

    /// Encodes a control frame. The payload is cut to 125 bytes (RFC 6455 section 5.5).
    #[must_use]
    pub fn control(&mut self, opcode: OpCode, payload: &[u8]) -> ControlFrame {
        let payload = &payload[..payload.len().min(SHORT as usize)];
        let key = self.next_key();
        let header = FrameHeaderBytes::new(opcode, false, key, payload.len());
        let start = header.as_ref().len();
        let end = start + payload.len();
        let mut bytes = [0; CONTROL];
        bytes[..start].copy_from_slice(header.as_ref());
        bytes[start..end].copy_from_slice(payload);
        if let Some(key) = key {
            mask::apply(&mut bytes[start..end], key);
        }
        ControlFrame {
            bytes,
            length: end as u8,
        }
    }

    /// Encodes a Close frame.
    ///
    /// Without a code that may be sent ([`close::is_sendable`]) the frame has no body, which tells the peer
    /// "no status". A reason that is too long is cut ([`close::fitting_reason`]).
    #[must_use]
    pub fn close(&mut self, code: Option<u16>, reason: &str) -> ControlFrame {
        let Some(code) = code.filter(|&code| close::is_sendable(code)) else {
            return self.control(OpCode::Close, &[]);
        };
        let reason = close::fitting_reason(reason).as_bytes();
        let mut body = [0; SHORT as usize];
        body[..2].copy_from_slice(&code.to_be_bytes());
        body[2..2 + reason.len()].copy_from_slice(reason);
        self.control(OpCode::Close, &body[..2 + reason.len()])
    }

    /// Drops the compressor of a connection that has gone idle. The next message costs the time to make a
    /// new one.
    pub fn release(&mut self) {
        if let Some(deflater) = &mut self.deflater {
            deflater.release();
        }
    }

    /// The masking key of the next frame; `None` for a server.
    fn next_key(&mut self) -> Option<[u8; 4]> {
        let state = self.keys.as_mut()?;
        // xorshift64: the state never repeats at once and is never zero.
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        Some(((*state >> 32) as u32).to_ne_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(role: Role) -> Encoder {
        Encoder::new(role, &ProtocolConfig::default(), None)
    }

    #[test]
    fn a_server_borrows_the_payload() {
        let frame = encoder(Role::Server).message(OpCode::Text, b"Hello");
        assert_eq!(frame.header.as_ref(), b"\x81\x05");
        assert!(matches!(frame.payload, Cow::Borrowed(b"Hello")));
    }

    #[test]
    fn a_client_masks_with_a_new_key_each_time() {
        let mut encoder = encoder(Role::Client);
        let frames = [1, 2].map(|_| encoder.message(OpCode::Binary, &[0; 8]));
        let [first, second] = frames.map(|frame| {
            let key: [u8; 4] = frame.header.as_ref()[2..].try_into().unwrap();
            assert_eq!(frame.header.as_ref()[..2], [0x82, 0x88]);
            assert_eq!(*frame.payload, [key, key].concat());
            key
        });
        assert_ne!(first, second);
    }

    #[test]
    fn control_frames_are_whole_and_short() {
        let mut server = encoder(Role::Server);
        assert_eq!(server.control(OpCode::Ping, b"x").as_ref(), b"\x89\x01x");
        assert_eq!(
            server.control(OpCode::Pong, &[7; 200]).as_ref()[..3],
            [0x8a, 125, 7]
        );
        assert_eq!(server.control(OpCode::Pong, &[7; 200]).as_ref().len(), 127);
        let masked = encoder(Role::Client).control(OpCode::Ping, &[7; 125]);
        assert_eq!(masked.as_ref().len(), CONTROL);
    }

    #[test]
    fn close_frames_have_what_section_5_5_1_allows() {
        let mut server = encoder(Role::Server);
        let table: [(Option<u16>, &str, &[u8]); 5] = [
            (Some(1000), "", b"\x88\x02\x03\xe8"),
            (Some(1001), "bye", b"\x88\x05\x03\xe9bye"),
            (None, "ignored", b"\x88\0"),
            // Section 7.4.1: these codes are never on the wire.
            (Some(1005), "", b"\x88\0"),
            (Some(1006), "", b"\x88\0"),
        ];
        for (code, reason, frame) in table {
            assert_eq!(server.close(code, reason).as_ref(), frame);
        }
        let frame = server.close(Some(1000), &"\u{e4}".repeat(100));
        assert_eq!(frame.as_ref().len(), 2 + 2 + 122);
    }

    #[test]
    fn an_idle_encoder_is_small() {
        assert!(size_of::<Encoder>() <= 64, "{}", size_of::<Encoder>());
    }
}
