//! Redis: publish/subscribe for messages, streams for histories.
//!
//! A history is a stream whose ids are the offsets, and a hash with its position: the epoch and the
//! latest offset. One script writes both, so that offsets have no gaps, and subscribers get messages in
//! the order in which they are stored. (Centrifugo does the same.)

mod backlog;

use std::{
    borrow::Cow,
    collections::HashSet,
    future::Future,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, Msg, RedisError, RedisResult, Script, Value,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
};
use tokio::sync::Notify;

use self::backlog::{Backlog, End};
use super::{
    contract::{BrokerError, Events, Fetched, Key, META_LIFE, Stored, check_quoting, positioned},
    reconnect::{COMMAND_TIMEOUT, Closing, Served, Server, TOO_FAST, stay_connected},
};
use crate::hub::position::{Limits, Position, new_epoch};

/// How often the server is asked whether it is there.
const PING: Duration = Duration::from_secs(2);

/// The most subscriptions that wait for the server's answer when all are made again. Made one after the
/// other, those of a process with thousands of users would take as many round trips.
const AT_ONCE: usize = 512;

/// How long the latest key of a publisher is known: a message has to be stored again within this time.
const KEY_LIFE: Duration = Duration::from_secs(600);

/// The beginning of both scripts. `whole` reads a number that can be an offset. `standing` reads the
/// position of the history. If the position is impossible, another program has written it, and a new
/// history begins.
const COMMON: &str = r"
    local function whole(text)
        local number = tonumber(text)
        if number and number >= 0 and number < 9007199254740991 and number == math.floor(number) then
            return number
        end
    end
    local function digits(number)
        return string.format('%.0f', number)
    end
    local function standing(meta, log, new)
        local epoch, top = unpack(redis.call('HMGET', meta, 'epoch', 'top'))
        top = whole(top or '0')
        if epoch and #epoch <= 32 and string.match(epoch, '^%w+$') and top then
            return epoch, top
        end
        redis.call('HSET', meta, 'epoch', new, 'top', '0')
        redis.call('PEXPIRE', log, 0)
        return new, 0
    end
";

