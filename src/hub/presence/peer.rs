//! Another node, as far as it is known here.

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

/// Changes that may wait for one that is missing. More are dropped, and found out later.
const MAX_WAITING: usize = 256;

/// Parts of a roster: some 250 MB.
const MAX_PARTS: u32 = 1024;

/// How long a node is not asked that has more than there is room for.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) roster: Roster,
    /// Of the roster as it is known.
    version: u64,
    /// The highest version that the node has told of.
    latest: u64,
    /// When the node was last heard.
    pub(super) heard: Instant,
    asked: Option<Instant>,
    /// Changes that came after one that is missing, by version.
    waiting: BTreeMap<u64, Change>,
    /// What they take, about.
    waiting_bytes: usize,
    assembly: Option<Assembly>,
}

/// A roster of which parts are missing.
#[derive(Debug)]
struct Assembly {
    version: u64,
    next: u32,
    entries: Vec<Entry>,
    /// What they take, about.
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

    /// What is kept of the node, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        let assembly = self.assembly.as_ref();
        self.roster.bytes() + self.waiting_bytes + assembly.map_or(0, |some| some.bytes)
    }

    /// There is no room for what the node says; it is not asked again soon.
    pub(super) fn refuse(&mut self, version: u64, now: Instant) {
        self.announce(version);
        self.assembly = None;
        self.asked = Some(now + PAUSE);
    }

    /// The node says which version its roster has.
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

    /// Makes the changes that were waiting for others, as far as these are there.
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

    /// Returns how many members were left out; `None`: it is no part of a roster.
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

    /// Whether the node has more than is known here.
    pub(super) fn lacks(&self) -> bool {
        self.latest > self.version
    }

    /// Whether the node is to be asked for its roster now; it is taken that it will be.
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
