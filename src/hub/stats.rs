//! The numbers of the hub: connections, groups and losses.

use super::{
    cluster::line::BrokerState,
    groups::table::Groups,
    losses::Losses,
    names::{Channel, Scope},
};
use crate::engine::Engine;

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

/// Whether a channel is that of a user. A name that begins with `~` and a digit is a user of a tenant:
/// the number is the length of the tenant's name (`logins/rights.py`). Other names that begin with `~`
/// are logins.
pub(super) fn is_user(channel: &Channel) -> bool {
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
