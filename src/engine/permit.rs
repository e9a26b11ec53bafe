//! The limit on connections per process.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::runtime::fork;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A place among the process's connections; given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    generation: u32,
}

impl Permit {
    /// Takes a place, or returns `None` where `limit` connections are open already.
    #[must_use]
    pub fn take(limit: usize) -> Option<Self> {
        OPEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
            (open < limit).then_some(open + 1)
        })
        .ok()
        .map(|_| Self {
            generation: fork::generation(),
        })
    }

    /// How many places are taken.
    #[must_use]
    pub fn taken() -> usize {
        OPEN.load(Ordering::Acquire)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // A permit that came along through a fork was counted in the parent.
        if self.generation == fork::generation() {
            OPEN.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// The child of a fork has no connection of its own yet.
pub(crate) fn reset() {
    OPEN.store(0, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_on_drop() {
        let limit = Permit::taken() + 1;
        let permit = Permit::take(limit);
        assert!(permit.is_some());
        assert!(Permit::take(limit).is_none());
        drop(permit);
        assert!(Permit::take(limit).is_some());
    }
}
