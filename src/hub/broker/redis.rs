//! Redis: publish/subscribe for messages, streams for histories.
//!
//! A history is a stream whose ids are the offsets, and a hash that says where it stands and which
//! epoch it is. Both are written by one script, so that offsets have no gaps, and what is sent to
//! the subscribers has the same order as what is stored. (As Centrifugo does it.)

use std::{
    collections::HashSet,
    future::Future,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, Msg, RedisResult, Script, Value,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
};
use tokio::sync::Notify;

use super::{
    super::history::{Limits, Position},
    Backoff, BrokerError, Events, Fetched, Key, META_LIFE, PATIENCE, Stored,
};

/// How often the server is asked whether it is there.
const PING: Duration = Duration::from_secs(2);

/// A publisher that stores a message again does so within this time.
const KEY_LIFE: Duration = Duration::from_secs(600);

/// Keys: meta, stream, publisher. Arguments: envelope, sequence, epoch, size, ttl, meta life, key life,
/// channel (times in milliseconds).
static STORE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local epoch = redis.call('HGET', KEYS[1], 'epoch')
        if not epoch then
            epoch = ARGV[3]
            redis.call('HSET', KEYS[1], 'epoch', epoch)
        end
        local known = redis.call('HMGET', KEYS[3], 'sequence', 'offset', 'epoch')
        if known[1] and known[3] == epoch and tonumber(known[1]) >= tonumber(ARGV[2]) then
            return {known[2], epoch}
        end
        local time = redis.call('TIME')
        local offset = redis.call('HINCRBY', KEYS[1], 'top', 1)
        redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], offset .. '-0',
            'e', ARGV[1], 't', time[1] .. string.format('%03d', math.floor(time[2] / 1000)))
        redis.call('PEXPIRE', KEYS[2], ARGV[5])
        redis.call('PEXPIRE', KEYS[1], ARGV[6])
        redis.call('HSET', KEYS[3], 'sequence', ARGV[2], 'offset', offset, 'epoch', epoch)
        redis.call('PEXPIRE', KEYS[3], ARGV[7])
        redis.call('PUBLISH', ARGV[8], 'p' .. offset .. '|' .. epoch .. '|' .. ARGV[1])
        return {tostring(offset), epoch}
        ",
    )
});

/// Keys: meta, stream. Arguments: offset to start after, epoch, ttl, meta life.
static FETCH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local epoch = redis.call('HGET', KEYS[1], 'epoch')
        if not epoch then
            epoch = ARGV[2]
            redis.call('HSET', KEYS[1], 'epoch', epoch)
            redis.call('PEXPIRE', KEYS[1], ARGV[4])
        end
        local answer = {epoch, redis.call('HGET', KEYS[1], 'top') or '0'}
        local fresh = false
        for _, entry in ipairs(redis.call('XRANGE', KEYS[2], ARGV[1], '+')) do
            -- Without a gap, also where the clock was set back in between.
            local age = now - tonumber(entry[2][4])
            fresh = fresh or age <= tonumber(ARGV[3])
            if fresh then
                answer[#answer + 1] = string.match(entry[1], '^%d+')
                answer[#answer + 1] = entry[2][2]
                answer[#answer + 1] = string.format('%d', math.max(age, 0))
            end
        end
        return answer
        ",
    )
});

/// Both connections to the server.
#[derive(Clone)]
struct Live {
    commands: MultiplexedConnection,
    sink: PubSubSink,
    /// A command has found out that the connection has gone.
    broken: Arc<Notify>,
}

