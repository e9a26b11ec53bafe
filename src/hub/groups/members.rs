//! Joining and leaving.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{
    group::{self, Group, Member, State},
    history::Ring,
};
use crate::{
    engine::{Connection, Owner},
    hub::{
        Hub,
        delivery::group_message::Message,
        names::{Channel, MAX_NAME},
        new_epoch,
        position::{Limits, Position},
        presence::{self, who::former},
        running,
        wire::frames,
    },
};

/// The groups of a connection. A std mutex: held while it joins or leaves.
#[derive(Debug, Default)]
struct Memberships(Mutex<Groups>);

#[derive(Debug, Default)]
struct Groups {
    /// The connection has ended: it joins nothing any more.
    closed: bool,
    groups: Vec<Arc<Group>>,
}

impl Memberships {
    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner for Memberships {
    fn gone(&self, connection: &Connection) {
        let groups = {
            let mut memberships = self.lock();
            memberships.closed = true;
            std::mem::take(&mut memberships.groups)
        };
        if let Some(hub) = running() {
            for group in groups {
                hub.part(connection.id(), &group);
            }
        }
    }
}

/// How to join a group.
#[derive(Clone, Debug)]
pub struct Join {
    /// The latest position that the member has seen; what came after it is sent to it first.
    pub since: Option<Position>,
    /// How much the group keeps; `None`: nothing.
    pub limits: Option<Limits>,
    /// Whether the others see it.
    pub present: bool,
    /// What the others see, a JSON object of at most [`presence::MAX_INFO`] bytes.
    pub info: Arc<str>,
    /// How the client was known in connections before this one ([`Hub::member_id`]): what left these
    /// out is not sent to it now. Of more than 16, the last.
    pub was: Vec<String>,
    /// The client's number of the request, a JSON value, to be answered by a `joined` frame.
    pub reply: Option<Arc<str>>,
    /// How long the broker may take.
    pub timeout: Duration,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Whether everything after the position that was asked for is among what was sent.
    pub recovered: bool,
    /// Where the group stands.
    pub position: Position,
    /// How many messages were sent.
    pub missed: usize,
}

/// Why a group could not be joined.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JoinError {
    /// The name breaks the rules.
    #[error("{0}")]
    Name(String),
    /// The broker, which has the history, cannot be asked.
    #[error("the history of the group cannot be read: {0}")]
    Unavailable(String),
    /// What the others are to see of the member is too large.
    #[error("info has at most {max} bytes as JSON, not {0}", max = presence::MAX_INFO)]
    Info(usize),
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
}

/// Checks the name of a group; one to send to cannot be a pattern.
pub(in crate::hub) fn check_name(name: &str, may_be_pattern: bool) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!(
            "a group's name has 1 to {MAX_NAME} bytes of UTF-8, not {}",
            name.len()
        ));
    }
    if let Some(bad) = name.chars().find(|c| c.is_control()) {
        return Err(format!(
            "a group's name has no control characters; this one has {bad:?}"
        ));
    }
    if !may_be_pattern && name.ends_with('*') {
        return Err(format!(
            "\"{name}\" ends in *, which stands for many groups: it can be joined, not sent to"
        ));
    }
    Ok(())
}

impl Hub {
    /// Makes a connection a member, and sends it what it has missed. Where it is a member already, the
    /// others hear of it only if its `info` or `present` has changed.
    ///
    /// # Errors
    ///
    /// See [`JoinError`].
    pub fn join(
        &'static self,
        connection: &Arc<Connection>,
        name: &str,
        join: Join,
    ) -> Result<Joined, JoinError> {
        check_name(name, true).map_err(JoinError::Name)?;
        if join.info.len() > presence::MAX_INFO {
            return Err(JoinError::Info(join.info.len()));
        }
        let channel = Channel::group(name);
        let mut join = join;
        if channel.is_wildcard() {
            join.limits = None;
            join.present = false;
        }
        if join.limits.is_some() || join.present {
            self.start_ticking();
        }
        // A member that joins again stays where it is: to leave first would tell all others twice.
        let again = is_member(connection, &channel);
        let joined = self.enter(connection, &channel, &join)?;
        if join.present {
            let member = presence::Member {
                id: self.member_id(connection.id()),
                info: Arc::clone(&join.info),
            };
            self.presence(Some(connection.id()), |presence, now| {
                presence.join(name, member, now)
            });
            if !is_member(connection, &channel) {
                // It may have ended, or another thread have left, before presence knew of it.
                self.absent(name, connection.id());
            }
        } else if again {
            self.absent(name, connection.id());
        }
        Ok(joined)
    }

