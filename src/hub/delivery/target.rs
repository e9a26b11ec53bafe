//! The targets of a message, and the result of sending it.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;

use crate::hub::{
    error::HubError,
    names::{Channel, MAX_EXCLUDED, MAX_TARGETS, check_name},
    node::Who,
    position::{Limits, Position},
    wire::payload::PayloadKind,
};

/// A target of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The members of a group.
    Group(String),
    /// The members of a group, and its history, which keeps as much as the limits allow.
    Kept(String, Limits),
    /// The connections of a user.
    User(String),
    /// Every connection.
    Everybody,
}

/// A message to many connections.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Each connection gets the message once, even if it belongs to several targets; and once more for
    /// each group that keeps a history, because the message has another position there.
    pub targets: Vec<Target>,
    /// The kind of the payload. The caller has checked that the payload is of this kind.
    pub kind: PayloadKind,
    /// The content of the message.
    pub payload: Bytes,
    /// Connections of this or other processes that do not get the message.
    pub excluded: Vec<Who>,
    /// How long to wait for the broker.
    pub timeout: Duration,
}

/// The result of handing a message to the broker. Later values are less certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// There is no broker.
    Alone,
    /// The broker has stored the message in the history.
    Stored,
    /// The broker has taken the message, for its current subscribers.
    Sent,
    /// The broker is away or slow: the message waits in this process, and is stored when the broker is
    /// back.
    Pending,
    /// The other processes do not get the message, as far as this one knows: the broker is away, slow or
    /// refuses it, or too many messages wait for the broker.
    Unavailable,
}

/// The result of sending a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Connections of this process whose outboxes got the message, or will get it when the broker sends
    /// it back.
    pub local: usize,
    /// Connections of this process that lost a message to their limits; plus one for each group whose
    /// queue for the broker was full.
    pub dropped: usize,
    /// The result of handing the message to the broker. If the call has several results, this is the
    /// worst one.
    pub fate: Fate,
    /// The position in the history, if the call has exactly one target with a history and the message
    /// was stored there.
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

/// The channels of a message, each once: `kept` have a history, `live` have none.
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        size: 3,
        ttl: Duration::from_secs(60),
    };

    fn outgoing(targets: Vec<Target>, excluded: usize) -> Outgoing {
        Outgoing {
            targets,
            kind: PayloadKind::Text,
            payload: Bytes::new(),
            excluded: vec![(1, 1); excluded],
            timeout: Duration::ZERO,
        }
    }

    #[test]
    fn each_channel_is_named_once_in_order() {
        let targets = vec![
            Target::Group("b".into()),
            Target::User("b".into()),
            Target::Kept("a".into(), LIMITS),
            Target::Group("b".into()),
            Target::Group("a".into()),
            Target::Everybody,
            Target::Everybody,
        ];
        let Channels { live, kept } = channels(&outgoing(targets, 0)).unwrap();
        let live: Vec<_> = live.iter().map(Channel::as_str).collect();
        assert_eq!(live, ["g:b", "u:b", "a:"]);
        assert_eq!(kept, [(Channel::group("a"), LIMITS)]);
    }

    #[test]
    fn a_call_has_limits() {
        let group = || Target::Group("g".into());
        let refused = |targets, excluded| channels(&outgoing(targets, excluded)).err();
        assert_eq!(refused(vec![group(); MAX_TARGETS], MAX_EXCLUDED), None);
        let many = vec![group(); MAX_TARGETS + 1];
        assert_eq!(refused(many, 0), Some(HubError::TooManyTargets));
        let excluded = refused(vec![group()], MAX_EXCLUDED + 1);
        assert_eq!(excluded, Some(HubError::TooManyExcluded));
        let pattern = refused(vec![Target::Group("g.*".into())], 0);
        assert!(matches!(pattern, Some(HubError::Name(_))));
    }

    #[test]
    fn the_worst_fate_is_the_greatest() {
        let fates = [
            Fate::Alone,
            Fate::Stored,
            Fate::Sent,
            Fate::Pending,
            Fate::Unavailable,
        ];
        assert!(fates.is_sorted());
    }
}
