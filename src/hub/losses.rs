//! What is lost on the way over the broker.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{engine, runtime::Level};

/// Strange things that come from the broker have a line in the log no more often than this.
const SILENCE: Duration = Duration::from_secs(60);

/// Counts what is lost on the way over the broker.
#[derive(Debug, Default)]
pub(super) struct Losses {
    count: AtomicU64,
    malformed: Malformed,
}

impl Losses {
    /// A message is lost.
    pub(super) fn note(&self) {
        self.count.fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Counts something from the broker that is ignored; the log has a line now and then.
    pub(super) fn malformed(&self, channel: &str, why: &str) {
        self.note();
        if let Some(count) = self.malformed.note(Instant::now())
            && let Some(engine) = engine::running()
        {
            let others = match count {
                1 => String::new(),
                count => format!("; {} more since the last line like this", count - 1),
            };
            let message =
                format!("something on {channel:?} of the broker was ignored: {why}{others}");
            engine.log().push(Level::Warning, message);
        }
    }
}

/// What has come from the broker and is nothing of this package.
#[derive(Debug, Default)]
struct Malformed {
    /// A std mutex: held for an addition.
    state: Mutex<(u64, Option<Instant>)>,
}

impl Malformed {
    /// Returns how many there were since the last line in the log, this one included, where it is time
    /// for another.
    fn note(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        if state
            .1
            .is_some_and(|last| now.duration_since(last) < SILENCE)
        {
            return None;
        }
        state.1 = Some(now);
        Some(std::mem::take(&mut state.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_a_line_now_and_then() {
        let malformed = Malformed::default();
        let begun = Instant::now();
        assert_eq!(malformed.note(begun), Some(1));
        assert!((1..60).all(|n| malformed.note(begun + Duration::from_secs(n)).is_none()));
        assert_eq!(malformed.note(begun + SILENCE), Some(60));
        assert_eq!(malformed.note(begun + 2 * SILENCE), Some(1));
    }
}
