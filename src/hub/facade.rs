//! The hub for the layers above: each call goes to the part that does the work.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    answering::Answering,
    broker::BrokerError,
    cluster::line::BrokerState,
    delivery::target::{Outgoing, Published, Target},
    error::HubError,
    groups::{
        archive::Kept,
        members::{Join, Joined, Members},
    },
    names::Channel,
    parts::Parts,
    position::{Limits, Position},
    presence::Member,
    stats::HubStats,
};
use crate::engine::{Connection, Engine};

/// The groups of a process.
pub struct Hub(pub(super) Parts);

impl Hub {
    /// Sends a message to every connection that belongs to one of the targets, in this process and, over
    /// the broker, in the others. Fails if a group's name breaks the rules, or if the call has too many
    /// targets or excluded connections.
    pub fn publish(&self, outgoing: &Outgoing) -> Result<Published, HubError> {
        self.0.publisher.publish(outgoing)
    }

    /// Closes the connections of the targets, in all processes. Fails like [`Hub::publish`].
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

    /// Makes a connection a member of a group, and sends it the messages that it has missed. If the
    /// connection is a member already, the other members are told only if its `info` or `present` has
    /// changed.
    pub fn join(
        &'static self,
        connection: &Arc<Connection>,
        name: &str,
        join: Join,
    ) -> Result<Joined, HubError> {
        self.0.members.join(connection, name, join)
    }

    /// Adds a connection to those of a user, so that messages to the user reach it.
    pub fn identify(&'static self, connection: &Arc<Connection>, user: &str) {
        self.identify_within(connection, user, Duration::ZERO);
    }

    /// Adds a connection to those of a user, and waits at most `timeout` for the broker: after that,
    /// messages from other processes reach the connection, too.
    pub fn identify_within(
        &'static self,
        connection: &Arc<Connection>,
        user: &str,
        timeout: Duration,
    ) {
        self.0.members.identify(connection, user, timeout);
    }

    /// Ends what [`Hub::identify`] has begun.
    pub fn forget_user(&self, connection: &Arc<Connection>, user: &str) {
        self.0.members.forget_user(connection, user);
    }

    /// Ends a membership; returns false if there was none.
    pub fn leave(&self, connection: &Arc<Connection>, name: &str, reply: Option<&str>) -> bool {
        self.0.members.leave(connection, name, reply)
    }

    /// The names of the groups of a connection.
    #[must_use]
    pub fn groups_of(connection: &Connection) -> Vec<String> {
        Members::groups_of(connection)
    }

    /// The users of a connection: those whose messages reach it.
    #[must_use]
    pub fn users_of(connection: &Connection) -> Vec<String> {
        let users = Members::channels_of(connection)
            .into_iter()
            .filter(Channel::is_user);
        users.map(|channel| channel.name().to_owned()).collect()
    }

    /// The groups of this process with members, and their number here, by name. `after`: only the names
    /// behind this one; `search`: only the names that contain this text; upper and lower case are the same.
    #[must_use]
    pub fn groups(&self, after: &str, search: &str, most: usize) -> Vec<(String, usize)> {
        let mut found = BTreeMap::new();
        let search = search.to_lowercase();
        let contains = |name: &str| search.is_empty() || name.to_lowercase().contains(&search);
        for group in self.0.groups.all() {
            let name = group.channel.group_name().unwrap_or_default();
            if name > after && contains(name) {
                let members = group.lock().len();
                if members > 0 {
                    found.insert(name.to_owned(), members);
                }
                if found.len() > most {
                    found.pop_last();
                }
            }
        }
        found.into_iter().collect()
    }

    /// Sets who answers the questions of other processes; later calls do nothing.
    pub fn answer_by(&self, answering: Arc<dyn Answering>) {
        self.0.inquiries.answer_by(answering);
    }

    /// Asks all other processes that have the same broker. Returns the answers that come within
    /// `timeout`; none if there is no broker.
    pub fn ask(&'static self, question: &[u8], timeout: Duration) -> Vec<Bytes> {
        self.0.inquiries.ask(question, timeout)
    }

    /// The id by which all processes know a connection of this process.
    #[must_use]
    pub fn member_id(&self, connection: u64) -> Arc<str> {
        self.0.node.member_id(connection)
    }

    /// The members of groups in all processes: those that are present in at least one of the groups,
    /// each once, with its `info` in the first of them. Waits at most two seconds: while a connection to
    /// the broker is being made, and for up to one second after that.
    #[must_use]
    pub fn members(&self, names: &[&str]) -> Vec<Member> {
        self.0.attendance.members(names)
    }

    /// The groups whose names begin with `prefix` and that have present members in any process, with the
    /// number of these members. Waits like [`Hub::members`].
    #[must_use]
    pub fn occupied(&self, prefix: &str) -> BTreeMap<Arc<str>, usize> {
        self.0.attendance.occupied(prefix)
    }

    /// The number of members of groups, each counted once. A group with present members counts those of
    /// all processes; another group counts its members in this process. Waits like [`Hub::members`].
    #[must_use]
    pub fn count(&self, names: &[&str]) -> usize {
        self.0.attendance.count(names)
    }

    /// Returns the messages in a group's history, oldest first, and the position of the history. Fails
    /// if the broker cannot be asked.
    pub fn history(
        &self,
        name: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<(Vec<Kept>, Position), BrokerError> {
        self.0.archive.history(name, limits, timeout)
    }

    /// Returns the position of a group's history: later messages come after it. Fails if the broker
    /// cannot be asked.
    pub fn position(
        &self,
        name: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Position, BrokerError> {
        self.0.archive.position(name, limits, timeout)
    }

    /// Forgets the histories of groups without members, unless a broker keeps them. For tests.
    pub fn forget_histories(&self) {
        self.0.groups.forget_histories();
    }

    /// Connects the hub to a broker, once; later calls do nothing. Fails if the URL cannot be used.
    pub fn connect(&'static self, url: &str, prefix: &str) -> Result<(), BrokerError> {
        self.0.cluster.connect(url, prefix)
    }

    /// The state of the connection to the broker.
    #[must_use]
    pub fn broker_state(&self) -> BrokerState {
        self.0.cluster.state()
    }

    /// The URL of the broker without the user name and the password; `None` if there is no broker.
    #[must_use]
    pub fn broker_address(&self) -> Option<String> {
        Some(self.0.cluster.link()?.line.address())
    }

    /// Waits until no message waits for the broker any more; returns false if some still wait after
    /// `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.cluster.flush(timeout)
    }

    /// Counts connections, groups and waiting messages as they are now, and losses since the process
    /// began.
    #[must_use]
    pub fn stats(&self, engine: &Engine) -> HubStats {
        HubStats::read(self.0.groups, self.0.losses, self.broker_state(), engine)
    }
}
