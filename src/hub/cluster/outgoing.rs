//! Sends the messages of groups and presence to the broker, in order.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    incoming::Incoming,
    line::{Line, warn},
    trouble::Question,
};
use crate::hub::{
    broker::{BrokerError, Key, reconnect::Backoff},
    delivery::target::{Fate, Published},
    groups::{
        group::{Group, Outbound},
        table::Groups,
    },
    losses::Losses,
    names::Channel,
    node::Node,
    position::{Limits, Position},
    presence::who::Announce,
    wire::envelope::{Content, Envelope},
};

/// The most messages of a group that may wait for the broker.
const MAX_OUTBOUND: usize = 1_024;

/// The bytes of waiting messages of all groups from which on no further one is accepted; twice as many while
/// the broker is there, for groups of which no message waits.
const MAX_BYTES: usize = 64 << 20;

/// The bytes that a waiting message takes beside its envelope.
const OVERHEAD: usize = 1_024;

/// The most presence messages that may wait to be sent.
const MAX_LATER: usize = 1_024;

/// Sends messages to the broker.
pub(in crate::hub) struct Uplink {
    line: &'static Line,
    node: &'static Node,
    groups: &'static Groups,
    losses: &'static Losses,
    incoming: &'static Incoming,
    /// Presence messages that wait to be sent, oldest first. The number is limited: other processes
    /// notice a lost message by the next beat.
    later: Mutex<VecDeque<Bytes>>,
    called: Notify,
    /// Held by `flush` while it looks for waiting messages, and taken by `store_all` before it notifies
    /// `drains`, so that no notification is lost.
    drained: Mutex<()>,
    drains: Condvar,
}

/// The bytes that a waiting message takes.
fn weight(outbound: &Outbound) -> usize {
    outbound.envelope.len() + OVERHEAD
}

impl Announce for Uplink {
    /// Queues a message without waiting; the messages are sent in order. If too many wait, the oldest is
    /// lost.
    fn announce(&self, message: Vec<u8>) {
        let body = Content::Presence(message.into());
        let envelope = Envelope::of(self.node, &[], &[], body);
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if later.len() >= MAX_LATER {
            later.pop_front();
            self.losses.note();
        }
        later.push_back(envelope.encode());
        drop(later);
        self.called.notify_one();
    }

    fn is_away(&self) -> bool {
        self.line.is_away()
    }
}

impl Uplink {
    pub(super) fn new(
        line: &'static Line,
        node: &'static Node,
        groups: &'static Groups,
        losses: &'static Losses,
        incoming: &'static Incoming,
    ) -> Self {
        Self {
            line,
            node,
            groups,
            losses,
            incoming,
            later: Mutex::default(),
            called: Notify::new(),
            drained: Mutex::default(),
            drains: Condvar::new(),
        }
    }

    /// Publishes a message for the current subscribers, without storing it.
    pub(in crate::hub) fn publish(
        &'static self,
        channels: &[Channel],
        envelope: Bytes,
        timeout: Duration,
    ) -> Fate {
        if self.line.is_away() {
            return Fate::Unavailable;
        }
        let channels = channels.to_vec();
        let sent = self.line.wait(timeout, async move {
            self.line.settle().await;
            for channel in &channels {
                self.say(channel, envelope.clone()).await?;
            }
            Ok(())
        });
        if sent.is_ok() {
            Fate::Sent
        } else {
            Fate::Unavailable
        }
    }

    /// Publishes once. If the broker refuses the message, it is not sent again, but the log gets a line.
    async fn say(&self, channel: &Channel, envelope: Bytes) -> Result<(), BrokerError> {
        let said = self.line.broker.publish(channel.as_str(), envelope).await;
        match &said {
            Ok(()) => self.line.relieved(Question::Publish, channel),
            Err(error) => {
                self.line
                    .note_refusal(Question::Publish, channel, error, "the message is lost");
            }
        }
        said
    }

    pub(super) async fn send_later(&'static self) {
        let channel = Channel::presence();
        loop {
            self.called.notified().await;
            self.line.settle().await;
            loop {
                let next = self
                    .later
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front();
                let Some(envelope) = next else {
                    break;
                };
                // The next beat makes up for the loss.
                if self.say(&channel, envelope).await.is_err() {
                    self.losses.note();
                }
            }
        }
    }

