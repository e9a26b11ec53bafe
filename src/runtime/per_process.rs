//! A value that each process makes for itself, and that a child of a fork does not inherit.
//!
//! One atomic pointer leads to the value and to its fork generation. After a fork the child finds a value
//! of another generation, and treats it as no value: the parent's threads own it and may hold its locks.
//! The child leaks it on purpose. Dropping it would join threads that do not exist in the child, and
//! remove the parent's sockets from the epoll instance that both processes share.
#![allow(unsafe_code)]

use std::{
    fmt, io, ptr,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::fork;

/// The longest time that a thread waits while another thread makes the value.
const START: Duration = Duration::from_secs(15);

/// One `T` for each process. A child of a fork has no value until it makes its own.
pub struct PerProcess<T: Send + Sync + 'static> {
    /// Null until the first value; then the latest value, which an ancestor may have made.
    latest: AtomicPtr<Stamped<T>>,
    /// The process that is making its value, as its generation plus one; 0: none is.
    starting: AtomicU64,
}

struct Stamped<T: 'static> {
    generation: u32,
    value: T,
    /// The value of an ancestor.
    before: Option<&'static Self>,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    /// A place without a value.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            latest: AtomicPtr::new(ptr::null_mut()),
            starting: AtomicU64::new(0),
        }
    }

    /// The value of this process, if it has been made.
    pub fn get(&'static self) -> Option<&'static T> {
        let latest = self.latest()?;
        (latest.generation == fork::generation()).then_some(&latest.value)
    }

    /// The value that this process or an ancestor had as this generation. The caller may only read what was
    /// complete with the value and never changes: any lock of an ancestor may be held for ever.
    pub fn of(&'static self, generation: u32) -> Option<&'static T> {
        let mut found = self.latest()?;
        while found.generation != generation {
            found = found.before?;
        }
        Some(&found.value)
    }

    fn latest(&'static self) -> Option<&'static Stamped<T>> {
        let latest = self.latest.load(Ordering::Acquire);
        // SAFETY: `latest` is null or came from `Box::into_raw` in `get_or_try_init`, was complete when it
        // was stored there, is never freed and never written again.
        unsafe { latest.as_ref() }
    }

    /// The value of this process; calls `make` if there is none. One thread at a time calls `make`; the
    /// others wait for it.
    ///
    /// # Errors
    ///
    /// The error of `make`, or `TimedOut` if another thread has been in `make` for 15 seconds.
    pub fn get_or_try_init(
        &'static self,
        make: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<&'static T> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        fork::install_hook()?;
        let generation = fork::generation();
        let _turn = Turn::wait(&self.starting, generation, START)?;
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let value = make()?;
        // If `make` itself forked, `get` finds nothing in the child: the value has the parent's generation.
        let fresh = Stamped {
            generation,
            value,
            before: self.latest(),
        };
        self.latest
            .store(Box::into_raw(Box::new(fresh)), Ordering::Release);
        self.get().ok_or_else(|| io::ErrorKind::Interrupted.into())
    }
}

impl<T: Send + Sync + 'static> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug + Send + Sync + 'static> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerProcess").finish_non_exhaustive()
    }
}

/// The right to make the value. One thread of a process has it at a time, so that a process that is short
/// of threads starts only one set of them.
///
/// A lock would not do: if another thread held it at the moment of a fork, it would stay held in the child
/// for ever. The child of a fork sees its parent's number in `starting`, and takes its own turn.
struct Turn<'a> {
    starting: &'a AtomicU64,
    mine: u64,
}

impl<'a> Turn<'a> {
    fn wait(starting: &'a AtomicU64, generation: u32, patience: Duration) -> io::Result<Self> {
        let mine = u64::from(generation) + 1;
        let deadline = Instant::now() + patience;
        loop {
            let seen = starting.load(Ordering::Acquire);
            if seen != mine {
                let swapped =
                    starting.compare_exchange(seen, mine, Ordering::AcqRel, Ordering::Acquire);
                if swapped.is_ok() {
                    return Ok(Self { starting, mine });
                }
            } else if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let (mine, none) = (self.mine, 0);
        let _ = self
            .starting
            .compare_exchange(mine, none, Ordering::AcqRel, Ordering::Acquire);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A place that belongs to one test and lives as long as a static.
    fn place<T: Send + Sync>() -> &'static PerProcess<T> {
        Box::leak(Box::default())
    }

    #[test]
    fn a_value_is_made_once_for_all_threads() {
        let place = place::<u32>();
        let made = AtomicUsize::new(0);
        assert_eq!(place.get(), None);
        let make = || {
            made.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(20));
            Ok(7)
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(*place.get_or_try_init(make).unwrap(), 7));
            }
        });
        assert_eq!(made.into_inner(), 1);
        assert_eq!(place.get(), Some(&7));
    }

    #[test]
    fn after_an_error_the_next_thread_tries_again() {
        let place = place::<u32>();
        let refused = place.get_or_try_init(|| Err(io::ErrorKind::OutOfMemory.into()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(place.get(), None);
        assert_eq!(*place.get_or_try_init(|| Ok(8)).unwrap(), 8);
    }

    #[test]
    fn after_a_panic_the_next_thread_tries_again() {
        let place = place::<u32>();
        let panicked =
            thread::spawn(|| place.get_or_try_init(|| std::panic::resume_unwind(Box::new(()))));
        assert!(panicked.join().is_err());
        assert_eq!(*place.get_or_try_init(|| Ok(9)).unwrap(), 9);
    }

    #[test]
    fn a_value_of_another_generation_is_void() {
        let place = place::<u32>();
        let generation = fork::generation() + 1;
        let foreign = Stamped {
            generation,
            value: 1,
            before: None,
        };
        let foreign = Box::into_raw(Box::new(foreign));
        place.latest.store(foreign, Ordering::Release);
        assert_eq!(place.get(), None);
        assert_eq!(*place.get_or_try_init(|| Ok(2)).unwrap(), 2);
        assert_eq!(place.get(), Some(&2));
        // What the other generation had can still be read.
        let had = [0, 1, 2].map(|later| place.of(generation - 1 + later).copied());
        assert_eq!(had, [Some(2), Some(1), None]);
    }

    #[test]
    fn a_turn_that_an_ancestor_had_is_free() {
        let starting = AtomicU64::new(1);
        assert!(Turn::wait(&starting, 0, Duration::ZERO).is_err());
        let turn = Turn::wait(&starting, 1, Duration::ZERO);
        assert!(turn.is_ok());
        assert!(Turn::wait(&starting, 1, Duration::ZERO).is_err());
        drop(turn);
        assert_eq!(starting.into_inner(), 0);
    }
}
