//! Messages to groups of connections, from anywhere in the process, and over a broker in all.
//!
//! ```text
//! send() -> Hub -> Group (order, history) -> Broadcast, encoded once -> outboxes -> couriers (tokio)
//!            `---> Link -> broker -> the Links of other processes -> their groups
//! ```
//!
//! A message is put into the outbox of every member by the thread that sends it, under the group's
//! lock: that gives all members the same order. The sockets are written by tokio.
//!
//! # Layout
//!
//! Imports go downwards:
//!
//! * `facade`: [`Hub`], what the layers above call; `parts`: what it is made of.
//! * `delivery`: targets, fan-out into the outboxes; `groups`: joining and leaving, members, history.
//! * `cluster`: subscriptions, gaps and waiting messages between the groups and the broker.
//! * [`presence`]: who is there, in all processes; `clock`: what expires.
//! * [`broker`]: Redis and NATS. `wire`: bytes for the broker, JSON for the clients.
//! * `names`, `position`, `node`, `losses`, `stats`: values that these share.

pub mod broker;
mod clock;
mod cluster;
mod delivery;
mod error;
mod facade;
mod groups;
mod losses;
mod names;
mod node;
mod parts;
mod position;
pub mod presence;
mod stats;
mod wire;

use std::io;

use crate::{engine::engine, runtime::PerProcess};

use self::parts::Parts;
pub use self::{
    broker::BrokerError,
    cluster::line::BrokerState,
    delivery::target::{Fate, Outgoing, Published, Target},
    error::HubError,
    facade::Hub,
    groups::{
        archive::Kept,
        members::{Join, Joined},
    },
    names::{MAX_NAME, NameError},
    node::{Who, parse_member_id},
    position::{Limits, Position},
    stats::HubStats,
    wire::{envelope::is_envelope, payload::PayloadKind},
};

/// The hub of this process.
static HUB: PerProcess<Hub> = PerProcess::new();

/// The hub of this process, which is made if there is none, and the engine before it.
///
/// # Errors
///
/// The engine cannot be started.
pub fn hub() -> io::Result<&'static Hub> {
    HUB.get_or_try_init(|| Ok(Hub(Parts::new(engine()?.handle().clone()))))
}

/// The hub of this process if it has been made.
#[must_use]
pub fn running() -> Option<&'static Hub> {
    HUB.get()
}
