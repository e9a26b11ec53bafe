//! Refusals of the server, which do not say which request they answer.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{super::contract::BrokerError, asking::unavailable};

/// The most subjects that are remembered.
const MAX_SUBJECTS: usize = 1_000;

/// The time that the client may need to hand on a refusal that came before an answer.
const DELAY: Duration = Duration::from_millis(20);

/// An action that a connection is not allowed to do, with its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied<'a> {
    Publish(&'a str),
    Subscribe(&'a str),
}

impl<'a> Denied<'a> {
    /// Reads `Permissions Violation for Publish to "subject"`.
    pub(super) fn read(words: &'a str) -> Option<Self> {
        let lower = words.to_ascii_lowercase();
        let what = lower.split_once("permissions violation for ")?.1;
        let subject = words.split('"').nth(1)?;
        if what.starts_with("publish") {
            Some(Self::Publish(subject))
        } else if what.starts_with("subscription") {
            Some(Self::Subscribe(subject))
        } else {
            None
        }
    }

    pub(super) fn subject(self) -> &'a str {
        match self {
            Self::Publish(subject) | Self::Subscribe(subject) => subject,
        }
    }
}

/// Refusals of one connection, by subject.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// A std mutex: held for a map operation.
    known: Mutex<HashMap<String, (Instant, String)>>,
    noted: Notify,
}

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, String)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, subject: &str, words: &str) {
        let mut known = self.lock();
        if known.len() >= MAX_SUBJECTS && !known.contains_key(subject) {
            known.clear();
        }
        known.insert(subject.to_owned(), (Instant::now(), words.to_owned()));
        drop(known);
        self.noted.notify_waiters();
    }

    fn since(&self, subject: &str, begun: Instant) -> Option<BrokerError> {
        let known = self.lock();
        let (at, words) = known.get(subject)?;
        (*at >= begun).then(|| unavailable(words))
    }

    /// Fails if the server has refused the subject since `begun`. Call it after the server has answered
    /// a later question.
    pub(super) async fn check(&self, subject: &str, begun: Instant) -> Result<(), BrokerError> {
        if self.lock().contains_key(subject) && self.since(subject, begun).is_none() {
            tokio::time::sleep(DELAY).await;
        }
        self.since(subject, begun).map_or(Ok(()), Err)
    }

    /// Waits until the server refuses the subject, at `begun` or later.
    pub(super) async fn wait(&self, subject: &str, begun: Instant) -> BrokerError {
        loop {
            let noted = self.noted.notified();
            tokio::pin!(noted);
            noted.as_mut().enable();
            if let Some(error) = self.since(subject, begun) {
                return error;
            }
            noted.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_read() {
        for (words, expected) in [
            (
                "Permissions Violation for Publish to \"a.b\"",
                Some(Denied::Publish("a.b")),
            ),
            (
                "nats: Permissions Violation for Subscription to \"a.>\" using queue \"q\"",
                Some(Denied::Subscribe("a.>")),
            ),
            ("permissions violation for publish", None),
            ("Authorization Violation", None),
            ("maximum subscriptions exceeded", None),
        ] {
            assert_eq!(Denied::read(words), expected, "{words}");
        }
    }
}
