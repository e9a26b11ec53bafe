//! The engine's log records, kept until Python fetches them.
//!
//! A tokio worker never attaches to the interpreter, so it cannot call `logging` itself. A Python thread
//! waits in [`Log::wait`], or an event loop waits for the queue that [`Log::report_to`] got.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use super::WakeQueue;

/// The most records that wait. Later records are counted and dropped.
const CAPACITY: usize = 256;

/// The severity of a record, by the numbers of Python's `logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A problem is over.
    Info = 20,
    /// An event that an operator may want to know.
    Warning = 30,
    /// A defect of this library or of the system under it.
    Error = 40,
}

/// One log record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The severity.
    pub level: Level,
    /// The text.
    pub message: String,
    /// The time at which the record was made.
    pub at: SystemTime,
}

/// A bounded queue of log records.
#[derive(Debug, Default)]
pub struct Log {
    /// A std mutex: held for a push or a swap.
    state: Mutex<State>,
    /// Notified for each record.
    some: Condvar,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Record>,
    lost: usize,
    reader: Option<Arc<WakeQueue>>,
}

impl Log {
    /// Adds a record with the present time, or counts it as lost if the queue is full.
    pub fn push(&self, level: Level, message: String) {
        let mut state = self.lock();
        if state.records.len() < CAPACITY {
            state.records.push(Record {
                level,
                message,
                at: SystemTime::now(),
            });
        } else {
            state.lost += 1;
        }
        if let Some(reader) = &state.reader
            && state.records.len() == 1
        {
            reader.push(0);
        }
        drop(state);
        self.some.notify_all();
    }

    /// Reports to an event loop from now on: the id 0 in its queue means that there are records.
    pub fn report_to(&self, reader: Arc<WakeQueue>) {
        let mut state = self.lock();
        if !state.records.is_empty() {
            reader.push(0);
        }
        state.reader = Some(reader);
    }

    /// Waits until there is a record; `false` if there was none until the deadline.
    pub fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.records.is_empty() {
            let waited = match deadline {
                None => self.some.wait(state).map_err(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let waited = self.some.wait_timeout(state, left);
                    waited
                        .map(|(state, _)| state)
                        .map_err(|error| error.into_inner().0)
                }
            };
            state = waited.unwrap_or_else(|state| state);
        }
        true
    }

    /// Takes out all records. If records were lost, a last record has their number.
    #[must_use]
    pub fn drain(&self) -> Vec<Record> {
        let mut state = self.lock();
        let mut records = std::mem::take(&mut state.records);
        if state.lost > 0 {
            records.push(Record {
                level: Level::Warning,
                message: format!("{} log records were lost", state.lost),
                at: SystemTime::now(),
            });
            state.lost = 0;
        }
        records
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    fn said(log: &Log) -> Vec<(Level, String)> {
        let records = log.drain().into_iter();
        records
            .map(|record| (record.level, record.message))
            .collect()
    }

    #[test]
    fn records_come_out_once_in_order() {
        let log = Log::default();
        log.push(Level::Error, "one".into());
        log.push(Level::Warning, "two".into());
        assert_eq!(
            said(&log),
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
        let records = said(&log);
        assert_eq!(records.len(), CAPACITY + 1);
        assert_eq!(records[CAPACITY].1, "3 log records were lost");
    }

    #[test]
    fn a_record_has_the_time_of_its_push() {
        let log = Log::default();
        let before = SystemTime::now();
        log.push(Level::Info, String::new());
        let after = SystemTime::now();
        let at = log.drain()[0].at;
        assert!(before <= at && at <= after);
    }

    #[test]
    fn who_waits_is_woken_by_a_record() {
        let log = Arc::new(Log::default());
        assert!(!log.wait(Some(Instant::now())));
        let waiting = Arc::clone(&log);
        let reader = thread::spawn(move || {
            assert!(waiting.wait(Some(Instant::now() + Duration::from_secs(60))));
            said(&waiting)
        });
        log.push(Level::Info, "x".into());
        assert_eq!(reader.join().unwrap(), [(Level::Info, "x".into())]);
    }

    #[test]
    fn an_event_loop_is_told_once_for_what_it_has_not_fetched() {
        let (log, queue) = (Log::default(), Arc::new(WakeQueue::new().unwrap()));
        log.push(Level::Info, "before".into());
        log.report_to(Arc::clone(&queue));
        assert_eq!(queue.drain(), [0]);
        log.push(Level::Info, "not fetched yet".into());
        assert!(queue.drain().is_empty());
        assert_eq!(log.drain().len(), 2);
        log.push(Level::Info, "after".into());
        assert_eq!(queue.drain(), [0]);
    }
}
