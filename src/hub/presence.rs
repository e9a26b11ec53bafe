//! Who is in a group. (Of this process, for now.)

use std::{collections::HashMap, sync::Arc, time::Instant};

/// A member as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The process and the connection.
    pub id: Arc<str>,
    /// A JSON object.
    pub info: Arc<str>,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Output {
    Send(Vec<u8>),
    Joined(Arc<str>, Member),
    Left(Arc<str>, Member),
}

/// The members of all groups.
#[derive(Debug)]
pub struct Presence {
    groups: HashMap<Arc<str>, Vec<Member>>,
}

#[allow(missing_docs)]
impl Presence {
    pub fn new(_node: Arc<str>) -> Self {
        Self {
            groups: HashMap::new(),
        }
    }

    pub fn join(&mut self, group: &str, member: Member, _now: Instant) -> Vec<Output> {
        let group: Arc<str> = group.into();
        self.groups
            .entry(Arc::clone(&group))
            .or_default()
            .push(member.clone());
        vec![Output::Joined(group, member)]
    }

    pub fn leave(&mut self, group: &str, id: &str, _now: Instant) -> Vec<Output> {
        let Some(members) = self.groups.get_mut(group) else {
            return Vec::new();
        };
        let Some(place) = members.iter().position(|member| &*member.id == id) else {
            return Vec::new();
        };
        let member = members.swap_remove(place);
        if members.is_empty() {
            self.groups.remove(group);
        }
        vec![Output::Left(group.into(), member)]
    }

    pub fn receive(&mut self, _message: &[u8], _now: Instant) -> Vec<Output> {
        Vec::new()
    }

    pub fn tick(&mut self, _now: Instant) -> Vec<Output> {
        Vec::new()
    }

    pub fn reconnected(&mut self, _now: Instant) -> Vec<Output> {
        Vec::new()
    }

    pub fn members(&self, group: &str) -> Vec<Member> {
        self.groups.get(group).cloned().unwrap_or_default()
    }

    pub fn count(&self, group: &str) -> usize {
        self.groups.get(group).map_or(0, Vec::len)
    }
}
