//! Hashes ids that this process has given out itself, one after the other.

use std::hash::{BuildHasherDefault, Hasher};

/// For maps by id. Nobody outside chooses the ids, so that a fast hash will do.
pub(crate) type IdHash = BuildHasherDefault<IdHasher>;

/// Spreads an id over all bits.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // An odd number near 2^64 divided by the golden ratio.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn write_usize(&mut self, id: usize) {
        self.write_u64(id as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
