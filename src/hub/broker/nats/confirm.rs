//! Confirms that the server has taken the client's commands.

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Client, RequestErrorKind};
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::{
    super::contract::BrokerError,
    asking::{PING, broken, limited},
};

/// Asks the server for an answer. Tasks that want one at the same time share it.
///
/// NATS does not confirm publishes and subscriptions, but reads the commands of one client in their
/// order: when the server answers a question, it has taken every command before it.
#[derive(Debug)]
pub(super) struct Confirm {
    said: AtomicU64,
    wanted: Notify,
    /// The server has taken every command before this number in `said`; `None` when the connection has
    /// gone.
    taken: watch::Sender<Option<u64>>,
}

impl Confirm {
    pub(super) fn new() -> Self {
        Self {
            said: AtomicU64::new(0),
            wanted: Notify::new(),
            taken: watch::Sender::new(Some(0)),
        }
    }

    /// Waits until the server has taken every command that this task has given to the client.
    pub(super) async fn wait(&self) -> Result<(), BrokerError> {
        let mine = self.said.fetch_add(1, Ordering::AcqRel) + 1;
        self.wanted.notify_one();
        let mut taken = self.taken.subscribe();
        let known = taken.wait_for(|taken| taken.is_none_or(|taken| taken >= mine));
        match known.await {
            Ok(known) if known.is_some() => Ok(()),
            _ => Err(broken()),
        }
    }

    /// Asks whenever a task waits, and at least every [`PING`]; returns the error that ends the
    /// connection.
    pub(super) async fn run(&self, client: &Client, subject: &str) -> BrokerError {
        loop {
            let _ = tokio::time::timeout(PING, self.wanted.notified()).await;
            let said = self.said.load(Ordering::Acquire);
            if let Err(error) = answer(client, subject).await {
                return error;
            }
            self.taken.send_replace(Some(said));
        }
    }

    /// Waits until the connection has gone; returns the error for that.
    pub(super) async fn ended(&self) -> BrokerError {
        let mut taken = self.taken.subscribe();
        let _ = taken.wait_for(Option::is_none).await;
        broken()
    }

    /// Tells the tasks that wait that there will be no answer.
    pub(super) fn end(&self) {
        self.taken.send_replace(None);
    }
}

/// Waits until the server has answered that `subject` has no subscriber.
pub(super) async fn answer(client: &Client, subject: &str) -> Result<(), BrokerError> {
    let request = async {
        match client.request(subject.to_owned(), Bytes::new()).await {
            Err(error) if error.kind() != RequestErrorKind::NoResponders => Err(error),
            _ => Ok(()),
        }
    };
    limited(request).await
}
