//! How senders wake the actor.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    task::Waker,
};

use crate::runtime::{Chore, Chores};

/// The states of a signal.
const LOWERED: u8 = 0;
/// The actor is woken among the chores.
const LATER: u8 = 1;
const RAISED: u8 = 2;

/// Wakes the actor for another round. The signal is separate from the outbox, so that the actor can check it
/// without the outbox's lock.
#[derive(Debug, Default)]
pub(in crate::engine) struct Signal {
    state: AtomicU8,
    /// The actor's waker; a task has the same waker all its life.
    waker: OnceLock<Waker>,
    /// Where the actor begins, and is woken later; `None`: at once.
    chores: Option<&'static Chores>,
}

impl Signal {
    /// A signal for an actor that begins among the chores.
    pub(in crate::engine) fn with_chores(chores: &'static Chores) -> Arc<Self> {
        Arc::new(Self {
            chores: Some(chores),
            ..Self::default()
        })
    }

    /// Wakes the actor.
    pub(in crate::engine) fn raise(&self) {
        if self.state.swap(RAISED, Ordering::AcqRel) == RAISED {
            return;
        }
        match (self.waker.get(), self.chores) {
            (Some(waker), _) => waker.wake_by_ref(),
            // The actor has not begun.
            (None, Some(chores)) => chores.hurry(),
            (None, None) => {}
        }
    }

    /// Wakes the actor within a moment, together with others.
    pub(in crate::engine) fn raise_later(self: &Arc<Self>) {
        let Some(chores) = self.chores else {
            return self.raise();
        };
        let raised =
            self.state
                .compare_exchange(LOWERED, LATER, Ordering::AcqRel, Ordering::Acquire);
        // An actor that has not begun looks at the signal first of all.
        if raised.is_ok() && self.waker.get().is_some() {
            let signal = Arc::clone(self);
            chores.add(move || {
                signal.wake();
                Chore::Done
            });
        }
    }

    /// Wakes the actor, unless it has looked at the signal meanwhile.
    fn wake(&self) {
        if self.state.load(Ordering::Acquire) == LATER
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// Whether the signal was raised since the last call. From the first call on, the signal wakes
    /// `waker`.
    pub(in crate::engine) fn take(&self, waker: &Waker) -> bool {
        self.waker.get_or_init(|| waker.clone());
        self.state.swap(LOWERED, Ordering::AcqRel) != LOWERED
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::Wake,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::runtime::runtime;

    /// Counts how often the actor is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn wait_for(&self, times: usize) {
            let deadline = Instant::now() + Duration::from_secs(20);
            while self.0.load(Ordering::Relaxed) < times {
                assert!(Instant::now() < deadline);
                std::thread::yield_now();
            }
        }
    }

    fn signal() -> (Arc<Signal>, Arc<Woken>, Waker) {
        let signal = Signal::with_chores(runtime().unwrap().chores());
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        (signal, woken, waker)
    }

    #[test]
    fn a_signal_is_taken_once_however_it_was_raised() {
        let (signal, _, waker) = signal();
        signal.raise_later();
        signal.raise();
        signal.raise_later();
        assert!(signal.take(&waker));
        assert!(!signal.take(&waker));
    }

    #[test]
    fn an_actor_is_woken_at_once_or_among_the_chores() {
        let (signal, woken, waker) = signal();
        assert!(!signal.take(&waker));
        signal.raise();
        woken.wait_for(1);
        signal.raise_later();
        assert!(signal.take(&waker));
        signal.raise_later();
        woken.wait_for(2);
        assert!(signal.take(&waker));
    }

    #[test]
    fn what_is_urgent_does_not_wait_for_what_is_not() {
        let (signal, woken, waker) = signal();
        assert!(!signal.take(&waker));
        signal.raise_later();
        signal.raise();
        assert!(woken.0.load(Ordering::Relaxed) >= 1);
        assert!(signal.take(&waker));
    }
}
