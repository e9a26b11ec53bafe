//! Connections join groups and leave them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    group::{Group, State, Subscriber},
    history::Ring,
    table::Groups,
};
use crate::{
    engine::{Connection, Owner},
    hub::{
        clock::Clock,
        cluster::Cluster,
        delivery::{fanout::Delivery, group_message::GroupMessage},
        error::HubError,
        names::{Channel, check_name},
        node::{Node, former},
        position::{Limits, Position, new_epoch},
        presence::{self, who::Attendance},
        wire::frames,
    },
};

/// The groups of a connection. A std mutex: held while the connection joins or leaves.
#[derive(Default)]
struct Memberships(Mutex<JoinedGroups>);

#[derive(Default)]
struct JoinedGroups {
    /// The connection has ended, and can join no more groups.
    closed: bool,
    groups: Vec<Arc<Group>>,
    /// Set with the first group.
    members: Option<&'static Members>,
}

impl Memberships {
    fn lock(&self) -> MutexGuard<'_, JoinedGroups> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Memberships {
    fn gone(&self, connection: &Connection) {
        let (groups, members) = {
            let mut memberships = self.lock();
            memberships.closed = true;
            (std::mem::take(&mut memberships.groups), memberships.members)
        };
        if let Some(members) = members {
            for group in groups {
                let member = group.lock().remove(connection.id());
                members.parted(connection.id(), &group, member);
            }
        }
    }
}

/// How to join a group.
#[derive(Clone, Debug)]
pub struct Join {
    /// The latest position that the member has seen. Messages after it are sent to the member first.
    pub since: Option<Position>,
    /// How much history the group keeps; `None`: no history.
    pub limits: Option<Limits>,
    /// Whether the other members see this one.
    pub present: bool,
    /// The JSON object that the other members see, of at most [`presence::MAX_INFO`] bytes.
    pub info: Arc<str>,
    /// The member ids (`Hub::member_id`) of the client's former connections. Messages that exclude one of
    /// them, or this connection, are not sent. If there are more than 16 ids, the last 16 count.
    pub was: Vec<String>,
    /// The id of the client's request, a JSON value: the answer is a `joined` frame with this id.
    /// `None`: no answer.
    pub reply: Option<Arc<str>>,
    /// How long to wait for the broker.
    pub timeout: Duration,
}

/// The values with which most members join: messages from now on, not present, no history, no waiting
/// for the broker.
impl Default for Join {
    fn default() -> Self {
        Self {
            since: None,
            limits: None,
            present: false,
            info: "{}".into(),
            was: Vec::new(),
            reply: None,
            timeout: Duration::ZERO,
        }
    }
}

/// The result of joining a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Whether the member now has every message after [`Join::since`].
    pub recovered: bool,
    /// The position of the member in the group's history.
    pub position: Position,
    /// The number of missed messages that were sent.
    pub missed: usize,
}

/// Lets connections join groups and leave them.
pub(in crate::hub) struct Members {
    pub(in crate::hub) node: &'static Node,
    pub(in crate::hub) groups: &'static Groups,
    pub(in crate::hub) attendance: &'static Attendance,
    pub(in crate::hub) clock: &'static Clock,
    pub(in crate::hub) cluster: &'static Cluster,
}

impl Members {
    /// Makes a connection a member of a group, and sends it the messages that it has missed. If the
    /// connection is a member already, the other members are told only if its `info` or `present` has
    /// changed.
    ///
    /// # Errors
    ///
    /// See [`HubError`].
    pub(in crate::hub) fn join(
        &'static self,
        connection: &Arc<Connection>,
        name: &str,
        join: Join,
    ) -> Result<Joined, HubError> {
        check_name(name, true)?;
        if join.info.len() > presence::MAX_INFO {
            return Err(HubError::Info(join.info.len()));
        }
        if !presence::is_info(&join.info) {
            return Err(HubError::Strange);
        }
        let channel = Channel::group(name);
        let mut join = join;
        if channel.is_wildcard() {
            join.limits = None;
            join.present = false;
        }
        if join.limits.is_some() || join.present {
            self.clock.start();
        }
        // A member that joins again stays in the group: leaving first would send two events to all
        // others.
        let (joined, was_present) = self.enter(connection, &channel, &join)?;
        if join.present {
            self.attendance.present(name, connection.id(), &join.info);
        } else if was_present {
            self.attendance.absent(name, connection.id());
        }
        Ok(joined)
    }

    /// Adds a connection to those of a user, so that messages to the user reach it. Waits at most `timeout`
    /// for the broker.
    pub(in crate::hub) fn identify(
        &'static self,
        connection: &Arc<Connection>,
        user: &str,
        timeout: Duration,
    ) {
        let join = Join {
            timeout,
            ..Join::default()
        };
        // Without a history, joining fails only if the connection has ended.
        let _ = self.enter(connection, &Channel::user(user), &join);
    }

