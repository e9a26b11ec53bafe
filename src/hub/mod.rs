//! Messages to groups of connections, from anywhere in the process, and over a broker in all.
//!
//! ```text
//! send() -> Hub -> Group (order, history) -> Broadcast, encoded once -> outboxes -> couriers (tokio)
//!            `---> Link -> broker -> the Links of other processes -> their groups
//! ```
//!
//! A message is put into the outbox of every member by the thread that sends it, under the group's
//! lock: that gives all members the same order. The sockets are written by tokio.

pub mod broker;
mod cluster;
mod delivery;
mod groups;
mod names;
mod position;
pub mod presence;
mod stats;
mod wire;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::runtime::Handle;

use crate::{engine::engine, runtime::PerProcess};

pub use self::{
    broker::BrokerError,
    cluster::{BrokerState, Kept},
    delivery::target::{Fate, Outgoing, Published, Target},
    groups::members::{Join, JoinError, Joined},
    names::MAX_NAME,
    position::{Limits, Position},
    presence::who::{Who, parse_member_id},
    stats::Stats,
    wire::payload::Kind,
};
use self::{
    cluster::{Link, Recent},
    groups::group::Group,
    names::Channel,
    presence::Presence,
    stats::{Lost, Malformed},
};

/// The hub of this process.
static HUB: PerProcess<Hub> = PerProcess::new();

/// The hub of this process, which is made if there is none, and the engine before it.
///
/// # Errors
///
/// The engine cannot be started.
pub fn hub() -> io::Result<&'static Hub> {
    HUB.get_or_try_init(|| Ok(Hub::new(engine()?.handle().clone())))
}

/// The hub of this process if it has been made.
#[must_use]
pub fn running() -> Option<&'static Hub> {
    HUB.get()
}

/// How often the hub looks for what has expired.
const TICK: Duration = Duration::from_secs(1);

/// The groups of a process.
#[derive(Debug)]
pub struct Hub {
    /// Tells this process from all others.
    node: u64,
    name: Arc<str>,
    handle: Handle,
    /// A std mutex: held for a map operation.
    groups: Mutex<HashMap<Channel, Arc<Group>>>,
    /// Those groups that are subscriptions to many. Mostly read.
    patterns: RwLock<Vec<Arc<Group>>>,
    /// Numbers what is sent to the broker.
    sequence: AtomicU64,
    presence: Mutex<Presence>,
    link: OnceLock<Link>,
    recent: Mutex<Recent>,
    ticking: AtomicBool,
    /// Somebody who has asked who is here will be answered before the next tick.
    answering: AtomicBool,
    lost: Lost,
    malformed: Malformed,
}

impl Hub {
    fn new(handle: Handle) -> Self {
        let node = random();
        let name: Arc<str> = format!("{node:016x}").into();
        Self {
            node,
            handle,
            groups: Mutex::default(),
            patterns: RwLock::default(),
            sequence: AtomicU64::new(1),
            presence: Mutex::new(Presence::new(Arc::clone(&name))),
            name,
            link: OnceLock::new(),
            recent: Mutex::default(),
            ticking: AtomicBool::new(false),
            answering: AtomicBool::new(false),
            lost: Lost::default(),
            malformed: Malformed::default(),
        }
    }

    fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Channel, Arc<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, channel: &Channel) -> Option<Arc<Group>> {
        self.table().get(channel).cloned()
    }

    /// The group of a channel, which is made if there is none.
    fn obtain(&self, channel: &Channel) -> Arc<Group> {
        let mut table = self.table();
        if let Some(group) = table.get(channel) {
            return Arc::clone(group);
        }
        let group = Group::new(channel.clone());
        table.insert(channel.clone(), Arc::clone(&group));
        if channel.is_wildcard() {
            self.patterns
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Arc::clone(&group));
        }
        group
    }

    /// Takes a group out of the table if nothing would be lost by that.
    fn retire(&self, group: &Arc<Group>) {
        let mut table = self.table();
        let mut state = group.lock();
        if state.gone || !state.is_idle(self.link.get().is_some(), Instant::now()) {
            return;
        }
        state.gone = true;
        table.remove(&group.channel);
        drop(state);
        if group.channel.is_wildcard() {
            self.patterns
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|other| !Arc::ptr_eq(other, group));
        }
        drop(table);
        if let Some(link) = self.link.get() {
            link.review(&group.channel, None);
        }
    }

    /// The groups that a message to `channel` reaches by their pattern.
    fn matching(&self, channel: &Channel) -> Vec<Arc<Group>> {
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        let matches = |group: &&Arc<Group>| group.channel.covers(channel);
        patterns.iter().filter(matches).cloned().collect()
    }

    /// Starts the clock, at the first thing that can expire.
    fn start_ticking(&'static self) {
        if !self.ticking.swap(true, Ordering::Relaxed) {
            self.handle.spawn(async {
                let mut interval = tokio::time::interval(TICK);
                loop {
                    interval.tick().await;
                    self.tick();
                }
            });
        }
    }

    fn tick(&'static self) {
        self.presence(None, Presence::tick);
        let idle: Vec<_> = self.table().values().cloned().collect();
        for group in idle {
            let empty = group.lock().len() == 0;
            if empty {
                self.retire(&group);
            }
        }
    }
}

/// Whether bytes are an envelope, as they come from the broker: for the fuzz target.
#[doc(hidden)]
#[must_use]
pub fn is_envelope(bytes: &[u8]) -> bool {
    wire::envelope::Envelope::decode(bytes::Bytes::copy_from_slice(bytes))
        .is_some_and(|one| wire::envelope::Envelope::decode(one.encode()) == Some(one))
}

/// A number that no other process has, not even one forked from the same parent.
fn random() -> u64 {
    RandomState::new().hash_one((std::process::id(), SystemTime::now()))
}

fn new_epoch() -> Arc<str> {
    format!("{:016x}", random()).into()
}