impl Live {
    async fn limited<T>(
        &self,
        work: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, BrokerError> {
        let noted = async {
            let result = work.await;
            if matches!(&result, Err(error) if error.is_unrecoverable_error()) {
                self.broken.notify_one();
            }
            result
        };
        limited(noted).await
    }
}

struct Shared {
    client: Client,
    prefix: String,
    events: Arc<dyn Events>,
    /// Remembered over reconnects. Bounded by the groups that exist.
    subscriptions: Mutex<HashSet<Arc<str>>>,
    live: Mutex<Option<Live>>,
    closed: AtomicBool,
    closing: Notify,
}

/// A connection to a Redis server.
#[derive(Clone)]
pub(super) struct Redis(Arc<Shared>);

/// Checks a URL as [`Redis::open`] does.
pub(super) fn check(url: &str) -> Result<(), BrokerError> {
    client(url).map(drop)
}

/// Reads a URL; connects to nothing.
fn client(url: &str) -> Result<Client, BrokerError> {
    let refused = |words: &str| Err(BrokerError::Url(words.into()));
    if url.ends_with("#insecure") {
        return refused("certificates are always checked: #insecure is not supported");
    }
    let client = Client::open(url).map_err(|error| BrokerError::Url(error.to_string()))?;
    let settings = client.get_connection_info();
    if let ConnectionAddr::Tcp(_, 0) | ConnectionAddr::TcpTls { port: 0, .. } = settings.addr() {
        return refused("nothing can listen on port 0");
    }
    if settings.redis_settings().db() < 0 {
        return refused("the number of the database is negative");
    }
    Ok(client)
}

impl Redis {
    pub(super) fn open(
        url: &str,
        prefix: &str,
        events: Arc<dyn Events>,
    ) -> Result<Self, BrokerError> {
        let client = client(url)?;
        let shared = Arc::new(Shared {
            client,
            prefix: prefix.to_owned(),
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
        self.0.subscriptions().insert(channel.into());
        let mut live = self.0.get()?;
        limited(self.0.listen(&mut live.sink, channel)).await
    }

    pub(super) async fn unsubscribe(&self, channel: &str) {
        self.0.subscriptions().remove(channel);
        if let Ok(mut live) = self.0.get() {
            let name = self.0.pubsub(channel);
            let _ = match pattern(&name) {
                Some(pattern) => limited(live.sink.punsubscribe(pattern)).await,
                None => limited(live.sink.unsubscribe(name)).await,
            };
        }
    }

    pub(super) async fn publish(&self, channel: &str, envelope: Bytes) -> Result<(), BrokerError> {
        let live = self.0.get()?;
        let mut command = redis::cmd("PUBLISH");
        let payload = [b"m", &envelope[..]].concat();
        command.arg(self.0.pubsub(channel)).arg(payload);
        let mut commands = live.commands.clone();
        live.limited(command.query_async::<()>(&mut commands)).await
    }

    pub(super) async fn store(
        &self,
        channel: &str,
        envelope: Bytes,
        key: &Key,
        limits: Limits,
    ) -> Result<Position, BrokerError> {
        let live = self.0.get()?;
        let mut call = STORE.prepare_invoke();
        call.key(self.0.key("meta", channel))
            .key(self.0.key("log", channel))
            .key(self.0.key(&format!("by:{}", key.publisher), channel))
            .arg(&envelope[..])
            .arg(key.sequence)
            .arg(&*super::super::new_epoch())
            .arg(limits.size)
            .arg(millis(limits.ttl))
            .arg(millis(META_LIFE.max(limits.ttl * 2)))
            .arg(millis(KEY_LIFE))
            .arg(self.0.pubsub(channel));
        let mut commands = live.commands.clone();
        let (offset, epoch): (String, String) =
            live.limited(call.invoke_async(&mut commands)).await?;
        Ok(Position {
            offset: number(&offset)?,
            epoch: epoch.into(),
        })
    }

    pub(super) async fn fetch(
        &self,
        channel: &str,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        let live = self.0.get()?;
        let from = after.map_or(0, |at| at.offset) + 1;
        let mut call = FETCH.prepare_invoke();
        call.key(self.0.key("meta", channel))
            .key(self.0.key("log", channel))
            .arg(format!("{from}-0"))
            .arg(&*super::super::new_epoch())
            .arg(millis(limits.ttl))
            .arg(millis(META_LIFE.max(limits.ttl * 2)));
        let mut commands = live.commands.clone();
        let answer: Vec<Value> = live.limited(call.invoke_async(&mut commands)).await?;
        let mut fields = answer.into_iter().map(bytes);
        let mut next = || fields.next().unwrap_or_else(|| Err(nonsense()));
        let epoch = text(next()?)?;
        let top = number(&text(next()?)?)?;
        let mut entries = Vec::new();
        while let Some(offset) = fields.next() {
            let mut next = || fields.next().unwrap_or_else(|| Err(nonsense()));
            entries.push(Stored {
                offset: number(&text(offset?)?)?,
                envelope: next()?,
                age: Duration::from_millis(number(&text(next()?)?)?),
            });
        }
        let top = Position {
            offset: top,
            epoch: epoch.into(),
        };
        Ok(Fetched::new(entries, top, after))
    }

    pub(super) async fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.closing.notify_one();
        self.0.live().take();
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
        let away = || BrokerError::Unavailable("not connected to Redis".into());
        self.live().clone().ok_or_else(away)
    }

    fn key(&self, kind: &str, channel: &str) -> String {
        // The braces keep a group's keys together in a cluster.
        format!("{}:{kind}:{{{channel}}}", self.prefix)
    }

    fn pubsub(&self, channel: &str) -> String {
        format!("{}:{channel}", self.prefix)
    }

    async fn listen(&self, sink: &mut PubSubSink, channel: &str) -> RedisResult<()> {
        let name = self.pubsub(channel);
        match pattern(&name) {
            Some(pattern) => sink.psubscribe(pattern).await,
            None => sink.subscribe(name).await,
        }
    }

    /// Stays connected until [`Redis::close`].
    async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        while !self.closed.load(Ordering::Acquire) {
            let error = match self.connect().await {
                Ok(stream) => {
                    backoff = Backoff::default();
                    self.events.connected();
                    self.serve(stream).await
                }
                Err(error) => error,
            };
            self.live().take();
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

    async fn connect(&self) -> Result<PubSubStream, BrokerError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = &self.client;
        let commands = client.get_multiplexed_async_connection_with_config(&config);
        let commands = limited(commands).await?;
        let (sink, stream) = limited(client.get_async_pubsub()).await?.split();
        let live = Live {
            commands,
            sink,
            broken: Arc::default(),
        };
        *self.live() = Some(live.clone());
        // Whoever subscribes from here on does it on this connection.
        let channels: Vec<_> = self.subscriptions().iter().cloned().collect();
        let mut sink = live.sink;
        for channel in channels {
            limited(self.listen(&mut sink, &channel)).await?;
        }
        Ok(stream)
    }

    /// Passes messages on until something is wrong; returns what.
    async fn serve(&self, mut stream: PubSubStream) -> BrokerError {
        let gone = || BrokerError::Unavailable("Redis has closed the connection".into());
        let Ok(Live { broken, .. }) = self.get() else {
            return gone();
        };
        let alive = self.stay_alive();
        tokio::pin!(alive);
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(message) => self.pass_on(&message),
                    None => return gone(),
                },
                () = broken.notified() => return gone(),
                error = &mut alive => return error,
                () = self.closing.notified() => return BrokerError::Unavailable("closed".into()),
            }
        }
    }

    async fn stay_alive(&self) -> BrokerError {
        loop {
            tokio::time::sleep(PING).await;
            let mut live = match self.get() {
                Ok(live) => live,
                Err(error) => return error,
            };
            let command = redis::cmd("PING");
            let pings = async {
                limited(command.query_async::<()>(&mut live.commands)).await?;
                limited(live.sink.ping::<Value>()).await
            };
            if let Err(error) = pings.await {
                return error;
            }
        }
    }

    fn pass_on(&self, message: &Msg) {
        let Ok(name) = message.get_channel::<Vec<u8>>() else {
            return;
        };
        let Ok(name) = String::from_utf8(name) else {
            return;
        };
        let channel = name.strip_prefix(&self.prefix);
        let Some(channel) = channel.and_then(|rest| rest.strip_prefix(':')) else {
            return;
        };
        let payload = Bytes::copy_from_slice(message.get_payload_bytes());
        match payload.first() {
            Some(b'm') => self.events.message(channel, payload.slice(1..), None),
            Some(b'p') => {
                if let Some((position, envelope)) = positioned(&payload) {
                    self.events.message(channel, envelope, Some(position));
                }
            }
            _ => {}
        }
    }
}

