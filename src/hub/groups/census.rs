//! Counts of groups, members and waiting messages.
//!
//! A process may have tens of thousands of groups: each connection of a user is in some. To count them one
//! by one would keep their table locked for milliseconds.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::hub::names::{Channel, Scope};

/// What a group counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hub) enum Kind {
    Group,
    User,
    #[default]
    Other,
}

impl Kind {
    pub(super) fn of(channel: &Channel) -> Self {
        if channel.scope() == Scope::Group {
            Self::Group
        } else if channel.is_user() {
            Self::User
        } else {
            Self::Other
        }
    }
}

/// The counts of one process. Each group changes them under its own lock.
#[derive(Debug, Default)]
pub(in crate::hub) struct Census {
    groups: AtomicUsize,
    memberships: AtomicUsize,
    users: AtomicUsize,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
}

impl Census {
    pub(super) fn made(&self, kind: Kind) {
        if kind == Kind::Group {
            self.groups.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn retired(&self, kind: Kind) {
        if kind == Kind::Group {
            self.groups.fetch_sub(1, Relaxed);
        }
    }

    /// A group has got a member, and has `members` now.
    pub(super) fn joined(&self, kind: Kind, members: usize) {
        match kind {
            Kind::Group => self.memberships.fetch_add(1, Relaxed),
            Kind::User if members == 1 => self.users.fetch_add(1, Relaxed),
            _ => 0,
        };
    }

    /// A group has lost a member, and has `members` now.
    pub(super) fn left(&self, kind: Kind, members: usize) {
        match kind {
            Kind::Group => self.memberships.fetch_sub(1, Relaxed),
            Kind::User if members == 0 => self.users.fetch_sub(1, Relaxed),
            _ => 0,
        };
    }

    /// A message that takes so many bytes begins to wait for the broker.
    pub(in crate::hub) fn waits(&self, bytes: usize) {
        self.waiting.fetch_add(1, Relaxed);
        self.waiting_bytes.fetch_add(bytes, Relaxed);
    }

    /// A message waits no longer.
    pub(in crate::hub) fn waited(&self, bytes: usize) {
        self.waiting.fetch_sub(1, Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Relaxed);
    }

    pub(in crate::hub) fn groups(&self) -> usize {
        self.groups.load(Relaxed)
    }

    pub(in crate::hub) fn memberships(&self) -> usize {
        self.memberships.load(Relaxed)
    }

    pub(in crate::hub) fn users(&self) -> usize {
        self.users.load(Relaxed)
    }

    pub(in crate::hub) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    pub(in crate::hub) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Relaxed)
    }
}
