//! Decides whether the peer is still alive. This module does no I/O: the time is an argument.

use std::time::{Duration, Instant};

use crate::config::Config;

/// Bytes that must arrive within a ping timeout so that the peer counts as alive in the middle of a
/// message, when its pong waits behind that message. One byte a minute is not enough. The peer must take as
/// many while the ping waits behind a message, or a Close frame does.
pub(super) const PROGRESS: usize = 1024;

/// The action that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// A ping with this payload.
    Ping([u8; 4]),
    /// The end: the peer has not answered the last ping.
    Dead,
}

/// Pings sent and awaited (RFC 6455 section 5.5.2).
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Option<Duration>,
    timeout: Duration,
    next_ping: Instant,
    awaited: Option<Awaited>,
    counter: u32,
}

#[derive(Debug)]
struct Awaited {
    sent: Instant,
    deadline: Instant,
    progress: usize,
    alive: bool,
    /// The position behind the ping in all that is sent.
    end: i64,
    /// The position up to which the peer had taken what is sent when the deadline was set.
    taken: i64,
}

impl Awaited {
    /// Whether enough bytes have arrived, or have been taken of those before the ping.
    fn has_progress(&self, taken: i64) -> bool {
        self.progress >= PROGRESS || taken.min(self.end) - self.taken >= PROGRESS as i64
    }
}

impl Keepalive {
    pub(super) fn new(config: &Config, now: Instant) -> Self {
        let interval = config.ping_interval;
        Self {
            interval,
            timeout: config.ping_timeout,
            next_ping: now + interval.unwrap_or_default(),
            awaited: None,
            counter: 0,
        }
    }

