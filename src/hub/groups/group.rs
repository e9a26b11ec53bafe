//! The members of one group, and its history.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    census::{Census, Kind},
    history::{Missed, Ring},
};
use crate::{
    engine::Connection,
    hub::{
        delivery::group_message::GroupMessage,
        names::Channel,
        node::Who,
        position::{Limits, Position},
    },
};

/// The members and the history of a channel. A channel has a group while it has members, a history, or
/// messages that wait for the broker.
#[derive(Debug)]
pub(in crate::hub) struct Group {
    /// The kind and the name, as in `g:chat.1`.
    pub(in crate::hub) channel: Channel,
    /// A std mutex: held while a message is put into the members' outboxes, so that all members get
    /// messages in the same order.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(in crate::hub) struct State {
    members: Vec<Subscriber>,
    kind: Kind,
    pub(super) census: Arc<Census>,
    /// The index in `members` of each connection, by its id.
    places: HashMap<u64, usize>,
    /// `None`: no member has said that its client had a connection before.
    former: Option<Box<Former>>,
    /// The history. `None` if the group keeps none, or until its position is known.
    pub(in crate::hub) ring: Option<Ring>,
    /// The highest offset that the broker has announced.
    pub(in crate::hub) seen: u64,
    /// The epoch of `seen`.
    pub(in crate::hub) seen_epoch: Arc<str>,
    /// The offset up to which the first read of the history has fetched messages. Their copies for the
    /// members that were there before may still come. 0: there was no such read.
    pub(in crate::hub) fetched: u64,
    /// A task is fetching the messages that are missing.
    pub(in crate::hub) catching_up: bool,
    /// Messages that wait for the broker, oldest first.
    pub(in crate::hub) outbound: VecDeque<Outbound>,
    /// A task is storing the messages of `outbound`. Only one may run: two would send the same front
    /// message, then remove two.
    pub(in crate::hub) storing: bool,
    /// The number of connections that are about to become members.
    pub(in crate::hub) joining: usize,
    /// The broker has confirmed the subscription.
    pub(in crate::hub) subscribed: bool,
    /// The group has left the table. A caller that finds this set looks up the channel again.
    pub(in crate::hub) gone: bool,
}

/// A message that the broker is to store.
#[derive(Debug)]
pub(in crate::hub) struct Outbound {
    pub(in crate::hub) sequence: u64,
    pub(in crate::hub) envelope: Bytes,
    pub(in crate::hub) limits: Limits,
    /// Gets the position when the message is stored; dropped if the message can never be stored.
    pub(in crate::hub) waiter: Option<SyncSender<Position>>,
}

/// The former connections of the members' clients, by the members' ids. Only members with former connections
/// are here.
#[derive(Debug, Default)]
pub(in crate::hub) struct Former(HashMap<u64, Box<[Who]>>);

impl Former {
    /// Whether a message excludes a former connection of a member's client.
    pub(in crate::hub) fn is_excluded(&self, id: u64, message: &GroupMessage) -> bool {
        self.0.get(&id).is_some_and(|was| message.excludes(was))
    }
}

/// A connection in a group.
#[derive(Debug)]
pub(in crate::hub) struct Subscriber {
    pub(in crate::hub) connection: Arc<Connection>,
    pub(in crate::hub) present: bool,
    /// The offset up to which the connection has every message.
    pub(in crate::hub) after: u64,
}

