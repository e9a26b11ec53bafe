//! The last step for a message from the broker: it is kept, and delivered once.

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

/// The number of envelopes that are remembered, so that an envelope that comes twice is delivered once.
const RECENT: usize = 4_096;

/// Keeps and delivers messages that came live or were fetched.
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

    /// Notes an envelope; returns whether it has not come before, over any subscription.
    pub(super) fn is_new(&self, envelope: &Envelope) -> bool {
        self.recent().note(envelope)
    }

    /// The message of an envelope that has not come before, over any subscription.
    pub(super) fn new_message(
        &self,
        channel: &Channel,
        envelope: &Envelope,
        position: Position,
    ) -> Option<Arc<GroupMessage>> {
        let is_new = self.is_new(envelope);
        is_new.then(|| to_message(channel, envelope, position))?
    }

    /// Adds the next message of a group to its ring, and delivers it. `age`: the time since it was
    /// stored.
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
        // Members of wildcards may have got the message just before the group got its history.
        if self.groups.matching(&group.channel).is_empty() || self.is_new(envelope) {
            self.fanout
                .spread(&group.channel, state, &message, &mut delivery);
        } else {
            delivery.send(state, &message);
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The latest envelopes.
#[derive(Debug, Default)]
struct Recent {
    known: HashSet<(u64, u64)>,
    order: VecDeque<(u64, u64)>,
}

impl Recent {
    /// Notes an envelope; returns whether it is new.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::wire::envelope::Content;

    fn envelope(origin: u64, sequence: u64) -> Envelope {
        Envelope {
            origin,
            sequence,
            excluded: Vec::new(),
            channels: Vec::new(),
            body: Content::Presence("".into()),
        }
    }

    #[test]
    fn an_envelope_is_new_once_as_long_as_it_is_remembered() {
        let mut recent = Recent::default();
        assert!(recent.note(&envelope(1, 1)));
        assert!(!recent.note(&envelope(1, 1)));
        assert!(recent.note(&envelope(2, 1)) && recent.note(&envelope(1, 2)));
        for sequence in 3..RECENT as u64 {
            assert!(recent.note(&envelope(1, sequence)));
        }
        assert!(!recent.note(&envelope(1, 1)), "the oldest of all");
        assert!(recent.note(&envelope(3, 1)) && recent.note(&envelope(3, 2)));
        assert!(recent.note(&envelope(1, 1)), "forgotten");
        assert_eq!(recent.known.len(), RECENT);
    }
}
