//! NATS: subjects for messages, JetStream for histories.

mod address;
mod asking;
mod confirm;
mod names;
mod refusals;
mod stored;
mod streams;

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{Client, Event, Message};
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream, stream::SelectAll};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::{
    address::Address,
    asking::{PING, broken, limited, unavailable},
    confirm::Confirm,
    names::Names,
    refusals::{Denied, Refusals},
    streams::Histories,
};
use super::{
    contract::{BrokerError, Events, Fetched, Key},
    reconnect::{COMMAND_TIMEOUT, Closing, Served, Server, TOO_FAST, stay_connected},
};
use crate::hub::position::{Limits, Position};

/// The time that a server of a cluster may need to tell the others of a subscription, which they do not
/// confirm.
const RIPPLE: Duration = Duration::from_millis(50);

/// The most messages of one subscription that may wait. A few are enough on average, because the task
/// that listens does not block; but the client reads up to 128 times [`READ`] bytes before it lets other
/// tasks run.
const WAITING: usize = 65_536;

/// The number of bytes that the client reads at once.
const READ: u16 = 16_384;

/// The most commands that may wait in the client to be written.
const COMMANDS: usize = 2_048;

/// The most new subscriptions on their way to the task that listens.
const NEW: usize = 64;

/// The most subscriptions that the server has not confirmed. The client keeps 128 refusals that came in
/// one read, and forgets the others: those of two portions fit.
const PORTION: usize = 64;

/// The messages of a subscription, with the channel that was subscribed to.
type Heard = BoxStream<'static, (Arc<str>, Message)>;

/// One connection to the server.
#[derive(Clone)]
struct Live {
    client: Client,
    confirm: Arc<Confirm>,
    new: mpsc::Sender<Heard>,
    /// Senders that end each subscription. The lock is held while a subscription is made, so that a
    /// channel never has two.
    ends: Arc<tokio::sync::Mutex<HashMap<Arc<str>, oneshot::Sender<()>>>>,
    refusals: Arc<Refusals>,
    /// Limits to [`PORTION`] the subscriptions that are being made.
    making: Arc<Semaphore>,
    /// A question was answered over the connection.
    useful: Arc<AtomicBool>,
}

impl Live {
    /// Waits for the answer to a question, and notes that there was one.
    async fn ask<T>(
        &self,
        work: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let answer = self.limited(work).await?;
        self.useful.store(true, Ordering::Relaxed);
        Ok(answer)
    }

    /// Waits with a time limit, and until the connection ends: the client itself would wait for answers
    /// that were lost with the connection.
    async fn limited<T>(
        &self,
        work: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        tokio::select! {
            result = limited(work) => result,
            error = self.confirm.ended() => Err(error),
        }
    }
}

/// The state of the task that listens.
struct Ears {
    live: Live,
    new: mpsc::Receiver<Heard>,
    heard: SelectAll<Heard>,
    trouble: mpsc::Receiver<Wrong>,
    /// Refused subscriptions. No more come than there are subscriptions.
    denied: mpsc::UnboundedReceiver<(String, String)>,
}

/// Why a connection is of no use any more.
struct Wrong {
    words: String,
    /// The next connection will meet the same error.
    lasts: bool,
}

impl From<Wrong> for BrokerError {
    fn from(wrong: Wrong) -> Self {
        unavailable(wrong.words)
    }
}

struct Shared {
    address: Address,
    names: Names,
    events: Arc<dyn Events>,
    /// Remembered over reconnects. Bounded by the groups that exist.
    subscriptions: Mutex<HashSet<Arc<str>>>,
    histories: Histories,
    live: Mutex<Option<Live>>,
    closing: Closing,
}

/// A connection to a NATS server.
#[derive(Clone)]
pub(super) struct Nats(Arc<Shared>);

/// Checks a URL as [`Nats::open`] does.
pub(super) fn check(url: &str) -> Result<(), BrokerError> {
    Address::parse(url).map(drop)
}

