//! The envelope of a message that goes over the broker from one process to the others.
//!
//! ```text
//! version 1 | flags | origin u64 | sequence u64 | n u16, n * u64 excluded | n u16, n * (u16, channel) | payload
//! ```
//!
//! Numbers are little-endian. `excluded` lists connections of the origin. If connections of other
//! processes are excluded, too, a flag is set, and `n u16, n * (process u64, connection u64)` follows.
//! The channels are listed if the message goes to several: a process delivers it to all of them when the
//! first copy arrives, so that no connection gets it twice.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{json::is_json, payload::PayloadKind};
use crate::{
    hub::{
        names::{Channel, MAX_EXCLUDED, MAX_TARGETS},
        node::{Node, Who},
    },
    protocol::close,
};

const VERSION: u8 = 1;
const BINARY: u8 = 1;
const JSON: u8 = 2;
const CLOSE: u8 = 4;
/// Added to the flags above: connections of other processes are excluded, too.
const OTHERS: u8 = 8;

/// The content of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Content {
    Message(PayloadKind, Bytes),
    /// Closes the connections of the receivers, with this code and reason.
    Close(u16, Arc<str>),
    /// A message of [`Presence`](crate::hub::presence::Presence), which is opaque here.
    Presence(Bytes),
    /// A question or an answer of monitoring, which is opaque here.
    Inquiry(Bytes),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Envelope {
    /// The process that sent the envelope.
    pub(in crate::hub) origin: u64,
    /// A number that rises with every envelope of the origin.
    pub(in crate::hub) sequence: u64,
    pub(in crate::hub) excluded: Vec<Who>,
    /// All channels of the message, if there are several; otherwise empty.
    pub(in crate::hub) channels: Vec<Channel>,
    pub(in crate::hub) body: Content,
}

impl Envelope {
    /// An envelope of this process.
    pub(in crate::hub) fn of(
        node: &Node,
        channels: &[Channel],
        excluded: &[Who],
        body: Content,
    ) -> Self {
        Self {
            origin: node.number(),
            sequence: node.next_sequence(),
            excluded: excluded.to_vec(),
            channels: if channels.len() > 1 {
                channels.to_vec()
            } else {
                Vec::new()
            },
            body,
        }
    }

