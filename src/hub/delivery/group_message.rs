//! A message to a group, and the two frames in which members get it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::{
    hub::{
        node::Who,
        position::Position,
        wire::{frames, payload::PayloadKind},
    },
    protocol::{Broadcast, OpCode},
};

/// A message, encoded once for all members.
#[derive(Debug)]
pub(in crate::hub) struct GroupMessage {
    /// The group that the message was sent to; empty for a user or for everybody.
    group: Arc<str>,
    kind: PayloadKind,
    payload: Bytes,
    position: Option<Position>,
    readable: bool,
    /// Connections that do not get the message.
    excluded: Box<[Who]>,
    plain: Arc<Broadcast>,
    /// The frame for members that also want the group and the position; made when first needed.
    enveloped: OnceLock<Arc<Broadcast>>,
}

impl GroupMessage {
    pub(in crate::hub) fn new(
        group: Arc<str>,
        kind: PayloadKind,
        payload: Bytes,
        position: Option<Position>,
    ) -> Self {
        let opcode = match kind {
            PayloadKind::Text | PayloadKind::Json => OpCode::Text,
            PayloadKind::Binary => OpCode::Binary,
        };
        Self {
            group,
            kind,
            plain: Arc::new(Broadcast::new(opcode, payload.clone())),
            payload,
            position,
            readable: true,
            excluded: Box::default(),
            enveloped: OnceLock::new(),
        }
    }

    /// A placeholder for an entry of a history that is no message.
    pub(in crate::hub) fn unreadable(group: Arc<str>, position: Position) -> Self {
        Self {
            readable: false,
            ..Self::new(group, PayloadKind::Text, Bytes::new(), Some(position))
        }
    }

    /// False for a placeholder.
    pub(in crate::hub) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Sets the connections that do not get the message.
    pub(in crate::hub) fn excluding(mut self, connections: &[Who]) -> Self {
        self.excluded = connections.into();
        self
    }

    /// Whether the message excludes any connection.
    pub(in crate::hub) fn excludes_some(&self) -> bool {
        !self.excluded.is_empty()
    }

    /// Whether the message excludes one of these connections.
    pub(in crate::hub) fn excludes(&self, connections: &[Who]) -> bool {
        connections.iter().any(|one| self.excluded.contains(one))
    }

    pub(in crate::hub) fn kind(&self) -> PayloadKind {
        self.kind
    }

    pub(in crate::hub) fn payload(&self) -> &Bytes {
        &self.payload
    }

    pub(in crate::hub) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    pub(in crate::hub) fn offset(&self) -> u64 {
        self.position.as_ref().map_or(0, |at| at.offset)
    }

    /// The frame for a member; `enveloped`: with the group and the position.
    pub(in crate::hub) fn frame(&self, enveloped: bool) -> &Arc<Broadcast> {
        if enveloped {
            self.enveloped.get_or_init(|| {
                let frame = frames::message(
                    &self.group,
                    self.kind,
                    &self.payload,
                    self.position.as_ref(),
                );
                Arc::new(frame)
            })
        } else {
            &self.plain
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: &Broadcast) -> &str {
        std::str::from_utf8(frame.payload()).unwrap()
    }

    #[test]
    fn a_message_has_two_frames_each_made_once() {
        let message = GroupMessage::new("g".into(), PayloadKind::Json, "1".into(), None);
        assert_eq!(text(message.frame(false)), "1");
        let enveloped = r#"{"type":"message","group":"g","data":1}"#;
        assert_eq!(text(message.frame(true)), enveloped);
        assert!(Arc::ptr_eq(message.frame(true), message.frame(true)));
        assert_eq!((message.offset(), message.position()), (0, None));
    }

    #[test]
    fn it_may_leave_connections_out() {
        let message = GroupMessage::new("g".into(), PayloadKind::Text, "x".into(), None);
        assert!(!message.excludes(&[(1, 2)]) && !message.excludes_some());
        let message = message.excluding(&[(1, 2)]);
        assert!(message.excludes_some());
        assert!(message.excludes(&[(3, 4), (1, 2)]));
        assert!(!message.excludes(&[(1, 3)]) && !message.excludes(&[]));
        assert!(message.is_readable());
    }
}