impl Nats {
    pub(super) fn open(
        url: &str,
        prefix: &str,
        events: Arc<dyn Events>,
    ) -> Result<Self, BrokerError> {
        let address = Address::parse(url)?;
        let shared = Arc::new(Shared {
            histories: Histories::new(address.replicas()),
            address,
            names: Names::new(prefix),
            events,
            subscriptions: Mutex::default(),
            live: Mutex::default(),
            closing: Closing::default(),
        });
        tokio::spawn(stay_connected(Arc::clone(&shared)));
        Ok(Self(shared))
    }

    pub(super) fn address(&self) -> String {
        self.0.address.to_string()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.0.live().is_some()
    }

    pub(super) async fn subscribe(&self, channel: &str) -> Result<(), BrokerError> {
        let channel: Arc<str> = channel.into();
        self.0.subscriptions().insert(Arc::clone(&channel));
        let live = self.0.get()?;
        let subject = self.0.names.heard(&channel);
        let turn = live.making.acquire().await;
        let begun = Instant::now();
        let denied = live.limited(async {
            if let Some(heard) = self.0.listen(&live, Arc::clone(&channel)).await? {
                live.new.send(heard).await.map_err(|_| broken())?;
            }
            live.confirm.wait().await?;
            drop(turn);
            ripple(&live.client).await;
            live.refusals.check(&subject, begun).await
        });
        let denied = denied.await;
        if denied.is_err() {
            // The next call for this channel makes the subscription again.
            live.ends.lock().await.remove(&channel);
        }
        denied
    }

    pub(super) async fn unsubscribe(&self, channel: &str) {
        self.0.subscriptions().remove(channel);
        if let Ok(live) = self.0.get() {
            live.ends.lock().await.remove(channel);
        }
    }

    pub(super) async fn publish(&self, channel: &str, envelope: Bytes) -> Result<(), BrokerError> {
        let live = self.0.get()?;
        let subject = self.0.names.live(channel);
        let begun = Instant::now();
        live.ask(async {
            let sent = live.client.publish(subject.clone(), envelope);
            sent.await.map_err(unavailable)?;
            live.confirm.wait().await?;
            live.refusals.check(&subject, begun).await
        })
        .await
    }

    pub(super) async fn store(
        &self,
        channel: &str,
        envelope: Bytes,
        key: &Key,
        limits: Limits,
    ) -> Result<Position, BrokerError> {
        let live = self.0.get()?;
        let log = self.0.history(&live, channel);
        live.ask(log.store(envelope, key, limits)).await
    }

    pub(super) async fn fetch(
        &self,
        channel: &str,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        let live = self.0.get()?;
        let log = self.0.history(&live, channel);
        live.ask(log.fetch(after, limits)).await
    }

    pub(super) async fn sweep(&self, unused: Duration) -> Result<usize, BrokerError> {
        let live = self.0.get()?;
        streams::sweep(&live.client, &live.refusals, &self.0.names, unused).await
    }

    pub(super) async fn close(&self) {
        self.0.closing.close();
        if let Some(live) = self.0.live().take() {
            live.confirm.end();
        }
    }
}

impl Server for Shared {
    type Connection = Ears;

    fn events(&self) -> &dyn Events {
        &*self.events
    }

    fn closing(&self) -> &Closing {
        &self.closing
    }

    async fn connect(&self) -> Result<Ears, BrokerError> {
        let (tell, mut trouble) = mpsc::channel(1);
        let (deny, denied) = mpsc::unbounded_channel();
        let refusals = Arc::<Refusals>::default();
        let client = self.client(tell, Arc::clone(&refusals), deny).await?;
        let (new, coming) = mpsc::channel(NEW);
        let live = Live {
            client,
            confirm: Arc::new(Confirm::new()),
            new,
            ends: Arc::default(),
            refusals,
            making: Arc::new(Semaphore::new(PORTION)),
            useful: Arc::default(),
        };
        *self.live() = Some(live.clone());
        // Subscriptions that are added from here on are made on this connection.
        let heard = tokio::select! {
            heard = self.listen_to_all(&live) => heard?,
            Some(wrong) = trouble.recv() => return Err(wrong.into()),
        };
        Ok(Ears {
            live,
            new: coming,
            heard,
            trouble,
            denied,
        })
    }

