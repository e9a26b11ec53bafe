//! The sending habit of a thread or greenlet: to one connection, or to several in turn.
//!
//! The overflow policy "auto" waits if the sender serves one connection. If the sender sends to several,
//! the policy does not wait, since all the others would wait with it. The habit alone decides: a sender
//! declares nothing, and the answer is known at the moment in which the sender meets a full outbox.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
};

/// The id that stands for a message to many; no connection has this id.
pub const MANY: u64 = 0;

/// The id that stands for no connection yet.
const NOBODY: u64 = u64::MAX;

/// Sends in a row that prove that a sender serves a connection, if it has never sent to another one. A
/// first send proves nothing: a loop over many connections begins with one, too.
const FIRST: u32 = 2;
/// The same for a sender that has served other connections before, such as a thread of a pool.
const NEXT: u32 = 3;
/// The same for a sender that comes back to a connection, as a loop over many does.
const AGAIN: u32 = 64;
/// Connections that the memory of a sender holds; a full memory is cleared.
const MEMORY: usize = 4096;

/// The connection of a sender's latest send, and the number of sends to it in a row.
#[derive(Debug)]
struct Latest {
    id: Cell<u64>,
    in_a_row: Cell<u32>,
}

impl Latest {
    const fn new() -> Self {
        Self {
            id: Cell::new(NOBODY),
            in_a_row: Cell::new(0),
        }
    }

    /// Counts one more send to the same connection; false if `id` is another one.
    #[inline]
    fn repeats(&self, id: u64) -> bool {
        let same = self.id.get() == id;
        if same {
            self.in_a_row.set(self.in_a_row.get().saturating_add(1));
        }
        same
    }

    /// Begins to count sends to another connection; returns the previous one.
    fn begin(&self, id: u64) -> u64 {
        self.in_a_row.set(1);
        self.id.replace(id)
    }
}

/// The sends of a sender before [`Latest`].
#[derive(Debug, Default)]
struct Past {
    needed: u32,
    turns: u64,
    others: HashSet<u64>,
}

impl Past {
    fn turn(&mut self, from: u64, to: u64) {
        if self.others.len() >= MEMORY {
            self.others.clear();
        }
        if from != NOBODY {
            self.others.insert(from);
            self.turns += 1;
        }
        self.needed = if self.others.is_empty() {
            FIRST
        } else if self.others.contains(&to) {
            AGAIN
        } else {
            NEXT
        };
    }

    fn serves(&self, latest: &Latest, id: u64) -> bool {
        id != MANY && id == latest.id.get() && latest.in_a_row.get() >= self.needed
    }
}

thread_local! {
    // Separate from `PAST`, since every send uses it and it needs no destructor.
    static LATEST: Latest = const { Latest::new() };
    static PAST: RefCell<Past> = RefCell::default();
}

fn with_past<T: Default>(use_past: impl FnOnce(&mut Past) -> T) -> T {
    PAST.try_with(|past| {
        past.try_borrow_mut()
            .map(|mut past| use_past(&mut past))
            .unwrap_or_default()
    })
    .unwrap_or_default()
}

/// Notes that the calling thread sends to a connection, or to [`MANY`].
#[inline]
pub fn note(id: u64) {
    LATEST.with(|latest| {
        if !latest.repeats(id) {
            turn(latest, id);
        }
    });
}

#[cold]
fn turn(latest: &Latest, id: u64) {
    let from = latest.begin(id);
    with_past(|past| past.turn(from, id));
}

/// Whether the calling thread serves this connection.
#[must_use]
pub fn serves(id: u64) -> bool {
    LATEST.with(|latest| with_past(|past| past.serves(latest, id)))
}

/// The number of times that the calling thread has turned from one connection to another.
#[must_use]
pub fn turns() -> u64 {
    with_past(|past| past.turns)
}

/// Forgets the habit of the calling thread, which runs another view from now on.
pub fn forget() {
    LATEST.with(|latest| {
        latest.begin(NOBODY);
        latest.in_a_row.set(0);
    });
    with_past(|past| *past = Past::default());
}

/// A habit as a value, for a sender that is not a thread, such as a greenlet.
#[derive(Debug)]
pub struct Habit {
    latest: Latest,
    past: Past,
}

impl Default for Habit {
    fn default() -> Self {
        Self {
            latest: Latest::new(),
            past: Past::default(),
        }
    }
}

impl Habit {
    /// Notes that this sender sends to a connection, or to [`MANY`].
    pub fn note(&mut self, id: u64) {
        if !self.latest.repeats(id) {
            let from = self.latest.begin(id);
            self.past.turn(from, id);
        }
    }

    /// Whether this sender serves a connection.
    #[must_use]
    pub fn serves(&self, id: u64) -> bool {
        self.past.serves(&self.latest, id)
    }

    /// The number of times that this sender has turned from one connection to another.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.past.turns
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
        assert_eq!(habit.turns(), 0);
    }

    #[test]
    fn a_loop_over_many_serves_nobody() {
        for batch in [1, 5, 20] {
            let mut habit = Habit::default();
            let pass = [1, 2, 3].into_iter().cycle().take(9);
            for id in pass.flat_map(|id| std::iter::repeat_n(id, batch)) {
                habit.note(id);
                assert!(habit.turns() < 3 || !habit.serves(id));
            }
            assert_eq!(habit.turns(), 8);
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
        assert!(habit.past.others.len() <= MEMORY);
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
        assert_eq!(habit.turns(), 3);
    }

    #[test]
    fn a_thread_that_runs_another_view_has_no_habit() {
        for id in [1, 1, 2, 3, 3, 3] {
            note(id);
        }
        assert!(serves(3));
        forget();
        assert_eq!(turns(), 0);
        note(3);
        assert!(!serves(3), "a first send proves nothing");
        note(3);
        assert!(serves(3), "no connection came before");
    }

    #[test]
    fn each_thread_has_a_habit_of_its_own() {
        let id = u64::MAX - 1;
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
