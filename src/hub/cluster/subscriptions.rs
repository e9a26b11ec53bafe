//! Which channels this process listens to.

use std::{
    collections::HashMap,
    sync::{
        Arc, MutexGuard, PoisonError,
        atomic::Ordering,
        mpsc::{SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use super::{Link, histories::to_messages, too_slow, trouble::Question};
use crate::hub::{
    broker::{Backoff, BrokerError, Fetched},
    delivery::group_message::Message,
    groups::group::Group,
    groups::history::{Missed, Ring},
    groups::members::{Join, JoinError},
    names::{Channel, Scope},
    position::Limits,
    presence::Presence,
};

/// Who waits for a subscription.
pub(super) type Waiter = SyncSender<Result<(), BrokerError>>;

impl Link {
    /// Has the subscription of a channel looked at: there is a group for it, or there is none.
    pub(in crate::hub) fn review(&self, channel: &Channel, waiter: Option<Waiter>) {
        let mut reviews = self.reviews();
        let waiters = reviews.entry(channel.clone()).or_default();
        waiters.extend(waiter);
        drop(reviews);
        self.reviewed.notify_one();
    }

    fn reviews(&self) -> MutexGuard<'_, HashMap<Channel, Vec<Waiter>>> {
        self.reviews.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One after the other, so that the latest word about a channel is the last.
    pub(super) async fn review_all(&'static self) {
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

    async fn review_one(&'static self, channel: &Channel) -> Result<(), BrokerError> {
        let group = self.hub.find(channel);
        if group.is_none() && !channel.is_for_all() {
            self.broker.unsubscribe(channel.as_str()).await;
            return Ok(());
        }
        let result = self.broker.subscribe(channel.as_str()).await;
        if channel.scope() == Scope::Presence {
            // Even if it has failed now: it is remembered, and made with the next connection. Asked before
            // that, the others would answer to deaf ears.
            self.listening.store(true, Ordering::Release);
            self.hub.presence(None, Presence::reconnected);
        }
        if let Some(group) = group {
            group.lock().subscribed = result.is_ok();
        }
        match &result {
            Ok(()) => self.relieved(Question::Listen, channel),
            Err(error) => self.listen_again(channel, error.clone()),
        }
        result
    }

    /// The broker refuses a subscription: it is asked again, ever more seldom. With a new connection,
    /// all subscriptions are made by themselves.
    pub(super) fn listen_again(&'static self, channel: &Channel, error: BrokerError) {
        let channel = channel.clone();
        let mut deaf = self.deaf.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.broker.is_connected() || !deaf.insert(channel.clone()) {
            return;
        }
        drop(deaf);
        self.handle.spawn(async move {
            let mut backoff = Backoff::default();
            let mut error = error;
            loop {
                if let Some(group) = self.hub.find(&channel) {
                    group.lock().subscribed = false;
                } else if !channel.is_for_all() {
                    break;
                }
                if !self.broker.is_connected() {
                    break;
                }
                self.refused(Question::Listen, &channel, &error, &mut backoff)
                    .await;
                match self.broker.subscribe(channel.as_str()).await {
                    Ok(()) => break,
                    Err(again) => error = again,
                }
            }
            self.relieved(Question::Listen, &channel);
            let mut deaf = self.deaf.lock().unwrap_or_else(PoisonError::into_inner);
            deaf.remove(&channel);
            drop(deaf);
            // Or nobody is there for it any more.
            self.review(&channel, None);
        });
    }

    /// Makes a group ready for a member: the broker tells what comes, and what has been is known.
    /// Returns what is not kept here.
    pub(in crate::hub) fn prepare(
        &'static self,
        group: &Arc<Group>,
        join: &Join,
    ) -> Result<Option<Vec<Arc<Message>>>, JoinError> {
        let asked = format!("joining {:?}", group.name());
        let unavailable = |error| JoinError::Unavailable(self.explain(&asked, error).to_string());
        let deadline = Instant::now() + join.timeout;
        let subscribed = group.lock().subscribed;
        if !subscribed {
            let (answer, answered) = sync_channel(1);
            self.review(&group.channel, Some(answer));
            let away = self.is_away();
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
                    ring.trim(Instant::now());
                    match ring.missed(since) {
                        // Ahead: this process is late, or the broker has lost what the client has.
                        // Where no history stands, nothing needs to be asked.
                        Missed::Ahead if !since.is_possible() => return Ok(None),
                        Missed::TooOld | Missed::Ahead => Some(since.clone()),
                        Missed::Known(_) | Missed::Foreign => return Ok(None),
                    }
                }
                (Some(_), None) => return Ok(None),
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let fetched = self.fetch(&group.channel, after.clone(), limits, left);
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
        let unreadable = messages.iter().filter(|one| !one.is_readable()).count();
        let ages = fetched.entries.iter().map(|stored| stored.age);
        ring.prepend(messages.into_iter().zip(ages).collect(), Instant::now());
        for _ in 0..unreadable {
            self.hub.malformed(
                group.channel.as_str(),
                "an entry of its history is no message",
            );
        }
        state.ring = Some(ring);
        // Of this history, or of another one; it is not known which of the two is the newer.
        let other = state.seen_epoch != fetched.top.epoch;
        let heard_more = state.seen > if other { 0 } else { fetched.top.offset };
        state.follow(&fetched.top.epoch);
        let behind = heard_more && !state.catching_up;
        state.catching_up |= behind;
        drop(state);
        if behind {
            self.hub.catch_up(Arc::clone(group));
        }
    }
}
