//! The numbers of the hub: connections, groups and losses.

use super::{cluster::line::BrokerState, groups::table::Groups, losses::Losses};
use crate::{engine::Engine, runtime::figures};

/// The result of [`Hub::stats`](super::Hub::stats); all numbers are those of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubStats {
    /// Open connections.
    pub connections: usize,
    /// Groups that have members, a history, or messages that wait.
    pub groups: usize,
    /// Memberships of connections in groups.
    pub memberships: usize,
    /// Users who have a connection.
    pub users: usize,
    /// Messages that were dropped because an outbox was full, including those of connections that have
    /// ended.
    pub dropped: u64,
    /// Messages that wait for the broker.
    pub waiting: usize,
    /// Messages that were lost on the way over the broker: the broker never takes them, a presence
    /// message could not be sent, they came faster than this process could take them, or they are
    /// malformed. The true number may be higher: messages that a server or a client library discards are
    /// not counted.
    pub lost: u64,
    /// The state of the connection to the broker.
    pub broker: BrokerState,
}

impl HubStats {
    /// Reads the present numbers, and the losses since the process began.
    pub(super) fn read(
        groups: &Groups,
        losses: &Losses,
        broker: BrokerState,
        engine: &Engine,
    ) -> Self {
        let census = groups.census();
        Self {
            connections: engine.count(),
            groups: census.groups(),
            memberships: census.memberships(),
            users: census.users(),
            dropped: figures::dropped(),
            waiting: census.waiting(),
            lost: losses.count(),
            broker,
        }
    }
}
