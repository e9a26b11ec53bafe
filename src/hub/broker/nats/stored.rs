//! The headers of JetStream about a stored message.

use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::super::contract::Stored;

/// The header with the key of a message. The server does not store a message again whose key it has
/// seen.
pub(super) const KEY: &str = "Nats-Msg-Id";

/// The header with the offset of a message in its history.
pub(super) const OFFSET: &str = "Nats-Sequence";
const TIME: &str = "Nats-Time-Stamp";
const SUBJECT: &str = "Nats-Subject";

/// The status that ends an answer of several messages.
const END: u16 = 204;

/// The offset of a message in its history.
pub(super) fn offset(message: &Message) -> Option<u64> {
    header(message, OFFSET)?.parse().ok()
}

fn header<'a>(message: &'a Message, name: &'static str) -> Option<&'a str> {
    let value = message.headers.as_ref()?.get(name)?;
    Some(value.as_str())
}

/// Converts an RFC 3339 time to seconds since 1970.
pub(super) fn seconds(time: &str) -> Option<f64> {
    let time = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    Some(time.unix_timestamp_nanos() as f64 / 1e9)
}

/// A message that was read from a history.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) envelope: Bytes,
    seconds: f64,
}

impl Entry {
    /// Converts the entry for the hub, at the server's time `now`.
    pub(super) fn stored(self, now: f64) -> Stored {
        Stored {
            offset: self.offset,
            envelope: self.envelope,
            age: Duration::try_from_secs_f64(now - self.seconds).unwrap_or_default(),
        }
    }
}

/// One part of an answer.
#[derive(Debug)]
pub(super) enum Part {
    Entry(Entry),
    End,
    /// The part is no message, or no message that was stored under `subject`.
    Wrong,
}

impl Part {
    pub(super) fn of(message: &Message, subject: &str) -> Self {
        match message.status {
            None => {}
            // 404: all messages have expired in between.
            Some(status) if [END, 404].contains(&status.as_u16()) => return Self::End,
            Some(_) => return Self::Wrong,
        }
        let entry = || {
            (header(message, SUBJECT)? == subject).then_some(())?;
            Some(Entry {
                offset: offset(message)?,
                envelope: Bytes::copy_from_slice(&message.payload),
                seconds: seconds(header(message, TIME)?)?,
            })
        };
        entry().map_or(Self::Wrong, Self::Entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("1970-01-01T00:01:00Z"), Some(60.0));
        assert_eq!(seconds("1970-01-01T01:00:00.5+01:00"), Some(0.5));
        assert_eq!(seconds("yesterday"), None);
    }
}
