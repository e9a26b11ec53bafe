//! All groups of this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
    time::Instant,
};

use super::{
    census::{Census, Kind},
    group::Group,
};
use crate::hub::names::Channel;

/// Receives the groups that leave the table. Its method is called without a lock held.
pub(in crate::hub) trait Watch: Send + Sync {
    /// The channel has no group in this process any more.
    fn retired(&self, channel: &Channel);
}

/// The groups of this process, by channel.
#[derive(Default)]
pub(in crate::hub) struct Groups {
    /// A std mutex: held for a map operation.
    table: Mutex<HashMap<Channel, Arc<Group>>>,
    census: Arc<Census>,
    /// The groups that are wildcards. An `RwLock`: mostly read.
    wildcards: RwLock<Vec<Arc<Group>>>,
    /// Set if a broker keeps the histories.
    watch: OnceLock<&'static dyn Watch>,
}

impl Groups {
    fn table(&self) -> MutexGuard<'_, HashMap<Channel, Arc<Group>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, a broker keeps the histories, and `watch` is called for groups that leave the table.
    pub(in crate::hub) fn watch(&self, watch: &'static dyn Watch) {
        let _ = self.watch.set(watch);
    }

    pub(in crate::hub) fn census(&self) -> &Census {
        &self.census
    }

    pub(in crate::hub) fn all(&self) -> Vec<Arc<Group>> {
        self.table().values().cloned().collect()
    }

    pub(in crate::hub) fn find(&self, channel: &Channel) -> Option<Arc<Group>> {
        self.table().get(channel).cloned()
    }

    /// The group of a channel; created if there is none.
    pub(in crate::hub) fn obtain(&self, channel: &Channel) -> Arc<Group> {
        let mut table = self.table();
        if let Some(group) = table.get(channel) {
            return Arc::clone(group);
        }
        let group = Group::new(channel.clone(), Arc::clone(&self.census));
        self.census.made(Kind::of(channel));
        table.insert(channel.clone(), Arc::clone(&group));
        if channel.is_wildcard() {
            self.wildcards
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Arc::clone(&group));
        }
        group
    }

    /// Takes a group out of the table if nothing would be lost by that.
    pub(in crate::hub) fn retire(&self, group: &Arc<Group>) {
        let watch = self.watch.get();
        let mut table = self.table();
        let mut state = group.lock();
        if state.gone || !state.is_idle(watch.is_some(), Instant::now()) {
            return;
        }
        state.gone = true;
        table.remove(&group.channel);
        self.census.retired(state.kind());
        drop(state);
        if group.channel.is_wildcard() {
            self.wildcards
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|other| !Arc::ptr_eq(other, group));
        }
        drop(table);
        if let Some(watch) = watch {
            watch.retired(&group.channel);
        }
    }

    /// Forgets the histories that this process keeps for groups without members. Does nothing if a broker
    /// keeps the histories.
    pub(in crate::hub) fn forget_histories(&self) {
        if self.watch.get().is_some() {
            return;
        }
        for group in self.all() {
            let mut state = group.lock();
            if state.len() == 0 && state.joining == 0 {
                state.ring = None;
            }
            drop(state);
            self.retire(&group);
        }
    }

    /// The wildcards that a message to `channel` reaches.
    pub(in crate::hub) fn matching(&self, channel: &Channel) -> Vec<Arc<Group>> {
        let wildcards = self
            .wildcards
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let matches = |group: &&Arc<Group>| group.channel.covers(channel);
        wildcards.iter().filter(matches).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hub::position::Limits;

    #[derive(Default)]
    struct Retired(Mutex<Vec<String>>);

    impl Watch for Retired {
        fn retired(&self, channel: &Channel) {
            self.0.lock().unwrap().push(channel.to_string());
        }
    }

    #[test]
    fn a_group_is_made_once_and_leaves_when_idle() {
        let groups = Groups::default();
        let retired: &'static Retired = Box::leak(Box::default());
        groups.watch(retired);
        let channel = Channel::group("x");
        assert!(groups.find(&channel).is_none());
        let group = groups.obtain(&channel);
        assert!(Arc::ptr_eq(&group, &groups.obtain(&channel)));
        group.lock().joining = 1;
        groups.retire(&group);
        assert!(groups.find(&channel).is_some(), "somebody is joining");
        group.lock().joining = 0;
        groups.retire(&group);
        groups.retire(&group);
        assert!(groups.find(&channel).is_none() && group.lock().gone);
        assert_eq!(*retired.0.lock().unwrap(), ["g:x"], "told once");
        assert!(!Arc::ptr_eq(&group, &groups.obtain(&channel)));
    }

    #[test]
    fn histories_without_members_are_forgotten() {
        let groups = Groups::default();
        let (idle, joining) = (Channel::group("idle"), Channel::group("joining"));
        for channel in [&idle, &joining] {
            let limits = Limits {
                size: 5,
                ttl: Duration::from_secs(300),
            };
            groups
                .obtain(channel)
                .lock()
                .next(limits, &|| "epoch".into());
        }
        groups.obtain(&joining).lock().joining = 1;
        groups.retire(&groups.obtain(&idle));
        assert!(groups.find(&idle).is_some(), "the history is kept");
        groups.forget_histories();
        assert!(groups.find(&idle).is_none());
        assert!(groups.obtain(&joining).lock().ring.is_some());
    }

    #[test]
    fn wildcards_match_as_long_as_they_are_there() {
        let groups = Groups::default();
        let chats = groups.obtain(&Channel::group("chat.*"));
        let all = groups.obtain(&Channel::group("*"));
        groups.obtain(&Channel::group("chat.1"));
        let found = |name: &str| groups.matching(&Channel::group(name)).len();
        assert_eq!((found("chat.1"), found("news")), (2, 1));
        assert!(groups.matching(&Channel::user("chat.1")).is_empty());
        groups.retire(&chats);
        assert_eq!((found("chat.1"), found("news")), (1, 1));
        groups.retire(&all);
        assert_eq!((found("chat.1"), found("news")), (0, 0));
        assert_eq!(groups.all().len(), 1);
    }
}
