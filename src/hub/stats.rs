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

/// Names that begin with `~` stand for something else of a user: a login. Those of a tenant's users have
/// the length of the tenant's name there (`logins/rights.py`).
fn is_user(channel: &Channel) -> bool {
    let special = channel.name().strip_prefix('~');
    channel.scope() == Scope::User
        && special.is_none_or(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_no_users_and_those_of_tenants_are() {
        for (channel, expected) in [
            (Channel::user("7"), true),
            (Channel::user("~6:chengd:7"), true),
            (Channel::user("~active:7:"), false),
            (Channel::user("~session:0123"), false),
            (Channel::group("7"), false),
            (Channel::everybody(), false),
        ] {
            assert_eq!(is_user(&channel), expected, "{channel}");
        }
    }
}
