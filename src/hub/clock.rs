//! The clock of the hub: once a second it looks for leases, messages and groups that have expired.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{
    groups::table::Groups,
    presence::{Presence, who::Attendance},
};

/// The time between two ticks.
const TICK: Duration = Duration::from_secs(1);

/// Ticks for presence, for histories, and for groups without members. The clock starts with the first history,
/// the first present member or the broker.
pub(super) struct Clock {
    handle: Handle,
    groups: &'static Groups,
    attendance: &'static Attendance,
    ticking: AtomicBool,
}

impl Clock {
    pub(super) fn new(
        handle: Handle,
        groups: &'static Groups,
        attendance: &'static Attendance,
    ) -> Self {
        Self {
            handle,
            groups,
            attendance,
            ticking: AtomicBool::new(false),
        }
    }

    /// Starts the clock; later calls do nothing.
    pub(super) fn start(&'static self) {
        if !self.ticking.swap(true, Ordering::Relaxed) {
            self.handle.spawn(async {
                let mut interval = tokio::time::interval(TICK);
                loop {
                    interval.tick().await;
                    self.tick();
                }
            });
        }
    }

    fn tick(&self) {
        self.attendance.update(None, Presence::tick);
        let now = Instant::now();
        for group in self.groups.all() {
            let mut state = group.lock();
            state.trim(now);
            let empty = state.len() == 0;
            drop(state);
            if empty {
                self.groups.retire(&group);
            }
        }
    }
}
