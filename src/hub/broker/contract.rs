//! The types that brokers and the hub share: events, errors and histories.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use thiserror::Error;

use crate::hub::position::Position;

/// How long the position of a history is remembered: for this time, or for twice the time that the
/// history keeps messages if that is longer.
pub(super) const META_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The errors of a broker.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BrokerError {
    /// The URL in the settings cannot be used.
    #[error("the broker's URL cannot be used: {0}")]
    Url(String),
    /// The server cannot be reached, refuses, or is too slow.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// The server takes no message of this size; its limit in bytes.
    #[error("the broker takes no message of more than {0} bytes")]
    TooLarge(usize),
}

/// Gets the events of a broker. The broker's task calls the methods, in order; they must not block.
pub trait Events: Send + Sync + 'static {
    /// A message was published to a subscribed channel, or stored in its history; then it has a
    /// position. A message that matches several subscriptions may come several times, and so may a
    /// message that was stored again.
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>);

    /// Something came on a channel that is no message of this package; it is ignored.
    fn malformed(&self, _channel: &str) {}

    /// The connection is there (again), and all subscriptions are made (again).
    fn connected(&self);

    /// Messages were discarded on their way here.
    fn lost(&self);

    /// The server does not allow one of the subscriptions; the others are there.
    fn refused(&self, _channel: &str, _error: &BrokerError) {}

    /// The connection could not be made, or has broken.
    fn disconnected(&self, error: &str);
}

/// Identifies a message, so that it can be stored again safely if it is unknown whether it was stored.
#[derive(Clone, Debug)]
pub struct Key {
    /// The name of the publisher; unique in time and space.
    pub publisher: Arc<str>,
    /// A number that rises from message to message of one publisher in one channel.
    pub sequence: u64,
}

/// A message of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The offset in the history.
    pub offset: u64,
    /// The envelope that was given to `Broker::store`.
    pub envelope: Bytes,
    /// The time since the message was stored, by the server's clock.
    pub age: Duration,
}

/// The latest entries of a channel's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The entries, oldest first.
    pub entries: Vec<Stored>,
    /// The position of the history; offset 0 if nothing was ever stored.
    pub top: Position,
    /// Whether the entries are all that came after the position that was asked for.
    pub complete: bool,
}

/// The most entries that may be missing in one gap. Entries before a larger gap are of no use.
const MAX_HOLE: u64 = 1_000;

impl Fetched {
    /// Fills gaps: an entry that somebody has removed gets an empty envelope, which keeps its place and
    /// cannot be read.
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

/// Refuses a URL whose password ends the authority too early. Otherwise a part of the password would be
/// taken for a host, a port or a path, and shown as such.
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

/// Splits `<offset>|<epoch>|<envelope>`, which the script in Redis has put together. Returns `None` for
/// other bytes, which any program may publish.
#[doc(hidden)] // Public for the fuzz target.
#[must_use]
pub fn positioned(announced: &Bytes) -> Option<(Position, Bytes)> {
    let mut bars = (0..announced.len()).filter(|at| announced[*at] == b'|');
    let (first, second) = (bars.next()?, bars.next()?);
    let offset = std::str::from_utf8(&announced[..first])
        .ok()?
        .parse()
        .ok()?;
    let epoch = std::str::from_utf8(&announced[first + 1..second]).ok()?;
    let position = Position {
        offset,
        epoch: epoch.into(),
    };
    Some((position, announced.slice(second + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64, epoch: &str) -> Position {
        Position {
            offset,
            epoch: epoch.into(),
        }
    }

    #[test]
    fn a_message_is_told_with_its_position() {
        let split = |text: &'static [u8]| positioned(&Bytes::from_static(text));
        let found = split(b"7|3f2a|a|b");
        assert_eq!(found, Some((at(7, "3f2a"), Bytes::from_static(b"a|b"))));
        assert_eq!(split(b"7||"), Some((at(7, ""), Bytes::new())));
        for wrong in [
            &b""[..],
            b"|",
            b"||",
            b"7|",
            b"7",
            b"-7|e|",
            b"x|e|",
            b"7|\xff|",
            b"99999999999999999999|e|",
        ] {
            assert_eq!(split(wrong), None);
        }
    }

    #[test]
    fn what_was_fetched_is_complete_only_without_a_gap() {
        let stored = |offset: &u64| Stored {
            offset: *offset,
            envelope: Bytes::new(),
            age: Duration::ZERO,
        };
        let entries = |offsets: &[u64]| offsets.iter().map(stored).collect();
        for (found, top, after, complete) in [
            (&[][..], 0, Some(at(0, "e")), true),
            (&[], 5, Some(at(5, "e")), true),
            (&[], 5, Some(at(4, "e")), false),
            (&[], 4, Some(at(5, "e")), false),
            (&[5, 6], 6, Some(at(4, "e")), true),
            (&[6], 6, Some(at(4, "e")), false),
            (&[5], 6, Some(at(4, "e")), true),
            (&[5], 5, Some(at(4, "x")), false),
            (&[5], 5, None, true),
            (&[2, 3, 5, 6], 6, Some(at(1, "e")), true),
            (&[2, 2, 9, 3], 3, Some(at(1, "e")), true),
            (&[2, 4_000], 4_000, Some(at(1, "e")), false),
            (&[2, 4_000], 4_000, Some(at(3_999, "e")), true),
            (&[2], 4_000, Some(at(1, "e")), false),
            (&[5], u64::MAX, Some(at(u64::MAX, "e")), true),
            (&[u64::MAX], u64::MAX, Some(at(u64::MAX, "e")), false),
            (&[0], 0, Some(at(0, "e")), true),
        ] {
            let fetched = Fetched::new(entries(found), at(top, "e"), after.as_ref());
            assert_eq!(fetched.complete, complete, "{found:?} {top} {after:?}");
            let offsets = fetched.entries.iter().map(|entry| entry.offset);
            let floor = top - fetched.entries.len() as u64;
            assert!(
                offsets.eq((floor..top).map(|offset| offset + 1)),
                "{found:?} {top}"
            );
        }
    }
}
