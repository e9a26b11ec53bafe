//! Passes the events of the broker's task on to the parts of the link.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    incoming::{Incoming, NO_MESSAGE},
    line::{Line, say, warn},
    recovery::Recovery,
    subscriptions::Subscriptions,
};
use crate::{
    hub::{
        broker::{BrokerError, Events},
        losses::Losses,
        names::Channel,
        position::Position,
        presence::{Presence, who::Attendance},
    },
    runtime::Level,
};

/// The shortest time between two log lines that the broker is away.
const SILENCE: Duration = Duration::from_secs(10);

/// An absence of the broker, and whether the log has a line about it.
#[derive(Debug, Default)]
struct Absence {
    since: Option<Instant>,
    said: bool,
    last_said: Option<Instant>,
}

/// The parts that get events of the broker.
#[derive(Clone, Copy)]
pub(super) struct Listeners {
    pub(super) line: &'static Line,
    pub(super) losses: &'static Losses,
    pub(super) attendance: &'static Attendance,
    pub(super) incoming: &'static Incoming,
    pub(super) recovery: &'static Recovery,
    pub(super) subscriptions: &'static Subscriptions,
}

/// Gets the events from the broker.
#[derive(Default)]
pub(super) struct Receiver {
    /// Set right after the broker was opened, because the parts need the broker.
    pub(super) listeners: Arc<OnceLock<Listeners>>,
    /// A std mutex: only the broker's task takes it.
    absence: Mutex<Absence>,
}

impl Receiver {
    /// Waits for the parts: the broker's task may run before the thread that opened the broker has set
    /// them.
    fn link(&self) -> &Listeners {
        self.listeners.wait()
    }

    fn absence(&self) -> MutexGuard<'_, Absence> {
        self.absence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events for Receiver {
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>) {
        self.link().incoming.take(channel, envelope, position);
    }

    fn malformed(&self, channel: &str) {
        self.link().losses.malformed(channel, NO_MESSAGE);
    }

    fn connected(&self) {
        let link = self.link();
        link.line.connected();
        let mut absence = self.absence();
        let since = absence.since.take();
        let said = std::mem::take(&mut absence.said);
        drop(absence);
        if let Some(since) = since.filter(|_| said) {
            let (address, seconds) = (link.line.address(), since.elapsed().as_secs_f64());
            let text = format!("the broker is back: {address}, after {seconds:.1} s");
            say(Level::Info, text);
        }
        link.line.wake();
        if link.subscriptions.is_listening() {
            link.attendance.update(None, Presence::reconnected);
        }
        link.subscriptions.review_unheard();
        link.recovery.recover();
    }

    fn lost(&self) {
        self.link().losses.note();
    }

    fn refused(&self, channel: &str, error: &BrokerError) {
        if let Some(channel) = Channel::parse(channel) {
            self.link()
                .subscriptions
                .listen_again(&channel, error.clone());
        }
    }

    fn disconnected(&self, error: &str) {
        let link = self.link();
        let was_there = link.line.disconnected();
        link.attendance.wake();
        let now = Instant::now();
        let mut absence = self.absence();
        absence.since.get_or_insert(now);
        let quiet = absence
            .last_said
            .is_none_or(|last| now.duration_since(last) >= SILENCE);
        if absence.said || !quiet {
            return;
        }
        absence.said = true;
        absence.last_said = Some(now);
        drop(absence);
        let what = if was_there {
            "the connection has broken"
        } else {
            "it cannot be connected to"
        };
        let address = link.line.address();
        let error = error.strip_prefix(UNAVAILABLE).unwrap_or(error);
        warn(format!("the broker is away: {address}: {what}: {error}"));
    }
}

/// The beginning of [`BrokerError::Unavailable`]. The log line says the same, and leaves it out.
const UNAVAILABLE: &str = "the broker is unavailable: ";
