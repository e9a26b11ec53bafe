//! The line to the broker: its state, questions over it, and the pauses after refusals.

use std::{
    sync::{
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc::sync_channel,
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};

use super::trouble::{Question, Troubles};
use crate::{
    engine,
    hub::{
        broker::{
            Broker, BrokerError, Fetched,
            reconnect::{Backoff, LONGEST},
        },
        names::Channel,
        position::{Limits, Position},
    },
    runtime::Level,
};

/// How often a waiting question checks whether the first connection was made or has failed.
const SETTLING: Duration = Duration::from_millis(25);

/// How many groups ask the broker at the same time when it is back.
const TURNS: usize = 16;

/// The state of the connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// There is no broker.
    None,
    /// The connection works.
    Connected,
    /// The broker cannot be reached, or the first connection is not made yet.
    Away,
}

pub(super) const CONNECTING: u8 = 0;
pub(super) const CONNECTED: u8 = 1;
pub(super) const AWAY: u8 = 2;

/// The connection to the broker, for the parts that ask the broker.
pub(in crate::hub) struct Line {
    pub(super) broker: Broker,
    pub(super) handle: Handle,
    state: AtomicU8,
    /// How many connections there were.
    connections: AtomicU64,
    /// Wakes tasks that wait for the broker to come back.
    back: Notify,
    /// Limits to [`TURNS`] the questions that need no answer now.
    pub(super) turns: Semaphore,
    troubles: Troubles,
}

impl Line {
    pub(super) fn new(broker: Broker, handle: Handle) -> Self {
        Self {
            broker,
            handle,
            state: AtomicU8::new(CONNECTING),
            connections: AtomicU64::new(0),
            back: Notify::new(),
            turns: Semaphore::new(TURNS),
            troubles: Troubles::default(),
        }
    }

    pub(in crate::hub) fn state(&self) -> BrokerState {
        match self.state.load(Ordering::Acquire) {
            CONNECTED => BrokerState::Connected,
            _ => BrokerState::Away,
        }
    }

    /// The URL of the broker without the user name and the password.
    pub(in crate::hub) fn address(&self) -> String {
        self.broker.address()
    }

