//! Puts messages into the outboxes of this process.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;

use super::group_message::GroupMessage;
use crate::{
    engine::{self, Connection, Engine, Mailbag, Sent},
    hub::{
        groups::{group::State, table::Groups},
        names::{Channel, Scope},
        node::Who,
        wire::payload::PayloadKind,
    },
    protocol::Broadcast,
    runtime::figures,
};

/// Delivers messages to the members of groups, to users and to everybody.
pub(in crate::hub) struct Fanout {
    groups: &'static Groups,
}

impl Fanout {
    pub(in crate::hub) fn new(groups: &'static Groups) -> Self {
        Self { groups }
    }

    /// Puts a message that no history keeps into the outboxes of this process. `excluded`: connections of any
    /// process that do not get it.
    pub(in crate::hub) fn deliver(
        &self,
        channel: &Channel,
        kind: PayloadKind,
        payload: &Bytes,
        excluded: &[Who],
        delivery: &mut Delivery<'_>,
    ) {
        let name = channel.group_name().unwrap_or_default();
        let message = GroupMessage::new(name.into(), kind, payload.clone(), None);
        let message = message.excluding(excluded);
        if channel.scope() == Scope::Everybody {
            for connection in engine::running().map_or_else(Vec::new, Engine::connections) {
                let frame = message.frame(connection.is_enveloping());
                delivery.put(&connection, frame);
            }
        } else if let Some(group) = self.groups.find(channel) {
            let state = group.lock();
            self.spread(channel, &state, &message, delivery);
        } else {
            self.spread_to_patterns(channel, &message, delivery);
        }
    }

    /// Puts a message into the outboxes of a group's members and of the members of matching wildcards.
    /// The caller holds the group's lock.
    pub(in crate::hub) fn spread(
        &self,
        channel: &Channel,
        state: &State,
        message: &GroupMessage,
        delivery: &mut Delivery<'_>,
    ) {
        let matching = self.groups.matching(channel);
        if !matching.is_empty() {
            delivery.once();
        }
        delivery.send(state, message);
        for group in matching {
            delivery.send(&group.lock(), message);
        }
    }

    pub(in crate::hub) fn spread_to_patterns(
        &self,
        channel: &Channel,
        message: &GroupMessage,
        delivery: &mut Delivery<'_>,
    ) {
        let matching = self.groups.matching(channel);
        if matching.len() > 1 {
            delivery.once();
        }
        for group in matching {
            delivery.send(&group.lock(), message);
        }
    }

    /// Closes the connections of a channel's members; returns how many were open.
    pub(in crate::hub) fn close_members(
        &self,
        channel: &Channel,
        code: u16,
        reason: &str,
    ) -> usize {
        // The connections are collected first: a connection that ends at once leaves the group, which
        // needs the lock.
        let connections = if channel.scope() == Scope::Everybody {
            engine::running().map_or_else(Vec::new, Engine::connections)
        } else {
            let group = self.groups.find(channel);
            group.map_or_else(Vec::new, |group| {
                let state = group.lock();
                let members = state.members().iter();
                members
                    .map(|member| Arc::clone(&member.connection))
                    .collect()
            })
        };
        let closed = connections.iter().filter(|one| one.close(code, reason));
        closed.count()
    }
}

/// One message on its way to many members.
#[derive(Debug)]
pub(in crate::hub) struct Delivery<'a> {
    excluded: &'a [u64],
    /// Connections that have the message already. `Some` only if a connection could get it twice.
    seen: Option<HashSet<u64>>,
    /// Connections that have got the message and wait to be written.
    mailbag: Mailbag,
    pub(in crate::hub) reached: usize,
    pub(in crate::hub) dropped: usize,
    /// The bytes of the messages to those reached.
    bytes: usize,
}

impl Drop for Delivery<'_> {
    /// Adds the messages to the figures, before the mailbag has the rest of them written.
    fn drop(&mut self) {
        if self.reached > 0 {
            figures::count_broadcast(self.reached as u64, self.bytes as u64);
        }
    }
}

impl<'a> Delivery<'a> {
    pub(in crate::hub) fn new(excluded: &'a [u64], once: bool) -> Self {
        Self {
            excluded,
            seen: once.then(HashSet::new),
            mailbag: Mailbag::default(),
            reached: 0,
            dropped: 0,
            bytes: 0,
        }
    }

    /// From now on, no connection gets the message twice.
    pub(in crate::hub) fn once(&mut self) {
        self.seen.get_or_insert_default();
    }

    /// Puts the message into the outboxes of a group's members that do not have it yet. A member whose
    /// client says that it was an excluded connection does not get it.
    pub(in crate::hub) fn send(&mut self, state: &State, message: &GroupMessage) {
        let offset = message.offset();
        let former = state.former().filter(|_| message.excludes_some());
        for member in state.members() {
            if offset > 0 && offset <= member.after {
                continue;
            }
            if former.is_some_and(|former| former.is_excluded(member.connection.id(), message)) {
                continue;
            }
            let enveloped = member.connection.is_enveloping();
            self.put(&member.connection, message.frame(enveloped));
        }
    }

    pub(in crate::hub) fn put(&mut self, connection: &Arc<Connection>, frame: &Arc<Broadcast>) {
        let id = connection.id();
        if self.excluded.contains(&id) {
            return;
        }
        if let Some(seen) = &mut self.seen
            && !seen.insert(id)
        {
            return;
        }
        match connection.broadcast(frame, &mut self.mailbag) {
            Sent::Done => {
                self.reached += 1;
                self.bytes += frame.len();
            }
            Sent::DroppedOldest(_) => {
                self.reached += 1;
                self.bytes += frame.len();
                self.dropped += 1;
            }
            Sent::Dropped | Sent::Overflowed | Sent::Full => self.dropped += 1,
            Sent::Closed => {}
        }
    }
}
