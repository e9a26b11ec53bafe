//! What the hub has, and what it has lost.

use super::{
    cluster::line::BrokerState,
    groups::table::Groups,
    losses::Losses,
    names::{Channel, Scope},
};
use crate::engine::Engine;

/// A reading of [`Hub::stats`](super::Hub::stats); all of it is of this process.
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
    /// Messages that connections, also those that have ended, lost to full outboxes.
    pub dropped: u64,
    /// Messages that wait for the broker.
    pub waiting: usize,
    /// What the way over the broker has lost: messages that it never takes, or that came faster than
    /// they could be taken, or that are none. At least so many: what a server or a client library discards, it does not
    /// count.
    pub lost: u64,
    /// How things stand with the broker.
    pub broker: BrokerState,
}

impl HubStats {
    /// What there is now, and what has been lost since the process began.
    pub(super) fn read(
        groups: &Groups,
        losses: &Losses,
        broker: BrokerState,
        engine: &Engine,
    ) -> Self {
        let (connections, dropped) = engine.connections_and_dropped();
        let mut stats = Self {
            connections,
            groups: 0,
            memberships: 0,
            users: 0,
            dropped,
            waiting: 0,
            lost: losses.count(),
            broker,
        };
        for group in groups.all() {
            let state = group.lock();
            stats.waiting += state.outbound.len();
            if group.channel.scope() == Scope::Group {
                stats.groups += 1;
                stats.memberships += state.len();
            } else if is_user(&group.channel) && state.len() > 0 {
                stats.users += 1;
            }
        }
        stats
    }
}

/// Names that begin with `~` stand for something else of a user: a login (`rights.py`).
fn is_user(channel: &Channel) -> bool {
    channel.scope() == Scope::User && !channel.name().starts_with('~')
}