/// Takes `p<offset>|<epoch>|<envelope>` apart.
fn positioned(payload: &Bytes) -> Option<(Position, Bytes)> {
    let first = payload.iter().position(|byte| *byte == b'|')?;
    let second = first + 1 + payload[first + 1..].iter().position(|byte| *byte == b'|')?;
    let offset = std::str::from_utf8(&payload[1..first]).ok()?.parse().ok()?;
    let epoch = std::str::from_utf8(&payload[first + 1..second])
        .ok()?
        .into();
    Some((Position { offset, epoch }, payload.slice(second + 1..)))
}

/// The glob for a name that ends in `*`.
fn pattern(name: &str) -> Option<String> {
    let prefix = name.strip_suffix('*')?;
    let mut glob = String::with_capacity(name.len() + 8);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob.push('*');
    Some(glob)
}

async fn limited<T>(work: impl Future<Output = RedisResult<T>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(BrokerError::Unavailable(error.to_string())),
        Err(_) => Err(BrokerError::Unavailable("Redis does not answer".into())),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn nonsense() -> BrokerError {
    BrokerError::Unavailable("Redis has answered something unexpected".into())
}

fn bytes(value: Value) -> Result<Bytes, BrokerError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes.into()),
        Value::SimpleString(text) => Ok(text.into()),
        Value::Int(number) => Ok(number.to_string().into()),
        _ => Err(nonsense()),
    }
}

fn text(bytes: Bytes) -> Result<String, BrokerError> {
    String::from_utf8(bytes.into()).map_err(|_| nonsense())
}

fn number(text: &str) -> Result<u64, BrokerError> {
    text.parse().map_err(|_| nonsense())
}
