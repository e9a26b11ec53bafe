//! The clock of the hub: what expires is looked for once a second.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    groups::table::Groups,
    presence::{Presence, who::Attendance},
};

/// How often the hub looks for what has expired.
const TICK: Duration = Duration::from_secs(1);

/// Ticks for presence and for groups without members, from the first thing on that can expire.
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

    /// Starts the clock, at the first thing that can expire.
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
        for group in self.groups.all() {
            let empty = group.lock().len() == 0;
            if empty {
                self.groups.retire(&group);
            }
        }
    }
}
