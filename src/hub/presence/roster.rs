//! The members that one node has.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    member::{Member, Output},
    wire::{Change, Entry},
};

/// Members by id; never empty.
type Members = BTreeMap<Arc<str>, Member>;

/// The members of one node, by group. Every change adds its outputs: each `Joined` is followed by one
/// `Left`.
#[derive(Debug, Default)]
pub(super) struct Roster {
    groups: HashMap<Arc<str>, Members>,
    /// The memory for the members, in bytes, approximately.
    bytes: usize,
}

/// The memory for a member, in bytes, approximately.
pub(super) fn bytes_of(group: &str, member: &Member) -> usize {
    256 + group.len() + 2 * member.id.len() + member.info.len()
}

impl Roster {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The members of a group, by id.
    pub(super) fn of(&self, group: &str) -> impl Iterator<Item = &Member> {
        self.groups
            .get(group)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    pub(super) fn count(&self, group: &str) -> usize {
        self.groups.get(group).map_or(0, BTreeMap::len)
    }

    /// The groups whose names begin with `prefix`, and how many members they have.
    pub(super) fn counts(&self, prefix: &str) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.groups
            .iter()
            .filter(move |(group, _)| group.starts_with(prefix))
            .map(|(group, members)| (group, members.len()))
    }

    /// All members, group by group.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.groups
            .iter()
            .flat_map(|(group, members)| members.values().map(move |member| (&**group, member)))
    }

    pub(super) fn apply(&mut self, change: Change, outputs: &mut Vec<Output>) {
        match change {
            Change::Join((group, member)) => {
                self.insert(&group, member, outputs);
            }
            Change::Leave(group, id) => {
                self.remove(&group, &id, outputs);
            }
        }
    }

    /// Adds a member; another one with the same id leaves. Returns false if an equal member was there
    /// already.
    pub(super) fn insert(
        &mut self,
        group: &str,
        member: Member,
        outputs: &mut Vec<Output>,
    ) -> bool {
        let group = match self.groups.get_key_value(group) {
            Some((known, _)) => Arc::clone(known),
            None => group.into(),
        };
        let members = self.groups.entry(Arc::clone(&group)).or_default();
        if members.get(&member.id) == Some(&member) {
            return false;
        }
        self.bytes += bytes_of(&group, &member);
        if let Some(old) = members.insert(Arc::clone(&member.id), member.clone()) {
            self.bytes -= bytes_of(&group, &old);
            outputs.push(Output::Left(Arc::clone(&group), old));
        }
        outputs.push(Output::Joined(group, member));
        true
    }

    /// Removes a member; returns false if there was none.
    pub(super) fn remove(&mut self, group: &str, id: &str, outputs: &mut Vec<Output>) -> bool {
        let Some((group, _)) = self.groups.get_key_value(group) else {
            return false;
        };
        let group = Arc::clone(group);
        let Some(members) = self.groups.get_mut(&group) else {
            return false;
        };
        let Some(member) = members.remove(id) else {
            return false;
        };
        if members.is_empty() {
            self.groups.remove(&group);
        }
        self.bytes -= bytes_of(&group, &member);
        outputs.push(Output::Left(group, member));
        true
    }

    /// Replaces the members by those of another roster; members that are in both stay.
    pub(super) fn replace(&mut self, entries: Vec<Entry>, outputs: &mut Vec<Output>) {
        let mut other: HashMap<Arc<str>, Members> = HashMap::new();
        for (group, member) in entries {
            let members = other.entry(group).or_default();
            members.insert(Arc::clone(&member.id), member);
        }
        let gone: Vec<_> = self
            .entries()
            .filter(|(group, member)| {
                let members = other.get(*group);
                !members.is_some_and(|members| members.contains_key(&member.id))
            })
            .map(|(group, member)| (group.to_owned(), Arc::clone(&member.id)))
            .collect();
        for (group, id) in gone {
            self.remove(&group, &id, outputs);
        }
        for (group, members) in other {
            for member in members.into_values() {
                self.insert(&group, member, outputs);
            }
        }
    }
}
