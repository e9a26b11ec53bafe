//! Sends messages to many connections.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    fanout::{Delivery, Fanout},
    group_message::GroupMessage,
    target::{Channels, Fate, Outgoing, Published, Target, channels},
};
use crate::hub::{
    clock::Clock,
    cluster::Cluster,
    error::HubError,
    groups::table::Groups,
    names::Channel,
    node::{Node, Who},
    position::{Limits, new_epoch},
    wire::{
        envelope::{Content, Envelope},
        payload::PayloadKind,
    },
};

/// Sends messages to groups, users and everybody, in this process and over the broker.
pub(in crate::hub) struct Publisher {
    pub(in crate::hub) node: &'static Node,
    pub(in crate::hub) groups: &'static Groups,
    pub(in crate::hub) fanout: &'static Fanout,
    pub(in crate::hub) clock: &'static Clock,
    pub(in crate::hub) cluster: &'static Cluster,
}

impl Publisher {
    /// Sends a message to every connection that belongs to one of the targets, in this process and, over
    /// the broker, in the others.
    ///
    /// # Errors
    ///
    /// A group's name breaks the rules, or the call has too many targets or excluded connections.
    pub(in crate::hub) fn publish(&self, outgoing: &Outgoing) -> Result<Published, HubError> {
        let Channels { live, kept } = channels(outgoing)?;
        let mut published = Published::default();
        if !live.is_empty() {
            self.publish_once(outgoing, &live, &mut published);
        }
        if !kept.is_empty() {
            self.clock.start();
            self.publish_kept(outgoing, &kept, &mut published);
        }
        Ok(published)
    }

    fn publish_once(&self, outgoing: &Outgoing, channels: &[Channel], published: &mut Published) {
        let excluded = self.node.own(&outgoing.excluded);
        let mut delivery = Delivery::new(&excluded, channels.len() > 1);
        for channel in channels {
            self.fanout.deliver(
                channel,
                outgoing.kind,
                &outgoing.payload,
                &outgoing.excluded,
                &mut delivery,
            );
        }
        published.local += delivery.reached;
        published.dropped += delivery.dropped;
        drop(delivery);
        let body = Content::Message(outgoing.kind, outgoing.payload.clone());
        published.fate = self.hand_over(channels, &outgoing.excluded, body, outgoing.timeout);
    }

    /// Gives a message that is not stored to the broker.
    fn hand_over(
        &self,
        channels: &[Channel],
        excluded: &[Who],
        body: Content,
        timeout: Duration,
    ) -> Fate {
        let Some(link) = self.cluster.link() else {
            return Fate::Alone;
        };
        let envelope = Envelope::of(self.node, channels, excluded, body);
        link.uplink.publish(channels, envelope.encode(), timeout)
    }

    fn publish_kept(
        &self,
        outgoing: &Outgoing,
        channels: &[(Channel, Limits)],
        published: &mut Published,
    ) {
        if let Some(link) = self.cluster.link() {
            let store = |(channel, limits): &(Channel, Limits)| {
                let body = Content::Message(outgoing.kind, outgoing.payload.clone());
                let mut envelope = Envelope::of(self.node, &[], &outgoing.excluded, body);
                link.uplink
                    .store(channel, &mut envelope, *limits, published)
            };
            let stored = channels.iter().map(store).collect();
            link.uplink
                .wait_for_stored(stored, outgoing.timeout, published);
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
        let excluded = self.node.own(&outgoing.excluded);
        loop {
            let group = self.groups.obtain(channel);
            let mut delivery = Delivery::new(&excluded, false);
            let mut state = group.lock();
            if state.gone {
                continue;
            }
            let payload = outgoing.payload.clone();
            let position = state.next(limits, &new_epoch);
            let message =
                GroupMessage::new(group.name().into(), outgoing.kind, payload, Some(position));
            let message = Arc::new(message.excluding(&outgoing.excluded));
            state.keep(&message);
            self.fanout.spread(channel, &state, &message, &mut delivery);
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
    /// Like [`Self::publish`].
    pub(in crate::hub) fn disconnect(
        &self,
        targets: Vec<Target>,
        code: u16,
        reason: &str,
        timeout: Duration,
    ) -> Result<Published, HubError> {
        let outgoing = Outgoing {
            targets,
            kind: PayloadKind::Text,
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
            .map(|channel| self.fanout.close_members(channel, code, reason))
            .sum();
        let body = Content::Close(code, reason.into());
        Ok(Published {
            local,
            dropped: 0,
            fate: self.hand_over(&channels, &[], body, timeout),
            position: None,
        })
    }
}
