//! The parts of the hub, and how they are put together.
//!
//! A hub lives as long as its process, and a forked child creates another one: parts are never freed,
//! and refer to each other by `&'static`. A part holds references only to parts that are created before
//! it. To call a later part, an earlier part defines a trait that the cluster implements: `Watch` (a
//! group has left the table) and `Announce` (presence has a message to send).

use std::sync::{Mutex, OnceLock};

use tokio::runtime::Handle;

use super::{
    clock::Clock,
    cluster::{Cluster, inquiries::Inquiries},
    delivery::{fanout::Fanout, publish::Publisher},
    groups::{archive::Archive, members::Members, table::Groups},
    losses::Losses,
    node::Node,
    presence::who::Attendance,
};

pub(super) struct Parts {
    pub(super) node: &'static Node,
    pub(super) groups: &'static Groups,
    pub(super) losses: &'static Losses,
    pub(super) attendance: &'static Attendance,
    pub(super) cluster: &'static Cluster,
    pub(super) inquiries: &'static Inquiries,
    pub(super) archive: Archive,
    pub(super) members: Members,
    pub(super) publisher: Publisher,
}

impl Parts {
    pub(super) fn new(handle: Handle) -> Self {
        let node: &'static Node = forever(Node::new());
        let losses: &'static Losses = forever(Losses::default());
        let groups: &'static Groups = forever(Groups::default());
        let fanout: &'static Fanout = forever(Fanout::new(groups));
        let attendance: &'static Attendance =
            forever(Attendance::new(handle.clone(), node, groups));
        let clock: &'static Clock = forever(Clock::new(handle.clone(), groups, attendance));
        let inquiries: &'static Inquiries = forever(Inquiries::new(node, losses, attendance));
        let cluster: &'static Cluster = forever(Cluster {
            inquiries,
            handle,
            node,
            groups,
            fanout,
            attendance,
            losses,
            clock,
            link: OnceLock::new(),
            connecting: Mutex::default(),
        });
        Self {
            node,
            groups,
            losses,
            attendance,
            cluster,
            inquiries,
            archive: Archive { groups, cluster },
            members: Members {
                node,
                groups,
                attendance,
                clock,
                cluster,
            },
            publisher: Publisher {
                node,
                groups,
                fanout,
                clock,
                cluster,
            },
        }
    }
}

fn forever<T>(part: T) -> &'static T {
    Box::leak(Box::new(part))
}
