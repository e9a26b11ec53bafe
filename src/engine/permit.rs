//! The limit on connections per process.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::fork;

/// The lower half is the number of places that are taken; the upper half is the generation of the process
/// that counts them. The child of a fork has no connection of its own yet, so a count of another
/// generation means 0.
static OPEN: AtomicU64 = AtomicU64::new(0);

fn pack(generation: u32, open: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(open)
}

/// The number of places in `packed`, a value of [`OPEN`]; 0 if it is of another generation.
fn counted(packed: u64, generation: u32) -> u32 {
    if packed >> 32 == u64::from(generation) {
        packed as u32
    } else {
        0
    }
}

/// A place among the process's connections. Dropping the permit gives the place back.
#[derive(Debug)]
pub struct Permit {
    generation: u32,
}

impl Permit {
    /// Takes a place; returns `None` if `limit` connections are open already.
    #[must_use]
    pub fn take(limit: usize) -> Option<Self> {
        let generation = fork::generation();
        OPEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, |packed| {
            let open = counted(packed, generation);
            ((open as usize) < limit).then(|| pack(generation, open.saturating_add(1)))
        })
        .ok()
        .map(|_| Self { generation })
    }

    /// The number of places that are taken.
    #[must_use]
    pub fn taken() -> usize {
        counted(OPEN.load(Ordering::Acquire), fork::generation()) as usize
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // A permit from before a fork was counted in the parent only.
        if self.generation == fork::generation() {
            let _ = OPEN.fetch_update(Ordering::AcqRel, Ordering::Acquire, |packed| {
                let open = counted(packed, self.generation).checked_sub(1)?;
                Some(pack(self.generation, open))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_another_generation_is_none() {
        let packed = pack(3, 7);
        assert_eq!(counted(packed, 3), 7);
        assert_eq!(counted(packed, 4), 0);
    }

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
