//! The messages of what the broker has stored.

use std::sync::Arc;

use crate::hub::{
    broker::Fetched,
    delivery::group_message::GroupMessage,
    names::Channel,
    position::Position,
    wire::envelope::{Content, Envelope},
};

/// The message of an envelope.
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

/// What cannot be read keeps its place.
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
