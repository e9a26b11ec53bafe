//! Gives messages from the broker to the groups.

use std::time::Duration;

use bytes::Bytes;

use super::{histories::to_message, inquiries::Inquiries, intake::Intake, recovery::Recovery};
use crate::hub::{
    delivery::fanout::{Delivery, Fanout},
    groups::{history::Ring, table::Groups},
    losses::Losses,
    names::Channel,
    node::Node,
    position::Position,
    presence::who::Attendance,
    wire::envelope::{Content, Envelope},
};

/// Why something that cannot be read is ignored.
pub(super) const NO_MESSAGE: &str = "it is no message";

/// Handles the envelopes that the broker passes on.
pub(super) struct Incoming {
    pub(super) node: &'static Node,
    pub(super) groups: &'static Groups,
    pub(super) fanout: &'static Fanout,
    pub(super) attendance: &'static Attendance,
    pub(super) losses: &'static Losses,
    pub(super) intake: &'static Intake,
    pub(super) recovery: &'static Recovery,
    pub(super) inquiries: &'static Inquiries,
}

impl Incoming {
    /// Handles an envelope from the broker.
    pub(super) fn take(&self, channel: &str, envelope: Bytes, position: Option<Position>) {
        let Some(envelope) = Envelope::decode(envelope) else {
            if let (Some(channel), Some(position)) = (Channel::parse(channel), position) {
                self.skip_next(&channel, position);
            }
            return self.losses.malformed(channel, NO_MESSAGE);
        };
        if position.as_ref().is_some_and(|at| !at.is_possible()) {
            return self
                .losses
                .malformed(channel, "no history has its position");
        }
        let name = channel;
        let Some(channel) = &Channel::parse(name) else {
            return self.losses.malformed(name, NO_MESSAGE);
        };
        let own = envelope.origin == self.node.number();
        match (&envelope.body, position) {
            (Content::Presence(message), _) => {
                let mut ignored = 0;
                self.attendance.update(None, |presence, now| {
                    let before = presence.ignored();
                    let outputs = presence.receive(message, now);
                    ignored = presence.ignored() - before;
                    outputs
                });
                if ignored > 0 {
                    self.losses
                        .malformed(name, "it does not tell who is there, or of too many");
                }
            }
            (Content::Inquiry(message), _) => {
                self.inquiries.take(envelope.origin, message.clone());
            }
            // An own message that is not stored: this process delivered it when it was sent.
            (_, None) if own => {}
            (Content::Close(code, reason), _) => {
                self.fanout.close_members(channel, *code, reason);
            }
            (Content::Message(..), None) => self.receive_once(channel, &envelope),
            (Content::Message(..), Some(position)) => {
                self.receive_kept(channel, &envelope, position);
            }
        }
    }

    /// Gives an entry that cannot be read its place in the ring, if it is the next entry.
    fn skip_next(&self, channel: &Channel, position: Position) {
        let Some(group) = self.groups.find(channel) else {
            return;
        };
        let mut state = group.lock();
        let is_next = |ring: &Ring| ring.next() == position && position.is_possible();
        if !state.catching_up && state.ring.as_ref().is_some_and(is_next) {
            state.skip(channel, position);
        }
    }

    fn receive_once(&self, channel: &Channel, envelope: &Envelope) {
        // Checked even if no wildcard matches: the broker may still send copies for a wildcard that has
        // left.
        if !self.intake.is_new(envelope) {
            return;
        }
        let Content::Message(kind, payload) = &envelope.body else {
            return;
        };
        let excluded = self.node.own(&envelope.excluded);
        let mut delivery = Delivery::new(&excluded, envelope.channels.len() > 1);
        let mut deliver = |channel: &Channel| {
            self.fanout
                .deliver(channel, *kind, payload, &envelope.excluded, &mut delivery);
        };
        if envelope.channels.is_empty() {
            deliver(channel);
        }
        envelope.channels.iter().for_each(deliver);
    }

    fn receive_kept(&self, channel: &Channel, envelope: &Envelope, position: Position) {
        let Some(group) = self.groups.find(channel) else {
            // Only members of wildcards may be there to get the message.
            if let Some(message) = self.intake.new_message(channel, envelope, position) {
                let excluded = self.node.own(&envelope.excluded);
                let mut delivery = Delivery::new(&excluded, false);
                self.fanout
                    .spread_to_patterns(channel, &message, &mut delivery);
            }
            return;
        };
        let mut state = group.lock();
        state.hear_of(&position);
        let Some(ring) = &state.ring else {
            // No member has asked for the history, so the members get each message as it comes.
            if let Some(message) = self.intake.new_message(channel, envelope, position) {
                state.nobody_has(message.offset());
                let excluded = self.node.own(&envelope.excluded);
                let mut delivery = Delivery::new(&excluded, false);
                self.fanout.spread(channel, &state, &message, &mut delivery);
                state.all_have(message.offset());
            }
            return;
        };
        let next = ring.next();
        if state.may_be_lacked(&position) {
            let offset = position.offset;
            if let Some(message) = self.intake.new_message(channel, envelope, position) {
                let excluded = self.node.own(&envelope.excluded);
                let mut delivery = Delivery::new(&excluded, false);
                self.fanout.spread(channel, &state, &message, &mut delivery);
                state.nobody_lacks(offset);
            }
            return;
        }
        if state.catching_up || (position.epoch == next.epoch && position.offset < next.offset) {
            return;
        }
        if position == next {
            match to_message(channel, envelope, position.clone()) {
                Some(message) => {
                    self.intake
                        .take(&group, &mut state, envelope, message, Duration::ZERO);
                }
                None => state.skip(channel, position),
            }
        } else {
            state.catching_up = true;
            drop(state);
            self.recovery.catch_up(group);
        }
    }
}
