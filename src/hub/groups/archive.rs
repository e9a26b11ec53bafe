//! Reads histories, which this process or the broker keeps.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::table::Groups;
use crate::hub::{
    broker::BrokerError,
    cluster::{Cluster, histories::to_messages, line::Line},
    delivery::group_message::GroupMessage,
    names::Channel,
    position::{Limits, Position},
    wire::payload::PayloadKind,
};

/// A message of a history: its offset, the kind of its payload, and its payload.
pub type Kept = (u64, PayloadKind, Bytes);

/// Reads the histories of groups. A broker that is asked for a history begins one, so it is not asked for
/// that of a group that keeps none.
pub(in crate::hub) struct Archive {
    pub(in crate::hub) groups: &'static Groups,
    pub(in crate::hub) cluster: &'static Cluster,
}

impl Archive {
    /// Returns the messages in a group's history, oldest first, and the position of the history.
    ///
    /// # Errors
    ///
    /// The broker cannot be asked.
    pub(in crate::hub) fn history(
        &self,
        name: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<(Vec<Kept>, Position), BrokerError> {
        if limits.size == 0 {
            return Ok((Vec::new(), Position::nowhere()));
        }
        let channel = Channel::group(name);
        let (messages, top) = match self.cluster.link() {
            Some(link) => read_history(link.line, &channel, limits, timeout)?,
            None => match self.groups.find(&channel).map(|group| {
                let mut state = group.lock();
                let ring = state.ring.as_mut()?;
                ring.trim(Instant::now());
                Some((ring.after(0), ring.position()))
            }) {
                Some(Some(found)) => found,
                _ => (Vec::new(), Position::nowhere()),
            },
        };
        let entries = messages.iter().filter(|one| one.is_readable());
        let entries = entries.map(|one| (one.offset(), one.kind(), one.payload().clone()));
        Ok((entries.collect(), top))
    }

    /// Returns the position of a group's history: later messages come after it.
    ///
    /// # Errors
    ///
    /// The broker cannot be asked.
    pub(in crate::hub) fn position(
        &self,
        name: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Position, BrokerError> {
        if limits.size == 0 {
            return Ok(Position::nowhere());
        }
        let channel = Channel::group(name);
        let Some(link) = self.cluster.link() else {
            let position = self.groups.find(&channel).and_then(|group| {
                let mut state = group.lock();
                let ring = state.ring.as_mut()?;
                // The caller hands the position to a client, which will join with it: `touch` keeps the
                // ring until then.
                ring.touch(Instant::now());
                Some(ring.position())
            });
            return Ok(position.unwrap_or_else(Position::nowhere));
        };
        // No message has an offset after this one, so the broker returns the position alone.
        let end = Position {
            offset: i64::MAX as u64 - 1,
            epoch: "".into(),
        };
        let fetched = link.line.fetch(&channel, Some(end), limits, timeout);
        let fetched = fetched.map_err(|error| {
            link.line.explain(
                &format!("asking where the history of {name:?} stands"),
                error,
            )
        })?;
        Ok(fetched.top)
    }
}

fn read_history(
    line: &'static Line,
    channel: &Channel,
    limits: Limits,
    timeout: Duration,
) -> Result<(Vec<Arc<GroupMessage>>, Position), BrokerError> {
    let fetched = line.fetch(channel, None, limits, timeout);
    let fetched = fetched.map_err(|error| {
        let name = channel.name();
        line.explain(&format!("reading the history of {name:?}"), error)
    })?;
    Ok((to_messages(channel, &fetched), fetched.top))
}
