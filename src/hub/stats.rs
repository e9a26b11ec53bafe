//! What the hub has, and what it has lost.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    BrokerState, Hub,
    names::{Channel, Scope},
};
use crate::{
    engine::{self, Engine},
    runtime::Level,
};

/// A reading of [`Hub::stats`]; all of it is of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Open connections.
    pub connections: usize,
    /// Groups that have members, a history, or messages that wait.
    pub groups: usize,
    /// Memberships of connections in groups.
    pub memberships: usize,
    /// Users who have a connection.
    pub users: usize,
    /// Messages that connections, also those that have ended, lost to full outboxes.
    pub dropped: u64,
    /// Messages that wait for the broker.
    pub waiting: usize,
    /// What the way over the broker has lost: messages that it never takes, or that came faster than
    /// they could be taken, or that are none. At least so many: what a server or a client library discards, it does not
    /// count.
    pub lost: u64,
    /// How things stand with the broker.
    pub broker: BrokerState,
}

/// Counts what is lost on the way over the broker.
#[derive(Debug, Default)]
pub(super) struct Lost(AtomicU64);

impl Lost {
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Strange things that come from the broker have a line in the log no more often than this.
const SILENCE: Duration = Duration::from_secs(60);

/// What has come from the broker and is nothing of this package.
#[derive(Debug, Default)]
pub(super) struct Malformed {
    /// A std mutex: held for an addition.
    state: Mutex<(u64, Option<Instant>)>,
}

impl Malformed {
    /// Returns how many there were since the last line in the log, this one included, where it is time
    /// for another.
    fn note(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        if state
            .1
            .is_some_and(|last| now.duration_since(last) < SILENCE)
        {
            return None;
        }
        state.1 = Some(now);
        Some(std::mem::take(&mut state.0))
    }
}

impl Hub {
    /// Counts something from the broker that is ignored; the log has a line now and then.
    pub(super) fn malformed(&self, channel: &str, why: &str) {
        self.lost.note();
        if let Some(count) = self.malformed.note(Instant::now())
            && let Some(engine) = engine::running()
        {
            let others = match count {
                1 => String::new(),
                count => format!("; {} more since the last line like this", count - 1),
            };
            let message =
                format!("something on {channel:?} of the broker was ignored: {why}{others}");
            engine.log().push(Level::Warning, message);
        }
    }

    /// What there is now, and what has been lost since the process began.
    #[must_use]
    pub fn stats(&self, engine: &Engine) -> Stats {
        let (connections, dropped) = engine.connections_and_dropped();
        let mut stats = Stats {
            connections,
            groups: 0,
            memberships: 0,
            users: 0,
            dropped,
            waiting: 0,
            lost: self.lost.0.load(Relaxed),
            broker: self.broker_state(),
        };
        let groups: Vec<_> = self.table().values().cloned().collect();
        for group in groups {
            let state = group.lock();
            stats.waiting += state.outbound.len();
            if group.channel.scope() == Scope::Group {
                stats.groups += 1;
                stats.memberships += state.len();
            } else if is_user(&group.channel) && state.len() > 0 {
                stats.users += 1;
            }
        }
        stats
    }
}

/// Names that begin with `~` stand for something else of a user: a login (`rights.py`).
fn is_user(channel: &Channel) -> bool {
    channel.scope() == Scope::User && !channel.name().starts_with('~')
}
