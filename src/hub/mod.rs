//! The hub sends messages to groups of connections, from any thread of the process and, over a broker,
//! to all processes of a site.
//!
//! ```text
//! send() -> Hub -> Group (order, history) -> Broadcast, encoded once -> outboxes -> couriers (tokio)
//!            `---> cluster -> broker -> the clusters of other processes -> their groups
//! ```
//!
//! The sending thread puts a message into the outbox of every member under the group's lock, so that all
//! members get messages in the same order. Tokio writes to the sockets.
//!
//! # Layout
//!
//! The modules, from the callers down to shared values:
//!
//! * `facade`: [`Hub`], which the layers above call; `parts`: the objects that the hub consists of.
//! * `delivery`: targets, fan-out into the outboxes; `groups`: joining and leaving, members, history.
//! * `cluster`: subscriptions, gaps and waiting messages between the groups and the broker.
//! * [`presence`]: the members of groups in all processes; `clock`: the tick at which leases and groups
//!   expire.
//! * [`broker`]: Redis and NATS. `wire`: the bytes that go to the broker, and the JSON that goes to
//!   clients.
//! * `answering`: who answers questions of other processes.
//! * `names`, `position`, `node`, `losses`, `stats`: values that the modules above share.

mod answering;
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

use std::{io, sync::Arc};

use crate::{
    engine::{Connection, engine},
    runtime::PerProcess,
};

use self::parts::Parts;
pub use self::{
    answering::{Answer, Answering},
    broker::BrokerError,
    cluster::line::BrokerState,
    delivery::target::{Fate, Outgoing, Published, Target},
    error::HubError,
    facade::Hub,
    groups::{
        archive::Kept,
        members::{Join, Joined},
    },
    names::{MAX_NAME, NameError, check_name},
    node::{Who, parse_member_id},
    position::{Limits, Position},
    stats::HubStats,
    wire::{envelope::is_envelope, payload::PayloadKind},
};

/// The hub of this process.
static HUB: PerProcess<Hub> = PerProcess::new();

/// Returns the hub of this process. The first call creates it, and starts the engine before that.
///
/// # Errors
///
/// The engine cannot be started.
pub fn hub() -> io::Result<&'static Hub> {
    HUB.get_or_try_init(|| Ok(Hub(Parts::new(engine()?.handle().clone()))))
}

/// The id by which all processes know a connection: in a forked child, too, it names the process that made the
/// connection. `None`: that process had no hub.
#[must_use]
pub fn member_id(connection: &Connection) -> Option<Arc<str>> {
    // The id is made of values that never change.
    let hub = HUB.of(connection.generation())?;
    Some(hub.member_id(connection.id()))
}

/// The hub of this process, if [`hub`] has created it.
#[must_use]
pub fn running() -> Option<&'static Hub> {
    HUB.get()
}
