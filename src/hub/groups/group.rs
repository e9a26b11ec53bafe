//! The members of one group, and what it has said of late.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::history::{Missed, Ring};
use crate::{
    engine::Connection,
    hub::{
        delivery::group_message::GroupMessage,
        names::Channel,
        position::{Limits, Position},
    },
};

/// One for each channel that has members, a history, or messages on their way to the broker.
#[derive(Debug)]
pub(in crate::hub) struct Group {
    /// The kind and the name, as in `g:chat.1`.
    pub(in crate::hub) channel: Channel,
    /// A std mutex: held while a message is put into the members' outboxes, which is what gives all
    /// of them the same order.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(in crate::hub) struct State {
    members: Vec<Subscriber>,
    /// Where in `members` a connection is.
    places: HashMap<u64, usize>,
    /// `None` until it is known where the history stands, or where there is none.
    pub(in crate::hub) ring: Option<Ring>,
    /// The highest offset that the broker has told of.
    pub(in crate::hub) seen: u64,
    /// Of which history that is.
    pub(in crate::hub) seen_epoch: Arc<str>,
    /// Somebody is fetching what is missing.
    pub(in crate::hub) catching_up: bool,
    /// What waits for the broker, oldest first.
    pub(in crate::hub) outbound: VecDeque<Outbound>,
    /// Somebody is storing it: one at a time, or two would take the same message for two.
    pub(in crate::hub) storing: bool,
    /// Somebody is about to become a member.
    pub(in crate::hub) joining: usize,
    /// The broker has confirmed the subscription.
    pub(in crate::hub) subscribed: bool,
    /// Has left the table; whoever finds it so looks there again.
    pub(in crate::hub) gone: bool,
}

/// A message that the broker is to store.
#[derive(Debug)]
pub(in crate::hub) struct Outbound {
    pub(in crate::hub) sequence: u64,
    pub(in crate::hub) envelope: Bytes,
    pub(in crate::hub) limits: Limits,
    /// Who waits to hear of it.
    pub(in crate::hub) waiter: Option<SyncSender<Position>>,
}

/// A connection in a group.
#[derive(Debug)]
pub(in crate::hub) struct Subscriber {
    pub(in crate::hub) connection: Arc<Connection>,
    pub(in crate::hub) present: bool,
    /// The connection has seen everything up to here.
    pub(in crate::hub) after: u64,
}

impl Group {
    pub(in crate::hub) fn new(channel: Channel) -> Arc<Self> {
        Arc::new(Self {
            channel,
            state: Mutex::default(),
        })
    }

    /// The name without the kind.
    pub(in crate::hub) fn name(&self) -> &str {
        self.channel.name()
    }

    pub(in crate::hub) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(in crate::hub) fn len(&self) -> usize {
        self.members.len()
    }

    pub(in crate::hub) fn members(&self) -> &[Subscriber] {
        &self.members
    }

    /// Adds a member; one that is there already is replaced.
    pub(in crate::hub) fn add(&mut self, member: Subscriber) {
        let id = member.connection.id();
        if let Some(&place) = self.places.get(&id) {
            self.members[place] = member;
        } else {
            self.places.insert(id, self.members.len());
            self.members.push(member);
        }
    }

    pub(in crate::hub) fn remove(&mut self, id: u64) -> Option<Subscriber> {
        let place = self.places.remove(&id)?;
        let member = self.members.swap_remove(place);
        if let Some(ring) = &mut self.ring {
            ring.touch(Instant::now());
        }
        if let Some(moved) = self.members.get(place) {
            self.places.insert(moved.connection.id(), place);
        }
        if self.members.is_empty() {
            self.members = Vec::new();
            self.places = HashMap::new();
        }
        Some(member)
    }

    /// What is to be stored next; where there is nothing, the storing is over.
    pub(in crate::hub) fn next_outbound(&mut self) -> Option<(u64, Bytes, Limits)> {
        let next = self.outbound.front();
        self.storing = next.is_some();
        next.map(|next| (next.sequence, next.envelope.clone(), next.limits))
    }

    /// Another history begins, of which nobody has seen anything.
    pub(in crate::hub) fn reset(&mut self, ring: Ring) {
        self.ring = Some(ring);
        for member in &mut self.members {
            member.after = 0;
        }
    }

    /// The broker has told of this position.
    pub(in crate::hub) fn hear_of(&mut self, position: &Position) {
        self.follow(&position.epoch);
        self.seen = self.seen.max(position.offset);
    }

