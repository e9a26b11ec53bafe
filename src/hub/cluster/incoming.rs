//! What the broker tells goes to the groups.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::histories::to_message;
use crate::hub::{
    Hub,
    delivery::group_message::Message,
    groups::group::{Delivery, Group, State},
    groups::history::Ring,
    names::Channel,
    position::Position,
    wire::envelope::{Body, Envelope},
};

/// Envelopes that are remembered, so that one which comes twice is delivered once.
const RECENT: usize = 4_096;

impl Hub {
    /// Something has come from the broker.
    pub(super) fn incoming(
        &'static self,
        channel: &str,
        envelope: Bytes,
        position: Option<Position>,
    ) {
        let Some(envelope) = Envelope::decode(envelope) else {
            if let (Some(channel), Some(position)) = (Channel::parse(channel), position) {
                self.skip_next(&channel, position);
            }
            return self.malformed(channel, "it is no message");
        };
        if position.as_ref().is_some_and(|at| !at.is_possible()) {
            return self.malformed(channel, "no history has its position");
        }
        let name = channel;
        let Some(channel) = &Channel::parse(name) else {
            return self.malformed(name, "it is no message");
        };
        let own = envelope.origin == self.node;
        match (&envelope.body, position) {
            (Body::Presence(message), _) => {
                let mut ignored = 0;
                self.presence(None, |presence, now| {
                    let before = presence.ignored();
                    let outputs = presence.receive(message, now);
                    ignored = presence.ignored() - before;
                    outputs
                });
                if ignored > 0 {
                    self.malformed(name, "it does not tell who is there, or of too many");
                }
            }
            // Delivered when it was sent.
            (_, None) if own => {}
            (Body::Close(code, reason), _) => {
                self.close_members(channel, *code, reason);
            }
            (Body::Message(..), None) => self.receive_once(channel, &envelope),
            (Body::Message(..), Some(position)) => self.receive_kept(channel, &envelope, position),
        }
    }

    /// What stands in a history has its place there, also if it cannot be read.
    fn skip_next(&self, channel: &Channel, position: Position) {
        let Some(group) = self.find(channel) else {
            return;
        };
        let mut state = group.lock();
        let is_next = |ring: &Ring| ring.next() == position && position.is_possible();
        if !state.catching_up && state.ring.as_ref().is_some_and(is_next) {
            state.skip(channel, position);
        }
    }

    fn receive_once(&'static self, channel: &Channel, envelope: &Envelope) {
        // Also where no wildcard matches any more: the broker may not know yet that the last one has gone.
        if !self.recent().note(envelope) {
            return;
        }
        let Body::Message(kind, payload) = &envelope.body else {
            return;
        };
        let excluded = self.own(&envelope.excluded);
        let mut delivery = Delivery::new(&excluded, envelope.channels.len() > 1);
        if envelope.channels.is_empty() {
            self.deliver(channel, *kind, payload, &mut delivery);
        }
        for channel in &envelope.channels {
            self.deliver(channel, *kind, payload, &mut delivery);
        }
    }

    fn receive_kept(&'static self, channel: &Channel, envelope: &Envelope, position: Position) {
        let Some(group) = self.find(channel) else {
            // For those who listen to many groups.
            if let Some(message) = self.new_message(channel, envelope, position) {
                let excluded = self.own(&envelope.excluded);
                let mut delivery = Delivery::new(&excluded, false);
                self.spread_to_patterns(channel, &message, &mut delivery);
            }
            return;
        };
        let mut state = group.lock();
        state.hear_of(&position);
        let Some(ring) = &state.ring else {
            // None of the members has asked for the history, and they get what there is now.
            if let Some(message) = self.new_message(channel, envelope, position) {
                state.nobody_has(message.offset());
                let excluded = self.own(&envelope.excluded);
                let mut delivery = Delivery::new(&excluded, false);
                self.spread(channel, &state, &message, &mut delivery);
                state.all_have(message.offset());
            }
            return;
        };
        let next = ring.next();
        if state.catching_up || (position.epoch == next.epoch && position.offset < next.offset) {
            return;
        }
        if position == next {
            match to_message(channel, envelope, position.clone()) {
                Some(message) => self.take(&group, &mut state, envelope, message, Duration::ZERO),
                None => state.skip(channel, position),
            }
        } else {
            state.catching_up = true;
            drop(state);
            self.catch_up(group);
        }
    }

    /// The message of an envelope that has not come yet, by whichever subscription.
    fn new_message(
        &self,
        channel: &Channel,
        envelope: &Envelope,
        position: Position,
    ) -> Option<Arc<Message>> {
        let is_new = self.recent().note(envelope);
        is_new.then(|| to_message(channel, envelope, position))?
    }

    /// Keeps the next message of a group, of that age, and delivers it.
    pub(super) fn take(
        &self,
        group: &Group,
        state: &mut State,
        envelope: &Envelope,
        message: Arc<Message>,
        age: Duration,
    ) {
        if let Some(ring) = &mut state.ring {
            ring.push(Arc::clone(&message), Instant::now(), age);
        }
        let excluded = self.own(&envelope.excluded);
        let mut delivery = Delivery::new(&excluded, false);
        // Wildcard members may have had it just before the group got its history.
        if self.matching(&group.channel).is_empty() || self.recent().note(envelope) {
            self.spread(&group.channel, state, &message, &mut delivery);
        } else {
            delivery.send(state.members(), &message);
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The envelopes of late.
#[derive(Debug, Default)]
pub(in crate::hub) struct Recent {
    known: HashSet<(u64, u64)>,
    order: VecDeque<(u64, u64)>,
}

impl Recent {
    /// Whether an envelope is new.
    fn note(&mut self, envelope: &Envelope) -> bool {
        let key = (envelope.origin, envelope.sequence);
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
