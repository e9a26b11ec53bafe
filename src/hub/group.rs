//! The members of one group, and what it has said of late.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    history::{Limits, Missed, Position, Ring},
    message::{self, Message},
};
use crate::{
    engine::{Connection, Mailbag, Sent},
    protocol::Broadcast,
};

/// One for each channel that has members, a history, or messages on their way to the broker.
#[derive(Debug)]
pub(super) struct Group {
    /// The kind and the name, as in `g:chat.1`.
    pub(super) channel: Arc<str>,
    /// A std mutex: held while a message is put into the members' outboxes, which is what gives all
    /// of them the same order.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    members: Vec<Member>,
    /// Where in `members` a connection is.
    places: HashMap<u64, usize>,
    /// `None` until it is known where the history stands, or where there is none.
    pub(super) ring: Option<Ring>,
    /// The highest offset that the broker has told of.
    pub(super) seen: u64,
    /// Of which history that is.
    pub(super) seen_epoch: Arc<str>,
    /// Somebody is fetching what is missing.
    pub(super) catching_up: bool,
    /// What waits for the broker, oldest first.
    pub(super) outbound: VecDeque<Outbound>,
    /// Somebody is storing it: one at a time, or two would take the same message for two.
    pub(super) storing: bool,
    /// Somebody is about to become a member.
    pub(super) joining: usize,
    /// The broker has confirmed the subscription.
    pub(super) subscribed: bool,
    /// Has left the table; whoever finds it so looks there again.
    pub(super) gone: bool,
}

/// A message that the broker is to store.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) sequence: u64,
    pub(super) envelope: Bytes,
    pub(super) limits: Limits,
    /// Who waits to hear of it.
    pub(super) waiter: Option<SyncSender<Position>>,
}

/// A connection in a group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) connection: Arc<Connection>,
    pub(super) present: bool,
    /// The connection has seen everything up to here.
    pub(super) after: u64,
}

impl Group {
    pub(super) fn new(channel: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            channel,
            state: Mutex::default(),
        })
    }

    /// The name without the kind.
    pub(super) fn name(&self) -> &str {
        &self.channel[2..]
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Adds a member; one that is there already is replaced.
    pub(super) fn add(&mut self, member: Member) {
        let id = member.connection.id();
        if let Some(&place) = self.places.get(&id) {
            self.members[place] = member;
        } else {
            self.places.insert(id, self.members.len());
            self.members.push(member);
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Member> {
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
    pub(super) fn next_outbound(&mut self) -> Option<(u64, Bytes, Limits)> {
        let next = self.outbound.front();
        self.storing = next.is_some();
        next.map(|next| (next.sequence, next.envelope.clone(), next.limits))
    }

    /// Another history begins, of which nobody has seen anything.
    pub(super) fn reset(&mut self, ring: Ring) {
        self.ring = Some(ring);
        for member in &mut self.members {
            member.after = 0;
        }
    }

    /// The broker has told of this position.
    pub(super) fn hear_of(&mut self, position: &Position) {
        self.follow(&position.epoch);
        self.seen = self.seen.max(position.offset);
    }

    /// Offsets are those of this epoch; what was known of another one says nothing any more.
    pub(super) fn follow(&mut self, epoch: &Arc<str>) {
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
    pub(super) fn nobody_has(&mut self, offset: u64) {
        for member in &mut self.members {
            member.after = member.after.min(offset.saturating_sub(1));
        }
    }

    /// All members have got the message of this offset, though there is no history to say so.
    pub(super) fn all_have(&mut self, offset: u64) {
        for member in &mut self.members {
            member.after = offset;
        }
    }

    /// Gives a place in the history to something that is no message.
    pub(super) fn skip(&mut self, channel: &str, position: Position) {
        if let Some(ring) = &mut self.ring {
            let name = channel.get(2..).unwrap_or_default();
            let unreadable = Message::unreadable(name.into(), position);
            ring.push(Arc::new(unreadable), Instant::now(), Duration::ZERO);
        }
    }

    /// Whether nothing would be lost if it left the table.
    pub(super) fn is_idle(&mut self, remote: bool, now: Instant) -> bool {
        if let Some(ring) = &mut self.ring {
            ring.trim(now);
        }
        // The broker has the history, where there is one.
        let forgettable = remote || self.ring.as_ref().is_none_or(|ring| ring.is_expired(now));
        self.members.is_empty() && self.joining == 0 && self.outbound.is_empty() && forgettable
    }

    /// The broker has said where the history stands; what was heard of higher offsets is not true.
    pub(super) fn doubt(&mut self, seen: u64, top: u64) {
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
    pub(super) fn replay(
        &self,
        since: Option<&Position>,
        fetched: Option<Vec<Arc<Message>>>,
    ) -> (bool, Position, Vec<Arc<Message>>) {
        let Some(ring) = &self.ring else {
            let nowhere = Position {
                offset: 0,
                epoch: "".into(),
            };
            return (false, nowhere, Vec::new());
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
    pub(super) fn next(&mut self, limits: Limits, epoch: &dyn Fn() -> Arc<str>) -> Position {
        let ring = self.ring.get_or_insert_with(|| {
            let start = Position {
                offset: 0,
                epoch: epoch(),
            };
            Ring::new(start, limits)
        });
        ring.set_limits(limits);
        ring.next()
    }

    /// Keeps the message whose position is [`State::next`].
    pub(super) fn keep(&mut self, message: &Arc<Message>) {
        if let Some(ring) = &mut self.ring {
            ring.push(Arc::clone(message), Instant::now(), Duration::ZERO);
        }
    }
}

/// One message on its way to many members.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    excluded: &'a [u64],
    /// Who has it already; only where somebody could get it twice.
    seen: Option<HashSet<u64>>,
    /// Connections that have got the message and are to be written.
    mailbag: Mailbag,
    pub(super) reached: usize,
    pub(super) dropped: usize,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(excluded: &'a [u64], once: bool) -> Self {
        Self {
            excluded,
            seen: once.then(HashSet::new),
            mailbag: Mailbag::default(),
            reached: 0,
            dropped: 0,
        }
    }

    /// From now on, nobody gets it twice.
    pub(super) fn once(&mut self) {
        self.seen.get_or_insert_default();
    }

    /// Puts the message into the outboxes of those who have not got it yet.
    pub(super) fn send(&mut self, members: &[Member], message: &Message) {
        let offset = message.offset();
        for member in members {
            if offset > 0 && offset <= member.after {
                continue;
            }
            let enveloped = member.connection.is_enveloping();
            self.put(&member.connection, message.frame(enveloped));
        }
    }

    pub(super) fn put(&mut self, connection: &Arc<Connection>, frame: &Arc<Broadcast>) {
        let id = connection.id();
        if self.excluded.contains(&id) {
            return;
        }
        if let Some(seen) = &mut self.seen
            && !seen.insert(id)
        {
            return;
        }
        match connection.broadcast(frame, &mut self.mailbag) {
            Sent::Done => self.reached += 1,
            Sent::DroppedOldest(_) => {
                self.reached += 1;
                self.dropped += 1;
            }
            Sent::Dropped | Sent::Overflowed | Sent::Full => self.dropped += 1,
            Sent::Closed => {}
        }
    }
}

/// `{"type": .., "group": ..}` with what is added.
pub(super) fn event(kind: &str, group: &str, add: impl FnOnce(&mut String)) -> Arc<Broadcast> {
    let mut json = format!(r#"{{"type":"{kind}""#);
    message::field(&mut json, "group", group);
    add(&mut json);
    json.push('}');
    Arc::new(message::text(json))
}
