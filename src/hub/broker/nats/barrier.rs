//! Waiting until the server has taken everything that was sent so far.
//!
//! The server handles what comes over a connection in order. So a message to oneself that has come
//! back says that all before it has been seen. One is on its way at a time, for all who wait.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use async_nats::{Client, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

use super::{BrokerError, unavailable};

#[derive(Default)]
struct Asked {
    times: AtomicU64,
    called: Notify,
}

/// The way to wait, on one connection.
pub(super) struct Barrier {
    asked: Arc<Asked>,
    /// How many of those who have asked may go on.
    passed: watch::Receiver<u64>,
    task: AbortHandle,
}

impl Barrier {
    pub(super) async fn new(client: &Client) -> Result<Self, BrokerError> {
        let inbox: Subject = client.new_inbox().into();
        let answers = client.subscribe(inbox.clone()).await.map_err(unavailable)?;
        let asked = Arc::new(Asked::default());
        let (pass, passed) = watch::channel(0);
        let answering = answer(client.clone(), inbox, answers, Arc::clone(&asked), pass);
        let task = tokio::spawn(answering).abort_handle();
        Ok(Self {
            asked,
            passed,
            task,
        })
    }

    /// Waits until the server has taken what this task has sent.
    pub(super) async fn pass(&self) -> Result<(), BrokerError> {
        let mine = self.asked.times.fetch_add(1, SeqCst) + 1;
        self.asked.called.notify_one();
        let mut passed = self.passed.clone();
        let waited = passed.wait_for(|passed| *passed >= mine).await;
        waited
            .map(drop)
            .map_err(|_| unavailable("the connection to NATS has broken"))
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    client: Client,
    inbox: Subject,
    mut answers: Subscriber,
    asked: Arc<Asked>,
    pass: watch::Sender<u64>,
) {
    loop {
        asked.called.notified().await;
        let number = asked.times.load(SeqCst);
        let message = number.to_be_bytes().to_vec().into();
        if client.publish(inbox.clone(), message).await.is_err() || answers.next().await.is_none() {
            return;
        }
        let _ = pass.send(number);
    }
}
