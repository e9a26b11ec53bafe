//! Whom a thread, or a greenlet, sends to: to one connection, or to several in turn.
//!
//! The overflow policy "auto" waits for a sender that serves one connection and not for one that sends
//! around, since everybody else would wait with it. A sender is judged by its habit alone: nothing needs
//! to be declared, and the answer is known at the moment in which it meets a full outbox.

use std::{
    cell::RefCell,
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use pyo3::prelude::*;

/// Stands for a message to many: no connection has this id.
pub(super) const MANY: u64 = 0;

/// Sends in a row that prove that a sender serves a connection, if it has never sent to another one. The
/// first send proves nothing: a loop over many begins like this, too.
const FIRST: u32 = 2;
/// The same for a sender that has served others before: a pool's thread, say.
const NEXT: u32 = 3;
/// The same for a sender that comes back to a connection: so does a loop over many.
const AGAIN: u32 = 64;
/// Connections that a sender's memory holds; then it begins anew.
const MEMORY: usize = 4096;

/// What a sender has done so far.
#[derive(Debug, Default)]
struct Habit {
    current: u64,
    in_a_row: u32,
    needed: u32,
    turns: u64,
    others: HashSet<u64>,
}

impl Habit {
    fn note(&mut self, id: u64) {
        if id == self.current && self.needed != 0 {
            self.in_a_row = self.in_a_row.saturating_add(1);
        } else {
            self.turn(id);
        }
    }

    #[cold]
    fn turn(&mut self, id: u64) {
        if self.others.len() >= MEMORY {
            self.others.clear();
        }
        if self.needed != 0 {
            self.others.insert(self.current);
            self.turns += 1;
        }
        self.needed = if self.others.is_empty() {
            FIRST
        } else if self.others.contains(&id) {
            AGAIN
        } else {
            NEXT
        };
        self.current = id;
        self.in_a_row = 1;
    }

    fn serves(&self, id: u64) -> bool {
        id != MANY && id == self.current && self.in_a_row >= self.needed
    }
}

thread_local! {
    static THREAD: RefCell<Habit> = RefCell::default();
}

fn with<T: Default>(use_habit: impl FnOnce(&mut Habit) -> T) -> T {
    THREAD
        .try_with(|habit| {
            habit
                .try_borrow_mut()
                .map(|mut habit| use_habit(&mut habit))
                .unwrap_or_default()
        })
        .unwrap_or_default()
}

/// Notes that the calling thread sends to a connection, or to [`MANY`].
pub(super) fn note(id: u64) {
    with(|habit| habit.note(id));
}

/// Whether the calling thread serves this connection.
pub(super) fn serves(id: u64) -> bool {
    with(|habit| habit.serves(id))
}

/// How often the calling thread has turned from one connection to another.
#[pyfunction]
pub(super) fn turns() -> u64 {
    with(|habit| habit.turns)
}

/// The habit of a sender that is no thread.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Sender")]
pub(super) struct PySender(Mutex<Habit>);

#[pymethods]
impl PySender {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn note(&self, id: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(id);
    }

    fn serves(&self, id: u64) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .serves(id)
    }

    #[getter]
    fn turns(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sends: impl IntoIterator<Item = u64>) -> Habit {
        let mut habit = Habit::default();
        for id in sends {
            habit.note(id);
        }
        habit
    }

    #[test]
    fn a_first_send_proves_nothing() {
        assert!(!after([]).serves(1));
        assert!(!after([1]).serves(1));
    }

    #[test]
    fn a_sender_to_one_serves_it() {
        let habit = after([1, 1]);
        assert!(habit.serves(1));
        assert!(!habit.serves(2));
        assert_eq!(habit.turns, 0);
    }

    #[test]
    fn a_loop_over_many_serves_nobody() {
        for batch in [1, 5, 20] {
            let mut habit = Habit::default();
            let pass = [1, 2, 3].into_iter().cycle().take(9);
            for id in pass.flat_map(|id| std::iter::repeat_n(id, batch)) {
                habit.note(id);
                assert!(habit.turns < 3 || !habit.serves(id));
            }
            assert_eq!(habit.turns, 8);
        }
    }

    #[test]
    fn a_pool_serves_one_after_the_other() {
        let jobs = (1..=10_000).flat_map(|id| [id; 3]);
        let mut habit = Habit::default();
        for (number, id) in jobs.enumerate() {
            habit.note(id);
            if number % 3 == 2 {
                assert!(habit.serves(id), "{id}");
            }
        }
        assert!(habit.others.len() <= MEMORY);
    }

    #[test]
    fn a_loop_that_has_ended_is_forgotten_by_and_by() {
        let mut habit = after([1, 2, 3, 1]);
        assert!(!habit.serves(1));
        for _ in 0..AGAIN {
            habit.note(1);
        }
        assert!(habit.serves(1));
    }

    #[test]
    fn messages_to_many_are_turns() {
        let habit = after([1, MANY, 1, MANY, MANY, MANY]);
        assert!(!habit.serves(1));
        assert!(!habit.serves(MANY));
        assert_eq!(habit.turns, 3);
    }

    #[test]
    fn each_thread_has_a_habit_of_its_own() {
        let id = u64::MAX;
        note(id);
        note(id);
        assert!(serves(id));
        assert!(
            !std::thread::spawn(move || serves(id))
                .join()
                .unwrap_or(true)
        );
    }
}
