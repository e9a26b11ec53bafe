//! The hub for the layers above: each call goes to the part that does the work.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    broker::BrokerError,
    cluster::line::BrokerState,
    delivery::target::{Outgoing, Published, Target},
    error::HubError,
    groups::{
        archive::Kept,
        members::{Join, Joined, Members},
    },
    parts::Parts,
    position::{Limits, Position},
    presence::Member,
    stats::HubStats,
};
use crate::engine::{Connection, Engine};

/// The groups of a process.
pub struct Hub(pub(super) Parts);

impl Hub {
    /// Sends a message to everybody who belongs to one of the targets, in this process and, over the
    /// broker, in the others. It fails where a name breaks the rules, or where there are too many.
    pub fn publish(&self, outgoing: &Outgoing) -> Result<Published, HubError> {
        self.0.publisher.publish(outgoing)
    }

    /// Closes the connections of the targets, in all processes. It fails as [`Hub::publish`].
    pub fn disconnect(
        &self,
        targets: Vec<Target>,
        code: u16,
        reason: &str,
        timeout: Duration,
    ) -> Result<Published, HubError> {
        let publisher = &self.0.publisher;
        publisher.disconnect(targets, code, reason, timeout)
    }

    /// Makes a connection a member, and sends it what it has missed. Where it is a member already, the
    /// others hear of it only if its `info` or `present` has changed.
    pub fn join(
        &'static self,
        connection: &Arc<Connection>,
        name: &str,
        join: Join,
    ) -> Result<Joined, HubError> {
        self.0.members.join(connection, name, join)
    }

    /// Makes a connection reachable as one of a user's.
    pub fn identify(&'static self, connection: &Arc<Connection>, user: &str) {
        self.0.members.identify(connection, user);
    }

    /// Ends a membership; false if there was none.
    pub fn leave(&self, connection: &Arc<Connection>, name: &str, reply: Option<&str>) -> bool {
        self.0.members.leave(connection, name, reply)
    }

    /// The names of the groups of a connection.
    #[must_use]
    pub fn groups_of(connection: &Connection) -> Vec<String> {
        Members::groups_of(connection)
    }

    /// The name by which all processes know a connection of this one.
    #[must_use]
    pub fn member_id(&self, connection: u64) -> Arc<str> {
        self.0.node.member_id(connection)
    }

    /// The members of groups in all processes: those who are present in one of them, each once, as in
    /// the first of these. Right after a connection to the broker was made, this waits for at most a
    /// second.
    #[must_use]
    pub fn members(&self, names: &[&str]) -> Vec<Member> {
        self.0.attendance.members(names)
    }

    /// The groups with present members, in all processes, whose names begin with `prefix`, and how
    /// many they have. It may wait as [`Hub::members`].
    #[must_use]
    pub fn occupied(&self, prefix: &str) -> BTreeMap<Arc<str>, usize> {
        self.0.attendance.occupied(prefix)
    }

    /// How many members groups have, each counted once: those who are present in all processes, or
    /// else, group by group, those of this process. It may wait as [`Hub::members`].
    #[must_use]
    pub fn count(&self, names: &[&str]) -> usize {
        self.0.attendance.count(names)
    }

    /// What a group has said of late, the oldest first, and where it stands. It fails where the broker
    /// cannot be asked.
    pub fn history(
        &self,
        name: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<(Vec<Kept>, Position), BrokerError> {
        self.0.archive.history(name, limits, timeout)
    }

    /// Where a group's history stands: what is said from now on comes after it. It fails where the
    /// broker cannot be asked.
    pub fn position(
        &self,
        name: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Position, BrokerError> {
        self.0.archive.position(name, limits, timeout)
    }

    /// Connects the hub to a broker, once; later calls do nothing. It fails where the URL cannot be used.
    pub fn connect(&'static self, url: &str, prefix: &str) -> Result<(), BrokerError> {
        self.0.cluster.connect(url, prefix)
    }

    /// How things stand with the broker.
    #[must_use]
    pub fn broker_state(&self) -> BrokerState {
        self.0.cluster.state()
    }

    /// Where the broker is, without the name and the password; `None` where there is none.
    #[must_use]
    pub fn broker_address(&self) -> Option<String> {
        Some(self.0.cluster.link()?.line.address())
    }

    /// Waits until nothing waits for the broker any more; false where something still does.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.cluster.flush(timeout)
    }

    /// What there is now, and what has been lost since the process began.
    #[must_use]
    pub fn stats(&self, engine: &Engine) -> HubStats {
        HubStats::read(self.0.groups, self.0.losses, self.broker_state(), engine)
    }
}
