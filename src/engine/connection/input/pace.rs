//! Limits how much a connection may do before other tasks run, and slows down a peer that floods.
//!
//! Tokio's own budget counts how often a task asks for readiness, not how long the task then works: 128
//! portions of pings take a second. The actor therefore yields after half a millisecond of work. It also
//! reads less at once while its input is expensive: small frames, or a few bytes that inflate to many.
//!
//! Frames that carry nothing (pings, pongs, nearly empty fragments, anything after a Close) get at most a
//! tenth of one thread, for all connections together: the actor pauses, TCP slows the peer, and the other
//! connections are not affected.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::Context,
    time::{Duration, Instant},
};

/// The most bytes that are read at once; see [`Pace::portion`].
pub(in crate::engine) const CHUNK: usize = 128 * 1024;

/// The working time of one turn. No other task runs in this thread during a turn.
const TURN: Duration = Duration::from_micros(500);

/// The most rounds of one turn. The working time of rounds with little input is only estimated.
const ROUNDS: u32 = 64;

/// Portions of at least this many bytes are timed: reading the clock costs as much as reading some tens
/// of bytes.
const TIMED: usize = 16 * 1024;

/// The size of the smallest portion, in bytes.
const LEAST: usize = 1024;

/// After frames that carry nothing, the actor pauses this many times as long as it has worked on them.
const SHARE: u32 = 9;

/// The shortest and the longest pause. The shortest is also the shortest time of tokio's timers.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));

/// The pace of one connection.
#[derive(Debug, Default)]
pub(in crate::engine::connection) struct Pace {
    rounds: u32,
    worked: Duration,
    /// A portion is [`CHUNK`] divided by two to this power.
    halvings: u32,
    paused_until: Option<Instant>,
}

impl Pace {
    /// Begins a turn.
    pub(in crate::engine::connection) fn begin(&mut self) {
        self.rounds = 0;
        self.worked = Duration::ZERO;
    }

    /// Whether the turn is over. Called once for each round, because it counts the rounds.
    pub(in crate::engine::connection) fn is_exhausted(&mut self) -> bool {
        self.rounds += 1;
        self.rounds >= ROUNDS || self.worked >= TURN
    }

    /// The number of bytes to read at once.
    pub(in crate::engine::connection) fn portion(&self) -> usize {
        CHUNK >> self.halvings
    }

    /// The current time if work on this many bytes is to be timed; otherwise `None`. `always`: time any
    /// amount.
    pub(in crate::engine::connection) fn clock(
        &self,
        bytes: usize,
        always: bool,
    ) -> Option<Instant> {
        (always || bytes >= TIMED.min(self.portion())).then(Instant::now)
    }

    /// Counts the work on a portion of which `bytes` were read. `idle`: the portion carried nothing.
    pub(in crate::engine::connection) fn worked(
        &mut self,
        began: Option<Instant>,
        bytes: usize,
        idle: bool,
        floods: &AtomicUsize,
    ) {
        let (now, took) = match began {
            Some(began) => {
                let now = Instant::now();
                (now, now.duration_since(began))
            }
            None if idle => (Instant::now(), Duration::ZERO),
            None => {
                // The time is estimated: frames of a few bytes take some 50 nanoseconds each.
                self.worked += Duration::from_nanos(8 * bytes as u64);
                return;
            }
        };
        self.worked += took;
        if took > TURN && self.portion() > LEAST {
            self.halvings += 1;
        } else if took < TURN / 4 && bytes >= self.portion() && self.halvings > 0 {
            self.halvings -= 1;
        }
        if idle {
            self.pause(now, took, floods);
        }
    }

    /// Pauses after idle work. The more connections pause, the longer is the pause.
    fn pause(&mut self, now: Instant, took: Duration, floods: &AtomicUsize) {
        if self.paused_until.is_none() {
            floods.fetch_add(1, Relaxed);
        }
        let many = u32::try_from(floods.load(Relaxed)).unwrap_or(u32::MAX);
        let pause = took.saturating_mul(SHARE).saturating_mul(many);
        self.paused_until = Some(now + pause.clamp(PAUSE.0, PAUSE.1));
    }

    /// The end of the pause: until then nothing is read.
    pub(in crate::engine::connection) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Ends the pause if its time is over.
    pub(in crate::engine::connection) fn go_on(&mut self, now: Instant, floods: &AtomicUsize) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.end(floods);
        }
    }

    /// Ends the pause, if there is one.
    pub(in crate::engine::connection) fn end(&mut self, floods: &AtomicUsize) {
        if self.paused_until.take().is_some() {
            floods.fetch_sub(1, Relaxed);
        }
    }
}

/// Has the task polled again after all other ready tasks, including tasks that the runtime has not woken
/// yet although their sockets are ready. A task that wakes itself would run before those.
pub(in crate::engine::connection) fn yield_now(cx: &mut Context<'_>) {
    let yielded = pin!(tokio::task::yield_now());
    // The first poll is pending and leaves the waker with the scheduler.
    let _ = yielded.poll(cx);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_after_its_time_or_its_rounds() {
        let floods = AtomicUsize::new(0);
        let mut pace = Pace::default();
        pace.begin();
        for _ in 1..ROUNDS {
            assert!(!pace.is_exhausted());
        }
        assert!(pace.is_exhausted());
        pace.begin();
        assert!(!pace.is_exhausted());
        pace.worked(Some(Instant::now() - TURN), 1, false, &floods);
        assert!(pace.is_exhausted());
        assert_eq!((floods.load(Relaxed), pace.paused_until()), (0, None));
    }

    #[test]
    fn what_is_expensive_is_read_in_small_portions_until_it_is_cheap_again() {
        let floods = AtomicUsize::new(0);
        let mut pace = Pace::default();
        for _ in 0..20 {
            let long_ago = Instant::now() - 2 * TURN;
            pace.worked(Some(long_ago), pace.portion(), false, &floods);
        }
        assert_eq!(pace.portion(), LEAST);
        assert!(pace.clock(pace.portion(), false).is_some());
        for _ in 0..20 {
            pace.worked(Some(Instant::now()), pace.portion(), false, &floods);
        }
        assert_eq!(pace.portion(), CHUNK);
    }

    #[test]
    fn idle_work_pauses_the_longer_the_more_connections_do_it() {
        let floods = AtomicUsize::new(0);
        let mut paces: Vec<_> = std::iter::repeat_with(Pace::default).take(10).collect();
        let mut pauses = Vec::new();
        for pace in &mut paces {
            let now = Instant::now();
            pace.worked(Some(now - TURN), 1, true, &floods);
            pauses.push(pace.paused_until().unwrap() - now);
        }
        assert!(pauses[0] >= SHARE * TURN, "{pauses:?}");
        assert!(pauses[9] >= 9 * SHARE * TURN, "{pauses:?}");
        assert_eq!(floods.load(Relaxed), 10);
        for pace in &mut paces {
            pace.go_on(Instant::now(), &floods);
            assert!(pace.paused_until().is_some());
            pace.go_on(Instant::now() + PAUSE.1, &floods);
            pace.end(&floods);
        }
        assert_eq!(floods.load(Relaxed), 0);
    }
}
