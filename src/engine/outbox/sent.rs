//! The results of a send.

/// The result of sending a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Written or queued.
    Done,
    /// Queued; this many older messages were dropped for it.
    DroppedOldest(u64),
    /// Dropped: the outbox is full.
    Dropped,
    /// Not taken: the outbox is full, and the caller decides.
    Full,
    /// Not taken: the outbox is full, and the connection must be failed.
    Overflowed,
    /// Not taken: the connection is closing or closed.
    Closed,
}

impl Sent {
    /// The number of messages that were lost by this send.
    pub(in crate::engine) fn lost(self) -> u64 {
        match self {
            Self::Done | Self::Full | Self::Closed => 0,
            Self::DroppedOldest(lost) => lost,
            Self::Dropped | Self::Overflowed => 1,
        }
    }
}