    /// The time of the next call of [`Keepalive::check`]; `None` without keepalive.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.interval?;
        Some(
            self.awaited
                .as_ref()
                .map_or(self.next_ping, |ping| ping.deadline),
        )
    }

    /// Returns the action that is due. `listening` is false while the actor reads nothing on purpose: it
    /// could not see a pong then, so a missing pong proves nothing. `taken` is the position up to which the
    /// peer has taken what is sent.
    pub(super) fn check(&mut self, now: Instant, listening: bool, taken: i64) -> Due {
        let Some(interval) = self.interval else {
            return Due::Nothing;
        };
        if let Some(ping) = &mut self.awaited {
            if now < ping.deadline {
                return Due::Nothing;
            }
            if listening && !ping.alive && !ping.has_progress(taken) {
                return Due::Dead;
            }
            if !ping.alive {
                ping.progress = 0;
                ping.taken = taken;
                ping.deadline = now + self.timeout;
                return Due::Nothing;
            }
            self.awaited = None;
        }
        if now < self.next_ping {
            return Due::Nothing;
        }
        self.next_ping = now + interval;
        self.counter = self.counter.wrapping_add(1);
        let deadline = now + self.timeout;
        self.awaited = Some(Awaited {
            sent: now,
            deadline,
            progress: 0,
            alive: false,
            end: taken,
            taken,
        });
        Due::Ping(self.counter.to_be_bytes())
    }

    /// The ping was sent, or waits; `end` is the position behind it in all that is sent.
    pub(super) fn queued(&mut self, end: i64) {
        if let Some(ping) = &mut self.awaited {
            ping.end = end;
        }
    }

    /// Bytes have arrived.
    pub(super) fn progress(&mut self, bytes: usize) {
        if let Some(ping) = &mut self.awaited {
            ping.progress = ping.progress.saturating_add(bytes);
        }
    }

    /// A whole message or control frame has arrived: the peer is alive.
    pub(super) fn alive(&mut self) {
        if let Some(ping) = &mut self.awaited {
            ping.alive = true;
        }
    }

    /// A pong has arrived; returns the round-trip time if it answers the last keepalive ping.
    pub(super) fn pong(&mut self, payload: &[u8], now: Instant) -> Option<Duration> {
        if payload != self.counter.to_be_bytes() {
            return None;
        }
        let ping = self.awaited.take()?;
        Some(now.saturating_duration_since(ping.sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn keepalive() -> (Keepalive, Instant) {
        let now = Instant::now();
        (Keepalive::new(&Config::default(), now), now)
    }

    #[test]
    fn pings_are_due_at_the_interval() {
        let (mut keepalive, start) = keepalive();
        assert_eq!(keepalive.deadline(), Some(start + 20 * SECOND));
        assert_eq!(keepalive.check(start + 19 * SECOND, true, 0), Due::Nothing);
        assert_eq!(
            keepalive.check(start + 20 * SECOND, true, 0),
            Due::Ping([0, 0, 0, 1])
        );
    }

    #[test]
    fn without_an_interval_nothing_is_ever_due() {
        let config = Config {
            ping_interval: None,
            ..Config::default()
        };
        let start = Instant::now();
        let mut keepalive = Keepalive::new(&config, start);
        assert_eq!(keepalive.deadline(), None);
        assert_eq!(
            keepalive.check(start + 9999 * SECOND, true, 0),
            Due::Nothing
        );
    }

    #[test]
    fn a_pong_gives_the_round_trip_time() {
        let (mut keepalive, start) = keepalive();
        keepalive.check(start + 20 * SECOND, true, 0);
        assert_eq!(keepalive.pong(b"else", start + 21 * SECOND), None);
        let latency = keepalive.pong(&[0, 0, 0, 1], start + 22 * SECOND);
        assert_eq!(latency, Some(2 * SECOND));
        assert_eq!(
            keepalive.check(start + 40 * SECOND, true, 0),
            Due::Ping([0, 0, 0, 2])
        );
    }

    #[test]
    fn a_silent_peer_is_dead_at_the_timeout() {
        let (mut keepalive, start) = keepalive();
        keepalive.check(start + 20 * SECOND, true, 0);
        assert_eq!(keepalive.check(start + 39 * SECOND, true, 0), Due::Nothing);
        assert_eq!(keepalive.check(start + 40 * SECOND, true, 0), Due::Dead);
    }

    #[test]
    fn a_few_bytes_do_not_save_a_peer_but_a_kilobyte_or_a_message_does() {
        for (bytes, whole, due) in [
            (60, false, Due::Dead),
            (1024, false, Due::Nothing),
            (1, true, Due::Ping([0, 0, 0, 2])),
        ] {
            let (mut keepalive, start) = keepalive();
            keepalive.check(start + 20 * SECOND, true, 0);
            keepalive.progress(bytes);
            if whole {
                keepalive.alive();
            }
            assert_eq!(
                keepalive.check(start + 40 * SECOND, true, 0),
                due,
                "{bytes} {whole}"
            );
        }
    }

    #[test]
    fn silence_proves_nothing_while_nothing_is_read() {
        let (mut keepalive, start) = keepalive();
        keepalive.check(start + 20 * SECOND, true, 0);
        assert_eq!(keepalive.check(start + 40 * SECOND, false, 0), Due::Nothing);
        assert_eq!(keepalive.check(start + 60 * SECOND, true, 0), Due::Dead);
    }

    /// The ping waits behind a message that the peer takes more or less quickly.
    #[test]
    fn a_peer_that_takes_what_is_before_the_ping_is_alive() {
        for (end, taken, due) in [
            (9_000, 1_060, Due::Dead),
            (9_000, 3_000, Due::Nothing),
            // What follows the ping does not count.
            (1_100, 3_000, Due::Dead),
        ] {
            let (mut keepalive, start) = keepalive();
            keepalive.check(start + 20 * SECOND, true, 1_000);
            keepalive.queued(end);
            let now = start + 40 * SECOND;
            assert_eq!(keepalive.check(now, true, taken), due, "{end} {taken}");
            if due == Due::Nothing {
                // The next bytes are due in turn.
                assert_eq!(keepalive.check(now + 20 * SECOND, true, taken), Due::Dead);
            }
        }
    }
}