    /// Makes a connection a member; returns also whether it was a present one before.
    fn enter(
        &'static self,
        connection: &Arc<Connection>,
        channel: &Channel,
        join: &Join,
    ) -> Result<(Joined, bool), HubError> {
        loop {
            let group = self.groups.obtain(channel);
            {
                let mut state = group.lock();
                if state.gone {
                    continue;
                }
                // Counted so that `retire` keeps the group while the broker is asked; otherwise the next
                // try would create it and ask again.
                state.joining += 1;
            }
            let fetched = self.prepare(&group, join).inspect_err(|_| {
                group.lock().joining -= 1;
                self.groups.retire(&group);
            })?;
            // The memberships are locked before the group, so that a connection that ends meanwhile
            // leaves this group, too.
            let memberships = connection.owned::<Memberships>().map(Memberships::lock);
            let Some(mut memberships) = memberships.filter(|one| !one.closed) else {
                group.lock().joining -= 1;
                self.groups.retire(&group);
                return Err(HubError::Ended);
            };
            let mut state = group.lock();
            state.joining -= 1;
            let was_present = state.is_present(connection.id());
            let joined = self.admit(&group, &mut state, connection, join, fetched);
            drop(state);
            // Another thread may have joined the same group meanwhile.
            if !memberships
                .groups
                .iter()
                .any(|one| Arc::ptr_eq(one, &group))
            {
                memberships.groups.push(group);
                memberships.members = Some(self);
            }
            return Ok((joined, was_present));
        }
    }

    /// Asks the broker, if there is one; returns the missed messages that this process does not keep.
    fn prepare(
        &self,
        group: &Arc<Group>,
        join: &Join,
    ) -> Result<Option<Vec<Arc<GroupMessage>>>, HubError> {
        let Some(link) = self.cluster.link() else {
            return Ok(None);
        };
        let preparing = &link.preparing;
        preparing
            .prepare(group, join.since.as_ref(), join.limits, join.timeout)
            .map_err(HubError::Unavailable)
    }

    /// Adds the member under the group's lock, so that no message comes between the missed messages and
    /// the following ones.
    fn admit(
        &self,
        group: &Group,
        state: &mut State,
        connection: &Arc<Connection>,
        join: &Join,
        fetched: Option<Vec<Arc<GroupMessage>>>,
    ) -> Joined {
        if let Some(limits) = join.limits
            && self.cluster.link().is_none()
        {
            let ring = state.ring.get_or_insert_with(|| {
                let start = Position {
                    offset: 0,
                    epoch: new_epoch(),
                };
                Ring::new(start, limits, Instant::now())
            });
            ring.set_limits(limits);
            ring.trim(Instant::now());
        }
        let (recovered, position, mut missed) = state.replay(join.since.as_ref(), fetched);
        let was = former(&join.was);
        // A message that was sent before this call may exclude the connection itself.
        let own = [(self.node.number(), connection.id())];
        missed.retain(|message| !message.excludes(&was) && !message.excludes(&own));
        let joined = Joined {
            recovered,
            position,
            missed: missed.len(),
        };
        let mut delivery = Delivery::new(&[], false);
        if let Some(reply) = &join.reply {
            let history = join
                .limits
                .is_some()
                .then_some((&joined.position, joined.missed));
            let frame = frames::joined(group.name(), reply, joined.recovered, history);
            delivery.put(connection, &Arc::new(frame));
        }
        for message in &missed {
            delivery.put(connection, message.frame(connection.is_enveloping()));
        }
        let member = Subscriber {
            connection: Arc::clone(connection),
            present: join.present,
            after: joined.position.offset,
        };
        state.add(member, was);
        joined
    }

    /// Ends a membership; returns false if there was none.
    pub(in crate::hub) fn leave(
        &self,
        connection: &Arc<Connection>,
        name: &str,
        reply: Option<&str>,
    ) -> bool {
        let left = self.leave_silently(connection, &Channel::group(name));
        if let Some(reply) = reply {
            let frame = Arc::new(frames::left(name, reply));
            Delivery::new(&[], false).put(connection, &frame);
        }
        left
    }

    /// Ends what [`Members::identify`] has begun.
    pub(in crate::hub) fn forget_user(&self, connection: &Arc<Connection>, user: &str) {
        self.leave_silently(connection, &Channel::user(user));
    }

    fn leave_silently(&self, connection: &Arc<Connection>, channel: &Channel) -> bool {
        let taken = || {
            let mut memberships = connection.owner::<Memberships>()?.lock();
            let place = memberships
                .groups
                .iter()
                .position(|group| group.channel == *channel);
            let group = memberships.groups.swap_remove(place?);
            // While the memberships are locked, no other thread joins, whose member this would remove.
            let member = group.lock().remove(connection.id());
            Some((group, member))
        };
        let Some((group, member)) = taken() else {
            return false;
        };
        self.parted(connection.id(), &group, member);
        true
    }

    /// Called when a connection is no member of a group any longer.
    fn parted(&self, id: u64, group: &Arc<Group>, member: Option<Subscriber>) {
        if member.is_some_and(|member| member.present) {
            self.attendance.absent(group.name(), id);
        }
        if group.lock().len() == 0 {
            self.groups.retire(group);
        }
    }

    /// The channels of a connection.
    pub(in crate::hub) fn channels_of(connection: &Connection) -> Vec<Channel> {
        let Some(memberships) = connection.owner::<Memberships>() else {
            return Vec::new();
        };
        let memberships = memberships.lock();
        let groups = memberships.groups.iter();
        groups.map(|group| group.channel.clone()).collect()
    }

    /// The names of the groups of a connection.
    pub(in crate::hub) fn groups_of(connection: &Connection) -> Vec<String> {
        let channels = Self::channels_of(connection).into_iter();
        channels
            .filter_map(|channel| channel.group_name().map(str::to_owned))
            .collect()
    }
}
