//! What a broker has to do, and what it tells.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;

use crate::hub::position::Position;

/// Where a history stands is remembered for so long: longer than any message.
pub(super) const META_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What can go wrong with a broker.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BrokerError {
    /// The URL in the settings cannot be used.
    #[error("the broker's URL cannot be used: {0}")]
    Url(String),
    /// The server cannot be reached, says no, or is too slow.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// The server takes no message of this size; its limit in bytes.
    #[error("the broker takes no message of more than {0} bytes")]
    TooLarge(usize),
}

/// Who hears from a broker. Called by its task, in order; must not block.
pub trait Events: Send + Sync + 'static {
    /// Something was published to a channel that is subscribed to, or stored in its history; then with
    /// its position. What matches several subscriptions may come several times, and so may what was
    /// stored again.
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>);

    /// The connection is there (again), and everything that was subscribed to is (again).
    fn connected(&self);

    /// Messages were discarded on their way here.
    fn lost(&self);

    /// The server does not allow one of the subscriptions; the others are there.
    fn refused(&self, _channel: &str, _error: &BrokerError) {}

    /// The connection could not be made, or has broken.
    fn disconnected(&self, error: &str);
}

/// Makes it safe to store a message again of which nobody knows if it was stored.
#[derive(Clone, Debug)]
pub struct Key {
    /// Who publishes; unique in time and space.
    pub publisher: Arc<str>,
    /// Rises from message to message of one publisher in one channel.
    pub sequence: u64,
}

/// A message of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub offset: u64,
    /// As it was given to [`Broker::store`].
    pub envelope: Bytes,
    /// For how long it has been there, by the server's clock.
    pub age: Duration,
}

/// The end of a channel's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The oldest first.
    pub entries: Vec<Stored>,
    /// Where the history stands; offset 0 if nothing was ever stored.
    pub top: Position,
    /// Whether the entries are all that came after the position that was asked for.
    pub complete: bool,
}

/// Entries of a history that may be missing; where it is more, what comes before is of no use.
const MAX_HOLE: u64 = 1_000;

impl Fetched {
    /// Entries that are missing, as somebody has removed them, get empty envelopes: they keep their
    /// places, and cannot be read.
    #[doc(hidden)] // Public for the fuzz target.
    #[must_use]
    pub fn new(found: Vec<Stored>, top: Position, after: Option<&Position>) -> Self {
        let mut entries: Vec<Stored> = Vec::with_capacity(found.len());
        let hole = |offset, age| Stored {
            offset,
            envelope: Bytes::new(),
            age,
        };
        for one in found {
            let next = entries
                .last()
                .map_or(one.offset, |last| last.offset.saturating_add(1));
            if one.offset == 0 || one.offset < next || one.offset > top.offset {
                continue;
            }
            if one.offset - next > MAX_HOLE {
                entries.clear();
            } else {
                entries.extend((next..one.offset).map(|offset| hole(offset, one.age)));
            }
            entries.push(one);
        }
        if let Some(last) = entries.last().filter(|last| last.offset < top.offset) {
            if top.offset - last.offset > MAX_HOLE {
                entries.clear();
            } else {
                let (next, age) = (last.offset + 1, last.age);
                entries.extend((next..=top.offset).map(|offset| hole(offset, age)));
            }
        }
        let floor = top.offset - entries.len() as u64;
        let complete = after.is_none_or(|after| after.epoch == top.epoch && after.offset == floor);
        Self {
            entries,
            top,
            complete,
        }
    }
}

/// Finds passwords that end the URL's authority too early, so that a part of them would be taken for
/// a host, a port or a path, and shown as such.
pub(super) fn check_quoting(url: &str) -> Result<(), BrokerError> {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.ends_with("unix") => rest,
        _ => return Ok(()),
    };
    let after = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    if after.contains('@') {
        return Err(BrokerError::Url(
            "a /, ? or # in a name or a password is written %2F, %3F or %23".into(),
        ));
    }
    Ok(())
}
