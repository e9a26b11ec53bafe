//! Random numbers that name processes.

use std::{
    hash::{BuildHasher, RandomState},
    time::SystemTime,
};

/// A random number that no other process has, not even a process forked from the same parent.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one((std::process::id(), SystemTime::now()))
}
