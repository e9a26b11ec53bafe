//! Histories: one stream of JetStream for each group that has one.
//!
//! The sequence of a stream counts as offsets do. The epoch is in the subject that the stream takes
//! messages from and in the one it passes them on to: so what was meant for a history that was lost
//! cannot get into the one that took its place, and who listens knows from which one it comes.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{
    Client, HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{
        Context, ErrorCode,
        context::{
            ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind, PublishError,
            PublishErrorKind,
        },
        message::StreamMessage,
        stream::{
            Config, DirectGetErrorKind, LastRawMessageErrorKind, Republish, StorageType, Stream,
        },
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha1::{Digest, Sha1};

use super::{
    super::super::new_epoch,
    BrokerError, Fetched, Key, Limits, PATIENCE, Position,
    live::destination,
    subject,
    sweep::{Sweeper, age, stem},
    unavailable,
    url::Address,
};

/// The server knows for so long what it has stored: a message that is stored again within is not
/// stored twice. (After that, the history itself is looked at.)
const WINDOW: Duration = Duration::from_secs(120);

/// Reads on their way at once.
const READS: usize = 64;

/// The histories on one connection.
pub(super) struct Streams {
    jetstream: Context,
    /// Ends when this is dropped.
    _sweeper: Sweeper,
    prefix: String,
    replicas: usize,
    storage: StorageType,
    /// By channel. Bounded by the groups that exist here.
    known: Mutex<HashMap<Arc<str>, Known>>,
    unsure: Unsure,
}

/// Messages of which nobody knows if they were stored: by channel, their ids. Outlives a connection.
#[derive(Clone, Default)]
pub(super) struct Unsure(Arc<Mutex<HashMap<Arc<str>, String>>>);

impl Unsure {
    fn ids(&self) -> MutexGuard<'_, HashMap<Arc<str>, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that is there, as far as is known.
#[derive(Clone)]
struct Known {
    epoch: Arc<str>,
    limits: Limits,
}

impl Streams {
    pub(super) fn new(client: Client, address: &Address, prefix: &str, unsure: Unsure) -> Self {
        let builder = ContextBuilder::new();
        let jetstream = builder
            .timeout(PATIENCE)
            .ack_timeout(PATIENCE)
            .build(client);
        Self {
            _sweeper: Sweeper::start(jetstream.clone(), prefix),
            jetstream,
            prefix: prefix.to_owned(),
            replicas: address.replicas,
            storage: address.storage,
            known: Mutex::default(),
            unsure,
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn store(
        &self,
        channel: &str,
        envelope: Bytes,
        key: &Key,
        limits: Limits,
    ) -> Result<Position, BrokerError> {
        let id = format!("{}:{}", key.publisher, key.sequence);
        let is_again = self.unsure.ids().get(channel) == Some(&id);
        if is_again && let Some(position) = self.find(channel, &id, limits).await? {
            self.unsure.ids().remove(channel);
            return Ok(position);
        }
        self.unsure.ids().insert(channel.into(), id.clone());
        let stored = self.append(channel, envelope, &id, limits).await;
        // An answer that does not come leaves it open.
        if !matches!(stored, Err(BrokerError::Unavailable(_))) {
            self.unsure.ids().remove(channel);
        }
        stored
    }

    async fn append(
        &self,
        channel: &str,
        envelope: Bytes,
        id: &str,
        limits: Limits,
    ) -> Result<Position, BrokerError> {
        loop {
            let known = self.known().get(channel).cloned();
            let known = match known.filter(|known| known.limits == limits) {
                Some(known) => known,
                None => self.open(channel, limits).await?.1,
            };
            match self
                .publish(channel, &known.epoch, envelope.clone(), id)
                .await
            {
                Ok(offset) => {
                    let epoch = known.epoch;
                    return Ok(Position { offset, epoch });
                }
                // The stream has gone. The next round makes another, or says what is wrong.
                Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                    self.known().remove(channel);
                }
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    return Err(BrokerError::TooLarge(error.to_string()));
                }
                Err(error) => return Err(unavailable(error)),
            }
        }
    }

    async fn publish(
        &self,
        channel: &str,
        epoch: &str,
        envelope: Bytes,
        id: &str,
    ) -> Result<u64, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let subject = self.source(epoch, channel);
        let sent = self
            .jetstream
            .publish_with_headers(subject, headers, envelope);
        Ok(sent.await?.await?.sequence)
    }

    pub(super) async fn fetch(
        &self,
        channel: &str,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        let (stream, Known { epoch, .. }) = self.open(channel, limits).await?;
        let top = stream.cached_info().state.last_sequence;
        let from = after.map_or(0, |after| after.offset) + 1;
        let messages = self.read(&stream, from, limits).await?.into_iter();
        let entries = messages
            .filter(|message| age(message.time.unix_timestamp_nanos()) <= limits.ttl)
            .map(|message| (message.sequence, message.payload));
        let top = Position { offset: top, epoch };
        Ok(Fetched::new(entries.collect(), top, after))
    }

    /// Looks a message up that may have been stored.
    async fn find(
        &self,
        channel: &str,
        id: &str,
        limits: Limits,
    ) -> Result<Option<Position>, BrokerError> {
        let (stream, Known { epoch, .. }) = self.open(channel, limits).await?;
        let messages = self.read(&stream, 1, limits).await?;
        let has_id = |message: &&StreamMessage| {
            let found = message.headers.get(NATS_MESSAGE_ID);
            found.is_some_and(|found| found.as_str() == id)
        };
        let found = messages.iter().rev().find(has_id);
        Ok(found.map(|message| Position {
            offset: message.sequence,
            epoch,
        }))
    }

    /// Reads the messages from a sequence on, as many as a history may have.
    async fn read(
        &self,
        stream: &Stream,
        from: u64,
        limits: Limits,
    ) -> Result<Vec<StreamMessage>, BrokerError> {
        let state = &stream.cached_info().state;
        let top = state.last_sequence;
        let kept = (top + 1).saturating_sub(limits.size as u64);
        let from = from.max(state.first_sequence).max(kept).max(1);
        let messages = stream::iter(from..=top)
            .map(|sequence| self.message(stream, sequence))
            .buffered(READS);
        messages
            .try_filter_map(|found| async { Ok(found) })
            .try_collect()
            .await
    }

    /// One message, unless it has been removed meanwhile.
    async fn message(
        &self,
        stream: &Stream,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, BrokerError> {
        match stream.direct_get(sequence).await {
            Ok(message) => return Ok(Some(message)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
            Err(error) => return Err(unavailable(error)),
        }
        if self.replicas == 1 {
            return Ok(None);
        }
        // A replica may be behind; the leader is not.
        match stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => {
                Ok(None)
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The stream of a channel, made where there is none, with these limits.
    async fn open(&self, channel: &str, limits: Limits) -> Result<(Stream, Known), BrokerError> {
        loop {
            let Some(stream) = self.look_up(channel).await? else {
                let config = self.config(channel, &new_epoch(), limits);
                match self.jetstream.create_stream(config).await {
                    Ok(_) => continue,
                    // Another process was quicker.
                    Err(error) if is_there(&error.kind()) => continue,
                    Err(error) => return Err(unavailable(error)),
                }
            };
            let config = &stream.cached_info().config;
            let epoch = self.epoch(config, channel)?;
            let wanted = self.config(channel, &epoch, limits);
            if (config.max_messages, config.max_age) != (wanted.max_messages, wanted.max_age) {
                self.jetstream
                    .update_stream(wanted)
                    .await
                    .map_err(unavailable)?;
            }
            let known = Known { epoch, limits };
            self.known().insert(channel.into(), known.clone());
            return Ok((stream, known));
        }
    }

    async fn look_up(&self, channel: &str) -> Result<Option<Stream>, BrokerError> {
        let name = self.name(channel);
        match self.jetstream.get_stream(name).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(said)
                    if said.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                GetStreamErrorKind::JetStream(_) => Err(unavailable(error)),
                _ => Err(unavailable(format!(
                    "{error}; a group with a history needs JetStream: start nats-server with -js"
                ))),
            },
        }
    }

    fn config(&self, channel: &str, epoch: &str, limits: Limits) -> Config {
        let source = self.source(epoch, channel);
        Config {
            name: self.name(channel),
            description: Some(format!("history of {channel}")),
            max_messages: i64::try_from(limits.size).unwrap_or(i64::MAX),
            // Not less than the window, as the server wants it; what is older is left out here.
            max_age: limits.ttl.max(WINDOW),
            duplicate_window: WINDOW,
            storage: self.storage,
            num_replicas: self.replicas,
            allow_direct: true,
            republish: Some(Republish {
                source: source.clone(),
                destination: destination(&self.prefix, epoch, channel),
                headers_only: false,
            }),
            subjects: vec![source],
            ..Config::default()
        }
    }

    /// Where a stream takes messages from.
    fn source(&self, epoch: &str, channel: &str) -> String {
        let mut source = format!("{}.log.{epoch}.", self.prefix);
        subject::encode(channel, &mut source);
        source
    }

    fn epoch(&self, config: &Config, channel: &str) -> Result<Arc<str>, BrokerError> {
        let foreign = || unavailable(format!("the stream {} is not ours", config.name));
        let source = config.subjects.first().ok_or_else(foreign)?;
        let start = format!("{}.log.", self.prefix);
        let rest = source.strip_prefix(&start).ok_or_else(foreign)?;
        let (epoch, tokens) = rest.split_once('.').ok_or_else(foreign)?;
        match subject::decode(tokens) {
            Some(name) if name == channel => Ok(epoch.into()),
            _ => Err(foreign()),
        }
    }

    /// A stream's name is short and has no dots, which names of groups need not be.
    fn name(&self, channel: &str) -> String {
        let digest = Sha1::digest(format!("{}.{channel}", self.prefix));
        let mut name = stem(&self.prefix);
        for byte in digest {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

fn is_there(error: &CreateStreamErrorKind) -> bool {
    matches!(error, CreateStreamErrorKind::JetStream(said) if said.error_code() == ErrorCode::STREAM_NAME_EXIST)
}
