//! Another node, as this one knows it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    member::Output,
    roster::{Roster, bytes_of},
    wire::{Change, Entry, Part},
};

/// How long to wait for an answer, or its next part, before asking again.
const ASK_AGAIN: Duration = Duration::from_millis(1500);

/// The most changes that may wait for a missing one. Further changes are dropped; a later roster has
/// them.
const MAX_WAITING: usize = 256;

/// The most parts of a roster: some 250 MB.
const MAX_PARTS: u32 = 1024;

/// How long a node is not asked if there is no room for its members.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) roster: Roster,
    /// The version of `roster`.
    version: u64,
    /// The highest version that the node has announced.
    latest: u64,
    /// When the node was last heard.
    pub(super) heard: Instant,
    asked: Option<Instant>,
    /// Changes that came after one that is missing, by version.
    waiting: BTreeMap<u64, Change>,
    /// The memory for `waiting`, in bytes, approximately.
    waiting_bytes: usize,
    assembly: Option<Assembly>,
}

/// A roster of which parts are missing.
#[derive(Debug)]
struct Assembly {
    version: u64,
    next: u32,
    entries: Vec<Entry>,
    /// The memory for `entries`, in bytes, approximately.
    bytes: usize,
}

fn bytes_of_change(change: &Change) -> usize {
    match change {
        Change::Join((group, member)) => bytes_of(group, member),
        Change::Leave(group, id) => 128 + group.len() + id.len(),
    }
}

impl Peer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            roster: Roster::default(),
            version: 0,
            latest: 0,
            heard: now,
            asked: None,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            assembly: None,
        }
    }

    /// The memory for the node, in bytes, approximately.
    pub(super) fn bytes(&self) -> usize {
        let assembly = self.assembly.as_ref();
        self.roster.bytes() + self.waiting_bytes + assembly.map_or(0, |some| some.bytes)
    }

    /// Drops a change or a part for which there is no room. The node is not asked again for [`PAUSE`].
    pub(super) fn refuse(&mut self, version: u64, now: Instant) {
        self.announce(version);
        self.assembly = None;
        self.asked = Some(now + PAUSE);
    }

    /// Notes a version that the node has announced.
    pub(super) fn announce(&mut self, version: u64) {
        self.latest = self.latest.max(version);
    }

    pub(super) fn change(&mut self, version: u64, change: Change, outputs: &mut Vec<Output>) {
        self.announce(version);
        let next = self.version.saturating_add(1);
        if version == next || (version > next && self.waiting.len() < MAX_WAITING) {
            self.waiting_bytes += bytes_of_change(&change);
            if let Some(old) = self.waiting.insert(version, change) {
                self.waiting_bytes -= bytes_of_change(&old);
            }
        }
        self.catch_up(outputs);
    }

    /// Applies the waiting changes, up to the next one that is missing.
    fn catch_up(&mut self, outputs: &mut Vec<Output>) {
        while let Some(first) = self.waiting.first_entry() {
            let version = *first.key();
            if version > self.version.saturating_add(1) {
                return;
            }
            let change = first.remove();
            self.waiting_bytes -= bytes_of_change(&change);
            if version > self.version {
                self.roster.apply(change, outputs);
                self.version = version;
            }
        }
    }

    /// Adds a part of the node's roster. Returns how many members were left out; `None`: the part is
    /// invalid.
    pub(super) fn part(
        &mut self,
        part: Part<'_>,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) -> Option<usize> {
        self.announce(part.version);
        if part.version <= self.version {
            return Some(0);
        }
        let started = match self.assembly.take() {
            _ if part.index == 0 => Some(Assembly {
                version: part.version,
                next: 0,
                entries: Vec::new(),
                bytes: 0,
            }),
            Some(started) if started.version == part.version && started.next == part.index => {
                Some(started)
            }
            // A part was lost. The next answer begins anew.
            _ => None,
        };
        let Some(mut assembly) = started else {
            return Some(0);
        };
        let (members, left_out) = part.members()?;
        let bytes = members
            .iter()
            .map(|(group, member)| bytes_of(group, member));
        assembly.bytes += bytes.sum::<usize>();
        assembly.entries.extend(members);
        assembly.next += 1;
        if part.last {
            self.version = assembly.version;
            self.roster.replace(assembly.entries, outputs);
            self.catch_up(outputs);
        } else if assembly.next < MAX_PARTS {
            self.assembly = Some(assembly);
            self.asked = Some(now);
        }
        Some(left_out)
    }

    /// Whether the node has announced more than is known here.
    pub(super) fn lacks(&self) -> bool {
        self.latest > self.version
    }

    /// Whether to ask the node for its roster now. If so, the node counts as asked.
    pub(super) fn should_ask(&mut self, now: Instant) -> bool {
        let patient = self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < ASK_AGAIN);
        if !self.lacks() || patient {
            return false;
        }
        self.asked = Some(now);
        true
    }
}
