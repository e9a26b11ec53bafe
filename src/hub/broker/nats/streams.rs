//! Histories in JetStream: a stream for each channel, whose sequence numbers are the offsets.
//!
//! * The epoch is a part of the subject from which the stream takes messages, and of the subject on
//!   which it publishes stored messages. So a message cannot be stored in another history than the
//!   sender has in mind, and every message says to which history it belongs.
//! * The process that creates the stream chooses the epoch at random; other processes find the stream.
//! * The server recognizes a message that is stored twice by its key. The server knows the keys for
//!   [`WINDOW`], but after a restart only the keys of messages that it still has. Therefore a stream
//!   keeps [`RESERVE`] messages more than its history, for no less than the window. Reading returns only
//!   what the limits ask for.
//! * A stream keeps its position when all its messages are gone. The stream is removed when nothing has
//!   been stored for a week, or for twice the time that it keeps messages if that is longer.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Request, RequestErrorKind};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{
    super::{
        contract::{BrokerError, Fetched, Key, META_LIFE},
        reconnect::chance,
    },
    asking::{limited, unavailable},
    names::Names,
    refusals::Refusals,
    stored::{self, Entry, Part},
};
use crate::hub::position::{Limits, Position, new_epoch};

/// How long the server recognizes a message that is stored again.
const WINDOW: Duration = Duration::from_secs(600);

/// The number of messages that others may store between the restart of a server and the repetition of a
/// message, if it is unknown whether that message was stored.
const RESERVE: usize = 4_096;

/// The most messages that one question asks for.
const BATCH: u64 = 1_000;

/// The most channels whose streams are remembered.
const KNOWN: usize = 10_000;

/// The longest time between two sweeps of a process for unused streams.
const SWEEP: Duration = Duration::from_secs(3600);

/// How often an action is tried that another process may get in the way of.
const ATTEMPTS: usize = 4;

/// The time that a server of a cluster may need to hear what the others have stored.
const LAG: Duration = Duration::from_millis(20);

/// Codes of JetStream's errors.
const NO_STREAM: u64 = 10_059;
const NAME_IN_USE: u64 = 10_058;
const MESSAGE_TOO_LARGE: u64 = 10_054;
const OFF: [u64; 2] = [10_076, 10_039];

const NOT_ENABLED: &str = "a history needs JetStream, and this NATS server has it not enabled: start it with \
     nats-server -js";

/// A stream as it was when it was last looked at.
#[derive(Clone, Debug)]
struct Known {
    epoch: Arc<str>,
    limits: Limits,
    replicas: usize,
}

/// The known streams, so that storing needs one request.
#[derive(Debug)]
pub(super) struct Histories {
    known: Mutex<HashMap<Arc<str>, Known>>,
    /// How many servers are to keep each history.
    replicas: usize,
}

impl Histories {
    pub(super) fn new(replicas: usize) -> Self {
        Self {
            known: Mutex::default(),
            replicas,
        }
    }

    pub(super) fn of<'a>(
        &'a self,
        client: &'a Client,
        refusals: &'a Refusals,
        names: &'a Names,
        channel: &'a str,
    ) -> History<'a> {
        History {
            api: Api(client, refusals),
            names,
            channel,
            known: self,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The history of one channel.
pub(super) struct History<'a> {
    api: Api<'a>,
    names: &'a Names,
    channel: &'a str,
    known: &'a Histories,
}

