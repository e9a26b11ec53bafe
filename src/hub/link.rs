//! Between the groups and the broker: who listens to what, what is missing, what has to wait.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::Notify};

use super::{
    EVERYBODY, Hub, PRESENCE,
    broker::{Broker, BrokerError, Events, Fetched, Key},
    envelope::{Body, Envelope},
    group::{Delivery, Group, Outbound, State, event},
    history::{Limits, Missed, Position, Ring},
    members::{Join, JoinError},
    message::{Kind, Message, position_fields},
    publish::{Fate, Published},
};
use crate::runtime::{self, Level};

/// Messages that may wait in a group for a broker that is away.
const MAX_OUTBOUND: usize = 1_024;

/// Presence messages that may be on their way at once.
const MAX_LATER: usize = 1_024;

/// Time between attempts where the broker is there and says no.
const RETRY: Duration = Duration::from_millis(250);

/// Envelopes that are remembered, so that one which comes twice is delivered once.
const RECENT: usize = 4_096;

/// How things stand with the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// There is none.
    None,
    /// It works.
    Connected,
    /// It cannot be reached, or could not yet.
    Away,
}

const CONNECTING: u8 = 0;
const CONNECTED: u8 = 1;
const AWAY: u8 = 2;

/// A message of a history: its offset, what it is, and its payload.
pub type Kept = (u64, Kind, Bytes);

type Waiter = SyncSender<Result<(), BrokerError>>;

/// The connection of a hub to its broker.
#[derive(Debug)]
pub(super) struct Link {
    hub: &'static Hub,
    broker: Broker,
    /// Names this process to the broker.
    name: Arc<str>,
    handle: Handle,
    state: Arc<AtomicU8>,
    /// Wakes those that wait for the broker to come back.
    back: Arc<Notify>,
    /// Channels whose subscription may have to change, and who waits for that.
    reviews: Mutex<HashMap<Arc<str>, Vec<Waiter>>>,
    reviewed: Notify,
    /// Presence messages, oldest first; bounded, for what is lost is found out by the digests.
    later: Mutex<VecDeque<(&'static str, Bytes)>>,
    called: Notify,
}

/// What the broker calls.
struct Receiver {
    hub: &'static Hub,
    state: Arc<AtomicU8>,
    back: Arc<Notify>,
}

impl Events for Receiver {
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>) {
        self.hub.incoming(channel, envelope, position);
    }

    fn connected(&self) {
        self.state.store(CONNECTED, Ordering::Release);
        self.back.notify_waiters();
        self.hub.recover();
    }

    fn disconnected(&self, error: &str) {
        if self.state.swap(AWAY, Ordering::AcqRel) != AWAY {
            warn(format!("the broker is away: {error}"));
        }
    }
}

fn warn(message: String) {
    if let Some(engine) = runtime::running() {
        engine.log().push(Level::Warning, message);
    }
}

impl Hub {
    /// Connects the hub to a broker, once; later calls do nothing.
    ///
    /// # Errors
    ///
    /// The URL cannot be used.
    pub fn connect(&'static self, url: &str, prefix: &str) -> Result<(), BrokerError> {
        let _turn = self.table();
        if self.link.get().is_some() {
            return Ok(());
        }
        let state = Arc::new(AtomicU8::new(CONNECTING));
        let back = Arc::new(Notify::new());
        let receiver = Receiver {
            hub: self,
            state: Arc::clone(&state),
            back: Arc::clone(&back),
        };
        let broker = {
            let _context = self.handle.enter();
            Broker::open(url, prefix, Arc::new(receiver))?
        };
        let link = Link {
            hub: self,
            broker,
            name: Arc::clone(&self.name),
            handle: self.handle.clone(),
            state,
            back,
            reviews: Mutex::default(),
            reviewed: Notify::new(),
            later: Mutex::default(),
            called: Notify::new(),
        };
        if self.link.set(link).is_ok()
            && let Some(link) = self.link.get()
        {
            self.handle.spawn(link.review_all());
            self.handle.spawn(link.send_later());
            // Also where nobody joins: the leases of the other processes' members end here, too.
            self.start_ticking();
            link.review(EVERYBODY, None);
            link.review(PRESENCE, None);
        }
        Ok(())
    }

