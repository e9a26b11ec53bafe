//! One connection, from its first byte to its last.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use async_nats::{Client, Event, Message, Subscriber};
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{AbortHandle, Abortable, SelectAll},
};
use tokio::sync::mpsc;

use super::{
    BrokerError, Position,
    barrier::Barrier,
    streams::{Streams, Unsure},
    subject, unavailable,
    url::Address,
};

/// New subscriptions and troubles that may wait for the task that reads.
const WAITING: usize = 256;

/// What is between the prefix and a message that nobody keeps.
const FLEETING: &str = "-";

/// What commands need of a connection. The library's queues behind it are bounded: 2,048 commands,
/// and 65,536 messages for each subscription.
pub(super) struct Live {
    client: Client,
    pub(super) barrier: Barrier,
    pub(super) streams: Streams,
    prefix: String,
    /// How to end each subscription.
    ears: Mutex<HashMap<Arc<str>, AbortHandle>>,
    listen: mpsc::Sender<Ear>,
}

impl Live {
    pub(super) async fn connect(
        address: &Address,
        prefix: &str,
        unsure: &Unsure,
    ) -> Result<(Self, Traffic), BrokerError> {
        let (tell, troubles) = mpsc::channel(WAITING);
        let options = address.options().event_callback(move |event| {
            if let Some(error) = trouble(&event) {
                // Where many wait already, one more says nothing new.
                let _ = tell.try_send(error);
            }
            std::future::ready(())
        });
        let connected = options.connect(&address.servers[..]).await;
        let client = connected.map_err(unavailable)?;
        let (listen, new) = mpsc::channel(WAITING);
        let live = Self {
            barrier: Barrier::new(&client).await?,
            streams: Streams::new(client.clone(), address, prefix, unsure.clone()),
            client,
            prefix: prefix.to_owned(),
            ears: Mutex::default(),
            listen,
        };
        let traffic = Traffic {
            heard: SelectAll::new(),
            new,
            troubles,
            skip: prefix.len() + ".to.".len(),
        };
        Ok((live, traffic))
    }

    fn ears(&self) -> MutexGuard<'_, HashMap<Arc<str>, AbortHandle>> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to listen; has an effect when the next barrier is passed.
    pub(super) async fn listen(&self, channel: &str) -> Result<(), BrokerError> {
        let wanted: Arc<str> = channel.into();
        let (handle, registration) = AbortHandle::new_pair();
        match self.ears().entry(Arc::clone(&wanted)) {
            std::collections::hash_map::Entry::Occupied(_) => return Ok(()),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(handle),
        };
        let mut filter = format!("{}.to.*.", self.prefix);
        subject::filter(channel, &mut filter);
        let subscribed = self.client.subscribe(filter).await;
        let subscriber = match subscribed {
            Ok(subscriber) => Abortable::new(subscriber, registration),
            Err(error) => {
                self.ears().remove(channel);
                return Err(unavailable(error));
            }
        };
        let ear = Ear { subscriber, wanted };
        let gone = |_| unavailable("the connection to NATS has broken");
        self.listen.send(ear).await.map_err(gone)
    }

    pub(super) fn ignore(&self, channel: &str) {
        if let Some(handle) = self.ears().remove(channel) {
            handle.abort();
        }
    }

    pub(super) async fn publish(&self, channel: &str, envelope: Bytes) -> Result<(), BrokerError> {
        let subject = destination(&self.prefix, FLEETING, channel);
        let sent = self.client.publish(subject, envelope).await;
        sent.map_err(|error| match error.kind() {
            async_nats::PublishErrorKind::MaxPayloadExceeded => {
                BrokerError::TooLarge(error.to_string())
            }
            _ => unavailable(error),
        })
    }
}

/// Where what is published to a channel goes; `kind` is [`FLEETING`] or a history's epoch.
pub(super) fn destination(prefix: &str, kind: &str, channel: &str) -> String {
    let mut destination = format!("{prefix}.to.{kind}.");
    subject::encode(channel, &mut destination);
    destination
}

/// Why the connection is of no more use, if it is.
fn trouble(event: &Event) -> Option<BrokerError> {
    match event {
        Event::Disconnected | Event::Closed => {
            Some(unavailable("the connection to NATS has broken"))
        }
        // The histories are read again after the next connect: so those lose nothing.
        Event::SlowConsumer(_) => Some(unavailable(
            "NATS sends faster than this process reads, and messages were lost",
        )),
        Event::ServerError(error) => Some(unavailable(error)),
        _ => None,
    }
}

/// A subscription.
struct Ear {
    subscriber: Abortable<Subscriber>,
    wanted: Arc<str>,
}

impl Stream for Ear {
    type Item = (Arc<str>, Message);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = Pin::new(&mut self.subscriber).poll_next(cx);
        message.map(|message| Some((Arc::clone(&self.wanted), message?)))
    }
}

/// All that comes in.
pub(super) struct Traffic {
    heard: SelectAll<Ear>,
    new: mpsc::Receiver<Ear>,
    troubles: mpsc::Receiver<BrokerError>,
    /// What is before the kind in every subject.
    skip: usize,
}

impl Traffic {
    /// The next message; `None` if it was none of ours. To be asked again and again, also when
    /// nothing is subscribed to.
    ///
    /// # Errors
    ///
    /// The connection is of no more use.
    pub(super) async fn next(
        &mut self,
    ) -> Result<Option<(String, Bytes, Option<Position>)>, BrokerError> {
        tokio::select! {
            Some((wanted, message)) = self.heard.next() => Ok(self.read(&wanted, message)),
            Some(ear) = self.new.recv() => {
                self.heard.push(ear);
                Ok(None)
            }
            Some(error) = self.troubles.recv() => Err(error),
            else => Err(unavailable("the connection to NATS has broken")),
        }
    }

    fn read(&self, wanted: &str, message: Message) -> Option<(String, Bytes, Option<Position>)> {
        let (kind, tokens) = message.subject.get(self.skip..)?.split_once('.')?;
        let channel = subject::decode(tokens)?;
        if !subject::matches(wanted, &channel) {
            return None;
        }
        if kind == FLEETING {
            return Some((channel, message.payload, None));
        }
        let headers = message.headers.as_ref()?;
        let offset = headers.get(async_nats::header::NATS_SEQUENCE)?.as_str();
        let position = Position {
            offset: offset.parse().ok()?,
            epoch: kind.into(),
        };
        Some((channel, message.payload, Some(position)))
    }
}
