//! The channels that this process listens to.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
};

use tokio::sync::Notify;

use super::{line::Line, recovery::Recovery, trouble::Question};
use crate::hub::{
    broker::{BrokerError, reconnect::Backoff},
    groups::table::{Groups, Watch},
    names::{Channel, Scope},
    presence::{Presence, who::Attendance},
};

/// Gets the result of a subscription.
pub(super) type Waiter = SyncSender<Result<(), BrokerError>>;

/// Subscribes to the channels of the groups that this process has.
pub(super) struct Subscriptions {
    line: &'static Line,
    groups: &'static Groups,
    attendance: &'static Attendance,
    recovery: &'static Recovery,
    /// Channels whose subscription may have to change, with the waiters for the result.
    reviews: Mutex<HashMap<Channel, Vec<Waiter>>>,
    reviewed: Notify,
    /// Channels that the broker refuses to subscribe to. A std mutex: held for a set operation.
    deaf: Mutex<HashSet<Channel>>,
    /// Set after the first attempt to subscribe to the presence channel: only then are the other
    /// processes asked for their members.
    listening: AtomicBool,
}

impl Watch for Subscriptions {
    fn retired(&self, channel: &Channel) {
        self.review(channel, None);
    }
}

impl Subscriptions {
    pub(super) fn new(
        line: &'static Line,
        groups: &'static Groups,
        attendance: &'static Attendance,
        recovery: &'static Recovery,
    ) -> Self {
        Self {
            line,
            groups,
            attendance,
            recovery,
            reviews: Mutex::default(),
            reviewed: Notify::new(),
            deaf: Mutex::default(),
            listening: AtomicBool::new(false),
        }
    }

    /// Whether a subscription to the presence channel was attempted.
    pub(super) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// Requests a review of a channel's subscription, which has to exist while the channel has a group.
    pub(super) fn review(&self, channel: &Channel, waiter: Option<Waiter>) {
        let mut reviews = self.reviews();
        let waiters = reviews.entry(channel.clone()).or_default();
        waiters.extend(waiter);
        drop(reviews);
        self.reviewed.notify_one();
    }

    /// Called when the broker is back: groups whose subscription has failed hear now, or are refused.
    pub(super) fn review_unheard(&self) {
        for group in self.groups.all() {
            let state = group.lock();
            let is_unheard = !state.subscribed && state.len() > 0;
            drop(state);
            if is_unheard {
                self.review(&group.channel, None);
            }
        }
    }

    fn reviews(&self) -> MutexGuard<'_, HashMap<Channel, Vec<Waiter>>> {
        self.reviews.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reviews channels in rounds. A round ends before the next one begins, so that the latest review of
    /// a channel is also the last to finish.
    pub(super) async fn review_all(&'static self) {
        loop {
            self.reviewed.notified().await;
            self.line.settle().await;
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

    async fn review_one(&'static self, channel: &Channel) -> Result<(), BrokerError> {
        let group = self.groups.find(channel);
        if group.is_none() && !channel.is_for_all() {
            self.line.broker.unsubscribe(channel.as_str()).await;
            return Ok(());
        }
        let result = self.line.broker.subscribe(channel.as_str()).await;
        if channel.scope() == Scope::Presence {
            // Set even if the subscription has failed: it is remembered, and made with the next
            // connection. Say hello only after subscribing: earlier answers would be lost.
            self.listening.store(true, Ordering::Release);
            self.attendance.update(None, Presence::reconnected);
        }
        if let Some(group) = group {
            let was = std::mem::replace(&mut group.lock().subscribed, result.is_ok());
            // A group that has a history already was deaf.
            if result.is_ok() && !was {
                self.recovery.look_after(group);
            }
        }
        match &result {
            Ok(()) => self.line.relieved(Question::Listen, channel),
            Err(error) => self.listen_again(channel, error.clone()),
        }
        result
    }

    /// Repeats a subscription that the broker refuses, with growing pauses. A new connection makes all
    /// subscriptions by itself.
    pub(super) fn listen_again(&'static self, channel: &Channel, error: BrokerError) {
        let channel = channel.clone();
        let mut deaf = self.deaf.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.line.broker.is_connected() || !deaf.insert(channel.clone()) {
            return;
        }
        drop(deaf);
        self.line.handle.spawn(async move {
            let mut backoff = Backoff::default();
            let mut error = error;
            loop {
                if let Some(group) = self.groups.find(&channel) {
                    group.lock().subscribed = false;
                } else if !channel.is_for_all() {
                    break;
                }
                if !self.line.broker.is_connected() {
                    break;
                }
                self.line
                    .refused(Question::Listen, &channel, &error, &mut backoff)
                    .await;
                match self.line.broker.subscribe(channel.as_str()).await {
                    Ok(()) => break,
                    Err(again) => error = again,
                }
            }
            self.line.relieved(Question::Listen, &channel);
            let mut deaf = self.deaf.lock().unwrap_or_else(PoisonError::into_inner);
            deaf.remove(&channel);
            drop(deaf);
            // The review marks the group as subscribed, or unsubscribes if the group has left.
            self.review(&channel, None);
        });
    }
}
