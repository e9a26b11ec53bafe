//! NATS: subjects for messages, JetStream for histories.

mod address;
mod confirm;
mod history;
mod names;
mod stored;

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, Event, Message};
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream, stream::SelectAll};
use tokio::sync::{Notify, mpsc, oneshot};

use self::{address::Address, confirm::Confirm, history::Histories, names::Names};
use super::{
    super::history::{Limits, Position},
    Backoff, BrokerError, Events, Fetched, Key, PATIENCE,
};

/// How often the server is asked whether it is there.
const PING: Duration = Duration::from_secs(2);

/// What a server of a cluster may need to tell the others of a subscription: it is not confirmed.
const RIPPLE: Duration = Duration::from_millis(50);

/// Messages that may wait of one subscription. A few are enough in the long run, for nothing here
/// waits; but the client takes in up to 128 times [`READ`] bytes before it lets others run.
const WAITING: usize = 65_536;

/// Bytes that the client reads at once.
const READ: u16 = 16_384;

/// What the client may have to write, in commands.
const COMMANDS: usize = 2_048;

/// Subscriptions on their way to the task that listens.
const NEW: usize = 64;

/// What is heard, with the channel that was subscribed to.
type Heard = BoxStream<'static, (Arc<str>, Message)>;

/// One connection to the server.
#[derive(Clone)]
struct Live {
    client: Client,
    confirm: Arc<Confirm>,
    new: mpsc::Sender<Heard>,
    /// How to end each subscription. Held while one is made, so that there are never two of a channel.
    ends: Arc<tokio::sync::Mutex<HashMap<Arc<str>, oneshot::Sender<()>>>>,
}

