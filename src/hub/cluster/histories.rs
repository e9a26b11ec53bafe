//! Histories are asked for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::Link;
use crate::hub::{
    Hub,
    broker::{BrokerError, Fetched},
    delivery::group_message::Message,
    names::Channel,
    position::{Limits, Position},
    wire::{
        envelope::{Body, Envelope},
        payload::Kind,
    },
};

/// A message of a history: its offset, what it is, and its payload.
pub type Kept = (u64, Kind, Bytes);

impl Hub {
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
        let channel = Channel::group(name);
        let (messages, top) = match self.link.get() {
            Some(link) => link.read_history(&channel, limits, timeout)?,
            None => match self.find(&channel).map(|group| {
                let mut state = group.lock();
                let ring = state.ring.as_mut()?;
                ring.trim(Instant::now());
                Some((ring.after(0), ring.position()))
            }) {
                Some(Some(found)) => found,
                _ => (Vec::new(), Position::nowhere()),
            },
        };
        let entries = messages.iter().filter(|one| one.is_readable());
        let entries = entries.map(|one| (one.offset(), one.kind(), one.payload().clone()));
        Ok((entries.collect(), top))
    }
}

impl Hub {
    /// Where a group's history stands: what is said from now on comes after it.
    ///
    /// # Errors
    ///
    /// The name breaks the rules, or the broker cannot be asked.
    pub fn position(
        &'static self,
        name: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Position, BrokerError> {
        let channel = Channel::group(name);
        let Some(link) = self.link.get() else {
            let position = self.find(&channel).and_then(|group| {
                let mut state = group.lock();
                let ring = state.ring.as_mut()?;
                // Somebody will come with it.
                ring.touch(Instant::now());
                Some(ring.position())
            });
            return Ok(position.unwrap_or_else(Position::nowhere));
        };
        // Nothing comes after that, and only where the history stands is read.
        let end = Position {
            offset: i64::MAX as u64 - 1,
            epoch: "".into(),
        };
        let fetched = link.fetch(&channel, Some(end), limits, timeout);
        let fetched = fetched.map_err(|error| {
            link.explain(
                &format!("asking where the history of {name:?} stands"),
                error,
            )
        })?;
        Ok(fetched.top)
    }
}

impl Link {
    pub(super) fn fetch(
        &'static self,
        channel: &Channel,
        after: Option<Position>,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Fetched, BrokerError> {
        let channel = channel.clone();
        self.wait(timeout, async move {
            self.settle().await;
            self.ask(&channel, after.as_ref(), limits).await
        })
    }

    /// Asks for what came after a position; an answer that cannot be true is none.
    pub(super) async fn ask(
        &self,
        channel: &Channel,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        let fetched = self.broker.fetch(channel.as_str(), after, limits).await?;
        if fetched.top.is_possible() {
            Ok(fetched)
        } else {
            let words = "it says that the history stands where none can stand";
            Err(BrokerError::Unavailable(words.into()))
        }
    }

    fn read_history(
        &'static self,
        channel: &Channel,
        limits: Limits,
        timeout: Duration,
    ) -> Result<(Vec<Arc<Message>>, Position), BrokerError> {
        let fetched = self.fetch(channel, None, limits, timeout);
        let fetched = fetched.map_err(|error| {
            let name = channel.name();
            self.explain(&format!("reading the history of {name:?}"), error)
        })?;
        Ok((to_messages(channel, &fetched), fetched.top))
    }
}

/// The message of an envelope.
pub(super) fn to_message(
    channel: &Channel,
    envelope: &Envelope,
    position: Position,
) -> Option<Arc<Message>> {
    let Body::Message(kind, payload) = &envelope.body else {
        return None;
    };
    let name = channel.name();
    let message = Message::new(name.into(), *kind, payload.clone(), Some(position));
    let message = message.excluding(&envelope.excluded);
    Some(Arc::new(message))
}

/// What cannot be read keeps its place.
pub(super) fn to_messages(channel: &Channel, fetched: &Fetched) -> Vec<Arc<Message>> {
    let entries = fetched.entries.iter();
    let messages = entries.map(|stored| {
        let position = Position {
            offset: stored.offset,
            epoch: Arc::clone(&fetched.top.epoch),
        };
        let name = channel.name();
        Envelope::decode(stored.envelope.clone())
            .and_then(|envelope| to_message(channel, &envelope, position.clone()))
            .unwrap_or_else(|| Arc::new(Message::unreadable(name.into(), position)))
    });
    messages.collect()
}
