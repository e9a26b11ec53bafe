//! What a group has missed is fetched.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
};

use super::{Link, RETRY, reading::to_message};
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
        if let Some(link) = self.link.get() {
            self.handle.spawn(async move {
                while !self.ask_for_missed(link, &group).await {
                    tokio::time::sleep(RETRY / 10).await;
                }
            });
        }
    }

    /// Asks the broker once; returns whether that was all.
    async fn ask_for_missed(&'static self, link: &'static Link, group: &Arc<Group>) -> bool {
        // Each group asks when the broker is back: it is not to meet thousands of questions at once.
        let _turn = link.turns.acquire().await;
        let at = {
            let mut state = group.lock();
            let ring = state.ring.as_ref();
            let at = ring.map(|ring| (ring.position(), ring.limits()));
            state.catching_up = at.is_some();
            at
        };
        let Some((position, limits)) = at else {
            return true;
        };
        let fetched = link.broker.fetch(&group.channel, Some(&position), limits);
        if let Ok(fetched) = fetched.await {
            let mut state = group.lock();
            self.fill(group, &mut state, fetched);
            // What was heard of another history is not to come.
            let behind = state.ring.as_ref().is_some_and(|ring| {
                let at = ring.position();
                at.epoch == state.seen_epoch && state.seen > at.offset
            });
            state.catching_up = behind;
            return !state.catching_up;
        }
        if link.broker.is_connected() {
            return false;
        }
        // Begins anew when the broker is back; if that was just now, nobody else has begun.
        group.lock().catching_up = false;
        !link.broker.is_connected() || mem::replace(&mut group.lock().catching_up, true)
    }

    /// Delivers what was fetched; where that is not all, members are told.
    fn fill(&self, group: &Group, state: &mut State, fetched: Fetched) {
        let Some(ring) = &state.ring else {
            return;
        };
        let limits = ring.limits();
        if !fetched.complete || fetched.top.epoch != ring.position().epoch {
            let floor = match fetched.entries.first() {
                Some(first) => first.offset - 1,
                None => fetched.top.offset,
            };
            let start = Position {
                offset: floor,
                epoch: Arc::clone(&fetched.top.epoch),
            };
            self.start_anew(group, state, start, limits);
            state.seen = fetched.top.offset;
            state.seen_epoch = Arc::clone(&fetched.top.epoch);
        }
        for stored in fetched.entries {
            let position = Position {
                offset: stored.offset,
                epoch: Arc::clone(&fetched.top.epoch),
            };
            if state.ring.as_ref().map(Ring::next).as_ref() != Some(&position) {
                continue;
            }
            let envelope = Envelope::decode(stored.envelope);
            let message = envelope
                .as_ref()
                .and_then(|envelope| to_message(&group.channel, envelope, position.clone()));
            match (envelope, message) {
                (Some(envelope), Some(message)) => {
                    self.take(group, state, &envelope, message, stored.age);
                }
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
        let listens = |link: &Link| link.listening.load(Ordering::Acquire);
        if self.link.get().is_some_and(listens) {
            self.presence(None, Presence::reconnected);
        }
        let groups: Vec<_> = self.table().values().cloned().collect();
        for group in groups {
            let behind = {
                let mut state = group.lock();
                let kept = state.ring.is_some();
                kept && !mem::replace(&mut state.catching_up, kept)
            };
            if behind {
                self.catch_up(group);
            }
        }
    }
}
