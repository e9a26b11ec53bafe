//! A message to a group, in the forms in which members get it.

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
    /// The group that it was sent to; empty for a user or for everybody.
    group: Arc<str>,
    kind: PayloadKind,
    payload: Bytes,
    position: Option<Position>,
    readable: bool,
    /// Who is not to have it.
    excluded: Box<[Who]>,
    plain: Arc<Broadcast>,
    /// For members who want to know the group and the position, too.
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

    /// Takes the place of an entry of a history that is no message.
    pub(in crate::hub) fn unreadable(group: Arc<str>, position: Position) -> Self {
        Self {
            readable: false,
            ..Self::new(group, PayloadKind::Text, Bytes::new(), Some(position))
        }
    }

    /// False for what only takes the place of a message.
    pub(in crate::hub) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Leaves connections out.
    pub(in crate::hub) fn excluding(mut self, connections: &[Who]) -> Self {
        self.excluded = connections.into();
        self
    }

    /// Whether one of these connections is left out.
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

    /// The frame for a member of either sort.
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
