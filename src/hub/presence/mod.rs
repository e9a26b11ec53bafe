//! The members of groups in all processes: gossip and leases, without I/O.
//!
//! Each process, a *node*, keeps a roster of its own members and numbers its changes. A node sends every
//! change to the others on one channel and, every two seconds, the number of its last change. A node
//! that has missed a change asks for the whole roster. A node that is silent for seven seconds is
//! considered dead, and its members leave.
//!
//! ```text
//! a: join 1, join 2, leave 3 ....... beat 3 ......................... roster 3 ..... beat 3
//! b:      (lost)     lacks 2         still lacks it: asks a           has all of it
//! ```
//!
//! Any message may be lost: the nodes make up for it within seconds. The name of a node is never used
//! twice; a process that starts again has another one.

mod member;
mod peer;
mod roster;
pub(super) mod who;
mod wire;

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    peer::Peer,
    roster::Roster,
    wire::{Change, Gossip, News, Part},
};

pub use self::{
    member::{Member, Output},
    wire::{MAX_DEPTH, MAX_INFO},
};

/// The least time between two beats. Ticks come every second and perhaps a little early, so that a node
/// beats at every other tick: every two seconds.
const BEAT: Duration = Duration::from_millis(1500);

/// A node that was silent for this time is dead.
const LEASE: Duration = Duration::from_secs(7);

/// The least time between a beat and a beat that answers a hello. Nodes that say hello within this time
/// share the next beat.
const BEAT_PAUSE: Duration = Duration::from_millis(100);

/// The least time between two rosters, which are large.
const ROSTER_PAUSE: Duration = Duration::from_millis(500);

/// An unknown node that has not answered a hello after this time is considered absent.
const QUIET: Duration = Duration::from_millis(500);

/// The longest time that callers wait for the rosters of the other nodes after a hello.
pub const MAX_SETTLING: Duration = Duration::from_secs(1);

/// The most memory for the members of other nodes, in bytes, approximately.
const MAX_HELD: usize = 256 << 20;

/// The most other nodes that are known at once.
const MAX_NODES: usize = 4096;

/// The members of all groups, as one node knows them.
///
/// The caller must perform outputs in the order in which they came. If messages overtake each other,
/// nothing breaks, but whole rosters may have to be sent.
#[derive(Debug)]
pub struct Presence {
    node: Arc<str>,
    own: Roster,
    /// The version of the own roster.
    version: u64,
    peers: HashMap<Arc<str>, Peer>,
    beats: Answers,
    rosters: Answers,
    /// When the last hello was sent.
    greeted: Option<Instant>,
    /// The memory for the members of other nodes, in bytes, approximately.
    held: usize,
    /// Messages and members that were ignored because they are invalid or too many.
    ignored: u64,
}

/// When an answer was last sent, and whether a node waits for the next one.
#[derive(Debug, Default)]
struct Answers {
    last: Option<Instant>,
    wanted: bool,
}

impl Answers {
    fn is_old(&self, age: Duration, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= age)
    }

    /// The time until the next answer may be sent; `None`: no node waits.
    fn due(&self, pause: Duration, now: Instant) -> Option<Duration> {
        let next = self.last.map_or(now, |last| last + pause);
        self.wanted.then(|| next.saturating_duration_since(now))
    }

    fn given(&mut self, now: Instant) {
        self.last = Some(now);
        self.wanted = false;
    }
}

impl Presence {
    /// A node without members. `node` is a name that no other node has or had.
    #[must_use]
    pub fn new(node: Arc<str>) -> Self {
        Self {
            node,
            own: Roster::default(),
            version: 0,
            peers: HashMap::new(),
            beats: Answers::default(),
            rosters: Answers::default(),
            greeted: None,
            held: 0,
            ignored: 0,
        }
    }

    /// Adds a member of this node. A member with the same id leaves first, unless it is equal. Nothing
    /// happens if the group or the id is empty or has more than 1 KiB.
    pub fn join(&mut self, group: &str, member: Member, _now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        if !wire::is_name(group) || !wire::is_name(&member.id) {
            return outputs;
        }
        let member = fit(member);
        if self.own.insert(group, member.clone(), &mut outputs) {
            self.version += 1;
            let message = wire::join(&self.node, self.version, group, &member);
            outputs.push(Output::Send(message));
        }
        outputs
    }

    /// Removes a member of this node; nothing happens if there is none.
    pub fn leave(&mut self, group: &str, id: &str, _now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.own.remove(group, id, &mut outputs) {
            self.version += 1;
            let message = wire::leave(&self.node, self.version, group, id);
            outputs.push(Output::Send(message));
        }
        outputs
    }

    /// The number of other nodes that were heard of lately.
    #[must_use]
    pub fn others(&self) -> usize {
        self.peers.len()
    }

    /// The number of messages and members that were ignored: other programs may write to the broker,
    /// too.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Handles a message from the control channel. Ignores the node's own messages, bytes that are no
    /// message, and members whose info is not JSON that every reader accepts.
    pub fn receive(&mut self, message: &[u8], now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        let Some(Gossip { node, body }) = wire::decode(message) else {
            self.ignored += u64::from(!wire::is_foreign(message));
            return outputs;
        };
        let known = self.peers.contains_key(node);
        if *node == *self.node {
            return outputs;
        }
        if !known && self.peers.len() >= MAX_NODES {
            self.ignored += 1;
            return outputs;
        }
        match body {
            News::Hello(_) => self.answer_hello(now, &mut outputs),
            News::Ask(whom) if *whom == *self.node => self.answer_ask(now, &mut outputs),
            _ => {}
        }
        let peer = self
            .peers
            .entry(node.into())
            .or_insert_with(|| Peer::new(now));
        peer.heard = now;
        let before = peer.bytes();
        let has_room = self.held.saturating_add(message.len()) <= MAX_HELD;
        match body {
            News::Beat(version) | News::Hello(version) => peer.announce(version),
            News::Ask(_) => {}
            News::Change(version, Change::Join(_)) | News::Part(Part { version, .. })
                if !has_room =>
            {
                self.ignored += 1;
                peer.refuse(version, now);
            }
            News::Change(version, change) => peer.change(version, change, &mut outputs),
            News::Part(part) => match peer.part(part, now, &mut outputs) {
                Some(left_out) => self.ignored += left_out as u64,
                None => self.ignored += 1,
            },
        }
        self.held = (self.held + peer.bytes()).saturating_sub(before);
        // Missing changes of a known node may be on their way: the next tick asks for them.
        if !known && peer.should_ask(now) {
            outputs.push(Output::Send(wire::ask(&self.node, node)));
        }
        outputs
    }

