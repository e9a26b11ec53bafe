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
mod envelope;
mod group;
mod history;
mod json;
mod link;
mod members;
mod message;
pub mod presence;
mod publish;
mod stats;
mod target;
mod who;

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
    history::{Limits, Position},
    link::{BrokerState, Kept},
    members::{Join, JoinError, Joined},
    message::Kind,
    stats::Stats,
    target::{Fate, Outgoing, Published, Target},
    who::{Who, parse_member_id},
};
use self::{
    group::Group,
    link::{Link, Recent},
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

/// Bytes of a group's name.
pub const MAX_NAME: usize = 255;

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
    groups: Mutex<HashMap<Arc<str>, Arc<Group>>>,
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

    fn table(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, channel: &str) -> Option<Arc<Group>> {
        self.table().get(channel).cloned()
    }

    /// The group of a channel, which is made if there is none.
    fn obtain(&self, channel: &str) -> Arc<Group> {
        let mut table = self.table();
        if let Some(group) = table.get(channel) {
            return Arc::clone(group);
        }
        let group = Group::new(channel.into());
        table.insert(Arc::clone(&group.channel), Arc::clone(&group));
        if is_pattern(channel) {
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
        if is_pattern(&group.channel) {
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
    fn matching(&self, channel: &str) -> Vec<Arc<Group>> {
        if !channel.starts_with(GROUP) {
            return Vec::new();
        }
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        let matches =
            |group: &&Arc<Group>| channel.starts_with(group.channel.trim_end_matches('*'));
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
    envelope::Envelope::decode(bytes::Bytes::copy_from_slice(bytes))
        .is_some_and(|one| envelope::Envelope::decode(one.encode()) == Some(one))
}

/// What a channel is for, by its first two bytes.
const GROUP: &str = "g:";
const USER: &str = "u:";
const EVERYBODY: &str = "a:";
const PRESENCE: &str = "p:";

fn channel(kind: &str, name: &str) -> Arc<str> {
    [kind, name].concat().into()
}

fn is_pattern(channel: &str) -> bool {
    channel.starts_with(GROUP) && channel.ends_with('*')
}

/// A number that no other process has, not even one forked from the same parent.
fn random() -> u64 {
    RandomState::new().hash_one((std::process::id(), SystemTime::now()))
}

fn new_epoch() -> Arc<str> {
    format!("{:016x}", random()).into()
}
