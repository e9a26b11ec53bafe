//! The goodbye of a process that is told to stop: its connections are closed one after the other, so that
//! their clients do not all come back to the other processes in the same moment.
//!
//! The goodbye has two steps, since a server may go on with requests after the signal to stop:
//!
//! 1. [`Engine::leave`] closes the connections within the spread. A handshake that the server has still
//!    accepted is served, and its connection is closed as well.
//! 2. [`Engine::refuse`] refuses new connections: the server serves no longer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{connection::Connection, leaving::Stage, table::Engine};
use crate::runtime::{figures, told_to_end};

/// The time between two steps of a goodbye.
const STEP: Duration = Duration::from_millis(20);

impl Engine {
    /// Whether a stop of this process has begun.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.has_entered(Stage::Leaving)
    }

    /// Whether new connections are refused.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.leaving.has_entered(Stage::Refusing)
    }

    /// Whether the goodbye that [`Engine::leave`] has begun is over.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.leaving.said.load(Ordering::Acquire)
    }

    /// Refuses new connections from now on.
    pub fn refuse(&self) {
        self.enter(Stage::Refusing);
    }

    /// Starts to close all connections, evenly over at most `spread`; only the first call counts. The
    /// spread is shorter if there are few connections: at least one is closed in 20 ms.
    pub fn leave(&'static self, code: u16, spread: Duration) {
        self.enter(Stage::Leaving);
        if !self.leaving.started.swap(true, Ordering::AcqRel) {
            self.handle().spawn(self.say_goodbye(code, spread));
        }
    }

    /// Calls [`Engine::leave`] when the process gets SIGTERM, in addition to the server's handler of this
    /// signal. Without a handler, nothing changes.
    pub fn leave_at_signal(&'static self, code: u16, spread: Duration) {
        self.handle().spawn(async move {
            // Without the signal, the goodbye begins when the interpreter ends.
            if let Ok(Some(mut signal)) = told_to_end()
                && signal.recv().await.is_some()
            {
                self.leave(code, spread);
            }
        });
    }

    fn enter(&self, stage: Stage) {
        self.leaving.enter(stage);
        if let Some(figures) = figures::figures() {
            figures.note_stopping();
        }
    }

    async fn say_goodbye(&'static self, code: u16, spread: Duration) {
        let end = Instant::now() + spread;
        let mut waiting: Vec<Arc<Connection>> = Vec::new();
        loop {
            if waiting.is_empty() {
                waiting = self.connections();
                waiting.retain(|connection| connection.end().is_none());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || (waiting.is_empty() && self.is_stopping()) {
                break;
            }
            close_some(&mut waiting, code, left);
            sleep(STEP).await;
        }
        self.close_each(code);
        self.leaving.said.store(true, Ordering::Release);
        // The server may still be busy with long requests, and may accept a handshake meanwhile.
        while !self.is_stopping() {
            sleep(STEP).await;
            self.close_each(code);
        }
    }
}

/// Closes the share of one step: as many of `waiting` as need be for all to be closed after `left`.
fn close_some(waiting: &mut Vec<Arc<Connection>>, code: u16, left: Duration) {
    let mut share = share(waiting.len(), left);
    while share > 0
        && let Some(connection) = waiting.pop()
    {
        // Connections that have ended by themselves meanwhile do not count.
        if connection.close(code, "") {
            share -= 1;
        }
    }
}

/// The number of connections to close in one step, of `count` that are to be closed after `left`.
fn share(count: usize, left: Duration) -> usize {
    let steps = (left.as_millis() / STEP.as_millis()).max(1);
    count.div_ceil(usize::try_from(steps).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_steps_close_everything_evenly() {
        for (count, spread) in [(5_000, 6_000), (1, 6_000), (300, 6_000), (7, 10), (0, 100)] {
            let (mut open, mut left) = (count, Duration::from_millis(spread));
            let most = share(open, left);
            while !left.is_zero() && open > 0 {
                let closed = share(open, left);
                assert!((1..=most).contains(&closed));
                open -= closed;
                left = left.saturating_sub(STEP);
            }
            assert_eq!(open, 0);
        }
    }
}
