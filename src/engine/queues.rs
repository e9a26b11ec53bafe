//! What waits in the queues of all connections, and what the connections are.

use std::{collections::BTreeMap, sync::Arc};

use super::{connection::Connection, table::Engine};
use crate::runtime::prefetch;

/// The connections whose memory is fetched at the same time: it fits into the cache nearest to the core.
const AHEAD: usize = 32;

/// The messages and bytes that wait in the queues of several connections, how many of these connections
/// watch the site, and how many there are of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it all
pub struct Queues {
    pub outbox_messages: u64,
    pub outbox_bytes: u64,
    pub inbox_messages: u64,
    pub inbox_bytes: u64,
    pub watchers: u64,
    /// The connections by the `view` and the `transport` of their [`About`](super::About).
    pub views: BTreeMap<(&'static str, &'static str), u64>,
}

impl Queues {
    /// Adds what waits in the queues of some connections, by their ids. Locks one connection at a time.
    ///
    /// The memory of ten thousand connections is in no cache of the processor, and a lock's instruction
    /// waits until it has its line. So all lines of some connections are fetched before they are locked.
    pub fn add(&mut self, engine: &Engine, ids: &[u64]) {
        for part in ids.chunks(AHEAD) {
            let open = engine.some(part);
            open.iter().for_each(|one| one.prefetch());
            open.iter().for_each(|one| one.prefetch_parts());
            for connection in &open {
                let (messages, bytes) = connection.unwritten();
                self.outbox_messages += messages as u64;
                self.outbox_bytes += bytes as u64;
                let (messages, bytes) = connection.waiting();
                self.inbox_messages += messages as u64;
                self.inbox_bytes += bytes as u64;
                self.watchers += u64::from(connection.watches_site());
                if let Some(about) = connection.about() {
                    *self.views.entry((about.view, about.transport)).or_default() += 1;
                }
            }
        }
    }
}

impl Engine {
    /// The ids of all open connections.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.table().keys().copied().collect()
    }

    /// Those of these connections that are open.
    pub(crate) fn some(&self, ids: &[u64]) -> Vec<Arc<Connection>> {
        let table = self.table();
        let found = || ids.iter().filter_map(|id| table.get(id));
        // Their counts of references are changed below.
        found().for_each(|one| prefetch(one.first()));
        found().cloned().collect()
    }
}
