//! Between the groups and the broker: who listens to what, what is missing, what has to wait.
//!
//! * `incoming`: what the broker tells goes to the groups.
//! * `outgoing`: what the groups and presence say goes to the broker, in order.
//! * `subscriptions`: which channels this process listens to.
//! * `recovery`: what a group has missed is fetched.
//! * `histories`: histories are asked for.
//! * `trouble`: what the broker refuses is asked again, ever more seldom.

mod histories;
mod incoming;
mod outgoing;
mod recovery;
mod subscriptions;
mod trouble;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
        mpsc::sync_channel,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};

pub use self::histories::Kept;
pub(super) use self::incoming::Recent;
use self::{subscriptions::Waiter, trouble::Troubles};
use super::{
    Hub,
    broker::{Broker, BrokerError, Events, LONGEST},
    names::Channel,
    position::Position,
};
use crate::{engine, runtime::Level};

/// How often is looked whether the first connection has been made, or could not be.
const SETTLING: Duration = Duration::from_millis(25);

/// A broker that comes and goes has a line in the log no more often than this.
const SILENCE: Duration = Duration::from_secs(10);

/// What the broker is asked at once where many groups have something to ask: when it is back.
const TURNS: usize = 16;

/// How things stand with the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// There is none.
    None,
    /// It works.
    Connected,
    /// It cannot be reached, or could not yet.
    Away,
}

const CONNECTING: u8 = 0;
const CONNECTED: u8 = 1;
const AWAY: u8 = 2;

/// The connection of a hub to its broker.
#[derive(Debug)]
pub(super) struct Link {
    hub: &'static Hub,
    broker: Broker,
    /// Names this process to the broker.
    name: Arc<str>,
    handle: Handle,
    state: Arc<AtomicU8>,
    /// Wakes those that wait for the broker to come back.
    back: Arc<Notify>,
    /// The channel of presence has been subscribed to, so that the others can be asked who is there.
    listening: AtomicBool,
    /// Channels whose subscription may have to change, and who waits for that.
    reviews: Mutex<HashMap<Channel, Vec<Waiter>>>,
    reviewed: Notify,
    /// Presence messages, oldest first; bounded, for what is lost is found out by the digests.
    later: Mutex<VecDeque<(Channel, Bytes)>>,
    called: Notify,
    /// For those who need not ask now.
    turns: Semaphore,
    troubles: Troubles,
    /// Channels that the broker refuses to subscribe to. A std mutex: held for a set operation.
    deaf: Mutex<HashSet<Channel>>,
}

/// What the log has been told of an absence of the broker.
#[derive(Debug, Default)]
struct Absence {
    since: Option<Instant>,
    said: bool,
    last_said: Option<Instant>,
}

/// What the broker calls.
struct Receiver {
    hub: &'static Hub,
    /// Where the broker is, for people.
    address: Arc<OnceLock<String>>,
    state: Arc<AtomicU8>,
    back: Arc<Notify>,
    /// A std mutex: only the broker's task takes it.
    absence: Mutex<Absence>,
}

impl Receiver {
    fn absence(&self) -> MutexGuard<'_, Absence> {
        self.absence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events for Receiver {
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>) {
        self.hub.incoming(channel, envelope, position);
    }

    fn connected(&self) {
        self.state.store(CONNECTED, Ordering::Release);
        if let Some(link) = self.hub.link.get() {
            link.troubles.forget();
        }
        let mut absence = self.absence();
        let since = absence.since.take();
        let said = std::mem::take(&mut absence.said);
        drop(absence);
        if let Some(since) = since.filter(|_| said) {
            let (address, seconds) = (self.address(), since.elapsed().as_secs_f64());
            let text = format!("the broker is back: {address}, after {seconds:.1} s");
            say(Level::Info, text);
        }
        self.back.notify_waiters();
        self.hub.recover();
    }

    fn lost(&self) {
        self.hub.lost.note();
    }

    fn refused(&self, channel: &str, error: &BrokerError) {
        if let Some(link) = self.hub.link.get()
            && let Some(channel) = Channel::parse(channel)
        {
            link.listen_again(&channel, error.clone());
        }
    }

