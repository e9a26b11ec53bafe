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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::wire::payload::PayloadKind;

    const LIMITS: Limits = Limits {
        size: 3,
        ttl: Duration::from_secs(60),
    };

    fn at(offset: u64, epoch: &str) -> Position {
        Position {
            offset,
            epoch: epoch.into(),
        }
    }

    fn message(offset: u64) -> Arc<GroupMessage> {
        let position = Some(at(offset, "e"));
        let payload = Bytes::from_static(b"x");
        Arc::new(GroupMessage::new(
            "g".into(),
            PayloadKind::Text,
            payload,
            position,
        ))
    }

    /// A group whose history has messages up to `top`.
    fn state(top: u64) -> State {
        let mut state = State::default();
        while state.next(LIMITS, &|| "e".into()).offset <= top {
            let next = state.next(LIMITS, &|| "other".into());
            state.keep(&message(next.offset));
        }
        state
    }

    /// Whether all is recovered, the position after that, and the offsets of the messages.
    fn replay(
        state: &State,
        since: Option<Position>,
        fetched: Option<Vec<Arc<GroupMessage>>>,
    ) -> (bool, u64, Vec<u64>) {
        let (recovered, position, messages) = state.replay(since.as_ref(), fetched);
        let offsets = messages.iter().map(|one| one.offset());
        (recovered, position.offset, offsets.collect())
    }

    #[test]
    fn a_member_gets_what_it_has_missed_or_is_told() {
        let state = state(8);
        let fetched = |offsets: &[u64]| Some(offsets.iter().map(|n| message(*n)).collect());
        for (since, fetched, expected) in [
            (None, None, (false, 8, vec![])),
            (Some(at(8, "e")), None, (true, 8, vec![])),
            (Some(at(6, "e")), None, (true, 8, vec![7, 8])),
            (Some(at(6, "f")), None, (false, 8, vec![])),
            (Some(at(9, "e")), None, (false, 8, vec![])),
            (Some(at(9, "e")), fetched(&[]), (true, 9, vec![])),
            (Some(at(4, "e")), None, (false, 8, vec![])),
            (
                Some(at(4, "e")),
                fetched(&[5, 6]),
                (true, 8, vec![5, 6, 7, 8]),
            ),
            (Some(at(4, "e")), fetched(&[5]), (true, 8, vec![5, 6, 7, 8])),
            (Some(at(3, "e")), fetched(&[5]), (false, 8, vec![])),
            (Some(at(2, "e")), fetched(&[3, 5]), (false, 8, vec![])),
        ] {
            let words = format!("{since:?} {fetched:?}");
            assert_eq!(replay(&state, since, fetched), expected, "{words}");
        }
        let empty = State::default();
        assert_eq!(
            replay(&empty, Some(at(1, "e")), None),
            (false, 0, Vec::new())
        );
    }

    #[test]
    fn an_entry_that_is_no_message_has_its_place_and_recovers_nobody() {
        let mut state = state(3);
        state.skip(&Channel::group("g"), at(4, "e"));
        assert_eq!(
            replay(&state, Some(at(3, "e")), None),
            (false, 4, Vec::new())
        );
        assert_eq!(
            replay(&state, Some(at(4, "e")), None),
            (true, 4, Vec::new())
        );
    }

    #[test]
    fn what_was_heard_is_of_one_epoch() {
        let mut state = State::default();
        state.hear_of(&at(7, "e"));
        state.hear_of(&at(5, "e"));
        assert_eq!(state.seen, 7);
        state.hear_of(&at(2, "f"));
        assert_eq!((state.seen, &*state.seen_epoch), (2, "f"));
        // The broker says that the history stands at 1: what was heard since counts more.
        state.doubt(1, 1);
        assert_eq!(state.seen, 2);
        state.doubt(2, 1);
        assert_eq!(state.seen, 1);
    }

    #[test]
    fn what_waits_for_the_broker_goes_in_order() {
        let mut state = State::default();
        for sequence in 1..=2 {
            state.outbound.push_back(Outbound {
                sequence,
                envelope: Bytes::new(),
                limits: LIMITS,
                waiter: None,
            });
        }
        state.storing = true;
        for expected in [Some(1), Some(2), None] {
            let next = state.next_outbound();
            assert_eq!(next.map(|(sequence, _, _)| sequence), expected);
            assert_eq!(state.storing, expected.is_some());
            state.outbound.pop_front();
        }
    }

    #[test]
    fn a_group_is_idle_when_nothing_would_be_lost() {
        let now = Instant::now();
        assert!(State::default().is_idle(false, now));
        // Where a broker has the history, this process can forget it.
        let mut kept = state(1);
        assert!(!kept.is_idle(false, now) && kept.is_idle(true, now));
        assert!(kept.is_idle(false, now + 3 * LIMITS.ttl));
        kept.joining = 1;
        assert!(!kept.is_idle(true, now));
    }
}
