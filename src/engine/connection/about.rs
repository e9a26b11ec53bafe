//! What monitoring shows of a connection.

use std::sync::atomic::Ordering::Relaxed;

use super::{About, Connection};
use crate::runtime::{
    figures::{self, Stripe},
    prefetch,
};

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

    /// Says that the peer is a page which watches the site. From now on, its messages are not counted in
    /// the figures of the process: the page would see its own traffic.
    pub fn watch_site(&self) {
        if self.is_foreign() {
            return;
        }
        self.watching.store(true, Relaxed);
        self.outbox().count_in(figures::uncounted());
    }

    /// Whether the peer is a page which watches the site.
    #[must_use]
    pub fn watches_site(&self) -> bool {
        self.watching.load(Relaxed)
    }

    /// Counts the messages of the connection.
    pub(super) fn stripe(&self) -> &'static Stripe {
        match self.watches_site() {
            true => figures::uncounted(),
            false => self.stripe,
        }
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

    /// The part of the connection that is next to its count of references.
    pub(in crate::engine) fn first(&self) -> &u64 {
        &self.id
    }

    /// Has the processor fetch the memory of the connection.
    pub(in crate::engine) fn prefetch(&self) {
        prefetch(self);
    }

    /// Has the processor fetch the memory of the handler and of what the connection is. The memory of the
    /// connection should be there.
    pub(in crate::engine) fn prefetch_parts(&self) {
        prefetch(&*self.handler);
        if let Some(about) = self.about() {
            prefetch(about);
        }
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
