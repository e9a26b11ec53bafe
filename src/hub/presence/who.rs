//! The link between the connections, [`Presence`] and callers that ask for members.

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
    /// Sends a message to all other processes, without waiting.
    fn announce(&self, message: Vec<u8>);

    /// Whether the other processes are known to be out of reach.
    fn is_away(&self) -> bool;
}

/// The members that are present in all processes, and the threads that ask for them.
pub(in crate::hub) struct Attendance {
    handle: Handle,
    node: &'static Node,
    groups: &'static Groups,
    /// A std mutex: held while changes are sent to members and other processes.
    presence: Mutex<Presence>,
    /// Wakes threads that wait for the answers of the other processes.
    changed: Condvar,
    /// A task will tick before the clock does, to answer a process that has asked.
    answering: AtomicBool,
    /// Set if there is a broker.
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

    /// From now on, there are other processes, which get messages by `announce`.
    pub(in crate::hub) fn announce_by(&self, announce: &'static dyn Announce) {
        let _ = self.announce.set(announce);
    }

    /// Wakes threads that wait for the other processes, so that they check again whether these can be
    /// reached.
    pub(in crate::hub) fn wake(&self) {
        drop(self.who());
        self.changed.notify_all();
    }

    fn who(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `tell` with presence, and performs the outputs. All happens under the lock of presence, so
    /// that members and other processes get a join before the leave. `except`: the connection that joins
    /// or leaves, which gets no frame.
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

    /// Waits until the members of the other processes are known, as far as possible. This takes time
    /// only while a connection to the broker is being made, and for up to one second after that: at most
    /// two seconds in all. A broker that is known to be away is not waited for.
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

    /// The number of other processes that are known. Waits like [`Self::members`].
    pub(in crate::hub) fn others(&self) -> usize {
        self.settled().others()
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

    /// Called when a connection has become a present member of a group.
    pub(in crate::hub) fn present(&'static self, name: &str, id: u64, info: &Arc<str>) {
        let member = Member {
            id: self.node.member_id(id),
            info: Arc::clone(info),
        };
        self.update(Some(id), |presence, now| {
            // The connection may have ended, or another thread may have changed the membership meanwhile.
            // That thread comes here after this one.
            if self.is_present(name, id) {
                presence.join(name, member, now)
            } else {
                Vec::new()
            }
        });
    }

    /// Called when a connection is no present member of a group any longer.
    pub(in crate::hub) fn absent(&'static self, name: &str, id: u64) {
        let member = self.node.member_id(id);
        self.update(Some(id), |presence, now| {
            if self.is_present(name, id) {
                Vec::new()
            } else {
                presence.leave(name, &member, now)
            }
        });
    }

    /// Whether a connection is a present member of a group now.
    fn is_present(&self, name: &str, id: u64) -> bool {
        let group = self.groups.find(&Channel::group(name));
        group.is_some_and(|group| group.lock().is_present(id))
    }

    /// The members of groups in all processes: those that are present in at least one of the groups,
    /// each once, with its `info` in the first of them. Waits at most two seconds: while a connection to
    /// the broker is being made, and for up to one second after that.
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

    /// The groups whose names begin with `prefix` and that have present members in any process, with the
    /// number of these members. Waits like [`Self::members`].
    pub(in crate::hub) fn occupied(&self, prefix: &str) -> BTreeMap<Arc<str>, usize> {
        self.settled().counts(prefix)
    }

    /// The number of members of groups, each counted once. A group with present members counts those of
    /// all processes; another group counts its members in this process. Waits like [`Self::members`].
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
