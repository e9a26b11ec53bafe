//! Who is there: between the connections, [`Presence`] and those who ask.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{Member, Output, PATIENCE, Presence};
use crate::{
    hub::{
        Hub,
        groups::group,
        names::Channel,
        wire::{envelope::Body, frames},
    },
    protocol::Broadcast,
};

/// A connection, and before it the process that has it.
pub type Who = (u64, u64);

/// Connections that a client may have had before, and say so.
const MAX_FORMER: usize = 16;

impl Hub {
    fn who(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells presence something, and does what it asks for. All under its lock, so that nobody hears of
    /// a leave before the join, and the other processes hear of both in this order. `except` hears
    /// nothing of it: it is the one who has joined.
    pub(in crate::hub) fn presence(
        &'static self,
        except: Option<u64>,
        tell: impl FnOnce(&mut Presence, Instant) -> Vec<Output>,
    ) {
        let mut presence = self.who();
        for output in tell(&mut presence, Instant::now()) {
            match output {
                Output::Send(message) => self.send_presence(message),
                Output::Joined(name, member) => {
                    let frame = frames::member_joined(&name, &member.id, &member.info);
                    self.tell(&name, frame, except);
                }
                Output::Left(name, member) => {
                    let frame = frames::member_left(&name, &member.id, &member.info);
                    self.tell(&name, frame, except);
                }
            }
        }
        if let Some(due) = presence.due(Instant::now())
            && !self.answering.swap(true, Ordering::Relaxed)
        {
            self.handle.spawn(async move {
                tokio::time::sleep(due).await;
                self.answering.store(false, Ordering::Relaxed);
                self.presence(None, Presence::tick);
            });
        }
    }

    /// Waits until the members of the other processes are known, as far as that can be told: the first
    /// time after a connection to the broker was made. At most two seconds, a connection that is being
    /// made included, and not for a broker that is known to be away.
    fn settled(&self) -> MutexGuard<'_, Presence> {
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            let presence = self.who();
            let now = Instant::now();
            let remote = self.link.get().is_some_and(|link| !link.is_away());
            if !remote || presence.is_settled(now) || now >= deadline {
                return presence;
            }
            drop(presence);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn tell(&self, name: &str, frame: Broadcast, except: Option<u64>) {
        let frame = Arc::new(frame);
        let Some(group) = self.find(&Channel::group(name)) else {
            return;
        };
        let except = except.map_or_else(Vec::new, |id| vec![id]);
        let mut delivery = group::Delivery::new(&except, false);
        let state = group.lock();
        for member in state.members() {
            if member.present && member.connection.is_enveloping() {
                delivery.put(&member.connection, &frame);
            }
        }
    }

    pub(in crate::hub) fn send_presence(&'static self, message: Vec<u8>) {
        if let Some(link) = self.link.get() {
            let envelope = self.envelope(&[], &[], Body::Presence(message.into()));
            link.publish_later(Channel::presence(), envelope.encode());
        }
    }

    pub(in crate::hub) fn absent(&'static self, name: &str, id: u64) {
        let member = self.member_id(id);
        self.presence(Some(id), |presence, now| presence.leave(name, &member, now));
    }

    /// Those of the connections that this process has.
    pub(in crate::hub) fn own(&self, connections: &[Who]) -> Vec<u64> {
        let own = connections.iter().filter(|(node, _)| *node == self.node);
        own.map(|(_, connection)| *connection).collect()
    }

    /// How the others know a connection.
    #[must_use]
    pub fn member_id(&self, connection: u64) -> Arc<str> {
        format!("{}-{connection}", self.name).into()
    }

    /// The members of groups in all processes: those who are present in one of them, each once, as in
    /// the first of these. Right after a connection to the broker was made, this waits for at most a
    /// second.
    #[must_use]
    pub fn members(&self, names: &[&str]) -> Vec<Member> {
        let presence = self.settled();
        let found = names.iter().flat_map(|name| presence.members(name));
        if names.len() < 2 {
            return found.collect();
        }
        let mut seen = HashSet::new();
        found
            .filter(|member| seen.insert(Arc::clone(&member.id)))
            .collect()
    }

    /// The groups with present members, in all processes, whose names begin with `prefix`, and how
    /// many they have. It may wait as [`Hub::members`].
    #[must_use]
    pub fn occupied(&self, prefix: &str) -> BTreeMap<Arc<str>, usize> {
        self.settled().counts(prefix)
    }

    /// How many members groups have, each counted once: those who are present in all processes, or
    /// else, group by group, those of this process. It may wait as [`Hub::members`].
    #[must_use]
    pub fn count(&self, names: &[&str]) -> usize {
        if let [name] = names {
            let present = self.settled().count(name);
            return if present > 0 {
                present
            } else {
                self.local_members(name).len()
            };
        }
        let presence = self.settled();
        let mut seen = HashSet::new();
        for name in names {
            let present = presence.members(name);
            if present.is_empty() {
                let local = self.local_members(name).into_iter();
                seen.extend(local.map(|id| self.member_id(id)));
            }
            seen.extend(present.into_iter().map(|member| member.id));
        }
        seen.len()
    }

    fn local_members(&self, name: &str) -> Vec<u64> {
        let group = self.find(&Channel::group(name));
        group.map_or_else(Vec::new, |group| {
            let state = group.lock();
            let members = state.members().iter();
            members.map(|member| member.connection.id()).collect()
        })
    }
}

/// Whom a [`Hub::member_id`] of any process names; `None`: it is none.
#[must_use]
pub fn parse_member_id(id: &str) -> Option<Who> {
    let (node, connection) = id.split_once('-')?;
    Some((
        u64::from_str_radix(node, 16).ok()?,
        connection.parse().ok()?,
    ))
}

/// Whom member ids name; what is none is nobody's.
pub(in crate::hub) fn former(ids: &[String]) -> Vec<Who> {
    let latest = ids.iter().rev().take(MAX_FORMER);
    latest.filter_map(|id| parse_member_id(id)).collect()
}