impl History<'_> {
    pub(super) async fn store(
        &self,
        envelope: Bytes,
        key: &Key,
        limits: Limits,
    ) -> Result<Position, BrokerError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            stored::KEY,
            format!("{}-{}", key.publisher, key.sequence).as_str(),
        );
        for attempt in 0..ATTEMPTS {
            let epoch = self.prepare(limits).await?;
            let subject = self.names.store(self.channel, &epoch);
            let request = Request::new()
                .headers(headers.clone())
                .payload(envelope.clone());
            match self.api.send(subject, request).await? {
                Answer::Json(answer) => {
                    let offset = number(&answer, "/seq")?;
                    if answer.get("duplicate") == Some(&Value::Bool(true)) {
                        self.repeat(offset, &epoch, envelope).await?;
                    }
                    return Ok(Position { offset, epoch });
                }
                Answer::Nobody => {
                    // The stream has gone, and the remembered epoch is wrong.
                    self.known.lock().remove(self.channel);
                    tokio::time::sleep(LAG * (1 << attempt)).await;
                }
                // The stream has a limit of its own, which the answer does not tell.
                Answer::Error(MESSAGE_TOO_LARGE, _) => {
                    return Err(BrokerError::TooLarge(envelope.len().saturating_sub(1)));
                }
                Answer::Error(_, error) => return Err(error),
            }
        }
        Err(unavailable("NATS has lost the history again and again"))
    }

    /// Publishes a message again that an earlier attempt has stored. If the server died after that,
    /// perhaps it has not published the message, and subscribers at other servers of a cluster do not
    /// know of it. All other subscribers get the message twice.
    async fn repeat(&self, offset: u64, epoch: &str, envelope: Bytes) -> Result<(), BrokerError> {
        let subject = self.names.kept(self.channel, epoch);
        let mut headers = HeaderMap::new();
        headers.insert(stored::OFFSET, offset.to_string().as_str());
        let said = self
            .api
            .0
            .publish_with_headers(subject, headers, envelope)
            .await;
        said.map_err(unavailable)
    }

    /// Makes sure that the stream exists and has these limits; returns its epoch.
    async fn prepare(&self, limits: Limits) -> Result<Arc<str>, BrokerError> {
        let known = self.known.lock().get(self.channel).cloned();
        let known = match known {
            Some(known) => known,
            None => self.find(limits).await?.known,
        };
        let replicas = self.known.replicas;
        if known.limits != limits || known.replicas != replicas {
            let config = self.config(&known.epoch, limits);
            let update = format!("STREAM.UPDATE.{}", self.names.stream(self.channel));
            match self.api.ask(&update, &config).await? {
                Answer::Error(NO_STREAM, _) | Answer::Nobody => {
                    let found = self.find(limits).await?;
                    return Ok(found.known.epoch);
                }
                Answer::Error(_, error) => return Err(error),
                Answer::Json(_) => {}
            }
        }
        self.remember(Known {
            epoch: Arc::clone(&known.epoch),
            limits,
            replicas,
        });
        Ok(known.epoch)
    }

    fn remember(&self, known: Known) {
        let mut all = self.known.lock();
        if all.len() >= KNOWN && !all.contains_key(self.channel) {
            all.clear();
        }
        all.insert(self.channel.into(), known);
    }

    /// Reads the state of the stream; creates the stream if there is none.
    async fn find(&self, limits: Limits) -> Result<Found, BrokerError> {
        let stream = self.names.stream(self.channel);
        for _ in 0..ATTEMPTS {
            let info = format!("STREAM.INFO.{stream}");
            match self.api.ask(&info, &json!({})).await? {
                Answer::Json(answer) => return Found::read(&answer),
                Answer::Error(NO_STREAM, _) => {}
                Answer::Error(_, error) => return Err(error),
                Answer::Nobody => return Err(unavailable(NOT_ENABLED)),
            }
            let create = format!("STREAM.CREATE.{stream}");
            match self
                .api
                .ask(&create, &self.config(&new_epoch(), limits))
                .await?
            {
                // The next round reads the stream, which this or another process has created.
                Answer::Json(_) | Answer::Error(NAME_IN_USE, _) => {}
                Answer::Error(_, error) => return Err(error),
                Answer::Nobody => return Err(unavailable(NOT_ENABLED)),
            }
        }
        Err(unavailable("NATS has lost the history again and again"))
    }

    fn config(&self, epoch: &str, limits: Limits) -> Value {
        let source = self.names.store(self.channel, epoch);
        json!({
            "name": self.names.stream(self.channel),
            "description": self.channel,
            "subjects": [source],
            "republish": {"src": source, "dest": self.names.kept(self.channel, epoch)},
            "metadata": {
                "dwebsocket-epoch": epoch,
                "dwebsocket-size": limits.size.to_string(),
                "dwebsocket-ttl": limits.ttl.as_secs_f64().to_string(),
            },
            "retention": "limits",
            "discard": "old",
            "storage": "file",
            "num_replicas": self.known.replicas,
            "max_msgs": limits.size.saturating_add(RESERVE),
            "max_age": nanoseconds(limits.ttl.max(WINDOW)),
            "duplicate_window": nanoseconds(WINDOW),
            "allow_direct": true,
        })
    }

    pub(super) async fn fetch(
        &self,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        self.api.check_version()?;
        for attempt in 0..ATTEMPTS {
            let found = self.find(limits).await?;
            // The sender may have asked for lower limits than the reader.
            let size = limits.size.min(found.known.limits.size);
            let ttl = limits.ttl.min(found.known.limits.ttl);
            let oldest = (found.last + 1).saturating_sub(size as u64);
            let from = after.map_or(0, |after| after.offset).saturating_add(1);
            let from = from.max(oldest).max(found.first);
            let Some(entries) = self.read(&found, from).await? else {
                continue;
            };
            // If others have stored messages in between, there are more.
            let last = entries.last().map_or(found.last, |entry| entry.offset);
            let whole = entries
                .iter()
                .zip(from..)
                .all(|(entry, n)| entry.offset == n);
            let expected = (last.max(found.last) + 1).saturating_sub(from) as usize;
            // Messages that somebody has removed do not come back.
            let removed = found.removed > 0 && attempt + 1 == ATTEMPTS;
            if (!whole || entries.len() != expected) && !removed {
                // Some messages have expired in between, or this server lags behind the others.
                tokio::time::sleep(LAG).await;
                continue;
            }
            let top = Position {
                offset: last.max(found.last),
                epoch: found.known.epoch,
            };
            let fresh = entries
                .into_iter()
                .map(|entry| entry.stored(found.now))
                .skip_while(|stored| stored.age > ttl)
                .collect();
            return Ok(Fetched::new(fresh, top, after));
        }
        Err(unavailable("NATS cannot say what the history is"))
    }

    /// Reads the messages from an offset on; `None` if they are not of the history that was found.
    async fn read(&self, found: &Found, mut from: u64) -> Result<Option<Vec<Entry>>, BrokerError> {
        let subject = self.names.store(self.channel, &found.known.epoch);
        let stream = self.names.stream(self.channel);
        let mut entries: Vec<Entry> = Vec::new();
        while from <= found.last {
            let parts = self.api.batch(&stream, from, &subject).await?;
            let Some(parts) = parts else {
                return Ok(None);
            };
            let Some(last) = parts.last() else {
                break;
            };
            from = last.offset + 1;
            entries.extend(parts);
        }
        Ok(Some(entries))
    }
}

