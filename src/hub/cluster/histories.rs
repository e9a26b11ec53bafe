//! Converts entries that the broker has stored into messages.

use std::sync::Arc;

use crate::hub::{
    broker::Fetched,
    delivery::group_message::GroupMessage,
    names::Channel,
    position::Position,
    wire::envelope::{Content, Envelope},
};

/// The message of an envelope; `None` if the envelope carries something else.
pub(in crate::hub) fn to_message(
    channel: &Channel,
    envelope: &Envelope,
    position: Position,
) -> Option<Arc<GroupMessage>> {
    let Content::Message(kind, payload) = &envelope.body else {
        return None;
    };
    let name = channel.name();
    let message = GroupMessage::new(name.into(), *kind, payload.clone(), Some(position));
    let message = message.excluding(&envelope.excluded);
    Some(Arc::new(message))
}

/// The messages of fetched entries. An entry that cannot be read becomes a placeholder.
pub(in crate::hub) fn to_messages(channel: &Channel, fetched: &Fetched) -> Vec<Arc<GroupMessage>> {
    let entries = fetched.entries.iter();
    let messages = entries.map(|stored| {
        let position = Position {
            offset: stored.offset,
            epoch: Arc::clone(&fetched.top.epoch),
        };
        let name = channel.name();
        Envelope::decode(stored.envelope.clone())
            .and_then(|envelope| to_message(channel, &envelope, position.clone()))
            .unwrap_or_else(|| Arc::new(GroupMessage::unreadable(name.into(), position)))
    });
    messages.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::hub::{broker::Stored, wire::payload::PayloadKind};

    fn envelope(body: Content) -> Bytes {
        let envelope = Envelope {
            origin: 1,
            sequence: 1,
            excluded: vec![(1, 7)],
            channels: Vec::new(),
            body,
        };
        envelope.encode()
    }

    #[test]
    fn what_is_no_message_keeps_its_place() {
        let envelopes = [
            envelope(Content::Message(PayloadKind::Text, "x".into())),
            Bytes::from_static(b"nonsense"),
            Bytes::new(),
            envelope(Content::Close(1000, "".into())),
            envelope(Content::Message(PayloadKind::Binary, "y".into())),
        ];
        let stored = (6..).zip(envelopes).map(|(offset, envelope)| Stored {
            offset,
            envelope,
            age: Duration::ZERO,
        });
        let fetched = Fetched {
            entries: stored.collect(),
            top: Position {
                offset: 10,
                epoch: "e".into(),
            },
            complete: true,
        };
        let messages = to_messages(&Channel::group("g"), &fetched);
        let found: Vec<_> = messages
            .iter()
            .map(|one| (one.offset(), one.is_readable(), one.excludes(&[(1, 7)])))
            .collect();
        assert_eq!(
            found,
            [
                (6, true, true),
                (7, false, false),
                (8, false, false),
                (9, false, false),
                (10, true, true),
            ]
        );
    }
}
