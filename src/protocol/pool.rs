//! The compressors and decompressors that no connection holds.
//!
//! Without context takeover, a connection needs a compressor only while a message is compressed, and a
//! decompressor only while a message is read. So a few of them serve all connections of the process.

use std::sync::Mutex;

use flate2::{Compress, Decompress};

/// The most items that a pool keeps: 8 compressors of some 371 KiB and 8 decompressors of some 47 KiB.
/// If more are in use at once, more are made, and the surplus is dropped afterwards.
const KEPT: usize = 8;

/// The parameters of a compressor. Two compressors of the same kind are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) window_bits: u8,
    pub(crate) level: u8,
}

/// The unused compressors, each reset.
pub(crate) static COMPRESSORS: Pool<Compress> = Pool::new();
/// The unused decompressors, each reset.
pub(crate) static DECOMPRESSORS: Pool<Decompress> = Pool::new();

/// A bounded store of compressors or decompressors, which are expensive to make.
///
/// No thread waits for the lock: a thread that finds it taken works without the pool. That is rare,
/// because the lock is held for a few instructions. If a process forks while another thread holds the
/// lock, it stays taken in the child for ever, and the child loses only speed.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    idle: Mutex<Vec<(Kind, Box<T>)>>,
}

impl<T> Pool<T> {
    const fn new() -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Takes an item of a kind, if the pool has one.
    pub(crate) fn take(&self, kind: Kind) -> Option<Box<T>> {
        let mut idle = self.idle.try_lock().ok()?;
        let index = idle.iter().rposition(|(known, _)| *known == kind)?;
        Some(idle.swap_remove(index).1)
    }

    /// Keeps an item that has been reset. A full pool drops its oldest item.
    pub(crate) fn give(&self, kind: Kind, item: Box<T>) {
        let Ok(mut idle) = self.idle.try_lock() else {
            return;
        };
        if idle.len() >= KEPT {
            // Dropping the oldest frees kinds that no connection uses any more.
            let oldest = idle.remove(0);
            idle.push((kind, item));
            drop(idle);
            drop(oldest);
        } else {
            idle.push((kind, item));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Kind = Kind {
        window_bits: 15,
        level: 1,
    };
    const SECOND: Kind = Kind {
        window_bits: 9,
        level: 1,
    };

    #[test]
    fn only_the_same_kind_comes_back() {
        let pool = Pool::new();
        pool.give(FIRST, Box::new(1));
        assert_eq!(pool.take(SECOND), None);
        assert_eq!(pool.take(FIRST), Some(Box::new(1)));
        assert_eq!(pool.take(FIRST), None);
    }

    #[test]
    fn no_more_are_kept_than_is_allowed_and_the_oldest_go_first() {
        let pool = Pool::new();
        pool.give(SECOND, Box::new(0));
        for number in 1..=KEPT {
            pool.give(FIRST, Box::new(number));
        }
        assert_eq!(pool.take(SECOND), None);
        let kept: Vec<_> = std::iter::from_fn(|| pool.take(FIRST))
            .map(|item| *item)
            .collect();
        assert_eq!(kept, (1..=KEPT).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_lock_that_is_taken_is_not_waited_for() {
        let pool = Pool::new();
        pool.give(FIRST, Box::new(1));
        let held = pool.idle.lock().unwrap();
        assert_eq!(pool.take(FIRST), None);
        pool.give(FIRST, Box::new(2));
        drop(held);
        assert_eq!(pool.take(FIRST), Some(Box::new(1)));
    }
}