/// The state of a stream, as the server tells it.
#[derive(Debug)]
struct Found {
    known: Known,
    /// Offsets of the oldest and the newest message; `first == last + 1` if there is none.
    first: u64,
    last: u64,
    /// Messages between them that are not there any more.
    removed: u64,
    /// The server's time, in seconds since 1970.
    now: f64,
}

impl Found {
    fn read(info: &Value) -> Result<Self, BrokerError> {
        let text = |path: &str| info.pointer(path).and_then(Value::as_str);
        let metadata = |name: &str| text(&format!("/config/metadata/dwebsocket-{name}"));
        let epoch = metadata("epoch").ok_or_else(nonsense)?;
        let size = metadata("size").and_then(|size| size.parse().ok());
        let ttl =
            metadata("ttl").and_then(|ttl| Duration::try_from_secs_f64(ttl.parse().ok()?).ok());
        let last = number(info, "/state/last_seq")?;
        Ok(Self {
            known: Known {
                epoch: epoch.into(),
                limits: Limits {
                    size: size.ok_or_else(nonsense)?,
                    ttl: ttl.ok_or_else(nonsense)?,
                },
                replicas: number(info, "/config/num_replicas")? as usize,
            },
            first: match number(info, "/state/messages")? {
                0 => last + 1,
                _ => number(info, "/state/first_seq")?,
            },
            last,
            removed: number(info, "/state/num_deleted").unwrap_or(0),
            now: text("/ts").and_then(stored::seconds).ok_or_else(nonsense)?,
        })
    }
}

/// Sweeps unused streams from time to time, as long as there is a connection. Every process does so, at
/// random times.
pub(super) async fn sweep_now_and_then(
    client: &Client,
    refusals: &Refusals,
    names: &Names,
) -> Infallible {
    loop {
        tokio::time::sleep(SWEEP.mul_f64(0.5 + chance() / 2.0)).await;
        // The next sweep makes up for an error.
        let _ = sweep(client, refusals, names, META_LIFE).await;
    }
}

/// Removes the streams to which nothing has been stored for `unused`, or for twice as long as they keep
/// messages if that is longer; returns how many.
pub(super) async fn sweep(
    client: &Client,
    refusals: &Refusals,
    names: &Names,
    unused: Duration,
) -> Result<usize, BrokerError> {
    let api = Api(client, refusals);
    let mut idle = Vec::new();
    let mut offset = 0;
    loop {
        let question = json!({"offset": offset, "subject": names.stores()});
        let answer = match api.ask("STREAM.LIST", &question).await? {
            Answer::Json(answer) => answer,
            Answer::Error(_, error) => return Err(error),
            // Without JetStream there is nothing to remove.
            Answer::Nobody => return Ok(0),
        };
        let streams = answer.pointer("/streams").and_then(Value::as_array);
        let Some(streams) = streams.filter(|streams| !streams.is_empty()) else {
            break;
        };
        offset += streams.len() as u64;
        idle.extend(
            streams
                .iter()
                .filter_map(|stream| unused_name(stream, unused)),
        );
        if offset >= number(&answer, "/total")? {
            break;
        }
    }
    let mut removed = 0;
    for name in idle {
        let delete = format!("STREAM.DELETE.{name}");
        if let Answer::Json(_) = api.ask(&delete, &json!({})).await? {
            removed += 1;
        }
    }
    Ok(removed)
}

