//! Who is there: between the connections, [`Presence`] and those who ask.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::runtime::Handle;

use super::{MAX_SETTLING, Member, Output, Presence};
use crate::{
    hub::{
        delivery::fanout::Delivery, groups::table::Groups, names::Channel, node::Node, wire::frames,
    },
    protocol::Broadcast,
};

/// The way to the other processes.
pub(in crate::hub) trait Announce: Send + Sync {
    /// Sends a message to all of them, without waiting.
    fn announce(&self, message: Vec<u8>);

    /// Whether the others are known to be out of reach.
    fn is_away(&self) -> bool;
}

/// The members that are present in all processes, and those who ask for them.
pub(in crate::hub) struct Attendance {
    handle: Handle,
    node: &'static Node,
    groups: &'static Groups,
    /// A std mutex: held while what has changed is told.
    presence: Mutex<Presence>,
    /// Wakes those that wait for the other processes to have answered.
    changed: Condvar,
    /// Somebody who has asked who is here will be answered before the next tick.
    answering: AtomicBool,
    /// Set where there is a broker.
    announce: OnceLock<&'static dyn Announce>,
}

impl Attendance {
    pub(in crate::hub) fn new(
        handle: Handle,
        node: &'static Node,
        groups: &'static Groups,
    ) -> Self {
        Self {
            handle,
            node,
            groups,
            presence: Mutex::new(Presence::new(Arc::clone(node.name()))),
            changed: Condvar::new(),
            answering: AtomicBool::new(false),
            announce: OnceLock::new(),
        }
    }

    /// From now on, there are other processes, which hear by `announce`.
    pub(in crate::hub) fn announce_by(&self, announce: &'static dyn Announce) {
        let _ = self.announce.set(announce);
    }

    /// Those that wait for the other processes look again whether they are within reach.
    pub(in crate::hub) fn wake(&self) {
        drop(self.who());
        self.changed.notify_all();
    }

    fn who(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells presence something, and does what it asks for. All under its lock, so that nobody hears of
    /// a leave before the join, and the other processes hear of both in this order. `except` hears
    /// nothing of it: it is the one who has joined.
    pub(in crate::hub) fn update(
        &'static self,
        except: Option<u64>,
        tell: impl FnOnce(&mut Presence, Instant) -> Vec<Output>,
    ) {
        let mut presence = self.who();
        for output in tell(&mut presence, Instant::now()) {
            match output {
                Output::Send(message) => {
                    if let Some(announce) = self.announce.get() {
                        announce.announce(message);
                    }
                }
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
        self.changed.notify_all();
        if let Some(due) = presence.due(Instant::now())
            && !self.answering.swap(true, Ordering::Relaxed)
        {
            self.handle.spawn(async move {
                tokio::time::sleep(due).await;
                self.answering.store(false, Ordering::Relaxed);
                self.update(None, Presence::tick);
            });
        }
    }

    /// Waits until the members of the other processes are known, as far as that can be told: the first
    /// time after a connection to the broker was made. At most two seconds, a connection that is being
    /// made included, and not for a broker that is known to be away.
    fn settled(&self) -> MutexGuard<'_, Presence> {
        let deadline = Instant::now() + 2 * MAX_SETTLING;
        let mut presence = self.who();
        loop {
            let now = Instant::now();
            let remote = self.announce.get().is_some_and(|one| !one.is_away());
            let left = deadline.saturating_duration_since(now);
            let Some(time) = presence.settles_in(now).filter(|_| remote) else {
                return presence;
            };
            if left.is_zero() {
                return presence;
            }
            let woken = self.changed.wait_timeout(presence, time.min(left));
            presence = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn tell(&self, name: &str, frame: Broadcast, except: Option<u64>) {
        let frame = Arc::new(frame);
        let Some(group) = self.groups.find(&Channel::group(name)) else {
            return;
        };
        let except = except.map_or_else(Vec::new, |id| vec![id]);
        let mut delivery = Delivery::new(&except, false);
        let state = group.lock();
        for member in state.members() {
            if member.present && member.connection.is_enveloping() {
                delivery.put(&member.connection, &frame);
            }
        }
    }

    pub(in crate::hub) fn absent(&'static self, name: &str, id: u64) {
        let member = self.node.member_id(id);
        self.update(Some(id), |presence, now| presence.leave(name, &member, now));
    }

    /// The members of groups in all processes: those who are present in one of them, each once, as in
    /// the first of these. Right after a connection to the broker was made, this waits for at most a
    /// second.
    pub(in crate::hub) fn members(&self, names: &[&str]) -> Vec<Member> {
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
    /// many they have. It may wait as [`Self::members`].
    pub(in crate::hub) fn occupied(&self, prefix: &str) -> BTreeMap<Arc<str>, usize> {
        self.settled().counts(prefix)
    }

    /// How many members groups have, each counted once: those who are present in all processes, or
    /// else, group by group, those of this process. It may wait as [`Self::members`].
    pub(in crate::hub) fn count(&self, names: &[&str]) -> usize {
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
                seen.extend(local.map(|id| self.node.member_id(id)));
            }
            seen.extend(present.into_iter().map(|member| member.id));
        }
        seen.len()
    }

    fn local_members(&self, name: &str) -> Vec<u64> {
        let group = self.groups.find(&Channel::group(name));
        group.map_or_else(Vec::new, |group| {
            let state = group.lock();
            let members = state.members().iter();
            members.map(|member| member.connection.id()).collect()
        })
    }
}