impl Group {
    pub(in crate::hub) fn new(channel: Channel, census: Arc<Census>) -> Arc<Self> {
        let state = State {
            kind: Kind::of(&channel),
            census,
            ..State::default()
        };
        Arc::new(Self {
            channel,
            state: Mutex::new(state),
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
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(in crate::hub) fn len(&self) -> usize {
        self.members.len()
    }

    pub(in crate::hub) fn members(&self) -> &[Subscriber] {
        &self.members
    }

    /// Whether a connection is a member that the other members see.
    pub(in crate::hub) fn is_present(&self, id: u64) -> bool {
        let place = self.places.get(&id);
        place.is_some_and(|place| self.members[*place].present)
    }

    /// `None`: no member's client had a connection before.
    pub(in crate::hub) fn former(&self) -> Option<&Former> {
        self.former.as_deref()
    }

    /// The number of members that get a message which excludes these connections. `own`: those of this
    /// process.
    pub(in crate::hub) fn receivers(&self, excluded: &[Who], own: &[u64]) -> usize {
        if excluded.is_empty() {
            return self.len();
        }
        // A connection may be excluded in several ways, and counts once.
        let mut left_out: HashSet<u64> = own.iter().copied().collect();
        left_out.retain(|id| self.places.contains_key(id));
        for (id, was) in self.former.iter().flat_map(|former| &former.0) {
            if was.iter().any(|one| excluded.contains(one)) {
                left_out.insert(*id);
            }
        }
        self.len() - left_out.len()
    }

    /// Adds a member, or replaces it if the connection is a member already. `was`: the former connections of
    /// its client.
    pub(in crate::hub) fn add(&mut self, member: Subscriber, was: Vec<Who>) {
        let id = member.connection.id();
        self.forget_former(id);
        if !was.is_empty() {
            let former = self.former.get_or_insert_default();
            former.0.insert(id, was.into());
        }
        if let Some(&place) = self.places.get(&id) {
            self.members[place] = member;
        } else {
            self.places.insert(id, self.members.len());
            self.members.push(member);
            self.census.joined(self.kind, self.members.len());
        }
    }

    pub(in crate::hub) fn remove(&mut self, id: u64) -> Option<Subscriber> {
        let place = self.places.remove(&id)?;
        let member = self.members.swap_remove(place);
        self.forget_former(id);
        self.census.left(self.kind, self.members.len());
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

    fn forget_former(&mut self, id: u64) {
        if let Some(former) = &mut self.former {
            former.0.remove(&id);
            if former.0.is_empty() {
                self.former = None;
            }
        }
    }

    /// Returns the next message to store. If there is none, clears `storing`.
    pub(in crate::hub) fn next_outbound(&mut self) -> Option<(u64, Bytes, Limits)> {
        let next = self.outbound.front();
        self.storing = next.is_some();
        next.map(|next| (next.sequence, next.envelope.clone(), next.limits))
    }

    /// Starts another history, of which the members have seen nothing.
    pub(in crate::hub) fn reset(&mut self, ring: Ring) {
        self.ring = Some(ring);
        self.fetched = 0;
        for member in &mut self.members {
            member.after = 0;
        }
    }

    /// Notes a position that the broker has announced.
    pub(in crate::hub) fn hear_of(&mut self, position: &Position) {
        self.follow(&position.epoch);
        self.seen = self.seen.max(position.offset);
    }

    /// Switches to an epoch. Offsets that were known of another epoch are forgotten.
    pub(in crate::hub) fn follow(&mut self, epoch: &Arc<str>) {
        if self.seen_epoch == *epoch {
            return;
        }
        self.seen = 0;
        self.fetched = 0;
        self.seen_epoch = Arc::clone(epoch);
        for member in &mut self.members {
            member.after = 0;
        }
    }

    /// Notes that no member has the message of this offset, in a group without a ring. The message is
    /// new, so a higher offset that was announced before it was false.
    pub(in crate::hub) fn nobody_has(&mut self, offset: u64) {
        for member in &mut self.members {
            member.after = member.after.min(offset.saturating_sub(1));
        }
    }

    /// Notes that all members have the message of this offset, in a group without a ring.
    pub(in crate::hub) fn all_have(&mut self, offset: u64) {
        for member in &mut self.members {
            member.after = offset;
        }
    }

    /// Whether a task has to fetch what the group may have missed: it has a history, and no task does so yet.
    /// The caller starts the task.
    pub(in crate::hub) fn begins_to_catch_up(&mut self) -> bool {
        self.ring.is_some() && !std::mem::replace(&mut self.catching_up, true)
    }

    /// Whether a message is older than the ring, and members may lack it that were there before the history
    /// was read. If a later message has been delivered since, they do without it: the order counts more.
    pub(in crate::hub) fn may_be_lacked(&self, position: &Position) -> bool {
        position.offset <= self.fetched
            && self.ring.as_ref().is_some_and(|ring| {
                let top = ring.position();
                top.epoch == position.epoch && top.offset == self.fetched
            })
    }

    /// Notes that all members have the message of this offset, in a group with a ring.
    pub(in crate::hub) fn nobody_lacks(&mut self, offset: u64) {
        for member in &mut self.members {
            member.after = member.after.max(offset);
        }
    }

    /// Adds a placeholder to the ring for an entry of the history that is no message.
    pub(in crate::hub) fn skip(&mut self, channel: &Channel, position: Position) {
        if let Some(ring) = &mut self.ring {
            let unreadable = GroupMessage::unreadable(channel.name().into(), position);
            ring.push(Arc::new(unreadable), Instant::now(), Duration::ZERO);
        }
    }

    /// Frees the memory of messages that have expired.
    pub(in crate::hub) fn trim(&mut self, now: Instant) {
        if let Some(ring) = &mut self.ring {
            ring.trim(now);
        }
    }

    /// Whether nothing would be lost if the group left the table.
    pub(in crate::hub) fn is_idle(&mut self, remote: bool, now: Instant) -> bool {
        self.trim(now);
        // With a broker (`remote`), the broker keeps the history.
        let forgettable = remote || self.ring.as_ref().is_none_or(|ring| ring.is_expired(now));
        self.members.is_empty() && self.joining == 0 && self.outbound.is_empty() && forgettable
    }

    /// Corrects the highest offset: the broker says that the history stands at `top`. Does nothing if an
    /// offset above `seen` was announced since.
    pub(in crate::hub) fn doubt(&mut self, seen: u64, top: u64) {
        if self.seen > seen {
            return;
        }
        self.seen = top;
        for member in &mut self.members {
            member.after = member.after.min(top);
        }
    }

    /// Returns the answer to a joining member: whether it gets every message that it has missed, its
    /// position after that, and the messages. `fetched`: messages from the broker, for those that the
    /// ring no longer has.
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

    /// The position of the next message in a history that this process keeps. Creates the ring if there
    /// is none.
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

    /// Adds the message whose position is [`State::next`] to the ring.
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
        // The broker says that the history stands at 1: an offset that was announced since takes
        // precedence.
        state.doubt(1, 1);
        assert_eq!(state.seen, 2);
        state.doubt(2, 1);
        assert_eq!(state.seen, 1);
    }

    #[test]
    fn what_the_first_read_has_fetched_may_be_lacked_until_a_later_message_comes() {
        let mut first = state(5);
        let lacked = |state: &State| {
            let of = |epoch| (1..=7).filter(move |n| state.may_be_lacked(&at(*n, epoch)));
            (of("e").count(), of("f").count())
        };
        assert_eq!(lacked(&first), (0, 0), "nothing was fetched");
        first.follow(&"e".into());
        first.fetched = 5;
        assert_eq!(lacked(&first), (5, 0));
        first.keep(&message(6));
        assert_eq!(lacked(&first), (0, 0), "a later message was delivered");
        let mut other = state(5);
        other.follow(&"e".into());
        other.fetched = 5;
        other.follow(&"f".into());
        assert_eq!(
            lacked(&other),
            (0, 0),
            "members may have anything of an epoch"
        );
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