    /// Puts a message into the group's queue for the broker; returns a receiver for its position in the
    /// history. `None`: the queue is full, or the queues of all groups together are.
    pub(in crate::hub) fn store(
        &'static self,
        channel: &Channel,
        envelope: &mut Envelope,
        limits: Limits,
        published: &mut Published,
    ) -> Option<Receiver<Position>> {
        let (stored, position) = sync_channel(1);
        let own = self.node.own(&envelope.excluded);
        loop {
            let group = self.groups.obtain(channel);
            let mut state = group.lock();
            if state.gone {
                continue;
            }
            let census = self.groups.census();
            // A group that the broker refuses must not stop all others.
            let may_wait = state.outbound.is_empty() && self.line.broker.is_connected();
            let most = if may_wait { 2 * MAX_BYTES } else { MAX_BYTES };
            let is_full = census.waiting_bytes() >= most;
            if is_full || state.outbound.len() >= MAX_OUTBOUND {
                drop(state);
                self.groups.retire(&group);
                published.dropped += 1;
                return None;
            }
            // The number is taken under the group's lock, so that numbers rise in the order of the
            // queue: to the broker, a number below one that it has seen is a repetition.
            envelope.sequence = self.node.next_sequence();
            let outbound = Outbound {
                sequence: envelope.sequence,
                envelope: envelope.encode(),
                limits,
                waiter: Some(stored),
            };
            census.waits(weight(&outbound));
            state.outbound.push_back(outbound);
            published.local += state.receivers(&envelope.excluded, &own);
            let idle = !std::mem::replace(&mut state.storing, true);
            drop(state);
            if idle {
                self.line.handle.spawn(self.store_all(group));
            }
            return Some(position);
        }
    }

    /// Waits until messages are stored, for at most `timeout` in all, and adds the results to
    /// `published`.
    pub(in crate::hub) fn wait_for_stored(
        &self,
        stored: Vec<Option<Receiver<Position>>>,
        timeout: Duration,
        published: &mut Published,
    ) {
        let deadline = Instant::now() + timeout;
        for position in stored {
            // A broker that is known to be away is not waited for, even if it may come back any moment.
            let left = match self.line.is_away() {
                true => Duration::ZERO,
                false => deadline.saturating_duration_since(Instant::now()),
            };
            let fate = match position.map(|position| position.recv_timeout(left)) {
                Some(Ok(position)) => {
                    published.position = Some(position);
                    Fate::Stored
                }
                Some(Err(RecvTimeoutError::Timeout)) => Fate::Pending,
                // The broker will never take the message, or the queue is full.
                Some(Err(RecvTimeoutError::Disconnected)) | None => Fate::Unavailable,
            };
            published.fate = published.fate.max(fate);
        }
    }

    /// Stores the queued messages of a group, one after the other, until none is left.
    async fn store_all(&'static self, group: Arc<Group>) {
        // After a failure, other groups wait for the broker, too: from then on, this task takes turns
        // with them.
        let mut in_turn = false;
        let mut backoff = Backoff::default();
        loop {
            let next = group.lock().next_outbound();
            let Some((sequence, envelope, limits)) = next else {
                break;
            };
            self.line.settle().await;
            let key = Key {
                publisher: Arc::clone(self.node.name()),
                sequence,
            };
            let turn = if in_turn {
                self.line.turns.acquire().await.ok()
            } else {
                None
            };
            match self
                .line
                .broker
                .store(group.channel.as_str(), envelope, &key, limits)
                .await
            {
                Ok(position) => {
                    backoff = Backoff::default();
                    self.line.relieved(Question::Store, &group.channel);
                    let done = self.take_out(&group);
                    if let Some(done) = done.as_ref().filter(|_| self.is_deaf(&group)) {
                        let envelope = done.envelope.clone();
                        let channel = group.channel.as_str();
                        self.incoming
                            .take(channel, envelope, Some(position.clone()));
                    }
                    if let Some(waiter) = done.and_then(|done| done.waiter) {
                        let _ = waiter.try_send(position);
                    }
                }
                // The message can never be stored, and others wait behind it. Dropping its waiter tells
                // the sender.
                Err(error @ BrokerError::TooLarge(_)) => {
                    self.line.relieved(Question::Store, &group.channel);
                    self.losses.note();
                    warn(format!("a message to {:?} is lost: {error}", group.name()));
                    self.take_out(&group);
                }
                // The message may have been stored. A retry is safe, because the broker recognizes the
                // key.
                Err(error) => {
                    in_turn = true;
                    drop(turn);
                    self.line
                        .refused(Question::Store, &group.channel, &error, &mut backoff)
                        .await;
                }
            }
        }
        self.groups.retire(&group);
        drop(self.drained());
        self.drains.notify_all();
    }

    /// Whether a group, or a wildcard, has members to whom the broker does not send messages back, because
    /// the subscription has failed.
    fn is_deaf(&self, group: &Group) -> bool {
        let state = group.lock();
        if state.subscribed || state.len() > 0 {
            return !state.subscribed;
        }
        drop(state);
        let wildcards = self.groups.matching(&group.channel);
        wildcards.iter().any(|wildcard| !wildcard.lock().subscribed)
    }

    /// Takes the first message out of a group's queue.
    fn take_out(&self, group: &Group) -> Option<Outbound> {
        let done = group.lock().outbound.pop_front()?;
        self.groups.census().waited(weight(&done));
        Some(done)
    }

    fn drained(&self) -> MutexGuard<'_, ()> {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no message waits for the broker any more; returns false if some still wait after
    /// `timeout`.
    pub(in crate::hub) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut drained = self.drained();
        loop {
            let groups = self.groups.all();
            if groups.iter().all(|group| group.lock().outbound.is_empty()) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.drains.wait_timeout(drained, left);
            drained = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
