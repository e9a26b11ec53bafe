//! Sending to many.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    group_message::Message,
    target::{Channels, Fate, Outgoing, Published, Target, channels},
};
use crate::{
    engine::{self, Engine},
    hub::{
        Hub,
        groups::group::{Delivery, State},
        names::{Channel, Scope},
        new_epoch,
        position::Limits,
        presence::who::Who,
        wire::{
            envelope::{Body, Envelope},
            payload::Kind,
        },
    },
};

impl Hub {
    /// Sends a message to everybody who belongs to one of the targets, in this process and, over
    /// the broker, in the others.
    ///
    /// # Errors
    ///
    /// The name of a group breaks the rules, or there are too many of them.
    pub fn publish(&'static self, outgoing: &Outgoing) -> Result<Published, String> {
        let Channels { live, kept } = channels(outgoing)?;
        let mut published = Published::default();
        if !live.is_empty() {
            self.publish_once(outgoing, &live, &mut published);
        }
        if !kept.is_empty() {
            self.start_ticking();
            self.publish_kept(outgoing, &kept, &mut published);
        }
        Ok(published)
    }

    fn publish_once(
        &'static self,
        outgoing: &Outgoing,
        channels: &[Channel],
        published: &mut Published,
    ) {
        let excluded = self.own(&outgoing.excluded);
        let mut delivery = Delivery::new(&excluded, channels.len() > 1);
        for channel in channels {
            self.deliver(channel, outgoing.kind, &outgoing.payload, &mut delivery);
        }
        published.local += delivery.reached;
        published.dropped += delivery.dropped;
        drop(delivery);
        let body = Body::Message(outgoing.kind, outgoing.payload.clone());
        published.fate = self.hand_over(channels, &outgoing.excluded, body, outgoing.timeout);
    }

    /// Gives the broker what is not stored.
    fn hand_over(
        &'static self,
        channels: &[Channel],
        excluded: &[Who],
        body: Body,
        timeout: Duration,
    ) -> Fate {
        let Some(link) = self.link.get() else {
            return Fate::Alone;
        };
        let envelope = self.envelope(channels, excluded, body);
        link.publish(channels, envelope.encode(), timeout)
    }

    pub(in crate::hub) fn envelope(
        &self,
        channels: &[Channel],
        excluded: &[Who],
        body: Body,
    ) -> Envelope {
        Envelope {
            origin: self.node,
            sequence: self.next_sequence(),
            excluded: excluded.to_vec(),
            channels: if channels.len() > 1 {
                channels.to_vec()
            } else {
                Vec::new()
            },
            body,
        }
    }

    /// Puts a message that no history keeps into the outboxes of this process.
    pub(in crate::hub) fn deliver(
        &self,
        channel: &Channel,
        kind: Kind,
        payload: &Bytes,
        delivery: &mut Delivery<'_>,
    ) {
        let name = channel.group_name().unwrap_or_default();
        let message = Message::new(name.into(), kind, payload.clone(), None);
        if channel.scope() == Scope::Everybody {
            for connection in engine::running().map_or_else(Vec::new, Engine::connections) {
                let frame = message.frame(connection.is_enveloping());
                delivery.put(&connection, frame);
            }
        } else if let Some(group) = self.find(channel) {
            let state = group.lock();
            self.spread(channel, &state, &message, delivery);
        } else {
            self.spread_to_patterns(channel, &message, delivery);
        }
    }

    /// To the members of a group whose lock is held, and to those who listen to many groups.
    pub(in crate::hub) fn spread(
        &self,
        channel: &Channel,
        state: &State,
        message: &Message,
        delivery: &mut Delivery<'_>,
    ) {
        let matching = self.matching(channel);
        if !matching.is_empty() {
            delivery.once();
        }
        delivery.send(state.members(), message);
        for group in matching {
            delivery.send(group.lock().members(), message);
        }
    }

    pub(in crate::hub) fn spread_to_patterns(
        &self,
        channel: &Channel,
        message: &Message,
        delivery: &mut Delivery<'_>,
    ) {
        let matching = self.matching(channel);
        if matching.len() > 1 {
            delivery.once();
        }
        for group in matching {
            delivery.send(group.lock().members(), message);
        }
    }

    fn publish_kept(
        &'static self,
        outgoing: &Outgoing,
        channels: &[(Channel, Limits)],
        published: &mut Published,
    ) {
        if let Some(link) = self.link.get() {
            let store = |(channel, limits): &(Channel, Limits)| {
                let body = Body::Message(outgoing.kind, outgoing.payload.clone());
                let mut envelope = self.envelope(&[], &outgoing.excluded, body);
                link.store(channel, &mut envelope, *limits, published)
            };
            let stored = channels.iter().map(store).collect();
            link.wait_for_stored(stored, outgoing.timeout, published);
        } else {
            for (channel, limits) in channels {
                self.keep(channel, outgoing, *limits, published);
            }
        }
        if channels.len() > 1 {
            published.position = None;
        }
    }

    /// Keeps a message in the history of this process, and delivers it.
    fn keep(
        &self,
        channel: &Channel,
        outgoing: &Outgoing,
        limits: Limits,
        published: &mut Published,
    ) {
        let excluded = self.own(&outgoing.excluded);
        loop {
            let group = self.obtain(channel);
            let mut delivery = Delivery::new(&excluded, false);
            let mut state = group.lock();
            if state.gone {
                continue;
            }
            let payload = outgoing.payload.clone();
            let position = state.next(limits, &new_epoch);
            let message = Message::new(group.name().into(), outgoing.kind, payload, Some(position));
            let message = Arc::new(message.excluding(&outgoing.excluded));
            state.keep(&message);
            self.spread(channel, &state, &message, &mut delivery);
            published.local += delivery.reached;
            published.dropped += delivery.dropped;
            published.position = message.position().cloned();
            return;
        }
    }

    /// Closes the connections of the targets, in all processes.
    ///
    /// # Errors
    ///
    /// As [`Hub::publish`].
    pub fn disconnect(
        &'static self,
        targets: Vec<Target>,
        code: u16,
        reason: &str,
        timeout: Duration,
    ) -> Result<Published, String> {
        let outgoing = Outgoing {
            targets,
            kind: Kind::Text,
            payload: Bytes::new(),
            excluded: Vec::new(),
            timeout,
        };
        let Channels { live, kept } = channels(&outgoing)?;
        let channels: Vec<_> = live
            .into_iter()
            .chain(kept.into_iter().map(|(channel, _)| channel))
            .collect();
        let local = channels
            .iter()
            .map(|channel| self.close_members(channel, code, reason))
            .sum();
        let body = Body::Close(code, reason.into());
        Ok(Published {
            local,
            dropped: 0,
            fate: self.hand_over(&channels, &[], body, timeout),
            position: None,
        })
    }

    /// Returns how many connections there were.
    pub(in crate::hub) fn close_members(
        &self,
        channel: &Channel,
        code: u16,
        reason: &str,
    ) -> usize {
        // Collected first: a connection that ends at once leaves the group.
        let connections = if channel.scope() == Scope::Everybody {
            engine::running().map_or_else(Vec::new, Engine::connections)
        } else {
            let group = self.find(channel);
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
