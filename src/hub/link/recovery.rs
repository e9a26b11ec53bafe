//! What a group has missed is fetched.

use std::sync::Arc;

use super::{RETRY, reading::to_message};
use crate::hub::{
    Hub,
    broker::Fetched,
    envelope::Envelope,
    group::{Delivery, Group, State, event},
    history::{Limits, Position, Ring},
    message::position_fields,
    presence::Presence,
};

impl Hub {
    /// Fetches what a group lacks, until it lacks nothing.
    pub(super) fn catch_up(&'static self, group: Arc<Group>) {
        let Some(link) = self.link.get() else {
            return;
        };
        self.handle.spawn(async move {
            loop {
                let at = {
                    let mut state = group.lock();
                    let at = state
                        .ring
                        .as_ref()
                        .map(|ring| (ring.position(), ring.limits()));
                    state.catching_up = at.is_some();
                    at
                };
                let Some((position, limits)) = at else {
                    return;
                };
                let fetched = link
                    .broker
                    .fetch(&group.channel, Some(&position), limits)
                    .await;
                match fetched {
                    Ok(fetched) => {
                        let mut state = group.lock();
                        self.fill(&group, &mut state, fetched);
                        let top = state.ring.as_ref().map_or(0, |ring| ring.position().offset);
                        if state.seen <= top {
                            state.catching_up = false;
                            return;
                        }
                    }
                    Err(_) if !link.broker.is_connected() => {
                        // Begins anew when the broker is back.
                        group.lock().catching_up = false;
                        return;
                    }
                    Err(_) => {}
                }
                tokio::time::sleep(RETRY / 10).await;
            }
        });
    }

    /// Delivers what was fetched; where that is not all, members are told.
    fn fill(&self, group: &Group, state: &mut State, fetched: Fetched) {
        let Some(ring) = &state.ring else {
            return;
        };
        let limits = ring.limits();
        if !fetched.complete || fetched.top.epoch != ring.position().epoch {
            let floor = match fetched.entries.first() {
                Some((first, _)) => first - 1,
                None => fetched.top.offset,
            };
            let start = Position {
                offset: floor,
                epoch: Arc::clone(&fetched.top.epoch),
            };
            self.start_anew(group, state, start, limits);
            state.seen = fetched.top.offset;
        }
        for (offset, bytes) in fetched.entries {
            let position = Position {
                offset,
                epoch: Arc::clone(&fetched.top.epoch),
            };
            if state.ring.as_ref().map(Ring::next).as_ref() != Some(&position) {
                continue;
            }
            let envelope = Envelope::decode(bytes);
            let message = envelope
                .as_ref()
                .and_then(|envelope| to_message(&group.channel, envelope, position.clone()));
            match (envelope, message) {
                (Some(envelope), Some(message)) => self.take(group, state, &envelope, message),
                // Not ours, but it has its place.
                _ => state.skip(&group.channel, position),
            }
        }
    }

    fn start_anew(&self, group: &Group, state: &mut State, start: Position, limits: Limits) {
        let frame = event("reset", group.name(), |json| position_fields(json, &start));
        state.reset(Ring::new(start, limits));
        let mut delivery = Delivery::new(&[], false);
        for member in state.members() {
            if member.connection.is_enveloping() {
                delivery.put(&member.connection, &frame);
            }
        }
    }

    /// The broker is back.
    pub(super) fn recover(&'static self) {
        self.presence(None, Presence::reconnected);
        let groups: Vec<_> = self.table().values().cloned().collect();
        for group in groups {
            let behind = {
                let mut state = group.lock();
                let kept = state.ring.is_some();
                kept && !std::mem::replace(&mut state.catching_up, kept)
            };
            if behind {
                self.catch_up(group);
            }
        }
    }
}
