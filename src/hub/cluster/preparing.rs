//! Makes groups ready for a new member.

use std::{
    sync::{Arc, mpsc::sync_channel},
    time::{Duration, Instant},
};

use super::{
    histories::to_messages,
    line::{Line, too_slow},
    recovery::Recovery,
    subscriptions::Subscriptions,
};
use crate::hub::{
    broker::{BrokerError, Fetched},
    delivery::group_message::GroupMessage,
    groups::{
        group::Group,
        history::{Missed, Ring},
    },
    losses::Losses,
    position::{Limits, Position},
};

/// Asks the broker before a connection joins.
pub(in crate::hub) struct Preparing {
    pub(super) line: &'static Line,
    pub(super) losses: &'static Losses,
    pub(super) subscriptions: &'static Subscriptions,
    pub(super) recovery: &'static Recovery,
}

impl Preparing {
    /// Makes a group ready for a member: subscribes to its channel, and fetches its history if the group
    /// has none yet. Returns the missed messages that this process does not keep.
    pub(in crate::hub) fn prepare(
        &'static self,
        group: &Arc<Group>,
        since: Option<&Position>,
        limits: Option<Limits>,
        timeout: Duration,
    ) -> Result<Option<Vec<Arc<GroupMessage>>>, BrokerError> {
        let asked = format!("joining {:?}", group.name());
        let unavailable = |error| self.line.explain(&asked, error);
        let deadline = Instant::now() + timeout;
        let subscribed = group.lock().subscribed;
        if !subscribed {
            let (answer, answered) = sync_channel(1);
            self.subscriptions.review(&group.channel, Some(answer));
            let away = self.line.is_away();
            let timeout = if away { Duration::ZERO } else { timeout };
            let answer = answered.recv_timeout(timeout);
            let answer = answer.unwrap_or_else(|_| Err(too_slow(timeout)));
            let known = group.lock().ring.is_some();
            if limits.is_some() && !known {
                answer.map_err(unavailable)?;
            }
        }
        let Some(limits) = limits else {
            return Ok(None);
        };
        let after = {
            let mut state = group.lock();
            match (&mut state.ring, since) {
                (None, _) => None,
                (Some(ring), Some(since)) => {
                    ring.set_limits(limits);
                    ring.trim(Instant::now());
                    match ring.missed(since) {
                        // The client is ahead: this process is late, or the broker has lost messages
                        // that the client has. The broker is not asked about an impossible position.
                        Missed::Ahead if !since.is_possible() => return Ok(None),
                        Missed::TooOld | Missed::Ahead => Some(since.clone()),
                        Missed::Known(_) | Missed::Foreign => return Ok(None),
                    }
                }
                (Some(_), None) => return Ok(None),
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let connections = self.line.connections();
        let fetched = self.line.fetch(&group.channel, after.clone(), limits, left);
        let fetched = fetched.map_err(unavailable)?;
        if after.is_none() {
            self.install(group, &fetched, limits, connections);
            return Ok(None);
        }
        Ok(fetched
            .complete
            .then(|| to_messages(&group.channel, &fetched)))
    }

    /// Gives a group the history that was fetched. `connections`: as counted before the broker was asked.
    fn install(
        &'static self,
        group: &Arc<Group>,
        fetched: &Fetched,
        limits: Limits,
        connections: u64,
    ) {
        let mut state = group.lock();
        if state.ring.is_some() {
            return;
        }
        let mut ring = Ring::new(fetched.top.clone(), limits, Instant::now());
        let messages = to_messages(&group.channel, fetched);
        let unreadable = messages.iter().filter(|one| !one.is_readable()).count();
        let ages = fetched.entries.iter().map(|stored| stored.age);
        ring.prepend(messages.into_iter().zip(ages).collect(), Instant::now());
        for _ in 0..unreadable {
            self.losses.malformed(
                group.channel.as_str(),
                "an entry of its history is no message",
            );
        }
        state.ring = Some(ring);
        // `seen` may be of another epoch. The newer one of the two is unknown, so any offset that was
        // announced there makes the group catch up.
        let other = state.seen_epoch != fetched.top.epoch;
        let heard_more = state.seen > if other { 0 } else { fetched.top.offset };
        state.follow(&fetched.top.epoch);
        state.fetched = fetched.top.offset;
        // A connection that came meanwhile found no history to ask for.
        let reconnected = self.line.connections() != connections;
        let behind = (heard_more || reconnected) && !state.catching_up;
        state.catching_up |= behind;
        drop(state);
        if behind {
            self.recovery.catch_up(Arc::clone(group));
        }
    }
}