/// Keys: meta, stream, publisher. Arguments: envelope, sequence, epoch, size, ttl, meta life, key life,
/// channel (times in milliseconds).
static STORE: LazyLock<Script> = LazyLock::new(|| {
    let script = r"
        local epoch, top = standing(KEYS[1], KEYS[2], ARGV[3])
        local known = redis.call('HMGET', KEYS[3], 'sequence', 'offset', 'epoch')
        if known[1] and known[3] == epoch and tonumber(known[1]) >= tonumber(ARGV[2]) then
            return {known[2], epoch}
        end
        local time = redis.call('TIME')
        local now = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
        local function add(offset)
            return redis.pcall('XADD', KEYS[2], 'MAXLEN', ARGV[4], digits(offset) .. '-0',
                'e', ARGV[1], 't', now)
        end
        local function is_taken(answer)
            return type(answer) == 'table' and answer.err and string.find(answer.err, 'equal or smaller')
        end
        local offset = top + 1
        local added = add(offset)
        if is_taken(added) then
            -- Somebody else has written to the stream: this comes after that.
            local strange = redis.call('XRANGE', KEYS[2], digits(offset) .. '-0', '+')
            local last = strange[#strange]
            last = last and whole(string.match(last[1], '^%d+'))
            offset = last and whole(last + 1)
            added = offset and add(offset)
            if not offset or is_taken(added) then
                epoch, offset = ARGV[3], 1
                redis.call('HSET', KEYS[1], 'epoch', epoch)
                redis.call('PEXPIRE', KEYS[2], 0)
                added = add(offset)
            end
        end
        if type(added) == 'table' and added.err then
            return added
        end
        offset = digits(offset)
        redis.call('HSET', KEYS[1], 'top', offset)
        redis.call('PEXPIRE', KEYS[2], ARGV[5])
        redis.call('PEXPIRE', KEYS[1], ARGV[6])
        redis.call('HSET', KEYS[3], 'sequence', ARGV[2], 'offset', offset, 'epoch', epoch)
        redis.call('PEXPIRE', KEYS[3], ARGV[7])
        redis.call('PUBLISH', ARGV[8], 'p' .. offset .. '|' .. epoch .. '|' .. ARGV[1])
        return {offset, epoch}
    ";
    Script::new(&[COMMON, script].concat())
});

/// Keys: meta, stream. Arguments: offset to start at, epoch, ttl, meta life, size.
///
/// An entry that this package has not written is read as one without an envelope, and keeps its place.
static FETCH: LazyLock<Script> = LazyLock::new(|| {
    let script = r"
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local epoch, top = standing(KEYS[1], KEYS[2], ARGV[2])
        if epoch == ARGV[2] then
            redis.call('PEXPIRE', KEYS[1], ARGV[4])
        end
        local answer = {epoch, digits(top)}
        local from = math.max(tonumber(ARGV[1]), top - tonumber(ARGV[5]) + 1, 1)
        local entries = {}
        if from <= top then
            entries = redis.call('XRANGE', KEYS[2], digits(from) .. '-0', digits(top) .. '-0',
                'COUNT', digits(2 * (top - from + 1)))
        end
        local fresh, held = false, {}
        local function put(number, envelope, age)
            answer[#answer + 1] = number
            answer[#answer + 1] = envelope
            answer[#answer + 1] = digits(math.max(age, 0))
        end
        local function put_held()
            for _, number in ipairs(held) do
                put(number, '', 0)
            end
            held = {}
        end
        for _, entry in ipairs(entries) do
            local number = string.match(entry[1], '^(%d+)-0$')
            local envelope, at
            for i = 1, #entry[2] - 1, 2 do
                if entry[2][i] == 'e' then
                    envelope = entry[2][i + 1]
                elseif entry[2][i] == 't' then
                    at = whole(entry[2][i + 1])
                end
            end
            if number and envelope and at then
                -- Without a gap, also where the clock was set back in between.
                fresh = fresh or now - at <= tonumber(ARGV[3])
                if fresh then
                    put_held()
                    put(number, envelope, now - at)
                else
                    held = {}
                end
            elseif number then
                held[#held + 1] = number
            end
        end
        put_held()
        return answer
    ";
    Script::new(&[COMMON, script].concat())
});

/// Both connections to the server.
#[derive(Clone)]
struct Live {
    commands: MultiplexedConnection,
    sink: PubSubSink,
    broken: Arc<Broken>,
}

/// The state of a connection, as its commands have found it.
#[derive(Default)]
struct Broken {
    /// Notified when the connection has gone, or is of no use.
    noticed: Notify,
    /// The words of a server that is of no use.
    words: Mutex<Option<String>>,
    /// A command has succeeded over the connection.
    useful: AtomicBool,
    /// The connection has gone: a command that failed over it was not refused.
    gone: AtomicBool,
}

impl Broken {
    fn words(&self) -> MutexGuard<'_, Option<String>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, error: &RedisError) {
        if is_wrong_server(error) {
            self.words().get_or_insert(words_of(error));
        } else if !error.is_unrecoverable_error() {
            return;
        } else {
            self.gone.store(true, Ordering::Release);
        }
        self.noticed.notify_one();
    }
}

/// An error in the server's own words.
fn words_of(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Whether another connection may lead to a server that works: this one was demoted, has just started,
/// or has been given another password.
fn is_wrong_server(error: &RedisError) -> bool {
    const WORDS: [&str; 4] = ["READONLY", "LOADING", "MASTERDOWN", "NOAUTH"];
    // Redis 6 hides the code in the words of the script's error.
    let words = words_of(error);
    WORDS.iter().any(|word| {
        error.code() == Some(word)
            || words.contains(&format!("-{word} "))
            || words.contains(&format!(" {word} "))
    })
}

impl Live {
    async fn limited<T>(
        &self,
        work: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, BrokerError> {
        let noted = async {
            let result = work.await;
            match &result {
                Ok(_) => self.broken.useful.store(true, Ordering::Relaxed),
                Err(error) => self.broken.note(error),
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
    closing: Closing,
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
    check_quoting(url)?;
    let client = Client::open(url).map_err(|error| BrokerError::Url(words(&error)))?;
    let settings = client.get_connection_info();
    if let ConnectionAddr::Tcp(_, 0) | ConnectionAddr::TcpTls { port: 0, .. } = settings.addr() {
        return refused("nothing can listen on port 0");
    }
    if settings.redis_settings().db() < 0 {
        return refused("the number of the database is negative");
    }
    Ok(client)
}

/// The error of a URL, without the text of the URL, which may be a part of the password.
fn words(error: &RedisError) -> String {
    let words = error.to_string();
    let shown = error.detail().and_then(|detail| words.strip_suffix(detail));
    shown.unwrap_or(&words).trim_end_matches([':', ' ']).into()
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
            closing: Closing::default(),
        });
        tokio::spawn(stay_connected(Arc::clone(&shared)));
        Ok(Self(shared))
    }

    pub(super) fn address(&self) -> String {
        self.0.address()
    }

    pub(super) fn is_connected(&self) -> bool {
        let live = self.0.live();
        live.as_ref()
            .is_some_and(|live| !live.broken.gone.load(Ordering::Acquire))
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
            .arg(&*new_epoch())
            .arg(limits.size)
            .arg(millis(limits.ttl))
            .arg(millis(META_LIFE.max(limits.ttl.saturating_mul(2))))
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
        let from = after.map_or(0, |at| at.offset).saturating_add(1);
        let mut call = FETCH.prepare_invoke();
        call.key(self.0.key("meta", channel))
            .key(self.0.key("log", channel))
            .arg(from)
            .arg(&*new_epoch())
            .arg(millis(limits.ttl))
            .arg(millis(META_LIFE.max(limits.ttl.saturating_mul(2))))
            .arg(limits.size);
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
        self.0.closing.close();
        self.0.live().take();
    }
}

impl Server for Shared {
    type Connection = PubSubStream;

    fn events(&self) -> &dyn Events {
        &*self.events
    }

    fn closing(&self) -> &Closing {
        &self.closing
    }

    async fn connect(&self) -> Result<PubSubStream, BrokerError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(COMMAND_TIMEOUT))
            .set_response_timeout(Some(COMMAND_TIMEOUT));
        let client = &self.client;
        let commands = client.get_multiplexed_async_connection_with_config(&config);
        let mut commands = limited(commands).await?;
        is_primary(&mut commands).await?;
        let (sink, stream) = limited(client.get_async_pubsub()).await?.split();
        let live = Live {
            commands,
            sink,
            broken: Arc::default(),
        };
        *self.live() = Some(live.clone());
        // Subscriptions that are added from here on are made on this connection.
        let channels: Vec<_> = self.subscriptions().iter().cloned().collect();
        let mut making = stream::iter(channels)
            .map(|channel| {
                let mut sink = live.sink.clone();
                async move {
                    let listening = self.listen(&mut sink, &channel);
                    let made = tokio::time::timeout(COMMAND_TIMEOUT, listening).await;
                    (made, channel)
                }
            })
            .buffered(AT_ONCE);
        let mut refused = Vec::new();
        while let Some((made, channel)) = making.next().await {
            match made {
                Ok(Ok(())) => {}
                // The server's ACL forbids this channel, for example a wildcard. All others go on.
                Ok(Err(error)) if error.code() == Some("NOPERM") => {
                    let error = BrokerError::Unavailable(words_of(&error));
                    refused.push((channel, error));
                }
                Ok(Err(error)) => return Err(BrokerError::Unavailable(words_of(&error))),
                Err(_) => return Err(BrokerError::Unavailable("Redis does not answer".into())),
            }
        }
        for (channel, error) in refused {
            self.events.refused(&channel, &error);
        }
        Ok(stream)
    }

    async fn serve(&self, stream: PubSubStream) -> Served {
        let error = self.pass_all_on(stream).await;
        let broken = self.live().take().map(|live| live.broken);
        let useful = broken.is_some_and(|broken| {
            broken.useful.load(Ordering::Relaxed) && broken.words().is_none()
        });
        // To begin anew is more work still for a process that does not keep up.
        let useful = useful && error != BrokerError::Unavailable(TOO_FAST.into());
        Served { error, useful }
    }

    fn forget(&self) {
        self.live().take();
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

    fn address(&self) -> String {
        let settings = self.client.get_connection_info();
        let db = settings.redis_settings().db();
        match settings.addr() {
            ConnectionAddr::Unix(path) => format!("unix://{}?db={db}", path.display()),
            address @ ConnectionAddr::TcpTls { .. } => format!("rediss://{address}/{db}"),
            address => format!("redis://{address}/{db}"),
        }
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

    /// Passes messages on until the connection ends; returns why.
    async fn pass_all_on(&self, stream: PubSubStream) -> BrokerError {
        let gone = || BrokerError::Unavailable("Redis has closed the connection".into());
        let Ok(Live { broken, .. }) = self.get() else {
            return gone();
        };
        let mut backlog = Backlog::new(stream);
        let beat = AtomicU32::new(0);
        let alive = self.stay_alive(&beat);
        tokio::pin!(alive);
        loop {
            tokio::select! {
                message = backlog.next(&beat) => match message {
                    Ok(message) => self.pass_on(&message),
                    Err(End::Gone) => return gone(),
                    // After the reconnect, groups with a history fetch what is missing.
                    Err(End::TooFast(lost)) => {
                        (0..lost).for_each(|_| self.events.lost());
                        return BrokerError::Unavailable(TOO_FAST.into());
                    }
                },
                () = broken.noticed.notified() => {
                    let words = broken.words().clone();
                    return words.map_or_else(gone, BrokerError::Unavailable);
                }
                error = &mut alive => return error,
                () = self.closing.told() => return BrokerError::Unavailable("closed".into()),
            }
        }
    }

    /// Asks the server whether it is there, until it is not; returns the error. Counts up `beat` each time.
    async fn stay_alive(&self, beat: &AtomicU32) -> BrokerError {
        let mut may_ask = true;
        loop {
            tokio::time::sleep(PING).await;
            beat.fetch_add(1, Ordering::Relaxed);
            let mut live = match self.get() {
                Ok(live) => live,
                Err(error) => return error,
            };
            let pings = async {
                if may_ask {
                    may_ask = is_primary(&mut live.commands).await?;
                } else {
                    let command = redis::cmd("PING");
                    limited(command.query_async::<()>(&mut live.commands)).await?;
                }
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
        let name = String::from_utf8_lossy(&name);
        let channel = name.strip_prefix(&self.prefix);
        let Some(channel) = channel.and_then(|rest| rest.strip_prefix(':')) else {
            return;
        };
        if let Cow::Owned(_) = name {
            // Wildcards match names that are no UTF-8, too.
            return self.events.malformed(channel);
        }
        let payload = Bytes::copy_from_slice(message.get_payload_bytes());
        match payload.first() {
            Some(b'm') => self.events.message(channel, payload.slice(1..), None),
            Some(b'p') => match positioned(&payload.slice(1..)) {
                Some((position, envelope)) => {
                    self.events.message(channel, envelope, Some(position));
                }
                None => self.events.malformed(channel),
            },
            _ => self.events.malformed(channel),
        }
    }
}

/// Fails unless the server answers and accepts writes: a host name may lead to a server that was demoted
/// to a replica. Returns false if the server does not tell its role.
async fn is_primary(commands: &mut MultiplexedConnection) -> Result<bool, BrokerError> {
    let role = redis::cmd("ROLE");
    let role = async {
        match role.query_async::<Value>(commands).await {
            Ok(Value::Array(fields)) => Ok(fields.into_iter().next()),
            Ok(_) => Ok(None),
            Err(error) if error.is_unrecoverable_error() || is_wrong_server(&error) => Err(error),
            // The server is there, but forbids the command or does not know it.
            Err(error) if error.code().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    };
    let role = limited(role).await?.map(bytes).transpose()?;
    match role.as_deref() {
        Some(b"slave" | b"replica") => Err(BrokerError::Unavailable(
            "the server is a replica, and takes no messages".into(),
        )),
        Some(b"sentinel") => Err(BrokerError::Unavailable(
            "the server is a Sentinel, which is not supported".into(),
        )),
        role => Ok(role.is_some()),
    }
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
    match tokio::time::timeout(COMMAND_TIMEOUT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(BrokerError::Unavailable(words_of(&error))),
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
