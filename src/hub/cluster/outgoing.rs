//! What the groups and presence say goes to the broker, in order.

use std::{
    sync::{
        Arc, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Link, trouble::Question, warn};
use crate::hub::{
    broker::{Backoff, BrokerError, Key},
    delivery::target::{Fate, Published},
    groups::group::{Group, Outbound},
    names::Channel,
    position::{Limits, Position},
    wire::envelope::Envelope,
};

/// Messages that may wait in a group for a broker that is away.
const MAX_OUTBOUND: usize = 1_024;

/// Presence messages that may be on their way at once.
const MAX_LATER: usize = 1_024;

impl Link {
    /// Gives a message to those who listen now.
    pub(in crate::hub) fn publish(
        &'static self,
        channels: &[Channel],
        envelope: Bytes,
        timeout: Duration,
    ) -> Fate {
        if self.is_away() {
            return Fate::Unavailable;
        }
        let channels = channels.to_vec();
        let sent = self.wait(timeout, async move {
            self.settle().await;
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

    /// Nobody says it again where the broker refuses it, but the log tells.
    async fn say(&self, channel: &Channel, envelope: Bytes) -> Result<(), BrokerError> {
        let said = self.broker.publish(channel.as_str(), envelope).await;
        match &said {
            Ok(()) => self.relieved(Question::Publish, channel),
            Err(error) => {
                self.note_refusal(Question::Publish, channel, error, "the message is lost");
            }
        }
        said
    }

    /// Sends without waiting, in order; the oldest is lost where too many wait.
    pub(in crate::hub) fn publish_later(&self, channel: Channel, envelope: Bytes) {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if later.len() >= MAX_LATER {
            later.pop_front();
            self.hub.lost.note();
        }
        later.push_back((channel, envelope));
        drop(later);
        self.called.notify_one();
    }

    pub(super) async fn send_later(&'static self) {
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
                // The next digest makes up for it.
                if self.say(&channel, envelope).await.is_err() {
                    self.hub.lost.note();
                }
            }
        }
    }

    /// Puts a message into the group's queue for the broker; `None`: too much waits there already.
    /// The answer tells where in the history it has come to stand.
    pub(in crate::hub) fn store(
        &'static self,
        channel: &Channel,
        envelope: &mut Envelope,
        limits: Limits,
        published: &mut Published,
    ) -> Option<Receiver<Position>> {
        let (stored, position) = sync_channel(1);
        loop {
            let group = self.hub.obtain(channel);
            let mut state = group.lock();
            if state.gone {
                continue;
            }
            if state.outbound.len() >= MAX_OUTBOUND {
                published.dropped += 1;
                return None;
            }
            // Numbered in the order of the queue, whoever else sends: a number below one that the broker
            // has seen is a repetition to it.
            envelope.sequence = self.hub.next_sequence();
            state.outbound.push_back(Outbound {
                sequence: envelope.sequence,
                envelope: envelope.encode(),
                limits,
                waiter: Some(stored),
            });
            published.local += state.len();
            let idle = !std::mem::replace(&mut state.storing, true);
            drop(state);
            if idle {
                self.handle.spawn(self.store_all(group));
            }
            return Some(position);
        }
    }

    /// Waits until messages are stored, for at most `timeout` in all.
    pub(in crate::hub) fn wait_for_stored(
        &self,
        stored: Vec<Option<Receiver<Position>>>,
        timeout: Duration,
        published: &mut Published,
    ) {
        let deadline = Instant::now() + timeout;
        for position in stored {
            // The broker may come back any moment, but nobody waits for one that is known to be away.
            let left = match self.is_away() {
                true => Duration::ZERO,
                false => deadline.saturating_duration_since(Instant::now()),
            };
            let fate = match position.map(|position| position.recv_timeout(left)) {
                Some(Ok(position)) => {
                    published.position = Some(position);
                    Fate::Stored
                }
                Some(Err(RecvTimeoutError::Timeout)) => Fate::Pending,
                // The broker will never take it, or too much waits already.
                Some(Err(RecvTimeoutError::Disconnected)) | None => Fate::Unavailable,
            };
            published.fate = published.fate.max(fate);
        }
    }

    /// Stores what a group has for the broker, one after the other, until nothing is left.
    async fn store_all(&'static self, group: Arc<Group>) {
        // Whoever has waited for the broker to come back has not done so alone.
        let mut in_turn = false;
        let mut backoff = Backoff::default();
        loop {
            let next = group.lock().next_outbound();
            let Some((sequence, envelope, limits)) = next else {
                break;
            };
            self.settle().await;
            let key = Key {
                publisher: Arc::clone(&self.name),
                sequence,
            };
            let turn = if in_turn {
                self.turns.acquire().await.ok()
            } else {
                None
            };
            match self
                .broker
                .store(group.channel.as_str(), envelope, &key, limits)
                .await
            {
                Ok(position) => {
                    backoff = Backoff::default();
                    self.relieved(Question::Store, &group.channel);
                    let done = group.lock().outbound.pop_front();
                    if let Some(waiter) = done.and_then(|done| done.waiter) {
                        let _ = waiter.try_send(position);
                    }
                }
                // It never will be stored, and others wait behind it. Its sender is told, by the
                // waiter that goes with it.
                Err(error @ BrokerError::TooLarge(_)) => {
                    self.relieved(Question::Store, &group.channel);
                    self.hub.lost.note();
                    warn(format!("a message to {:?} is lost: {error}", group.name()));
                    group.lock().outbound.pop_front();
                }
                // The key makes it safe to try again what may have been stored.
                Err(error) => {
                    in_turn = true;
                    drop(turn);
                    self.refused(Question::Store, &group.channel, &error, &mut backoff)
                        .await;
                }
            }
        }
        self.hub.retire(&group);
    }
}