    /// Makes a connection reachable as one of a user's.
    pub fn identify(&'static self, connection: &Arc<Connection>, user: &str) {
        let join = Join {
            since: None,
            limits: None,
            present: false,
            info: "{}".into(),
            was: Vec::new(),
            reply: None,
            timeout: Duration::ZERO,
        };
        // Without a history, nothing can fail but the connection.
        let _ = self.enter(connection, &Channel::user(user), &join);
    }

    fn enter(
        &'static self,
        connection: &Arc<Connection>,
        channel: &Channel,
        join: &Join,
    ) -> Result<Joined, JoinError> {
        loop {
            let group = self.obtain(channel);
            {
                let mut state = group.lock();
                if state.gone {
                    continue;
                }
                // Or else it would be retired while a slow broker is asked, and all begin anew.
                state.joining += 1;
            }
            let fetched = match self.link.get() {
                Some(link) => link.prepare(&group, join).inspect_err(|_| {
                    group.lock().joining -= 1;
                    self.retire(&group);
                })?,
                None => None,
            };
            // Locked in this order, so that a connection which ends meanwhile leaves the group, too.
            let memberships = connection.owned::<Memberships>().map(Memberships::lock);
            let Some(mut memberships) = memberships.filter(|one| !one.closed) else {
                group.lock().joining -= 1;
                self.retire(&group);
                return Err(JoinError::Ended);
            };
            let mut state = group.lock();
            state.joining -= 1;
            let joined = self.admit(&group, &mut state, connection, join, fetched);
            drop(state);
            // Another thread may have joined meanwhile.
            if !memberships
                .groups
                .iter()
                .any(|one| Arc::ptr_eq(one, &group))
            {
                memberships.groups.push(group);
            }
            return Ok(joined);
        }
    }

    /// The last step, under the group's lock: nothing can come between what was missed and what
    /// follows.
    fn admit(
        &self,
        group: &Group,
        state: &mut State,
        connection: &Arc<Connection>,
        join: &Join,
        fetched: Option<Vec<Arc<Message>>>,
    ) -> Joined {
        if let Some(limits) = join.limits
            && self.link.get().is_none()
        {
            let ring = state.ring.get_or_insert_with(|| {
                let start = Position {
                    offset: 0,
                    epoch: new_epoch(),
                };
                Ring::new(start, limits)
            });
            ring.set_limits(limits);
            ring.trim(Instant::now());
        }
        let (recovered, position, mut missed) = state.replay(join.since.as_ref(), fetched);
        let was = former(&join.was);
        missed.retain(|message| !message.excludes(&was));
        let joined = Joined {
            recovered,
            position,
            missed: missed.len(),
        };
        let mut delivery = group::Delivery::new(&[], false);
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
        state.add(Member {
            connection: Arc::clone(connection),
            present: join.present,
            after: joined.position.offset,
        });
        joined
    }

    /// Ends a membership; false if there was none.
    pub fn leave(
        &'static self,
        connection: &Arc<Connection>,
        name: &str,
        reply: Option<&str>,
    ) -> bool {
        let left = self.leave_silently(connection, &Channel::group(name));
        if let Some(reply) = reply {
            let frame = Arc::new(frames::left(name, reply));
            group::Delivery::new(&[], false).put(connection, &frame);
        }
        left
    }

    fn leave_silently(&'static self, connection: &Arc<Connection>, channel: &Channel) -> bool {
        let taken = || {
            let mut memberships = connection.owner::<Memberships>()?.lock();
            let place = memberships
                .groups
                .iter()
                .position(|group| group.channel == *channel);
            place.map(|place| memberships.groups.swap_remove(place))
        };
        let Some(group) = taken() else {
            return false;
        };
        self.part(connection.id(), &group);
        true
    }

    fn part(&'static self, id: u64, group: &Arc<Group>) {
        let (member, empty) = {
            let mut state = group.lock();
            (state.remove(id), state.len() == 0)
        };
        if member.is_some_and(|member| member.present) {
            self.absent(group.name(), id);
        }
        if empty {
            self.retire(group);
        }
    }

    /// The names of the groups of a connection.
    #[must_use]
    pub fn groups_of(connection: &Connection) -> Vec<String> {
        let Some(memberships) = connection.owner::<Memberships>() else {
            return Vec::new();
        };
        let memberships = memberships.lock();
        let groups = memberships.groups.iter();
        groups
            .filter_map(|group| group.channel.group_name())
            .map(str::to_owned)
            .collect()
    }
}

fn is_member(connection: &Connection, channel: &Channel) -> bool {
    connection
        .owner::<Memberships>()
        .is_some_and(|memberships| {
            let memberships = memberships.lock();
            let mut groups = memberships.groups.iter();
            groups.any(|group| group.channel == *channel)
        })
}