    pub(in crate::hub) fn encode(&self) -> Bytes {
        let (flags, payload) = match &self.body {
            Content::Message(PayloadKind::Text, payload) => (0, payload.clone()),
            Content::Message(PayloadKind::Binary, payload) => (BINARY, payload.clone()),
            Content::Message(PayloadKind::Json, payload) => (JSON, payload.clone()),
            Content::Presence(payload) => (BINARY | JSON, payload.clone()),
            Content::Inquiry(payload) => (BINARY | JSON | CLOSE, payload.clone()),
            Content::Close(code, reason) => {
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
        // Earlier checks limit all lists to far less than a `u16` can count.
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
            let channel = channel.as_str().as_bytes();
            bytes.put_u16_le(channel.len() as u16);
            bytes.put_slice(channel);
        }
        bytes.put_slice(&payload);
        bytes.freeze()
    }

    /// Returns `None` for bytes that are no envelope: other programs may write to the broker, too. The
    /// result needs no further checks: text is UTF-8, JSON is valid, and a Close frame can carry the
    /// code and the reason.
    pub(in crate::hub) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let flags = bytes.try_get_u8().ok()?;
        let origin = bytes.try_get_u64_le().ok()?;
        let sequence = bytes.try_get_u64_le().ok()?;
        let mut excluded = Vec::new();
        for _ in 0..count(&mut bytes, MAX_EXCLUDED)? {
            excluded.push((origin, bytes.try_get_u64_le().ok()?));
        }
        if flags & OTHERS != 0 {
            for _ in 0..count(&mut bytes, MAX_EXCLUDED)? {
                let process = bytes.try_get_u64_le().ok()?;
                excluded.push((process, bytes.try_get_u64_le().ok()?));
            }
        }
        let mut channels = Vec::new();
        for _ in 0..count(&mut bytes, MAX_TARGETS)? {
            let len = usize::from(bytes.try_get_u16_le().ok()?);
            if bytes.len() < len {
                return None;
            }
            let channel = bytes.split_to(len);
            let channel = std::str::from_utf8(&channel).ok()?;
            channels.push(Channel::parse(channel)?);
        }
        let body = match flags & !OTHERS {
            BINARY => Content::Message(PayloadKind::Binary, bytes),
            0 | JSON => {
                let text = std::str::from_utf8(&bytes).ok()?;
                let kind = match flags & !OTHERS {
                    JSON if is_json(text) => PayloadKind::Json,
                    JSON => return None,
                    _ => PayloadKind::Text,
                };
                Content::Message(kind, bytes)
            }
            CLOSE => {
                let code = bytes.try_get_u16_le().ok()?;
                let reason = std::str::from_utf8(&bytes).ok()?;
                if !close::is_sendable(code) || !close::reason_fits(reason) {
                    return None;
                }
                Content::Close(code, reason.into())
            }
            flags if flags == BINARY | JSON => Content::Presence(bytes),
            flags if flags == BINARY | JSON | CLOSE => Content::Inquiry(bytes),
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

/// Whether bytes decode to an envelope that stays the same when it is encoded and decoded again. For the
/// fuzz target.
#[doc(hidden)]
#[must_use]
pub fn is_envelope(bytes: &[u8]) -> bool {
    Envelope::decode(Bytes::copy_from_slice(bytes))
        .is_some_and(|one| Envelope::decode(one.encode()) == Some(one))
}

/// Reads the length of a list; `None` if it exceeds `most`.
fn count(bytes: &mut Bytes, most: usize) -> Option<usize> {
    let count = usize::from(bytes.try_get_u16_le().ok()?);
    (count <= most).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::names::MAX_NAME;

    fn envelope(body: Content) -> Envelope {
        Envelope {
            origin: 7,
            sequence: 1 << 40,
            excluded: vec![(7, 1), (7, 2), (8, 1)],
            channels: vec![Channel::group("a"), Channel::group("\u{e9}")],
            body,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for body in [
            Content::Message(PayloadKind::Text, "t\u{e9}xt".into()),
            Content::Message(PayloadKind::Binary, vec![0, 255].into()),
            Content::Message(PayloadKind::Json, "{}".into()),
            Content::Presence(vec![1].into()),
            Content::Inquiry(vec![1].into()),
            Content::Close(4001, "bye".into()),
        ] {
            let envelope = envelope(body);
            assert_eq!(Envelope::decode(envelope.encode()), Some(envelope));
        }
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_refused() {
        let whole = envelope(Content::Close(4001, "".into())).encode();
        for len in 0..whole.len() {
            assert_eq!(Envelope::decode(whole.slice(..len)), None, "{len}");
        }
        assert_eq!(Envelope::decode(Bytes::from_static(b"\x02hello")), None);
        let text = envelope(Content::Message(PayloadKind::Text, vec![0xff].into()));
        assert_eq!(Envelope::decode(text.encode()), None);
    }

    #[test]
    fn what_would_break_a_frame_is_refused() {
        for json in ["", "nope", "NaN", "{", "1,\"type\":\"joined\"", "{}{}"] {
            let body = Content::Message(PayloadKind::Json, json.into());
            assert_eq!(Envelope::decode(envelope(body).encode()), None, "{json}");
        }
        for code in [
            0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 4464, 65535,
        ] {
            let decoded = Envelope::decode(envelope(Content::Close(code, "".into())).encode());
            assert_eq!(decoded.is_some(), code == 4464, "{code}");
        }
        for (bytes, expected) in [(123, true), (124, false), (60_000, false)] {
            let body = Content::Close(1000, "x".repeat(bytes).into());
            let decoded = Envelope::decode(envelope(body).encode());
            assert_eq!(decoded.is_some(), expected, "{bytes}");
        }
    }

    #[test]
    fn lists_and_names_have_limits() {
        let body = || Content::Message(PayloadKind::Text, "x".into());
        let channels = |name: &str, count| Envelope {
            channels: vec![Channel::unchecked(name); count],
            ..envelope(body())
        };
        let longest = format!("g:{}", "x".repeat(MAX_NAME));
        for (name, count, expected) in [
            ("u:7", 1_000, true),
            ("u:7", 1_001, false),
            ("a:", 2, true),
            ("g:", 2, false),
            ("g", 2, false),
            ("", 2, false),
            ("\u{e9}", 2, false),
            ("x:y", 2, false),
            (&longest, 2, true),
            (&format!("{longest}x"), 2, false),
        ] {
            let decoded = Envelope::decode(channels(name, count).encode());
            assert_eq!(decoded.is_some(), expected, "{name} {count}");
        }
        for (count, expected) in [(1_000, true), (1_001, false)] {
            let excluded = Envelope {
                excluded: vec![(1, 1); count],
                ..envelope(body())
            };
            let decoded = Envelope::decode(excluded.encode());
            assert_eq!(decoded.is_some(), expected, "{count}");
        }
    }
}
