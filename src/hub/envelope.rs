//! What goes over the broker from one process to the others.
//!
//! ```text
//! version 1 | flags | origin u64 | sequence u64 | n u16, n * u64 excluded | n u16, n * (u16, channel) | payload
//! ```
//!
//! Little-endian. The excluded are connections of the origin; where connections of other processes
//! are, too, a flag says so, and `n u16, n * (process u64, connection u64)` follows them. The channels
//! are there if the message goes to several: a process delivers it to all of them when it meets the
//! first, so that nobody gets it twice.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{message::Kind, who::Who};

const VERSION: u8 = 1;
const BINARY: u8 = 1;
const JSON: u8 = 2;
const CLOSE: u8 = 4;
/// Beside one of these: connections of other processes are excluded, too.
const OTHERS: u8 = 8;

/// What is to be done with the receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Message(Kind, Bytes),
    /// Close their connections.
    Close(u16, Arc<str>),
    /// Of [`Presence`](super::presence::Presence); opaque here.
    Presence(Bytes),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The process that sent it.
    pub(super) origin: u64,
    /// Rises with every envelope of the origin.
    pub(super) sequence: u64,
    pub(super) excluded: Vec<Who>,
    /// All channels that it goes to, if there are several.
    pub(super) channels: Vec<Arc<str>>,
    pub(super) body: Body,
}

impl Envelope {
    pub(super) fn encode(&self) -> Bytes {
        let (flags, payload) = match &self.body {
            Body::Message(Kind::Text, payload) => (0, payload.clone()),
            Body::Message(Kind::Binary, payload) => (BINARY, payload.clone()),
            Body::Message(Kind::Json, payload) => (JSON, payload.clone()),
            Body::Presence(payload) => (BINARY | JSON, payload.clone()),
            Body::Close(code, reason) => {
                let mut payload = code.to_le_bytes().to_vec();
                payload.extend_from_slice(reason.as_bytes());
                (CLOSE, payload.into())
            }
        };
        let mut bytes = BytesMut::with_capacity(64 + payload.len());
        let (own, others): (Vec<Who>, Vec<Who>) = self
            .excluded
            .iter()
            .partition(|(process, _)| *process == self.origin);
        bytes.put_u8(VERSION);
        bytes.put_u8(flags | if others.is_empty() { 0 } else { OTHERS });
        bytes.put_u64_le(self.origin);
        bytes.put_u64_le(self.sequence);
        // All lists are limited where they come in, far below what fits.
        bytes.put_u16_le(own.len() as u16);
        for (_, id) in own {
            bytes.put_u64_le(id);
        }
        if !others.is_empty() {
            bytes.put_u16_le(others.len() as u16);
            for (process, id) in others {
                bytes.put_u64_le(process);
                bytes.put_u64_le(id);
            }
        }
        bytes.put_u16_le(self.channels.len() as u16);
        for channel in &self.channels {
            bytes.put_u16_le(channel.len() as u16);
            bytes.put_slice(channel.as_bytes());
        }
        bytes.put_slice(&payload);
        bytes.freeze()
    }

    /// `None` for what is not an envelope: others may write to the broker, too.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let flags = bytes.try_get_u8().ok()?;
        let origin = bytes.try_get_u64_le().ok()?;
        let sequence = bytes.try_get_u64_le().ok()?;
        let mut excluded = Vec::new();
        for _ in 0..bytes.try_get_u16_le().ok()? {
            excluded.push((origin, bytes.try_get_u64_le().ok()?));
        }
        if flags & OTHERS != 0 {
            for _ in 0..bytes.try_get_u16_le().ok()? {
                let process = bytes.try_get_u64_le().ok()?;
                excluded.push((process, bytes.try_get_u64_le().ok()?));
            }
        }
        let mut channels = Vec::new();
        for _ in 0..bytes.try_get_u16_le().ok()? {
            let len = usize::from(bytes.try_get_u16_le().ok()?);
            if bytes.len() < len {
                return None;
            }
            channels.push(std::str::from_utf8(&bytes.split_to(len)).ok()?.into());
        }
        let body = match flags & !OTHERS {
            BINARY => Body::Message(Kind::Binary, bytes),
            0 | JSON => {
                std::str::from_utf8(&bytes).ok()?;
                let kind = if flags & JSON != 0 {
                    Kind::Json
                } else {
                    Kind::Text
                };
                Body::Message(kind, bytes)
            }
            CLOSE => {
                let code = bytes.try_get_u16_le().ok()?;
                Body::Close(code, std::str::from_utf8(&bytes).ok()?.into())
            }
            flags if flags == BINARY | JSON => Body::Presence(bytes),
            _ => return None,
        };
        Some(Self {
            origin,
            sequence,
            excluded,
            channels,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(body: Body) -> Envelope {
        Envelope {
            origin: 7,
            sequence: 1 << 40,
            excluded: vec![(7, 1), (7, 2), (8, 1)],
            channels: vec!["g:a".into(), "g:\u{e9}".into()],
            body,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for body in [
            Body::Message(Kind::Text, "t\u{e9}xt".into()),
            Body::Message(Kind::Binary, vec![0, 255].into()),
            Body::Message(Kind::Json, "{}".into()),
            Body::Presence(vec![1].into()),
            Body::Close(4001, "bye".into()),
        ] {
            let envelope = envelope(body);
            assert_eq!(Envelope::decode(envelope.encode()), Some(envelope));
        }
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_refused() {
        let whole = envelope(Body::Close(4001, "".into())).encode();
        for len in 0..whole.len() {
            assert_eq!(Envelope::decode(whole.slice(..len)), None, "{len}");
        }
        assert_eq!(Envelope::decode(Bytes::from_static(b"\x02hello")), None);
        let text = envelope(Body::Message(Kind::Text, vec![0xff].into()));
        assert_eq!(Envelope::decode(text.encode()), None);
    }
}
