//! What monitoring shows of a connection.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::Connection;

/// What the layers above tell of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The path of the request.
    pub path: Box<str>,
    /// The address of the peer.
    pub address: Box<str>,
}

impl Connection {
    /// Says what the connection is, once; later calls do nothing.
    pub fn describe(&self, about: About) {
        let _ = self.about.set(Box::new(about));
    }

    /// What the connection is, if that was said.
    #[must_use]
    pub fn about(&self) -> Option<&About> {
        self.about.get().map(|about| &**about)
    }

    /// When the connection was made, in milliseconds since 1970.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// The messages that wait to be written, and all bytes that do.
    pub(in crate::engine) fn unwritten(&self) -> (usize, usize) {
        if self.is_foreign() {
            return (0, 0);
        }
        self.outbox().backlog()
    }

    /// Reads something of each part of the connection that [`Self::unwritten`] and [`Self::waiting`] need.
    pub(in crate::engine) fn touch(&self) -> usize {
        let polled = usize::from(self.handler.is_polled());
        polled + Arc::strong_count(&self.signal) + std::ptr::from_ref(self.shared).addr()
    }

    /// The messages that wait for the application, and their bytes.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        if self.is_foreign() {
            return (0, 0);
        }
        self.handler.waiting()
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
