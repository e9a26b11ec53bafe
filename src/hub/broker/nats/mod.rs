//! NATS: subjects for messages, JetStream for histories.
//!
//! A connection of the client library is given up when it breaks, and another one is made: so it is
//! known when everything that was subscribed to is again, as with any broker.

mod barrier;
mod live;
mod streams;
mod subject;
mod sweep;
mod url;

use std::{
    collections::HashSet,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::Notify;

use self::{
    live::{Live, Traffic},
    streams::Unsure,
    url::Address,
};
use super::{
    super::history::{Limits, Position},
    Backoff, BrokerError, Events, Fetched, Key, PATIENCE,
};

struct Shared {
    address: Address,
    /// As tokens of a subject.
    prefix: String,
    events: Arc<dyn Events>,
    /// Remembered over reconnects. Bounded by the groups that exist.
    subscriptions: Mutex<HashSet<Arc<str>>>,
    live: Mutex<Option<Arc<Live>>>,
    unsure: Unsure,
    closed: AtomicBool,
    closing: Notify,
}

/// A connection to NATS servers.
#[derive(Clone)]
pub(super) struct Nats(Arc<Shared>);

impl Nats {
    pub(super) fn open(
        url: &str,
        prefix: &str,
        events: Arc<dyn Events>,
    ) -> Result<Self, BrokerError> {
        let mut tokens = String::new();
        subject::encode(prefix, &mut tokens);
        let shared = Arc::new(Shared {
            address: Address::parse(url)?,
            prefix: tokens,
            events,
            subscriptions: Mutex::default(),
            live: Mutex::default(),
            unsure: Unsure::default(),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
        });
        tokio::spawn(Arc::clone(&shared).run());
        Ok(Self(shared))
    }

    pub(super) fn is_connected(&self) -> bool {
        self.0.live().is_some()
    }

    pub(super) async fn subscribe(&self, channel: &str) -> Result<(), BrokerError> {
        self.0.subscriptions().insert(channel.into());
        let live = self.0.get()?;
        limited(async {
            live.listen(channel).await?;
            live.barrier.pass().await
        })
        .await
    }

    pub(super) async fn unsubscribe(&self, channel: &str) {
        self.0.subscriptions().remove(channel);
        if let Ok(live) = self.0.get() {
            live.ignore(channel);
        }
    }

    pub(super) async fn publish(&self, channel: &str, envelope: Bytes) -> Result<(), BrokerError> {
        let live = self.0.get()?;
        limited(async {
            live.publish(channel, envelope).await?;
            // Only then has the server got it.
            live.barrier.pass().await
        })
        .await
    }

    pub(super) async fn store(
        &self,
        channel: &str,
        envelope: Bytes,
        key: &Key,
        limits: Limits,
    ) -> Result<Position, BrokerError> {
        let live = self.0.get()?;
        limited(live.streams.store(channel, envelope, key, limits)).await
    }

    pub(super) async fn fetch(
        &self,
        channel: &str,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        let live = self.0.get()?;
        limited(live.streams.fetch(channel, after, limits)).await
    }

    pub(super) async fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.closing.notify_one();
        self.0.live().take();
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Option<Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Result<Arc<Live>, BrokerError> {
        self.live()
            .clone()
            .ok_or_else(|| unavailable("not connected to NATS"))
    }

    /// Stays connected until [`Nats::close`].
    async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        while !self.closed.load(Ordering::Acquire) {
            let error = match self.connect().await {
                Ok(traffic) => {
                    backoff = Backoff::default();
                    self.events.connected();
                    self.serve(traffic).await
                }
                Err(error) => error,
            };
            self.live().take();
            if self.closed.load(Ordering::Acquire) {
                return;
            }
            self.events.disconnected(&error.to_string());
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = self.closing.notified() => {}
            }
        }
    }

    async fn connect(&self) -> Result<Traffic, BrokerError> {
        let (live, traffic) =
            limited(Live::connect(&self.address, &self.prefix, &self.unsure)).await?;
        let live = Arc::new(live);
        *self.live() = Some(Arc::clone(&live));
        // Whoever subscribes from here on does it on this connection.
        let channels: Vec<_> = self.subscriptions().iter().cloned().collect();
        for channel in channels {
            limited(live.listen(&channel)).await?;
        }
        limited(live.barrier.pass()).await?;
        Ok(traffic)
    }

    /// Passes messages on until something is wrong; returns what.
    async fn serve(&self, mut traffic: Traffic) -> BrokerError {
        loop {
            tokio::select! {
                heard = traffic.next() => match heard {
                    Ok(Some((channel, envelope, position))) => {
                        self.events.message(&channel, envelope, position);
                    }
                    Ok(None) => {}
                    Err(error) => return error,
                },
                () = self.closing.notified() => return unavailable("closed"),
            }
        }
    }
}

fn unavailable(why: impl ToString) -> BrokerError {
    BrokerError::Unavailable(why.to_string())
}

async fn limited<T>(work: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err(unavailable("NATS does not answer")),
    }
}