    fn disconnected(&self, error: &str) {
        let before = self.state.swap(AWAY, Ordering::AcqRel);
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
        let what = match before {
            CONNECTED => "the connection has broken",
            _ => "it cannot be connected to",
        };
        let address = self.address();
        let error = error.strip_prefix(UNAVAILABLE).unwrap_or(error);
        warn(format!("the broker is away: {address}: {what}: {error}"));
    }
}

impl Receiver {
    fn address(&self) -> &str {
        self.address.get().map_or("(not known yet)", String::as_str)
    }
}

/// How [`BrokerError::Unavailable`] begins; a line that says so need not say it again.
const UNAVAILABLE: &str = "the broker is unavailable: ";

/// When the broker is connected to again.
fn again() -> String {
    let seconds = LONGEST.as_secs();
    format!("the next attempt comes within {seconds} seconds, and others after it")
}

fn warn(message: String) {
    say(Level::Warning, message);
}

fn say(level: Level, message: String) {
    if let Some(engine) = engine::running() {
        engine.log().push(level, message);
    }
}

impl Hub {
    /// Connects the hub to a broker, once; later calls do nothing.
    ///
    /// # Errors
    ///
    /// The URL cannot be used.
    pub fn connect(&'static self, url: &str, prefix: &str) -> Result<(), BrokerError> {
        let _turn = self.table();
        if self.link.get().is_some() {
            return Ok(());
        }
        let state = Arc::new(AtomicU8::new(CONNECTING));
        let back = Arc::new(Notify::new());
        let address = Arc::new(OnceLock::new());
        let receiver = Receiver {
            hub: self,
            address: Arc::clone(&address),
            state: Arc::clone(&state),
            back: Arc::clone(&back),
            absence: Mutex::default(),
        };
        let broker = {
            let _context = self.handle.enter();
            Broker::open(url, prefix, Arc::new(receiver))?
        };
        let _ = address.set(broker.address());
        let link = Link {
            hub: self,
            broker,
            name: Arc::clone(&self.name),
            handle: self.handle.clone(),
            state,
            back,
            listening: AtomicBool::new(false),
            reviews: Mutex::default(),
            reviewed: Notify::new(),
            later: Mutex::default(),
            called: Notify::new(),
            turns: Semaphore::new(TURNS),
            troubles: Troubles::default(),
            deaf: Mutex::default(),
        };
        if self.link.set(link).is_ok()
            && let Some(link) = self.link.get()
        {
            self.handle.spawn(link.review_all());
            self.handle.spawn(link.send_later());
            // Also where nobody joins: the leases of the other processes' members end here, too.
            self.start_ticking();
            link.review(&Channel::everybody(), None);
            link.review(&Channel::presence(), None);
        }
        Ok(())
    }

    /// How things stand with the broker.
    #[must_use]
    pub fn broker_state(&self) -> BrokerState {
        match self.link.get() {
            None => BrokerState::None,
            Some(link) if link.state.load(Ordering::Acquire) == CONNECTED => BrokerState::Connected,
            Some(_) => BrokerState::Away,
        }
    }

    /// Where the broker is, without the name and the password; `None` where there is none.
    #[must_use]
    pub fn broker_address(&self) -> Option<String> {
        self.link.get().map(|link| link.broker.address())
    }

    /// Waits until nothing waits for the broker any more; false where something still does.
    pub fn flush(&'static self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let groups: Vec<_> = self.table().values().cloned().collect();
            if groups.iter().all(|group| group.lock().outbound.is_empty()) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Link {
    /// Runs what asks the broker on tokio, and waits for it.
    fn wait<T: Send + 'static>(
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

    /// Says where the broker is that has met with an error, what was asked of it, and when it may be
    /// there again.
    pub(super) fn explain(&self, asked: &str, error: BrokerError) -> BrokerError {
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

    /// Whether the broker is known not to be there.
    pub(super) fn is_away(&self) -> bool {
        self.state.load(Ordering::Acquire) == AWAY
    }

    /// Waits while the first connection is being made.
    async fn settle(&self) {
        loop {
            let back = self.back.notified();
            if self.state.load(Ordering::Acquire) != CONNECTING {
                return;
            }
            // The state may have become "away", which notifies nobody.
            let _ = tokio::time::timeout(SETTLING, back).await;
        }
    }
}

fn too_slow(timeout: Duration) -> BrokerError {
    let timeout = timeout.as_secs_f64();
    BrokerError::Unavailable(format!("no answer within {timeout} seconds"))
}
