//! The identity of this process among the processes of a site.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::runtime::random;

/// The number of a process, and the number of one of its connections.
pub type Who = (u64, u64);

/// The most former connections of a client that count when it joins.
const MAX_FORMER: usize = 16;

/// The number and the name of this process, and the counter of its envelopes.
#[derive(Debug)]
pub(super) struct Node {
    number: u64,
    name: Arc<str>,
    sequence: AtomicU64,
}

impl Node {
    pub(super) fn new() -> Self {
        let number = random();
        Self {
            number,
            name: format!("{number:016x}").into(),
            sequence: AtomicU64::new(1),
        }
    }

    /// The number that distinguishes this process from all others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The number in hexadecimal digits.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The number of the next envelope.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// The id by which other processes know a connection of this process.
    pub(super) fn member_id(&self, connection: u64) -> Arc<str> {
        format!("{}-{connection}", self.name).into()
    }

    /// Selects the connections of this process; returns their numbers.
    pub(super) fn own(&self, connections: &[Who]) -> Vec<u64> {
        let own = connections.iter().filter(|(node, _)| *node == self.number);
        own.map(|(_, connection)| *connection).collect()
    }
}

/// The connection that a [`Hub::member_id`](super::Hub::member_id) of any process names; `None`: the
/// text is no member id.
#[must_use]
pub fn parse_member_id(id: &str) -> Option<Who> {
    let (node, connection) = id.split_once('-')?;
    Some((
        u64::from_str_radix(node, 16).ok()?,
        connection.parse().ok()?,
    ))
}

/// The connections that the last [`MAX_FORMER`] of these texts name. Texts that are no member ids are
/// skipped.
pub(super) fn former(ids: &[String]) -> Vec<Who> {
    let latest = ids.iter().rev().take(MAX_FORMER);
    latest.filter_map(|id| parse_member_id(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_id_names_a_connection_of_its_process() {
        let node = Node::new();
        let id = node.member_id(17);
        assert_eq!(parse_member_id(&id), Some((node.number(), 17)));
        assert_eq!(node.own(&[(node.number(), 1), (node.number() ^ 1, 2)]), [1]);
        for text in ["", "-", "17", "x-1", "1-x", "1-", "-1", "1-2-3"] {
            assert_eq!(parse_member_id(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_rise_and_nodes_differ() {
        let node = Node::new();
        let first = node.next_sequence();
        assert!(node.next_sequence() > first);
        assert_ne!(node.number(), Node::new().number());
    }

    #[test]
    fn of_many_former_ids_the_last_count() {
        let ids: Vec<String> = (0..40).map(|n| format!("1-{n}")).collect();
        let latest = former(&ids);
        assert_eq!(latest.len(), MAX_FORMER);
        assert!(latest.contains(&(1, 39)) && !latest.contains(&(1, 0)));
        assert_eq!(former(&["nobody".into()]), []);
    }
}