/// The name of a stream if it is unused.
fn unused_name(stream: &Value, unused: Duration) -> Option<String> {
    let found = Found::read(stream).ok()?;
    let time = |path: &str| stream.pointer(path).and_then(Value::as_str);
    let made = time("/created").and_then(stored::seconds)?;
    let stored = time("/state/last_ts").and_then(stored::seconds)?;
    let unused = unused.max(found.known.limits.ttl.saturating_mul(2));
    let idle = found.now - made.max(stored) > unused.as_secs_f64();
    let name = stream.pointer("/config/name")?.as_str()?;
    idle.then(|| name.to_owned())
}

enum Answer {
    Json(Value),
    /// The code of the error, and the error for the hub.
    Error(u64, BrokerError),
    /// No stream or service listens to the subject.
    Nobody,
}

/// JetStream's requests.
struct Api<'a>(&'a Client, &'a Refusals);

impl Api<'_> {
    async fn ask(&self, name: &str, question: &Value) -> Result<Answer, BrokerError> {
        let payload = question.to_string().into();
        let request = Request::new().payload(payload);
        self.send(format!("$JS.API.{name}"), request).await
    }

    async fn send(&self, subject: String, request: Request) -> Result<Answer, BrokerError> {
        let begun = Instant::now();
        let denied = self.1.wait(&subject, begun);
        let work = async {
            match self.0.send_request(subject.clone(), request).await {
                Ok(message) => Ok(Some(message)),
                Err(error) => match error.kind() {
                    RequestErrorKind::NoResponders => Ok(None),
                    RequestErrorKind::MaxPayloadExceeded => {
                        Err(BrokerError::TooLarge(self.0.max_payload()))
                    }
                    _ => Err(unavailable(error)),
                },
            }
        };
        let answer = tokio::select! {
            answer = limited(work) => answer?,
            error = denied => return Err(error),
        };
        let Some(message) = answer else {
            return Ok(Answer::Nobody);
        };
        let answer: Value = serde_json::from_slice(&message.payload).map_err(|_| nonsense())?;
        let Some(error) = answer.get("error") else {
            return Ok(Answer::Json(answer));
        };
        let code = error.get("err_code").and_then(Value::as_u64).unwrap_or(0);
        let words = error.get("description").and_then(Value::as_str);
        let words = match words {
            _ if OFF.contains(&code) => NOT_ENABLED.to_owned(),
            words => format!("JetStream says: {}", words.unwrap_or("no")),
        };
        Ok(Answer::Error(code, BrokerError::Unavailable(words)))
    }

    /// Reads messages of a stream from an offset on; `None` if they are not of `subject`.
    async fn batch(
        &self,
        stream: &str,
        from: u64,
        subject: &str,
    ) -> Result<Option<Vec<Entry>>, BrokerError> {
        let name = format!("$JS.API.DIRECT.GET.{stream}");
        let begun = Instant::now();
        let denied = self.1.wait(&name, begun);
        let work = limited(async {
            let inbox = self.0.new_inbox();
            let mut answers = self.0.subscribe(inbox.clone()).await.map_err(unavailable)?;
            let question = json!({"seq": from, "batch": BATCH}).to_string();
            let asked = self
                .0
                .publish_with_reply(name.clone(), inbox, question.into());
            asked.await.map_err(unavailable)?;
            let mut entries = Vec::new();
            while let Some(message) = answers.next().await {
                match Part::of(&message, subject) {
                    Part::Entry(entry) => entries.push(entry),
                    Part::End => return Ok(Some(entries)),
                    Part::Wrong => return Ok(None),
                }
            }
            Err(unavailable("the connection to NATS has broken"))
        });
        tokio::select! {
            entries = work => entries,
            error = denied => Err(error),
        }
    }

    /// Fails for older servers, which cannot answer a question for several messages.
    fn check_version(&self) -> Result<(), BrokerError> {
        let version = self.0.server_info().version;
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0_u32));
        let version_is_known = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if version_is_known >= (2, 11) {
            return Ok(());
        }
        let words = format!("a history needs NATS 2.11 or newer, and this server is {version}");
        Err(BrokerError::Unavailable(words))
    }
}

fn number(answer: &Value, path: &str) -> Result<u64, BrokerError> {
    let number = answer.pointer(path).and_then(Value::as_u64);
    number.ok_or_else(nonsense)
}

fn nonsense() -> BrokerError {
    unavailable("NATS has answered something unexpected")
}

fn nanoseconds(time: Duration) -> u64 {
    // The number has to fit an `i64`, too.
    u64::try_from(time.as_nanos()).map_or(i64::MAX as u64, |time| time.min(i64::MAX as u64))
}
