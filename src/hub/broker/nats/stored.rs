//! What JetStream says about a stored message, in its headers.

use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::super::contract::Stored;

/// The key under which a message is stored; one that the server has seen is not stored again.
pub(super) const KEY: &str = "Nats-Msg-Id";

/// Where in its history a message is.
pub(super) const OFFSET: &str = "Nats-Sequence";
const TIME: &str = "Nats-Time-Stamp";
const SUBJECT: &str = "Nats-Subject";

/// The end of an answer that has several messages.
const END: u16 = 204;

/// The place of a message in its history.
pub(super) fn offset(message: &Message) -> Option<u64> {
    header(message, OFFSET)?.parse().ok()
}

fn header<'a>(message: &'a Message, name: &'static str) -> Option<&'a str> {
    let value = message.headers.as_ref()?.get(name)?;
    Some(value.as_str())
}

/// Seconds since 1970.
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
    /// As the hub knows it, at the server's time `now`.
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
    /// It is no message, or not one that was stored under `subject`.
    Wrong,
}

impl Part {
    pub(super) fn of(message: &Message, subject: &str) -> Self {
        match message.status {
            None => {}
            // 404: all of them have expired in between.
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