    async fn serve(&self, ears: Ears) -> Served {
        let useful = Arc::clone(&ears.live.useful);
        let wrong = self.pass_all_on(ears).await;
        Served {
            useful: useful.load(Ordering::Relaxed) && !wrong.lasts,
            error: wrong.into(),
        }
    }

    fn forget(&self) {
        if let Some(live) = self.live().take() {
            live.confirm.end();
        }
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Result<Live, BrokerError> {
        let live = self.live().clone();
        live.ok_or_else(|| unavailable("not connected to NATS"))
    }

    fn history<'a>(&'a self, live: &'a Live, channel: &'a str) -> streams::History<'a> {
        self.histories
            .of(&live.client, &live.refusals, &self.names, channel)
    }

    /// Subscribes, unless the channel is subscribed to already. The server may not know of the
    /// subscription yet.
    async fn listen(&self, live: &Live, channel: Arc<str>) -> Result<Option<Heard>, BrokerError> {
        let mut ends = live.ends.lock().await;
        if ends.contains_key(&channel) {
            return Ok(None);
        }
        let subject = self.names.heard(&channel);
        let heard = live.client.subscribe(subject).await.map_err(unavailable)?;
        let (end, ended) = oneshot::channel::<()>();
        ends.insert(Arc::clone(&channel), end);
        let heard = heard.map(move |message| (Arc::clone(&channel), message));
        Ok(Some(heard.take_until(ended).boxed()))
    }

    /// Creates a client for one connection. A client could connect again by itself, but then it would be
    /// unknown which messages were lost on the way.
    async fn client(
        &self,
        trouble: mpsc::Sender<Wrong>,
        refusals: Arc<Refusals>,
        denied: mpsc::UnboundedSender<(String, String)>,
    ) -> Result<Client, BrokerError> {
        let servers = self.address.servers();
        let options = self.address.options().name("dwebsocket");
        let events = Arc::clone(&self.events);
        let (echo, inbox) = (self.names.echo(), self.names.inbox());
        let options = options
            .event_callback(move |event| {
                let trouble = trouble.clone();
                if matches!(event, Event::SlowConsumer(_)) {
                    events.lost();
                }
                let mut wrong = what_is_wrong(&event);
                if let Event::ServerError(error) = &event {
                    let words = error.to_string();
                    match Denied::read(&words) {
                        // Without these subjects, no question can be asked.
                        Some(one) if one.subject() == echo || one.subject().starts_with(&inbox) => {
                        }
                        Some(one) => {
                            wrong = None;
                            refusals.note(one.subject(), &words);
                            if let Denied::Subscribe(subject) = one {
                                let _ = denied.send((subject.to_owned(), words));
                            }
                        }
                        None => {}
                    }
                }
                async move {
                    if let Some(wrong) = wrong {
                        // One error is enough.
                        let _ = trouble.try_send(wrong);
                    }
                }
            })
            .client_capacity(COMMANDS)
            .subscription_capacity(WAITING)
            .read_buffer_capacity(READ)
            .connection_timeout(COMMAND_TIMEOUT)
            .request_timeout(Some(COMMAND_TIMEOUT))
            .ping_interval(PING)
            .custom_inbox_prefix(self.names.inbox())
            .reconnect_delay_callback(|_| Duration::ZERO)
            .max_reconnects(servers.len());
        limited(options.connect(servers)).await
    }

    async fn listen_to_all(&self, live: &Live) -> Result<SelectAll<Heard>, BrokerError> {
        let channels: Vec<_> = self.subscriptions().iter().cloned().collect();
        let mut heard = SelectAll::new();
        for portion in channels.chunks(PORTION) {
            for channel in portion {
                heard.extend(limited(self.listen(live, Arc::clone(channel))).await?);
            }
            confirm::answer(&live.client, &self.names.echo()).await?;
        }
        ripple(&live.client).await;
        Ok(heard)
    }

    /// Passes messages on until the connection ends; returns why.
    async fn pass_all_on(&self, mut ears: Ears) -> Wrong {
        let gone = |error: BrokerError| Wrong {
            words: match error {
                BrokerError::Unavailable(words) => words,
                other => other.to_string(),
            },
            lasts: false,
        };
        let echo = self.names.echo();
        let confirm = ears.live.confirm.run(&ears.live.client, &echo);
        tokio::pin!(confirm);
        let sweeping =
            streams::sweep_now_and_then(&ears.live.client, &ears.live.refusals, &self.names);
        tokio::pin!(sweeping);
        loop {
            tokio::select! {
                Some((listened, message)) = ears.heard.next(), if !ears.heard.is_empty() => {
                    self.pass_on(&listened, &message);
                }
                Some(heard) = ears.new.recv() => ears.heard.push(heard),
                Some(wrong) = ears.trouble.recv() => return wrong,
                Some((subject, words)) = ears.denied.recv() => {
                    self.deny(&ears.live, &subject, &words).await;
                }
                error = &mut confirm => return gone(error),
                never = &mut sweeping => match never {},
                () = self.closing.told() => return gone(unavailable("closed")),
            }
        }
    }

    /// Ends a subscription that the server does not allow; all others go on.
    async fn deny(&self, live: &Live, subject: &str, words: &str) {
        let denied = self.heard_by(subject);
        for channel in denied {
            live.ends.lock().await.remove(&channel);
            self.events.refused(&channel, &unavailable(words));
        }
    }

    /// The channels that have this subject.
    fn heard_by(&self, subject: &str) -> Vec<Arc<str>> {
        let all = self.subscriptions();
        if subject.ends_with('>') {
            // Several wildcards may have one subject.
            let wildcards = all.iter().filter(|channel| channel.ends_with('*'));
            let have = wildcards.filter(|channel| self.names.heard(channel) == subject);
            return have.cloned().collect();
        }
        let tokens = self.names.split(subject).map(|(_, tokens)| tokens);
        let channel = tokens.and_then(names::channel);
        let channel = channel.and_then(|channel| all.get(channel.as_str()).cloned());
        channel.into_iter().collect()
    }

    fn pass_on(&self, listened: &str, message: &Message) {
        let Some((epoch, tokens)) = self.names.split(&message.subject) else {
            return self.events.malformed(listened);
        };
        let decoded;
        let channel = match listened.strip_suffix('*') {
            None => listened,
            Some(prefix) => {
                let Some(channel) = names::channel(tokens) else {
                    return self.events.malformed(listened);
                };
                // NATS's wildcard may be wider than this one.
                if !channel.starts_with(prefix) {
                    return;
                }
                decoded = channel;
                &decoded
            }
        };
        let position = match epoch {
            None => None,
            Some(epoch) => match stored::offset(message) {
                None => return self.events.malformed(channel),
                Some(offset) => Some(Position {
                    offset,
                    epoch: epoch.into(),
                }),
            },
        };
        // A copy, because the payload is a slice of all bytes that were read with it.
        let envelope = Bytes::copy_from_slice(&message.payload);
        self.events.message(channel, envelope, position);
    }
}

/// The reason why an event makes this connection useless; `None` for other events.
fn what_is_wrong(event: &Event) -> Option<Wrong> {
    let wrong = |words: &str, lasts| {
        let words = words.to_owned();
        Some(Wrong { words, lasts })
    };
    match event {
        Event::Disconnected | Event::Closed => wrong("NATS has closed the connection", false),
        // After the reconnect, groups with a history fetch what is missing.
        // To begin anew is more work still for a process that does not keep up.
        Event::SlowConsumer(_) => wrong(TOO_FAST, true),
        // For example: too many connections.
        Event::ServerError(error) => wrong(&error.to_string(), true),
        Event::Connected | Event::LameDuckMode | Event::Draining | Event::ClientError(_) => None,
    }
}

/// Gives the servers of a cluster time to tell each other of a subscription.
async fn ripple(client: &Client) {
    if client.server_info().cluster.is_some() {
        tokio::time::sleep(RIPPLE).await;
    }
}