    /// Offsets are those of this epoch; what was known of another one says nothing any more.
    pub(in crate::hub) fn follow(&mut self, epoch: &Arc<str>) {
        if self.seen_epoch == *epoch {
            return;
        }
        self.seen = 0;
        self.seen_epoch = Arc::clone(epoch);
        for member in &mut self.members {
            member.after = 0;
        }
    }

    /// Nobody has had the message of this offset, though there is no history to say so: it is a new one,
    /// and a higher offset that came before it was not true.
    pub(in crate::hub) fn nobody_has(&mut self, offset: u64) {
        for member in &mut self.members {
            member.after = member.after.min(offset.saturating_sub(1));
        }
    }

    /// All members have got the message of this offset, though there is no history to say so.
    pub(in crate::hub) fn all_have(&mut self, offset: u64) {
        for member in &mut self.members {
            member.after = offset;
        }
    }

    /// Gives a place in the history to something that is no message.
    pub(in crate::hub) fn skip(&mut self, channel: &Channel, position: Position) {
        if let Some(ring) = &mut self.ring {
            let unreadable = GroupMessage::unreadable(channel.name().into(), position);
            ring.push(Arc::new(unreadable), Instant::now(), Duration::ZERO);
        }
    }

    /// Whether nothing would be lost if it left the table.
    pub(in crate::hub) fn is_idle(&mut self, remote: bool, now: Instant) -> bool {
        if let Some(ring) = &mut self.ring {
            ring.trim(now);
        }
        // The broker has the history, where there is one.
        let forgettable = remote || self.ring.as_ref().is_none_or(|ring| ring.is_expired(now));
        self.members.is_empty() && self.joining == 0 && self.outbound.is_empty() && forgettable
    }

    /// The broker has said where the history stands; what was heard of higher offsets is not true.
    pub(in crate::hub) fn doubt(&mut self, seen: u64, top: u64) {
        if self.seen > seen {
            return;
        }
        self.seen = top;
        for member in &mut self.members {
            member.after = member.after.min(top);
        }
    }

    /// What a joining member is to be told and sent: whether it gets all that it has missed, the
    /// position after that, and the messages.
    pub(in crate::hub) fn replay(
        &self,
        since: Option<&Position>,
        fetched: Option<Vec<Arc<GroupMessage>>>,
    ) -> (bool, Position, Vec<Arc<GroupMessage>>) {
        let Some(ring) = &self.ring else {
            return (false, Position::nowhere(), Vec::new());
        };
        let top = ring.position();
        let Some(since) = since else {
            return (false, top, Vec::new());
        };
        match ring.missed(since) {
            Missed::Known(missed) if missed.iter().any(|one| !one.is_readable()) => {
                (false, top, Vec::new())
            }
            Missed::Known(missed) => (true, top, missed),
            Missed::Ahead if fetched.is_some() => (true, since.clone(), Vec::new()),
            Missed::Ahead => (false, top, Vec::new()),
            Missed::Foreign => (false, top, Vec::new()),
            Missed::TooOld => {
                let mut missed = fetched.unwrap_or_default();
                missed.retain(|message| message.offset() <= ring.floor());
                missed.extend(ring.after(0));
                let whole = missed
                    .first()
                    .is_some_and(|first| first.offset() - 1 == since.offset)
                    && missed.iter().all(|one| one.is_readable())
                    && missed
                        .windows(2)
                        .all(|pair| pair[1].offset() - 1 == pair[0].offset());
                if whole {
                    (true, top, missed)
                } else {
                    (false, top, Vec::new())
                }
            }
        }
    }

    /// Where the next message of a history that is kept here comes to stand.
    pub(in crate::hub) fn next(
        &mut self,
        limits: Limits,
        epoch: &dyn Fn() -> Arc<str>,
    ) -> Position {
        let ring = self.ring.get_or_insert_with(|| {
            let start = Position {
                offset: 0,
                epoch: epoch(),
            };
            Ring::new(start, limits, Instant::now())
        });
        ring.set_limits(limits);
        ring.next()
    }

    /// Keeps the message whose position is [`State::next`].
    pub(in crate::hub) fn keep(&mut self, message: &Arc<GroupMessage>) {
        if let Some(ring) = &mut self.ring {
            ring.push(Arc::clone(message), Instant::now(), Duration::ZERO);
        }
    }
}
