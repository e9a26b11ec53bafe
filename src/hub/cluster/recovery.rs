//! What a group has missed is fetched.

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

/// How often the broker has to say that a position, of which it was heard, is not there.
const DOUBTS: usize = 3;

/// What became of a question for what was missed.
enum Asked {
    /// Nothing is missing.
    Done,
    /// More was stored meanwhile.
    More,
    /// The broker does not have what was heard of.
    Behind,
    /// The broker is there and says no.
    Refused(BrokerError),
}

/// Fetches what groups have missed.
pub(super) struct Recovery {
    pub(super) line: &'static Line,
    pub(super) groups: &'static Groups,
    pub(super) losses: &'static Losses,
    pub(super) intake: &'static Intake,
}

impl Recovery {
    /// Fetches what a group lacks, until it lacks nothing.
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

    /// Asks the broker once. With `doubting`, its answer is believed, rather than what was heard before.
    async fn ask_for_missed(&self, group: &Arc<Group>, doubting: bool) -> Asked {
        // Each group asks when the broker is back: it is not to meet thousands of questions at once.
        let _turn = self.line.turns.acquire().await;
        let at = {
            let mut state = group.lock();
            let ring = state.ring.as_ref();
            let at = ring.map(|ring| (ring.position(), ring.limits(), state.seen));
            // Nobody reads a history that nobody is there for: whoever joins asks anew.
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
                // What was heard of another history is not to come.
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
        // Begins anew when the broker is back; if that was just now, nobody else has begun.
        group.lock().catching_up = false;
        if !self.line.broker.is_connected() || mem::replace(&mut group.lock().catching_up, true) {
            Asked::Done
        } else {
            Asked::More
        }
    }

    /// Delivers what was fetched; where that is not all, members are told.
    fn fill(&self, group: &Group, state: &mut State, fetched: Fetched) {
        let Some(ring) = &state.ring else {
            return;
        };
        if !fetched.complete || fetched.top.epoch != ring.position().epoch {
            // The entries end at the top, without a hole.
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
                // Not ours, but it has its place.
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

    /// The broker is back: each group with a history asks what it has missed.
    pub(super) fn recover(&'static self) {
        for group in self.groups.all() {
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