impl Live {
    /// The client would wait for answers that were lost with the connection.
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

/// What the task that listens has.
struct Ears {
    live: Live,
    new: mpsc::Receiver<Heard>,
    heard: SelectAll<Heard>,
    trouble: mpsc::Receiver<String>,
}

struct Shared {
    address: Address,
    names: Names,
    events: Arc<dyn Events>,
    /// Remembered over reconnects. Bounded by the groups that exist.
    subscriptions: Mutex<HashSet<Arc<str>>>,
    histories: Histories,
    live: Mutex<Option<Live>>,
    closed: AtomicBool,
    closing: Notify,
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
            closed: AtomicBool::new(false),
            closing: Notify::new(),
        });
        tokio::spawn(Arc::clone(&shared).run());
        Ok(Self(shared))
    }

    pub(super) fn is_connected(&self) -> bool {
        self.0.live().is_some()
    }

    pub(super) async fn subscribe(&self, channel: &str) -> Result<(), BrokerError> {
        let channel: Arc<str> = channel.into();
        self.0.subscriptions().insert(Arc::clone(&channel));
        let live = self.0.get()?;
        live.limited(async {
            if let Some(heard) = self.0.listen(&live, channel).await? {
                live.new.send(heard).await.map_err(|_| broken())?;
            }
            live.confirm.wait().await?;
            ripple(&live.client).await;
            Ok(())
        })
        .await
    }

    pub(super) async fn unsubscribe(&self, channel: &str) {
        self.0.subscriptions().remove(channel);
        if let Ok(live) = self.0.get() {
            live.ends.lock().await.remove(channel);
        }
    }

    pub(super) async fn publish(&self, channel: &str, envelope: Bytes) -> Result<(), BrokerError> {
        let live = self.0.get()?;
        live.limited(async {
            let sent = live.client.publish(self.0.names.live(channel), envelope);
            sent.await.map_err(unavailable)?;
            live.confirm.wait().await
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
        let log = self.0.histories.of(&live.client, &self.0.names, channel);
        live.limited(log.store(envelope, key, limits)).await
    }

    pub(super) async fn fetch(
        &self,
        channel: &str,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        let live = self.0.get()?;
        let log = self.0.histories.of(&live.client, &self.0.names, channel);
        live.limited(log.fetch(after, limits)).await
    }

    pub(super) async fn sweep(&self, unused: Duration) -> Result<usize, BrokerError> {
        let Live { client, .. } = self.0.get()?;
        history::sweep(&client, &self.0.names, unused).await
    }

    pub(super) async fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.closing.notify_one();
        if let Some(live) = self.0.live().take() {
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

    /// Subscribes, unless that has been done; the server may not know of it yet.
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

    /// Stays connected until [`Nats::close`].
    async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        while !self.closed.load(Ordering::Acquire) {
            let error = match self.connect().await {
                Ok(ears) => {
                    backoff = Backoff::default();
                    self.events.connected();
                    self.serve(ears).await
                }
                Err(error) => error,
            };
            if let Some(live) = self.live().take() {
                live.confirm.end();
            }
            if self.closed.load(Ordering::Acquire) {
                return;
            }
            self.events.disconnected(&error.to_string());
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = self.closing.notified() => {}
            }
        }
    }

    /// The client connects again by itself, but then nobody knows what was on its way, so each is used
    /// for one connection.
    async fn client(&self, trouble: mpsc::Sender<String>) -> Result<Client, BrokerError> {
        let servers = self.address.servers();
        let options = self.address.options().name("dwebsocket");
        let events = Arc::clone(&self.events);
        let options = options
            .event_callback(move |event| {
                let trouble = trouble.clone();
                if matches!(event, Event::SlowConsumer(_)) {
                    events.lost();
                }
                async move {
                    if let Some(what) = what_is_wrong(&event) {
                        // One is enough.
                        let _ = trouble.try_send(what);
                    }
                }
            })
            .client_capacity(COMMANDS)
            .subscription_capacity(WAITING)
            .read_buffer_capacity(READ)
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(PING)
            .custom_inbox_prefix(self.names.inbox())
            .reconnect_delay_callback(|_| Duration::ZERO)
            .max_reconnects(servers.len());
        limited(options.connect(servers)).await
    }

    async fn connect(&self) -> Result<Ears, BrokerError> {
        let (tell, mut trouble) = mpsc::channel(1);
        let client = self.client(tell).await?;
        let (new, coming) = mpsc::channel(NEW);
        let live = Live {
            client,
            confirm: Arc::new(Confirm::new()),
            new,
            ends: Arc::default(),
        };
        *self.live() = Some(live.clone());
        // Whoever subscribes from here on does it on this connection.
        let heard = tokio::select! {
            heard = self.listen_to_all(&live) => heard?,
            Some(what) = trouble.recv() => return Err(unavailable(what)),
        };
        Ok(Ears {
            live,
            new: coming,
            heard,
            trouble,
        })
    }

    async fn listen_to_all(&self, live: &Live) -> Result<SelectAll<Heard>, BrokerError> {
        let channels: Vec<_> = self.subscriptions().iter().cloned().collect();
        let mut heard = SelectAll::new();
        for channel in channels {
            heard.extend(limited(self.listen(live, channel)).await?);
        }
        confirm::answer(&live.client, &self.names.echo()).await?;
        ripple(&live.client).await;
        Ok(heard)
    }

    /// Passes messages on until something is wrong; returns what.
    async fn serve(&self, mut ears: Ears) -> BrokerError {
        let echo = self.names.echo();
        let confirm = ears.live.confirm.run(&ears.live.client, &echo);
        tokio::pin!(confirm);
        let sweeping = history::sweep_now_and_then(&ears.live.client, &self.names);
        tokio::pin!(sweeping);
        loop {
            tokio::select! {
                Some((listened, message)) = ears.heard.next(), if !ears.heard.is_empty() => {
                    self.pass_on(&listened, &message);
                }
                Some(heard) = ears.new.recv() => ears.heard.push(heard),
                Some(what) = ears.trouble.recv() => return unavailable(what),
                error = &mut confirm => return error,
                never = &mut sweeping => match never {},
                () = self.closing.notified() => return unavailable("closed"),
            }
        }
    }

    fn pass_on(&self, listened: &str, message: &Message) {
        let Some((epoch, tokens)) = self.names.split(&message.subject) else {
            return;
        };
        let decoded;
        let channel = match listened.strip_suffix('*') {
            None => listened,
            Some(prefix) => {
                let Some(channel) = names::channel(tokens) else {
                    return;
                };
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
                None => return,
                Some(offset) => Some(Position {
                    offset,
                    epoch: epoch.into(),
                }),
            },
        };
        // A copy, for it is a part of all that was read with it.
        let envelope = Bytes::copy_from_slice(&message.payload);
        self.events.message(channel, envelope, position);
    }
}

/// What the client tells that means that this connection is of no use any more.
fn what_is_wrong(event: &Event) -> Option<String> {
    match event {
        Event::Disconnected | Event::Closed => Some("NATS has closed the connection".into()),
        // What is missing is fetched after the reconnect, where there is a history.
        Event::SlowConsumer(_) => {
            Some("messages were lost: they came faster than this process could take them".into())
        }
        // Such as rights that are missing.
        Event::ServerError(error) => Some(error.to_string()),
        Event::Connected | Event::LameDuckMode | Event::Draining | Event::ClientError(_) => None,
    }
}

/// Gives a cluster time to pass on what was subscribed to.
async fn ripple(client: &Client) {
    if client.server_info().cluster.is_some() {
        tokio::time::sleep(RIPPLE).await;
    }
}

fn broken() -> BrokerError {
    unavailable("the connection to NATS has broken")
}

fn unavailable(error: impl Display) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}

async fn limited<T, E: Into<Trouble>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(|error| error.into().0),
        Err(_) => Err(unavailable("NATS does not answer")),
    }
}

/// Any error, as the hub knows it.
struct Trouble(BrokerError);

impl From<BrokerError> for Trouble {
    fn from(error: BrokerError) -> Self {
        Self(error)
    }
}

impl From<async_nats::RequestError> for Trouble {
    fn from(error: async_nats::RequestError) -> Self {
        Self(unavailable(error))
    }
}

impl From<async_nats::ConnectError> for Trouble {
    fn from(error: async_nats::ConnectError) -> Self {
        Self(unavailable(error))
    }
}
