//! One message for many connections, encoded once.

use std::sync::OnceLock;

use bytes::Bytes;

use super::{FrameHeaderBytes, OpCode, deflate::Deflater, pool::Kind};

/// A message and its encoded frames. Each frame is made when the first connection needs it.
#[derive(Debug)]
pub struct Broadcast {
    opcode: OpCode,
    payload: Bytes,
    plain: OnceLock<Bytes>,
    /// A list with one compressed frame for each [`Kind`]. It is short: as many as the window sizes in
    /// use times the levels in use.
    deflated: OnceLock<Box<Deflated>>,
}

/// A compressed frame, and the next one in the list, of another kind. Readers take no lock and count no
/// reference, because all threads would write to that one place in memory for every member.
#[derive(Debug)]
struct Deflated {
    kind: Kind,
    /// `None` if compression does not make the message smaller.
    frame: Option<Bytes>,
    next: OnceLock<Box<Self>>,
}

impl Broadcast {
    /// Makes a message. The caller makes sure that the payload of [`OpCode::Text`] is UTF-8.
    #[must_use]
    pub fn new(opcode: OpCode, payload: Bytes) -> Self {
        Self {
            opcode,
            payload,
            plain: OnceLock::new(),
            deflated: OnceLock::new(),
        }
    }

    /// The length of the payload in bytes, before compression.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// [`OpCode::Text`] or [`OpCode::Binary`].
    #[must_use]
    pub fn opcode(&self) -> OpCode {
        self.opcode
    }

    /// The payload, before compression.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The frame of a server without compression.
    pub(super) fn plain(&self) -> &Bytes {
        self.plain
            .get_or_init(|| frame(self.opcode, false, &self.payload))
    }

    /// The frame of a server with compression. It refers to no earlier message.
    pub(super) fn deflated(&self, kind: Kind) -> Option<&Bytes> {
        let mut place = &self.deflated;
        loop {
            // Other threads that need the same frame wait for this one instead of compressing again.
            let found = place.get_or_init(|| Box::new(self.deflate(kind)));
            if found.kind == kind {
                return found.frame.as_ref();
            }
            place = &found.next;
        }
    }

    fn deflate(&self, kind: Kind) -> Deflated {
        Deflated {
            kind,
            frame: Deflater::new(kind.window_bits, kind.level, false)
                .and_then(|mut deflater| deflater.compress(&self.payload))
                .map(|payload| frame(self.opcode, true, &payload)),
            next: OnceLock::new(),
        }
    }
}

fn frame(opcode: OpCode, compressed: bool, payload: &[u8]) -> Bytes {
    let header = FrameHeaderBytes::new(opcode, compressed, None, payload.len());
    [header.as_ref(), payload].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::ProtocolConfig,
        protocol::{Decoder, DeflateParams, Encoder, Event, Message, Role},
    };

    const PARAMS: DeflateParams = DeflateParams {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };

    fn text(number: usize) -> String {
        format!("what they say, the same again and again, number {number} ").repeat(20)
    }

    #[test]
    fn it_may_stand_between_messages_that_refer_to_one_another() {
        let config = ProtocolConfig::default();
        for (bits, takeover) in [(15, true), (9, true), (15, false), (9, false)] {
            let params = DeflateParams {
                server_no_context_takeover: !takeover,
                server_max_window_bits: bits,
                ..PARAMS
            };
            let mut encoder = Encoder::new(Role::Server, &config, Some(params));
            let mut decoder = Decoder::new(Role::Client, &config, Some(params));
            for number in 0..20 {
                let text = text(number);
                let mut wire = if number % 3 == 1 {
                    let message = Broadcast::new(OpCode::Text, text.clone().into());
                    encoder.broadcast(&message).to_vec()
                } else {
                    let frame = encoder.message(OpCode::Text, text.as_bytes());
                    [frame.header.as_ref(), &frame.payload].concat()
                };
                assert!(wire.len() < text.len() / 4, "{}", wire.len());
                let event = decoder.next(&mut &mut wire[..]).unwrap();
                assert_eq!(event, Some(Event::Message(Message::Text(text.into()))));
            }
        }
    }

    #[test]
    fn it_is_encoded_once_for_each_set_of_parameters() {
        let config = ProtocolConfig::default();
        let message = Broadcast::new(OpCode::Text, text(0).into());
        let mut frames = Vec::new();
        for bits in [15, 15, 9, 9] {
            let params = DeflateParams {
                server_max_window_bits: bits,
                ..PARAMS
            };
            let mut encoder = Encoder::new(Role::Server, &config, Some(params));
            frames.push(encoder.broadcast(&message));
        }
        let mut plain = Encoder::new(Role::Server, &config, None);
        frames.push(plain.broadcast(&message));
        frames.push(plain.broadcast(&message));
        for pair in frames.chunks(2) {
            assert_eq!(pair[0].as_ptr(), pair[1].as_ptr());
        }
        assert_ne!(frames[0], frames[2]);
        assert_ne!(frames[0], frames[4]);
    }
}
