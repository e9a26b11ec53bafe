//! A message to a group, in the forms in which members get it.

use std::sync::{Arc, OnceLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    hub::{position::Position, presence::who::Who},
    protocol::{Broadcast, OpCode},
};

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
    /// A JSON text.
    Json,
}

/// A message, encoded once for all members.
#[derive(Debug)]
pub(in crate::hub) struct Message {
    /// The group that it was sent to; empty for a user or for everybody.
    group: Arc<str>,
    kind: Kind,
    payload: Bytes,
    position: Option<Position>,
    readable: bool,
    /// Who is not to have it.
    excluded: Box<[Who]>,
    plain: Arc<Broadcast>,
    /// For members who want to know the group and the position, too.
    enveloped: OnceLock<Arc<Broadcast>>,
}

impl Message {
    pub(in crate::hub) fn new(
        group: Arc<str>,
        kind: Kind,
        payload: Bytes,
        position: Option<Position>,
    ) -> Self {
        let opcode = match kind {
            Kind::Text | Kind::Json => OpCode::Text,
            Kind::Binary => OpCode::Binary,
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
            ..Self::new(group, Kind::Text, Bytes::new(), Some(position))
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

    pub(in crate::hub) fn kind(&self) -> Kind {
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
            self.enveloped.get_or_init(|| Arc::new(self.envelop()))
        } else {
            &self.plain
        }
    }

    fn envelop(&self) -> Broadcast {
        let mut json = String::with_capacity(self.payload.len() + self.group.len() + 96);
        json.push_str(r#"{"type":"message""#);
        if !self.group.is_empty() {
            field(&mut json, "group", &self.group);
        }
        match self.kind {
            Kind::Json => {
                json.push_str(r#","data":"#);
                json.push_str(&String::from_utf8_lossy(&self.payload));
            }
            Kind::Text => field(&mut json, "data", &String::from_utf8_lossy(&self.payload)),
            Kind::Binary => {
                field(&mut json, "data", &STANDARD.encode(&self.payload));
                field(&mut json, "encoding", "base64");
            }
        }
        if let Some(position) = &self.position {
            position_fields(&mut json, position);
        }
        json.push('}');
        text(json)
    }
}

/// A text message for one or for many.
pub(in crate::hub) fn text(json: String) -> Broadcast {
    Broadcast::new(OpCode::Text, json.into())
}

/// Appends `,"name":"value"`.
pub(in crate::hub) fn field(json: &mut String, name: &str, value: &str) {
    json.push_str(",\"");
    json.push_str(name);
    json.push_str("\":");
    json.push_str(&quoted(value));
}

/// Appends the fields of a position.
pub(in crate::hub) fn position_fields(json: &mut String, position: &Position) {
    json.push_str(&format!(r#","offset":{}"#, position.offset));
    field(json, "epoch", &position.epoch);
}

fn quoted(value: &str) -> String {
    // A string always serializes.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enveloped(kind: Kind, payload: &'static [u8], position: Option<Position>) -> String {
        let message = Message::new("a \"b\"".into(), kind, payload.into(), position);
        String::from_utf8(message.envelop().payload().to_vec()).unwrap()
    }

    #[test]
    fn an_envelope_is_json() {
        let at = Position {
            offset: 7,
            epoch: "e".into(),
        };
        assert_eq!(
            enveloped(Kind::Json, br#"{"x":[1]}"#, Some(at)),
            r#"{"type":"message","group":"a \"b\"","data":{"x":[1]},"offset":7,"epoch":"e"}"#
        );
        assert_eq!(
            enveloped(Kind::Text, b"say \"hi\"\n", None),
            r#"{"type":"message","group":"a \"b\"","data":"say \"hi\"\n"}"#
        );
        assert_eq!(
            enveloped(Kind::Binary, b"\x00\xff", None),
            r#"{"type":"message","group":"a \"b\"","data":"AP8=","encoding":"base64"}"#
        );
    }
}
