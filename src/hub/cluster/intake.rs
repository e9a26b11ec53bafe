//! The last step of a message from the broker: it is kept, and delivered once.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::histories::to_message;
use crate::hub::{
    delivery::{
        fanout::{Delivery, Fanout},
        group_message::GroupMessage,
    },
    groups::{
        group::{Group, State},
        table::Groups,
    },
    names::Channel,
    node::Node,
    position::Position,
    wire::envelope::Envelope,
};

/// Envelopes that are remembered, so that one which comes twice is delivered once.
const RECENT: usize = 4_096;

/// Keeps and delivers what has come, live or fetched.
pub(super) struct Intake {
    node: &'static Node,
    groups: &'static Groups,
    fanout: &'static Fanout,
    recent: Mutex<Recent>,
}

impl Intake {
    pub(super) fn new(
        node: &'static Node,
        groups: &'static Groups,
        fanout: &'static Fanout,
    ) -> Self {
        Self {
            node,
            groups,
            fanout,
            recent: Mutex::default(),
        }
    }

    /// Whether an envelope has not come yet, by whichever subscription.
    pub(super) fn is_new(&self, envelope: &Envelope) -> bool {
        self.recent().note(envelope)
    }

    /// The message of an envelope that has not come yet, by whichever subscription.
    pub(super) fn new_message(
        &self,
        channel: &Channel,
        envelope: &Envelope,
        position: Position,
    ) -> Option<Arc<GroupMessage>> {
        let is_new = self.is_new(envelope);
        is_new.then(|| to_message(channel, envelope, position))?
    }

    /// Keeps the next message of a group, of that age, and delivers it.
    pub(super) fn take(
        &self,
        group: &Group,
        state: &mut State,
        envelope: &Envelope,
        message: Arc<GroupMessage>,
        age: Duration,
    ) {
        if let Some(ring) = &mut state.ring {
            ring.push(Arc::clone(&message), Instant::now(), age);
        }
        let excluded = self.node.own(&envelope.excluded);
        let mut delivery = Delivery::new(&excluded, false);
        // Wildcard members may have had it just before the group got its history.
        if self.groups.matching(&group.channel).is_empty() || self.is_new(envelope) {
            self.fanout
                .spread(&group.channel, state, &message, &mut delivery);
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
struct Recent {
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
