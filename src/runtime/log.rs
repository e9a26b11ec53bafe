//! What the engine has to say, kept until a Python thread fetches it.
//!
//! A tokio worker never attaches to the interpreter, so it cannot call `logging` itself.

use std::sync::{Mutex, PoisonError};

/// Records kept at most; later ones are counted, not kept.
const CAPACITY: usize = 256;

/// The severity of a record, by the numbers of Python's `logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something an operator may want to know.
    Warning = 30,
    /// A defect: of this library or of the system under it.
    Error = 40,
}

/// A bounded queue of log records.
#[derive(Debug, Default)]
pub struct Log {
    /// A std mutex: held for a push or a swap.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<(Level, String)>,
    lost: usize,
}

impl Log {
    /// Adds a record, or counts it as lost where the queue is full.
    pub fn push(&self, level: Level, message: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.records.len() < CAPACITY {
            state.records.push((level, message));
        } else {
            state.lost += 1;
        }
    }

    /// Takes all records out; a last one tells how many were lost.
    #[must_use]
    pub fn drain(&self) -> Vec<(Level, String)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = std::mem::take(&mut state.records);
        if state.lost > 0 {
            records.push((
                Level::Warning,
                format!("{} log records were lost", state.lost),
            ));
            state.lost = 0;
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_once_in_order() {
        let log = Log::default();
        log.push(Level::Error, "one".into());
        log.push(Level::Warning, "two".into());
        let records = log.drain();
        assert_eq!(
            records,
            [(Level::Error, "one".into()), (Level::Warning, "two".into())]
        );
        assert!(log.drain().is_empty());
    }

    #[test]
    fn a_full_queue_counts_what_it_loses() {
        let log = Log::default();
        for n in 0..CAPACITY + 3 {
            log.push(Level::Warning, n.to_string());
        }
        let records = log.drain();
        assert_eq!(records.len(), CAPACITY + 1);
        assert_eq!(records[CAPACITY].1, "3 log records were lost");
    }
}
