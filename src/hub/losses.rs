//! The count of messages that are lost on the way over the broker.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    engine,
    runtime::{
        Level,
        figures::{self, Counter},
    },
};

/// The shortest time between two log lines about malformed messages from the broker.
const SILENCE: Duration = Duration::from_secs(60);

/// Counts messages that are lost on the way over the broker.
#[derive(Debug, Default)]
pub(super) struct Losses {
    count: AtomicU64,
    malformed: Malformed,
}

impl Losses {
    /// Counts a lost message.
    pub(super) fn note(&self) {
        self.count.fetch_add(1, Relaxed);
        figures::count(Counter::Lost, 1);
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Counts a malformed message from the broker, which is ignored. The log gets at most one line per
    /// [`SILENCE`].
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

/// Counts messages from the broker that this package cannot read.
#[derive(Debug, Default)]
struct Malformed {
    /// A std mutex: held for an addition.
    state: Mutex<(u64, Option<Instant>)>,
}

impl Malformed {
    /// Counts one more. If a log line is due, returns how many there were since the last line, this one
    /// included.
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