    /// Notes that the connection is there: every question may be asked again at once.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::AcqRel);
        self.state.store(CONNECTED, Ordering::Release);
        self.troubles.forget();
    }

    /// Counts the connections so far. If the number has changed since a history was asked for, the
    /// answer may be older than the present subscriptions, and messages after it were not heard.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// Wakes tasks that wait for the broker.
    pub(super) fn wake(&self) {
        self.back.notify_waiters();
    }

    /// Notes that the connection could not be made, or has broken; returns whether it was there before.
    pub(super) fn disconnected(&self) -> bool {
        self.state.swap(AWAY, Ordering::AcqRel) == CONNECTED
    }

    /// Runs a question to the broker on tokio, and waits for the answer.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        timeout: Duration,
        question: impl Future<Output = Result<T, BrokerError>> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let (answer, answered) = sync_channel(1);
        self.handle.spawn(async move {
            let _ = answer.send(question.await);
        });
        answered
            .recv_timeout(timeout)
            .unwrap_or_else(|_| Err(too_slow(timeout)))
    }

    /// Adds to an error the broker's address, the question, and when the next attempt to connect comes.
    pub(in crate::hub) fn explain(&self, asked: &str, error: BrokerError) -> BrokerError {
        let BrokerError::Unavailable(why) = error else {
            return error;
        };
        let again = if self.broker.is_connected() {
            String::new()
        } else {
            format!("; {}", again())
        };
        let address = self.broker.address();
        BrokerError::Unavailable(format!("{address}: {asked}: {why}{again}"))
    }

    /// Whether the broker is known to be unreachable.
    pub(super) fn is_away(&self) -> bool {
        self.state.load(Ordering::Acquire) == AWAY
    }

    /// Waits while the first connection is being made.
    pub(super) async fn settle(&self) {
        loop {
            let back = self.back.notified();
            if self.state.load(Ordering::Acquire) != CONNECTING {
                return;
            }
            // The state may have become "away", for which `back` is not notified.
            let _ = tokio::time::timeout(SETTLING, back).await;
        }
    }

    pub(in crate::hub) fn fetch(
        &'static self,
        channel: &Channel,
        after: Option<Position>,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Fetched, BrokerError> {
        let channel = channel.clone();
        self.wait(timeout, async move {
            self.settle().await;
            self.ask(&channel, after.as_ref(), limits).await
        })
    }

    /// Fetches the messages after a position. An answer with an impossible position is an error.
    pub(super) async fn ask(
        &self,
        channel: &Channel,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        let fetched = self.broker.fetch(channel.as_str(), after, limits).await?;
        if fetched.top.is_possible() {
            Ok(fetched)
        } else {
            let words = "it says that the history stands where none can stand";
            Err(BrokerError::Unavailable(words.into()))
        }
    }

    /// Notes a refusal; the log gets a line about the first of many.
    pub(super) fn note_refusal(
        &self,
        question: Question,
        channel: &Channel,
        error: &BrokerError,
        next: &str,
    ) {
        // The absence of the broker has its own log line.
        if !self.broker.is_connected() {
            return;
        }
        let BrokerError::Unavailable(words) = error else {
            return;
        };
        let now = Instant::now();
        if self.troubles.refused(question, channel, words, now) {
            warn(format!(
                "the broker at {} refuses to {} {}: {words}; {next}",
                self.broker.address(),
                question.verb(),
                channel.in_words(),
            ));
        }
    }

    /// Notes a refusal, and waits until the question may be asked again.
    pub(super) async fn refused(
        &self,
        question: Question,
        channel: &Channel,
        error: &BrokerError,
        backoff: &mut Backoff,
    ) {
        let back = self.back.notified();
        let pause = backoff.next();
        let next = format!(
            "asked again in {} ms, then ever more seldom",
            pause.as_millis()
        );
        self.note_refusal(question, channel, error, &next);
        let wait = async {
            tokio::time::sleep(pause).await;
            let _turn = self.troubles.queue.lock().await;
            tokio::time::sleep(self.troubles.space(question)).await;
        };
        tokio::select! {
            () = wait => {}
            () = back => {}
        }
    }

    /// Notes that a question was answered, or is not asked any more.
    pub(super) fn relieved(&self, question: Question, channel: &Channel) {
        let over = self.troubles.over(question, channel, Instant::now());
        if let Some((time, refused)) = over {
            warn(format!(
                "the broker at {} lets this process {} its groups again, after {:.1} s and {refused} \
                 refusals",
                self.broker.address(),
                question.verb(),
                time.as_secs_f64(),
            ));
        }
    }
}

/// Words for an error: when the next attempt to connect comes.
fn again() -> String {
    let seconds = LONGEST.as_secs();
    format!("the next attempt comes within {seconds} seconds, and others after it")
}

pub(super) fn warn(message: String) {
    say(Level::Warning, message);
}

pub(super) fn say(level: Level, message: String) {
    if let Some(engine) = engine::running() {
        engine.log().push(level, message);
    }
}

pub(super) fn too_slow(timeout: Duration) -> BrokerError {
    if timeout.is_zero() {
        return BrokerError::Unavailable("not connected".into());
    }
    // Rounded up to tenths: the time may be the rest that an earlier question has left.
    let timeout = (timeout.as_secs_f64() * 10.0).ceil() / 10.0;
    BrokerError::Unavailable(format!("no answer within {timeout} seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_waited_for_is_not_slow() {
        for (millis, words) in [
            (0, "not connected"),
            (1, "no answer within 0.1 seconds"),
            (1_999, "no answer within 2 seconds"),
            (2_000, "no answer within 2 seconds"),
            (2_500, "no answer within 2.5 seconds"),
        ] {
            let error = too_slow(Duration::from_millis(millis)).to_string();
            assert!(error.ends_with(words), "{error}");
        }
    }
}