    /// How things stand with the broker.
    #[must_use]
    pub fn broker_state(&self) -> BrokerState {
        match self.link.get() {
            None => BrokerState::None,
            Some(link) if link.state.load(Ordering::Acquire) == CONNECTED => BrokerState::Connected,
            Some(_) => BrokerState::Away,
        }
    }

    /// Waits until nothing waits for the broker any more; false where something still does.
    pub fn flush(&'static self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let groups: Vec<_> = self.table().values().cloned().collect();
            if groups.iter().all(|group| group.lock().outbound.is_empty()) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Something has come from the broker.
    fn incoming(&'static self, channel: &str, envelope: Bytes, position: Option<Position>) {
        let Some(envelope) = Envelope::decode(envelope) else {
            return warn(format!(
                "the broker sent something that is no message, on {channel:?}"
            ));
        };
        let own = envelope.origin == self.node;
        match (&envelope.body, position) {
            (Body::Presence(message), _) => {
                self.presence(None, |presence, now| presence.receive(message, now));
            }
            // Delivered when it was sent.
            (_, None) if own => {}
            (Body::Close(code, reason), _) => {
                self.close_members(channel, *code, reason);
            }
            (Body::Message(..), None) => self.receive_once(channel, &envelope),
            (Body::Message(..), Some(position)) => self.receive_kept(channel, &envelope, position),
        }
    }

    fn receive_once(&'static self, channel: &str, envelope: &Envelope) {
        let several = envelope.channels.len() > 1 || !self.matching(channel).is_empty();
        if several && !self.recent().note(envelope) {
            return;
        }
        let Body::Message(kind, payload) = &envelope.body else {
            return;
        };
        let mut delivery = Delivery::new(&[], envelope.channels.len() > 1);
        if envelope.channels.is_empty() {
            self.deliver(&channel.into(), *kind, payload, &mut delivery);
        }
        for channel in &envelope.channels {
            self.deliver(channel, *kind, payload, &mut delivery);
        }
    }

    fn receive_kept(&'static self, channel: &str, envelope: &Envelope, position: Position) {
        let Some(group) = self.find(channel) else {
            // Only those who listen to many groups.
            if self.recent().note(envelope)
                && let Some(message) = to_message(channel, envelope, position)
            {
                let mut delivery = Delivery::new(&[], false);
                self.spread_to_patterns(channel, &message, &mut delivery);
            }
            return;
        };
        let mut state = group.lock();
        state.seen = state.seen.max(position.offset);
        let Some(ring) = &state.ring else {
            return;
        };
        let next = ring.next();
        if state.catching_up || (position.epoch == next.epoch && position.offset < next.offset) {
            return;
        }
        if position == next {
            if let Some(message) = to_message(channel, envelope, position) {
                self.take(&group, &mut state, envelope, message);
            }
        } else {
            state.catching_up = true;
            drop(state);
            self.catch_up(group);
        }
    }

    /// Keeps the next message of a group and delivers it.
    fn take(&self, group: &Group, state: &mut State, envelope: &Envelope, message: Arc<Message>) {
        if let Some(ring) = &mut state.ring {
            ring.push(Arc::clone(&message), Instant::now());
        }
        let own = envelope.origin == self.node;
        let excluded = if own { &envelope.excluded[..] } else { &[] };
        let mut delivery = Delivery::new(excluded, false);
        self.spread(&group.channel, state, &message, &mut delivery);
    }

    /// Fetches what a group lacks, until it lacks nothing.
    fn catch_up(&'static self, group: Arc<Group>) {
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
    fn recover(&'static self) {
        self.presence(None, super::presence::Presence::reconnected);
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

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a group has said of late, the oldest first, and where it stands.
    ///
    /// # Errors
    ///
    /// The broker cannot be asked.
    pub fn history(
        &'static self,
        name: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<(Vec<Kept>, Position), BrokerError> {
        let channel = super::channel(super::GROUP, name);
        let (messages, top) = match self.link.get() {
            Some(link) => link.read_history(&channel, limits, timeout)?,
            None => match self.find(&channel).map(|group| {
                let mut state = group.lock();
                let ring = state.ring.as_mut()?;
                ring.trim(Instant::now());
                Some((ring.after(0), ring.position()))
            }) {
                Some(Some(found)) => found,
                _ => (
                    Vec::new(),
                    Position {
                        offset: 0,
                        epoch: "".into(),
                    },
                ),
            },
        };
        let entries = messages.iter();
        let entries = entries.map(|one| (one.offset(), one.kind(), one.payload().clone()));
        Ok((entries.collect(), top))
    }
}

/// The message of an envelope.
fn to_message(channel: &str, envelope: &Envelope, position: Position) -> Option<Arc<Message>> {
    let Body::Message(kind, payload) = &envelope.body else {
        return None;
    };
    let name = channel.get(2..).unwrap_or_default();
    let message = Message::new(name.into(), *kind, payload.clone(), Some(position));
    Some(Arc::new(message))
}

impl Link {
    /// Runs what asks the broker on tokio, and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        timeout: Duration,
        question: impl Future<Output = Result<T, BrokerError>> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let (answer, answered) = sync_channel(1);
        self.handle.spawn(async move {
            let _ = answer.send(question.await);
        });
        answered
            .recv_timeout(timeout)
            .unwrap_or_else(|_| Err(too_slow(timeout)))
    }

    /// Waits while the first connection is being made.
    async fn settle(&self) {
        loop {
            let back = self.back.notified();
            if self.state.load(Ordering::Acquire) != CONNECTING {
                return;
            }
            // The state may have become "away", which notifies nobody.
            let _ = tokio::time::timeout(RETRY / 10, back).await;
        }
    }

    /// Gives a message to those who listen now.
    pub(super) fn publish(
        &'static self,
        channels: &[Arc<str>],
        envelope: Bytes,
        timeout: Duration,
    ) -> Fate {
        if self.state.load(Ordering::Acquire) == AWAY {
            return Fate::Unavailable;
        }
        let channels = channels.to_vec();
        let sent = self.wait(timeout, async move {
            self.settle().await;
            for channel in &channels {
                self.broker.publish(channel, envelope.clone()).await?;
            }
            Ok(())
        });
        if sent.is_ok() {
            Fate::Sent
        } else {
            Fate::Unavailable
        }
    }

    /// Sends without waiting, in order; the oldest is lost where too many wait.
    pub(super) fn publish_later(&self, channel: &'static str, envelope: Bytes) {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if later.len() >= MAX_LATER {
            later.pop_front();
        }
        later.push_back((channel, envelope));
        drop(later);
        self.called.notify_one();
    }

    async fn send_later(&'static self) {
        loop {
            self.called.notified().await;
            self.settle().await;
            loop {
                let next = self
                    .later
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front();
                let Some((channel, envelope)) = next else {
                    break;
                };
                // What is lost is found out by the next digest.
                let _ = self.broker.publish(channel, envelope).await;
            }
        }
    }

    /// Puts a message into the group's queue for the broker, and waits for it to be stored.
    pub(super) fn store(
        &'static self,
        channel: &Arc<str>,
        envelope: &Envelope,
        limits: Limits,
        timeout: Duration,
        published: &mut Published,
    ) {
        let (stored, position) = sync_channel(1);
        let group = loop {
            let group = self.hub.obtain(channel);
            let mut state = group.lock();
            if state.gone {
                continue;
            }
            if state.outbound.len() >= MAX_OUTBOUND {
                published.dropped += 1;
                published.fate = Fate::Unavailable;
                return;
            }
            state.outbound.push_back(Outbound {
                sequence: envelope.sequence,
                envelope: envelope.encode(),
                limits,
                waiter: Some(stored),
            });
            published.local += state.len();
            let first = state.outbound.len() == 1;
            drop(state);
            if first {
                self.handle.spawn(self.store_all(Arc::clone(&group)));
            }
            break group;
        };
        // The broker may come back any moment, but nobody waits for one that is known to be away.
        let away = self.state.load(Ordering::Acquire) == AWAY;
        let timeout = if away { Duration::ZERO } else { timeout };
        match position.recv_timeout(timeout) {
            Ok(position) => {
                published.position = Some(position);
                if published.fate == Fate::Alone {
                    published.fate = Fate::Stored;
                }
            }
            Err(RecvTimeoutError::Timeout) => published.fate = Fate::Pending,
            Err(RecvTimeoutError::Disconnected) => published.fate = Fate::Unavailable,
        }
        drop(group);
    }

    /// Stores what a group has for the broker, one after the other, until nothing is left.
    async fn store_all(&'static self, group: Arc<Group>) {
        let mut refused = false;
        loop {
            let next = group
                .lock()
                .outbound
                .front()
                .map(|next| (next.sequence, next.envelope.clone(), next.limits));
            let Some((sequence, envelope, limits)) = next else {
                break;
            };
            self.settle().await;
            let back = self.back.notified();
            let key = Key {
                publisher: Arc::clone(&self.name),
                sequence,
            };
            match self
                .broker
                .store(&group.channel, envelope, &key, limits)
                .await
            {
                Ok(position) => {
                    let done = group.lock().outbound.pop_front();
                    if let Some(waiter) = done.and_then(|done| done.waiter) {
                        let _ = waiter.try_send(position);
                    }
                }
                // It never will be stored, and others wait behind it. Its sender is told, by the
                // waiter that goes with it.
                Err(error @ BrokerError::TooLarge(_)) => {
                    warn(format!("a message to {:?} is lost: {error}", group.name()));
                    group.lock().outbound.pop_front();
                }
                // The key makes it safe to try again what may have been stored.
                Err(error) => {
                    // Said once: such as rights that are missing.
                    if self.broker.is_connected() && !std::mem::replace(&mut refused, true) {
                        warn(format!("messages to {:?} wait: {error}", group.name()));
                    }
                    let _ = tokio::time::timeout(RETRY, back).await;
                }
            }
        }
        self.hub.retire(&group);
    }

    /// Has the subscription of a channel looked at: there is a group for it, or there is none.
    pub(super) fn review(&self, channel: &str, waiter: Option<Waiter>) {
        let mut reviews = self.reviews();
        let waiters = reviews.entry(channel.into()).or_default();
        waiters.extend(waiter);
        drop(reviews);
        self.reviewed.notify_one();
    }

    fn reviews(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Waiter>>> {
        self.reviews.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One after the other, so that the latest word about a channel is the last.
    async fn review_all(&'static self) {
        loop {
            self.reviewed.notified().await;
            self.settle().await;
            let due = std::mem::take(&mut *self.reviews());
            let mut tasks = tokio::task::JoinSet::new();
            for (channel, waiters) in due {
                tasks.spawn(async move {
                    let result = self.review_one(&channel).await;
                    for waiter in waiters {
                        let _ = waiter.try_send(result.clone());
                    }
                });
            }
            while tasks.join_next().await.is_some() {}
        }
    }

    async fn review_one(&self, channel: &str) -> Result<(), BrokerError> {
        let group = self.hub.find(channel);
        if group.is_none() && channel != EVERYBODY && channel != PRESENCE {
            self.broker.unsubscribe(channel).await;
            return Ok(());
        }
        let result = self.broker.subscribe(channel).await;
        if let Some(group) = group {
            group.lock().subscribed = result.is_ok();
        }
        result
    }

    /// Makes a group ready for a member: the broker tells what comes, and what has been is known.
    /// Returns what is not kept here.
    pub(super) fn prepare(
        &'static self,
        group: &Arc<Group>,
        join: &Join,
    ) -> Result<Option<Vec<Arc<Message>>>, JoinError> {
        let unavailable = |error: BrokerError| JoinError::Unavailable(error.to_string());
        let subscribed = group.lock().subscribed;
        if !subscribed {
            let (answer, answered) = sync_channel(1);
            self.review(&group.channel, Some(answer));
            let away = self.state.load(Ordering::Acquire) == AWAY;
            let timeout = if away { Duration::ZERO } else { join.timeout };
            let answer = answered.recv_timeout(timeout);
            let answer = answer.unwrap_or_else(|_| Err(too_slow(timeout)));
            let known = group.lock().ring.is_some();
            if join.limits.is_some() && !known {
                answer.map_err(unavailable)?;
            }
        }
        let Some(limits) = join.limits else {
            return Ok(None);
        };
        let after = {
            let mut state = group.lock();
            match (&mut state.ring, &join.since) {
                (None, _) => None,
                (Some(ring), Some(since)) => {
                    ring.set_limits(limits);
                    match ring.missed(since) {
                        Missed::TooOld => Some(since.clone()),
                        Missed::Known(_) | Missed::Ahead | Missed::Foreign => return Ok(None),
                    }
                }
                (Some(_), None) => return Ok(None),
            }
        };
        let fetched = self.fetch(&group.channel, after.clone(), limits, join.timeout);
        let fetched = fetched.map_err(unavailable)?;
        if after.is_none() {
            self.install(group, &fetched, limits);
            return Ok(None);
        }
        Ok(fetched
            .complete
            .then(|| to_messages(&group.channel, &fetched)))
    }

    /// Gives a group its history.
    fn install(&'static self, group: &Arc<Group>, fetched: &Fetched, limits: Limits) {
        let mut state = group.lock();
        if state.ring.is_some() {
            return;
        }
        let mut ring = Ring::new(fetched.top.clone(), limits);
        let messages = to_messages(&group.channel, fetched);
        let whole = messages.len() == fetched.entries.len()
            && messages
                .last()
                .is_none_or(|last| last.offset() == fetched.top.offset);
        if whole {
            ring.prepend(messages, Instant::now());
        }
        state.ring = Some(ring);
        let behind = state.seen > fetched.top.offset && !state.catching_up;
        state.catching_up |= behind;
        drop(state);
        if behind {
            self.hub.catch_up(Arc::clone(group));
        }
    }

    fn fetch(
        &'static self,
        channel: &Arc<str>,
        after: Option<Position>,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Fetched, BrokerError> {
        let channel = Arc::clone(channel);
        self.wait(timeout, async move {
            self.settle().await;
            self.broker.fetch(&channel, after.as_ref(), limits).await
        })
    }

    fn read_history(
        &'static self,
        channel: &Arc<str>,
        limits: Limits,
        timeout: Duration,
    ) -> Result<(Vec<Arc<Message>>, Position), BrokerError> {
        let fetched = self.fetch(channel, None, limits, timeout)?;
        Ok((to_messages(channel, &fetched), fetched.top))
    }
}

fn too_slow(timeout: Duration) -> BrokerError {
    let timeout = timeout.as_secs_f64();
    BrokerError::Unavailable(format!("no answer within {timeout} seconds"))
}

fn to_messages(channel: &str, fetched: &Fetched) -> Vec<Arc<Message>> {
    let entries = fetched.entries.iter();
    let messages = entries.filter_map(|(offset, bytes)| {
        let position = Position {
            offset: *offset,
            epoch: Arc::clone(&fetched.top.epoch),
        };
        to_message(channel, &Envelope::decode(bytes.clone())?, position)
    });
    messages.collect()
}

/// The envelopes of late.
#[derive(Debug, Default)]
pub(super) struct Recent {
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
