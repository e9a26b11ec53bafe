//! Whom a message goes to, and what became of it.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;

use crate::hub::{
    error::HubError,
    names::{Channel, MAX_EXCLUDED, MAX_TARGETS, check_name},
    node::Who,
    position::{Limits, Position},
    wire::payload::PayloadKind,
};

/// Who is to get a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The members of a group.
    Group(String),
    /// The same, and the group's history, which keeps so much.
    Kept(String, Limits),
    /// The connections of a user.
    User(String),
    /// Every connection.
    Everybody,
}

/// A message to many.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Each connection gets it once, however many of these it belongs to; and once more for each
    /// group that keeps a history, which has a position of its own for it.
    pub targets: Vec<Target>,
    /// What the payload is; the caller knows that it is.
    pub kind: PayloadKind,
    /// The message.
    pub payload: Bytes,
    /// Connections that do not get it, of this process or of others.
    pub excluded: Vec<Who>,
    /// How long to wait for the broker.
    pub timeout: Duration,
}

/// What the broker has made of a message; the later, the less is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// There is no broker.
    Alone,
    /// It has stored it in the history.
    Stored,
    /// It has taken it, for those who listen now.
    Sent,
    /// It is away, or slow: the message waits in this process, and is stored when it is back.
    Pending,
    /// It is away, and the other processes do not get the message.
    Unavailable,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Connections of this process into whose outboxes it went, or will go when the broker hands it
    /// back in its turn.
    pub local: usize,
    /// Connections of this process that lost a message to their limits.
    pub dropped: usize,
    /// Of the broker; where it was several things, the worst of them.
    pub fate: Fate,
    /// In the history, if one group keeps one.
    pub position: Option<Position>,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            local: 0,
            dropped: 0,
            fate: Fate::Alone,
            position: None,
        }
    }
}

/// Where a message goes, each once.
#[derive(Default)]
pub(in crate::hub) struct Channels {
    pub(in crate::hub) live: Vec<Channel>,
    pub(in crate::hub) kept: Vec<(Channel, Limits)>,
}

pub(in crate::hub) fn channels(outgoing: &Outgoing) -> Result<Channels, HubError> {
    if outgoing.targets.len() > MAX_TARGETS {
        return Err(HubError::TooManyTargets);
    }
    if outgoing.excluded.len() > MAX_EXCLUDED {
        return Err(HubError::TooManyExcluded);
    }
    let mut channels = Channels::default();
    let mut seen = HashSet::with_capacity(outgoing.targets.len());
    for target in &outgoing.targets {
        let (found, limits) = match target {
            Target::Group(name) | Target::Kept(name, _) => {
                check_name(name, false)?;
                let limits = match target {
                    Target::Kept(_, limits) => Some(*limits),
                    _ => None,
                };
                (Channel::group(name), limits)
            }
            Target::User(name) => (Channel::user(name), None),
            Target::Everybody => (Channel::everybody(), None),
        };
        if !seen.insert(found.clone()) {
            continue;
        }
        match limits {
            Some(limits) => channels.kept.push((found, limits)),
            None => channels.live.push(found),
        }
    }
    Ok(channels)
}
