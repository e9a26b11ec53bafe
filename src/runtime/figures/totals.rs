//! A reading of the counters.

use serde_json::{Map, Value, json};

use super::layout::{
    BOUNDS, CLOSED, CODES, COUNTERS, Counter, MESSAGES, REFUSED, ROUND_TRIPS, STATUSES,
};

/// The place of the close code 1006: the connection broke.
const BROKEN: usize = CLOSED + 6;

/// A reading of the counters of one process, or the sum of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Received messages and bytes, sent messages and bytes except those to many, and dropped messages
    /// by policy.
    pub(super) messages: [u64; MESSAGES],
    pub(super) counters: Box<[u64]>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            messages: [0; MESSAGES],
            counters: vec![0; COUNTERS].into(),
        }
    }
}

impl Totals {
    /// Adds another reading.
    pub fn add(&mut self, other: &Self) {
        for (sum, one) in self.messages.iter_mut().zip(&other.messages) {
            *sum = sum.saturating_add(*one);
        }
        for (sum, one) in self.counters.iter_mut().zip(&other.counters) {
            *sum = sum.saturating_add(*one);
        }
    }

    /// The connections that were opened and have not ended.
    #[must_use]
    pub fn open(&self) -> u64 {
        let closed: u64 = self.counters[CLOSED..].iter().sum();
        self.get(Counter::Opened).saturating_sub(closed)
    }

    /// Counts the open connections of a dead process as broken: so their peers see them.
    pub(super) fn bury(&mut self) {
        self.counters[BROKEN] += self.open();
    }

    /// One counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// The counters by name. Close codes and statuses that never occurred are left out.
    #[must_use]
    pub fn shown(&self) -> Value {
        let [
            received_messages,
            received_bytes,
            sent_messages,
            sent_bytes,
            close,
            drop_oldest,
            drop_newest,
            block,
        ] = self.messages;
        let mut bounds: Vec<_> = BOUNDS
            .iter()
            .map(|micros| json!(*micros as f64 / 1e6))
            .collect();
        bounds.push(Value::Null);
        json!({
            "opened": self.get(Counter::Opened),
            "closed": self.by_code(),
            "refused": self.by_status(),
            "received_messages": received_messages,
            "received_bytes": received_bytes,
            "sent_messages": sent_messages + self.get(Counter::BroadcastMessages),
            "sent_bytes": sent_bytes + self.get(Counter::BroadcastBytes),
            "dropped": {
                "close": close,
                "drop_oldest": drop_oldest,
                "drop_newest": drop_newest,
                "block": block,
            },
            "view_errors": self.get(Counter::ViewErrors),
            "lost": self.get(Counter::Lost),
            "round_trips": {
                "bounds": bounds,
                "counts": &self.counters[ROUND_TRIPS..REFUSED],
                "nanoseconds": self.get(Counter::RoundTripNanos),
            },
        })
    }

    fn by_code(&self) -> Value {
        let name = |place: usize| match CODES - place {
            3 => "3xxx".to_owned(),
            2 => "4xxx".to_owned(),
            1 => "other".to_owned(),
            _ => (place + 1000).to_string(),
        };
        named(&self.counters[CLOSED..], name)
    }

    fn by_status(&self) -> Value {
        let name = |place: usize| match place {
            _ if place + 1 == STATUSES => "other".to_owned(),
            _ => (place + 400).to_string(),
        };
        named(&self.counters[REFUSED..CLOSED], name)
    }
}

fn named(counters: &[u64], name: impl Fn(usize) -> String) -> Value {
    let counted = counters.iter().enumerate().filter(|(_, count)| **count > 0);
    let named: Map<_, _> = counted
        .map(|(place, count)| (name(place), json!(count)))
        .collect();
    named.into()
}
