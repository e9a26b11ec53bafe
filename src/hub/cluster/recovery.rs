//! Fetches messages that a group has missed.

use std::{mem, sync::Arc, time::Instant};

use super::{histories::to_message, intake::Intake, line::Line, trouble::Question};
use crate::hub::{
    broker::{BrokerError, Fetched, reconnect::Backoff},
    delivery::fanout::Delivery,
    groups::{
        group::{Group, State},
        history::Ring,
        table::Groups,
    },
    losses::Losses,
    position::Position,
    wire::{envelope::Envelope, frames},
};

/// How often the broker has to deny a position that was announced, before its answer is believed.
const DOUBTS: usize = 3;

/// The result of asking for missed messages.
enum Asked {
    /// Nothing is missing, or the group does not ask any more.
    Done,
    /// More messages were announced meanwhile, or the connection is a new one.
    More,
    /// The broker does not have a position that was announced.
    Behind,
    /// The broker is there and refuses.
    Refused(BrokerError),
}

/// Fetches messages that groups have missed.
pub(super) struct Recovery {
    pub(super) line: &'static Line,
    pub(super) groups: &'static Groups,
    pub(super) losses: &'static Losses,
    pub(super) intake: &'static Intake,
}

impl Recovery {
    /// Fetches messages that a group lacks, until none is missing.
    pub(super) fn catch_up(&'static self, group: Arc<Group>) {
        self.line.handle.spawn(async move {
            let mut backoff = Backoff::default();
            let mut doubts = 0;
            loop {
                let asked = self.ask_for_missed(&group, doubts >= DOUBTS).await;
                if let Asked::Refused(error) = asked {
                    self.line
                        .refused(Question::Read, &group.channel, &error, &mut backoff)
                        .await;
                    continue;
                }
                self.line.relieved(Question::Read, &group.channel);
                match asked {
                    Asked::Behind => doubts += 1,
                    Asked::More => {
                        backoff = Backoff::default();
                        doubts = 0;
                    }
                    Asked::Done | Asked::Refused(_) => break,
                }
                tokio::time::sleep(backoff.next()).await;
            }
        });
    }

    /// Asks the broker once. With `doubting`, its answer counts more than a position that was announced
    /// before.
    async fn ask_for_missed(&self, group: &Arc<Group>, doubting: bool) -> Asked {
        // All groups ask when the broker is back. Turns spare the broker thousands of questions at once.
        let _turn = self.line.turns.acquire().await;
        let connections = self.line.connections();
        let heard;
        let at = {
            let mut state = group.lock();
            heard = state.subscribed;
            let ring = state.ring.as_ref();
            let at = ring.map(|ring| (ring.position(), ring.limits(), state.seen));
            // A group that has left the table needs no history: the next connection that joins asks
            // anew.
            let at = at.filter(|_| !state.gone);
            state.catching_up = at.is_some();
            at
        };
        let Some((position, limits, seen)) = at else {
            return Asked::Done;
        };
        let error = match self.line.ask(&group.channel, Some(&position), limits).await {
            Ok(fetched) => {
                let mut state = group.lock();
                let top = fetched.top.clone();
                let other = state.seen_epoch != top.epoch;
                let complete = fetched.complete;
                self.fill(group, &mut state, fetched);
                // `look_after` has left this group to this task: what was stored between the question and
                // the new subscription was not heard.
                if self.line.connections() != connections || (state.subscribed && !heard) {
                    return Asked::More;
                }
                // An offset that was announced for another epoch will not come.
                if other || state.seen <= top.offset {
                    state.catching_up = false;
                    return Asked::Done;
                }
                if state.seen > seen {
                    return Asked::More;
                }
                if complete && !doubting {
                    return Asked::Behind;
                }
                state.doubt(seen, top.offset);
                state.catching_up = false;
                drop(state);
                if complete {
                    self.losses.malformed(
                        group.channel.as_str(),
                        "the position of a message was not true",
                    );
                }
                return Asked::Done;
            }
            Err(error) => error,
        };
        if self.line.broker.is_connected() {
            return Asked::Refused(error);
        }
        // `recover` begins anew when the broker is back. If it is back already and no other task has
        // begun, this task goes on.
        group.lock().catching_up = false;
        if !self.line.broker.is_connected() || mem::replace(&mut group.lock().catching_up, true) {
            Asked::Done
        } else {
            Asked::More
        }
    }

    /// Delivers fetched messages. If they are not all, members get a `reset` frame first.
    fn fill(&self, group: &Group, state: &mut State, fetched: Fetched) {
        let Some(ring) = &state.ring else {
            return;
        };
        if !fetched.complete || fetched.top.epoch != ring.position().epoch {
            // The entries end at `top`, without a gap.
            let floor = fetched.top.offset - fetched.entries.len() as u64;
            let start = Position {
                offset: floor,
                epoch: Arc::clone(&fetched.top.epoch),
            };
            let limits = ring.limits();
            self.start_anew(group, state, Ring::new(start, limits, Instant::now()));
            if state.seen_epoch != fetched.top.epoch {
                state.seen = fetched.top.offset;
                state.seen_epoch = Arc::clone(&fetched.top.epoch);
            }
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
                    self.intake
                        .take(group, state, &envelope, message, stored.age);
                }
                // The entry is no message of this package, but it has its place.
                _ => {
                    state.skip(&group.channel, position);
                    self.losses.malformed(
                        group.channel.as_str(),
                        "an entry of its history is no message",
                    );
                }
            }
        }
    }

    fn start_anew(&self, group: &Group, state: &mut State, ring: Ring) {
        let start = ring.position();
        let frame = Arc::new(frames::reset(group.name(), &start));
        state.reset(ring);
        let mut delivery = Delivery::new(&[], false);
        for member in state.members() {
            if member.connection.is_enveloping() {
                delivery.put(&member.connection, &frame);
            }
        }
    }

    /// Called when the broker is back: each group with a history asks for missed messages.
    pub(super) fn recover(&'static self) {
        for group in self.groups.all() {
            self.look_after(group);
        }
    }

    /// Called when a group may have missed messages: if it has a history, it asks for them.
    pub(super) fn look_after(&'static self, group: Arc<Group>) {
        let begins = group.lock().begins_to_catch_up();
        if begins {
            self.catch_up(group);
        }
    }
}
