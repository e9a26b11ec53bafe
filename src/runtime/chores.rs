//! Work that can wait for a moment, and is done together.
//!
//! To wake a task costs more than most of what it does then. A connection that lives for a few milliseconds
//! would wake several: for its task's first round, for its last ones, for the end of the server's response.
//! Such work is left here, and one task does all that has come together within a [`PAUSE`].

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

/// The longest time that a chore waits.
const PAUSE: Duration = Duration::from_millis(20);

/// Chores that are done before other tasks run.
const MANY: usize = 64;

/// Whether a chore is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    Done,
    /// The chore is to be done again after a pause.
    Again,
}

type Work = Box<dyn FnMut() -> Chore + Send>;

/// The work of one process that waits. Every chore belongs to a connection, and a connection has five
/// at most, so the number of connections limits the list.
#[derive(Default)]
pub(crate) struct Chores {
    /// A std mutex: held for a push or a pop.
    state: Mutex<State>,
    /// Wakes the task that does the chores.
    some: Notify,
    /// Ends its pause.
    hurry: Notify,
}

#[derive(Default)]
struct State {
    list: VecDeque<Work>,
    /// Whether the task knows of the list.
    told: bool,
    /// The runtime has ended: nothing is done any more.
    ended: bool,
}

impl fmt::Debug for Chores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chores").finish_non_exhaustive()
    }
}

impl Chores {
    /// Leaves work to be done within a [`PAUSE`], on a thread of the runtime. Once the runtime has ended, the
    /// work is dropped.
    pub(crate) fn add(&self, work: impl FnMut() -> Chore + Send + 'static) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        state.list.push_back(Box::new(work));
        let told = std::mem::replace(&mut state.told, true);
        drop(state);
        if !told {
            self.some.notify_one();
        }
    }

    /// Has the work done now.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Does the work; runs as long as the runtime does.
    pub(super) async fn run(&self) {
        loop {
            self.some.notified().await;
            while self.is_left() {
                tokio::select! {
                    () = self.hurry.notified() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
                self.round().await;
            }
        }
    }

    /// Does what the list has now.
    async fn round(&self) {
        let mut many = self.state().list.len();
        while many > 0 {
            let some = many.min(MANY);
            for _ in 0..some {
                let Some(mut work) = self.state().list.pop_front() else {
                    return;
                };
                if work() == Chore::Again {
                    self.state().list.push_back(work);
                }
            }
            many -= some;
            if many > 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether there is work. If not, the next work wakes the task.
    fn is_left(&self) -> bool {
        let mut state = self.state();
        state.told = !state.list.is_empty();
        state.told
    }

    /// Drops the work that is left, after the end of the runtime.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        let left = std::mem::take(&mut state.list);
        drop(state);
        // What the work owns may have locks of its own.
        drop(left);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// The chores of a runtime that has begun to do them.
    fn running() -> (tokio::runtime::Runtime, Arc<Chores>) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let chores = Arc::<Chores>::default();
        let left = Arc::clone(&chores);
        runtime.spawn(async move { left.run().await });
        (runtime, chores)
    }

    #[test]
    fn chores_are_done_in_order_and_again_until_they_are_done() {
        let (_runtime, chores) = running();
        let (tell, told) = mpsc::channel();
        let mut left = 3;
        let first = tell.clone();
        chores.add(move || {
            left -= 1;
            first.send(("first", left)).unwrap();
            if left > 0 { Chore::Again } else { Chore::Done }
        });
        for _ in 0..2 * MANY {
            let second = tell.clone();
            chores.add(move || {
                second.send(("second", 0)).unwrap();
                Chore::Done
            });
        }
        drop(tell);
        // The iteration ends when every chore is dropped.
        let all: Vec<_> = std::iter::from_fn(|| told.recv_timeout(LIMIT).ok()).collect();
        assert_eq!(all.len(), 2 * MANY + 3);
        assert_eq!(all[0], ("first", 2));
        assert_eq!(all[2 * MANY + 1..], [("first", 1), ("first", 0)]);
    }

    #[test]
    fn chores_that_come_one_after_the_other_are_all_done() {
        let (_runtime, chores) = running();
        for _ in 0..20 {
            let (tell, told) = mpsc::channel();
            chores.add(move || {
                tell.send(()).unwrap();
                Chore::Done
            });
            chores.hurry();
            told.recv_timeout(LIMIT).unwrap();
        }
    }

    #[test]
    fn what_is_left_at_the_end_is_dropped() {
        let chores = Chores::default();
        let owned = Arc::new(());
        for _ in 0..2 {
            let owned = Arc::clone(&owned);
            chores.add(move || {
                let _ = &owned;
                Chore::Done
            });
            chores.end();
        }
        assert_eq!(Arc::strong_count(&owned), 1);
    }
}
