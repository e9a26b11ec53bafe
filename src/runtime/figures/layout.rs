//! The places of the counters.

/// The counters of a stripe.
pub(super) const MESSAGES: usize = 8;

/// The upper bounds of the histogram of round-trip times, in microseconds; one more place has the rest.
pub(super) const BOUNDS: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The policies by which a full outbox loses messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it all
pub enum Policy {
    Close,
    DropOldest,
    DropNewest,
    Block,
}

/// The counters that have a place each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it all
pub enum Counter {
    Opened,
    ViewErrors,
    /// Messages that were lost on the way over the broker.
    Lost,
    BroadcastMessages,
    BroadcastBytes,
    RoundTripNanos,
}

impl Counter {
    pub(super) const NUMBER: usize = Self::RoundTripNanos as usize + 1;
}

/// Refused handshakes: a place for each HTTP status from 400 to 599, and one for all others.
pub(super) const STATUSES: usize = 201;
/// Closed connections: a place for each close code from 1000 to 4999, and three for codes of applications
/// that only peers have said (3xxx, 4xxx) and for all others.
pub(super) const CODES: usize = 4003;

/// The parts of the list of counters: `counters`, `round_trips`, `refused` and `closed` follow each other.
pub(super) const ROUND_TRIPS: usize = Counter::NUMBER;
pub(super) const REFUSED: usize = ROUND_TRIPS + BOUNDS.len() + 1;
pub(super) const CLOSED: usize = REFUSED + STATUSES;
pub(super) const COUNTERS: usize = CLOSED + CODES;