    /// Does what is due. Call it about once a second, and after [`Presence::due`].
    pub fn tick(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.bury(now, &mut outputs);
        if self.beats.wanted || self.beats.is_old(BEAT, now) {
            self.beats.given(now);
            outputs.push(Output::Send(wire::beat(&self.node, self.version)));
        }
        if self.rosters.wanted && self.rosters.is_old(ROSTER_PAUSE, now) {
            self.send_roster(now, &mut outputs);
        }
        for (node, peer) in &mut self.peers {
            if peer.should_ask(now) {
                outputs.push(Output::Send(wire::ask(&self.node, node)));
            }
        }
        outputs
    }

    /// The control channel works, for the first time or again: says hello to the other nodes, which
    /// answer with their versions, so that this node learns what it lacks.
    pub fn reconnected(&mut self, now: Instant) -> Vec<Output> {
        self.beats.given(now);
        self.greeted = Some(now);
        vec![Output::Send(wire::hello(&self.node, self.version))]
    }

    /// The time after which a tick has to answer a node that asked; `None`: no node waits.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Duration> {
        let beat = self.beats.due(BEAT_PAUSE, now);
        let roster = self.rosters.due(ROSTER_PAUSE, now);
        beat.into_iter().chain(roster).min()
    }

    /// Whether the members of the other nodes are known, as far as possible: the nodes have had time to
    /// answer [`Presence::reconnected`], and have sent everything. One second after that call, this is
    /// true in any case.
    #[must_use]
    pub fn is_settled(&self, now: Instant) -> bool {
        self.settles_in(now).is_none()
    }

    /// The time after which [`Presence::is_settled`] may become true without a message; `None`: it is
    /// true now.
    #[must_use]
    pub fn settles_in(&self, now: Instant) -> Option<Duration> {
        let Some(greeted) = self.greeted else {
            // Only a connection changes that.
            return Some(MAX_SETTLING);
        };
        let passed = now.saturating_duration_since(greeted);
        let told = |peer: &Peer| peer.heard >= greeted && !peer.lacks();
        if passed >= MAX_SETTLING {
            None
        } else if passed < QUIET {
            Some(QUIET - passed)
        } else if self.peers.values().all(told) {
            None
        } else {
            Some(MAX_SETTLING - passed)
        }
    }

    /// The members of a group on all nodes, those of this node first, by id.
    #[must_use]
    pub fn members(&self, group: &str) -> Vec<Member> {
        let mut nodes: Vec<_> = self.peers.iter().collect();
        nodes.sort_unstable_by_key(|(node, _)| *node);
        let others = nodes.iter().flat_map(|(_, peer)| peer.roster.of(group));
        self.own.of(group).chain(others).cloned().collect()
    }

    /// How many members a group has on all nodes.
    #[must_use]
    pub fn count(&self, group: &str) -> usize {
        let others = self.peers.values().map(|peer| peer.roster.count(group));
        self.own.count(group) + others.sum::<usize>()
    }

    /// The groups whose names begin with `prefix` and that have members on any node, by name, and how
    /// many members they have.
    #[must_use]
    pub fn counts(&self, prefix: &str) -> BTreeMap<Arc<str>, usize> {
        let mut counts = BTreeMap::new();
        let others = self.peers.values().map(|peer| &peer.roster);
        for roster in std::iter::once(&self.own).chain(others) {
            for (group, count) in roster.counts(prefix) {
                *counts.entry(Arc::clone(group)).or_default() += count;
            }
        }
        counts
    }

    fn answer_hello(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.beats.is_old(BEAT_PAUSE, now) {
            self.beats.given(now);
            outputs.push(Output::Send(wire::beat(&self.node, self.version)));
        } else {
            self.beats.wanted = true;
        }
    }

    fn answer_ask(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.rosters.is_old(ROSTER_PAUSE, now) {
            self.send_roster(now, outputs);
        } else {
            self.rosters.wanted = true;
        }
    }

    fn send_roster(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        self.rosters.given(now);
        let parts = wire::parts(&self.node, self.version, self.own.entries());
        outputs.extend(parts.into_iter().map(Output::Send));
    }

    /// Forgets the nodes that are dead.
    fn bury(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        self.peers.retain(|_, peer| {
            let alive = now.saturating_duration_since(peer.heard) < LEASE;
            if !alive {
                self.held = self.held.saturating_sub(peer.bytes());
                mem::take(&mut peer.roster).replace(Vec::new(), outputs);
            }
            alive
        });
    }
}

/// Whether every reader accepts a member's info.
pub fn is_info(info: &str) -> bool {
    wire::is_info(info)
}

/// Replaces an info that is too large for a message, or that some reader would refuse, by `{}`.
fn fit(mut member: Member) -> Member {
    if !wire::is_info(&member.info) {
        member.info = "{}".into();
    }
    member
}

#[cfg(test)]
mod tests;
