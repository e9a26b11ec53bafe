//! Pipes between the processes of a site.
//!
//! A broker passes envelopes on, of which it knows nothing, and stores histories. What is missing,
//! what comes twice and what has to wait is the hub's business.

// Parts that only a broker needs stay where none is built in.
#![cfg_attr(
    not(all(feature = "redis", feature = "nats")),
    allow(dead_code, unused_imports, unused_variables, clippy::unused_async)
)]

#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use thiserror::Error;

#[cfg(feature = "nats")]
use self::nats::Nats;
#[cfg(feature = "redis")]
use self::redis::Redis;
use super::history::{Limits, Position};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Times between attempts to connect.
const SHORTEST: Duration = Duration::from_millis(50);
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// Where a history stands is remembered for so long: longer than any message.
const META_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What can go wrong with a broker.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BrokerError {
    /// The URL in the settings cannot be used.
    #[error("the broker's URL cannot be used: {0}")]
    Url(String),
    /// The server cannot be reached, says no, or is too slow.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// The server takes no message of this size; its limit in bytes.
    #[error("the broker takes no message of more than {0} bytes")]
    TooLarge(usize),
}

/// Who hears from a broker. Called by its task, in order; must not block.
pub trait Events: Send + Sync + 'static {
    /// Something was published to a channel that is subscribed to, or stored in its history; then with
    /// its position. What matches several subscriptions may come several times, and so may what was
    /// stored again.
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>);

    /// The connection is there (again), and everything that was subscribed to is (again).
    fn connected(&self);

    /// Messages were discarded on their way here.
    fn lost(&self);

    /// The server does not allow one of the subscriptions; the others are there.
    fn refused(&self, _channel: &str, _error: &BrokerError) {}

    /// The connection could not be made, or has broken.
    fn disconnected(&self, error: &str);
}

/// Makes it safe to store a message again of which nobody knows if it was stored.
#[derive(Clone, Debug)]
pub struct Key {
    /// Who publishes; unique in time and space.
    pub publisher: Arc<str>,
    /// Rises from message to message of one publisher in one channel.
    pub sequence: u64,
}

/// A message of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub offset: u64,
    /// As it was given to [`Broker::store`].
    pub envelope: Bytes,
    /// For how long it has been there, by the server's clock.
    pub age: Duration,
}

/// The end of a channel's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The oldest first.
    pub entries: Vec<Stored>,
    /// Where the history stands; offset 0 if nothing was ever stored.
    pub top: Position,
    /// Whether the entries are all that came after the position that was asked for.
    pub complete: bool,
}

/// Entries of a history that may be missing; where it is more, what comes before is of no use.
const MAX_HOLE: u64 = 1_000;

impl Fetched {
    /// Entries that are missing, as somebody has removed them, get empty envelopes: they keep their
    /// places, and cannot be read.
    #[doc(hidden)] // Public for the fuzz target.
    #[must_use]
    pub fn new(found: Vec<Stored>, top: Position, after: Option<&Position>) -> Self {
        let mut entries: Vec<Stored> = Vec::with_capacity(found.len());
        let hole = |offset, age| Stored {
            offset,
            envelope: Bytes::new(),
            age,
        };
        for one in found {
            let next = entries
                .last()
                .map_or(one.offset, |last| last.offset.saturating_add(1));
            if one.offset == 0 || one.offset < next || one.offset > top.offset {
                continue;
            }
            if one.offset - next > MAX_HOLE {
                entries.clear();
            } else {
                entries.extend((next..one.offset).map(|offset| hole(offset, one.age)));
            }
            entries.push(one);
        }
        if let Some(last) = entries.last().filter(|last| last.offset < top.offset) {
            if top.offset - last.offset > MAX_HOLE {
                entries.clear();
            } else {
                let (next, age) = (last.offset + 1, last.age);
                entries.extend((next..=top.offset).map(|offset| hole(offset, age)));
            }
        }
        let floor = top.offset - entries.len() as u64;
        let complete = after.is_none_or(|after| after.epoch == top.epoch && after.offset == floor);
        Self {
            entries,
            top,
            complete,
        }
    }
}

/// Takes `<offset>|<epoch>|<envelope>` apart, as the script in Redis has put it together. Anybody may
/// publish something else.
#[doc(hidden)] // Public for the fuzz target.
#[must_use]
pub fn positioned(announced: &Bytes) -> Option<(Position, Bytes)> {
    let mut bars = (0..announced.len()).filter(|at| announced[*at] == b'|');
    let (first, second) = (bars.next()?, bars.next()?);
    let offset = std::str::from_utf8(&announced[..first])
        .ok()?
        .parse()
        .ok()?;
    let epoch = std::str::from_utf8(&announced[first + 1..second]).ok()?;
    let position = Position {
        offset,
        epoch: epoch.into(),
    };
    Some((position, announced.slice(second + 1..)))
}

/// A connection to a broker, which is made again whenever it breaks.
#[derive(Clone)]
pub struct Broker(Kind);

#[derive(Clone)]
enum Kind {
    #[cfg(feature = "redis")]
    Redis(Redis),
    #[cfg(feature = "nats")]
    Nats(Nats),
}

/// Calls a method of the broker, whichever it is.
macro_rules! either {
    ($broker:expr, $name:ident($($argument:expr),*)) => {
        match $broker.0 {
            #[cfg(feature = "redis")]
            Kind::Redis(ref redis) => redis.$name($($argument),*).await,
            #[cfg(feature = "nats")]
            Kind::Nats(ref nats) => nats.$name($($argument),*).await,
        }
    };
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Broker")
    }
}

/// The error for the scheme of a URL that is no broker's.
fn unknown(scheme: Option<&str>) -> BrokerError {
    BrokerError::Url(match scheme {
        // Where the URL has a typo, this may be a part of the password.
        Some(scheme) if !is_scheme(scheme) => {
            "it does not begin with a scheme, as redis://localhost:6379/0 does".into()
        }
        Some(scheme) => {
            format!("\"{scheme}\" is not a broker that is known; redis:// and nats:// are")
        }
        None => "it has no scheme, as redis://localhost:6379/0 has".into(),
    })
}

/// Whether it is the scheme of a URL (RFC 3986 section 3.1), and a short one.
fn is_scheme(text: &str) -> bool {
    let letters = |c: u8| c.is_ascii_lowercase() || c == b'+';
    !text.is_empty() && text.len() <= 16 && text.bytes().all(letters)
}

/// Finds passwords that end the URL's authority too early, so that a part of them would be taken for
/// a host, a port or a path, and shown as such.
fn check_quoting(url: &str) -> Result<(), BrokerError> {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.ends_with("unix") => rest,
        _ => return Ok(()),
    };
    let after = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    if after.contains('@') {
        return Err(BrokerError::Url(
            "a /, ? or # in a name or a password is written %2F, %3F or %23".into(),
        ));
    }
    Ok(())
}

impl Broker {
    /// Where it is, for people: a URL without the name and the password.
    #[must_use]
    pub fn address(&self) -> String {
        match self.0 {
            #[cfg(feature = "redis")]
            Kind::Redis(ref redis) => redis.address(),
            #[cfg(feature = "nats")]
            Kind::Nats(ref nats) => nats.address(),
        }
    }

    /// Checks that [`Self::open`] takes a URL; connects to nothing.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Url`]
    pub fn check(url: &str) -> Result<(), BrokerError> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            #[cfg(feature = "redis")]
            Some("redis" | "rediss" | "redis+unix" | "unix") => redis::check(url),
            #[cfg(feature = "nats")]
            Some("nats" | "tls") => nats::check(url),
            scheme => Err(unknown(scheme)),
        }
    }

    /// Starts connecting, and returns at once. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Url`]
    pub fn open(url: &str, prefix: &str, events: Arc<dyn Events>) -> Result<Self, BrokerError> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            #[cfg(feature = "redis")]
            Some("redis" | "rediss" | "redis+unix" | "unix") => {
                Redis::open(url, prefix, events).map(|redis| Self(Kind::Redis(redis)))
            }
            #[cfg(feature = "nats")]
            Some("nats" | "tls") => {
                Nats::open(url, prefix, events).map(|nats| Self(Kind::Nats(nats)))
            }
            scheme => Err(unknown(scheme)),
        }
    }

    /// Whether the connection is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        match self.0 {
            #[cfg(feature = "redis")]
            Kind::Redis(ref redis) => redis.is_connected(),
            #[cfg(feature = "nats")]
            Kind::Nats(ref nats) => nats.is_connected(),
        }
    }

    /// Subscribes to a channel, or to all that begin with what is before a final `*`. Remembered over
    /// reconnects, even if it fails now.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`]
    pub async fn subscribe(&self, channel: &str) -> Result<(), BrokerError> {
        either!(self, subscribe(channel))
    }

    /// Ends a subscription.
    pub async fn unsubscribe(&self, channel: &str) {
        either!(self, unsubscribe(channel));
    }

    /// Passes an envelope on to who listens now, in order of the calls.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`]: perhaps nobody has got it.
    pub async fn publish(&self, channel: &str, envelope: Bytes) -> Result<(), BrokerError> {
        either!(self, publish(channel, envelope))
    }

    /// Adds an envelope to the history of a channel, and passes it on with its position.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`]: it may have been stored; to be tried again with the same key.
    /// [`BrokerError::TooLarge`]: trying again is of no use.
    pub async fn store(
        &self,
        channel: &str,
        envelope: Bytes,
        key: &Key,
        limits: Limits,
    ) -> Result<Position, BrokerError> {
        either!(self, store(channel, envelope, key, limits))
    }

    /// Reads what came after a position, or all that is kept.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`]
    pub async fn fetch(
        &self,
        channel: &str,
        after: Option<&Position>,
        limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        either!(self, fetch(channel, after, limits))
    }

    /// Removes histories to which nothing has been stored for `unused`, and says how many, where the
    /// server does not do that by itself. A connection does it now and then for those of a week.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`]
    pub async fn sweep(&self, unused: Duration) -> Result<usize, BrokerError> {
        match self.0 {
            #[cfg(feature = "redis")]
            Kind::Redis(_) => Ok(0),
            #[cfg(feature = "nats")]
            Kind::Nats(ref nats) => nats.sweep(unused).await,
        }
    }

    /// Ends the connection for good.
    pub async fn close(&self) {
        either!(self, close());
    }
}

/// Ever longer pauses, of random length so that not all processes come at once.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let most = self.0;
        self.0 = (most * 2).min(LONGEST);
        most.mul_f64(0.5 + chance() / 2.0)
    }
}

/// What is said of a connection that is not there.
fn away(error: &BrokerError, pause: Duration) -> String {
    let error = match error {
        BrokerError::Unavailable(words) => words.clone(),
        other => other.to_string(),
    };
    format!(
        "{error}; the next attempt comes in {} ms, others at most {} s apart",
        pause.as_millis(),
        LONGEST.as_secs()
    )
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    (RandomState::new().hash_one(()) % 1_000) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Events for Nobody {
        fn message(&self, _: &str, _: Bytes, _: Option<Position>) {}
        fn connected(&self) {}
        fn lost(&self) {}
        fn disconnected(&self, _: &str) {}
    }

    fn open(url: &str) -> Result<Broker, BrokerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _context = runtime.enter();
        Broker::open(url, "test", Arc::new(Nobody))
    }

    #[cfg(all(feature = "redis", feature = "nats"))]
    #[test]
    fn the_error_for_a_url_says_nothing_of_the_password() {
        for url in [
            "s3cret",
            ":s3cret@h:6379",
            ":s3cret@h://",
            "s3cret://h",
            "me:s3cret@h://x",
            "redis:/:s3cret@h",
            "redis://:s3cret@h:port",
            "redis://:s3cret@h:6379/zero",
            "redis://:s3cret@h:99999",
            "redis://:s3cret@",
            "redis://:s3cret@0.0.0.0",
            "redis://:s3cret/x@h",
            "redis://:12/s3cret@h",
            "redis://me:12#s3cret@h",
            "redis://me:12?s3cret@h",
            "redis://:s3cret@h#insecure",
            "redis://h?protocol=s3cret",
            "redis://:s3cret@h:x y",
            "rediss://me:s3cret@[::1",
            "unix:///tmp/x?pass=s3cret&db=x",
            "http://me:s3cret@h",
            "nats://me:s3cret@",
            "nats://me:s3cret@a:x,b",
            "nats://me:s3cret@a/path",
            "nats://me:12,s3cret@a",
            "nats://me:s3cret/x@a",
            "nats://me:12?s3cret@a",
            "nats://me:12#s3cret@a",
            "nats://a?s3cret=3",
            "nats://a?replicas=s3cret",
            "nats://s3cret@",
            "nats://a?token=s3cret",
            "nats://me:%FFs3cret@a",
            "nats://a,s3cret@b",
        ] {
            let error = open(url).map(|broker| broker.address()).unwrap_err();
            // One that could be a scheme is not the password.
            let scheme = url.starts_with("s3cret://");
            assert!(scheme || !error.to_string().contains("s3cret"), "{error}");
            assert!(!error.to_string().contains("12"), "{error}");
        }
    }

    #[cfg(all(feature = "redis", feature = "nats"))]
    #[test]
    fn an_address_says_where_and_not_who() {
        for (url, address) in [
            ("redis://:s3cret@h", "redis://h:6379/0"),
            ("redis://me:s%40%2F%3F%23@h:1/2", "redis://h:1/2"),
            ("rediss://me:s3@cret@h:1/2", "rediss://h:1/2"),
            (
                "unix:///tmp/x.sock?pass=s3cret&db=3",
                "unix:///tmp/x.sock?db=3",
            ),
            ("nats://me:s3cret@a,b:5?replicas=3", "nats://a,nats://b:5"),
            ("tls://s3cret@a", "tls://a"),
        ] {
            assert_eq!(open(url).unwrap().address(), address);
        }
    }

    #[cfg(all(feature = "redis", feature = "nats"))]
    #[test]
    fn a_url_is_checked_without_connecting() {
        for url in [
            "redis://h",
            "rediss://u:p@h:1/2",
            "unix:///s",
            "nats://a,b",
            "tls://h",
        ] {
            assert_eq!(Broker::check(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "h:1",
            "http://h",
            "redis://",
            "redis://h:x",
            "redis://h:0",
            "redis://h/x",
            "redis://h/-1",
            "rediss://h#insecure",
            "unix://",
            "nats://",
            "nats://h:0",
        ] {
            assert!(
                matches!(Broker::check(url), Err(BrokerError::Url(_))),
                "{url}"
            );
        }
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= SHORTEST);
        assert!(pauses[19] >= LONGEST / 2 && pauses[19] <= LONGEST);
    }

    fn at(offset: u64, epoch: &str) -> Position {
        Position {
            offset,
            epoch: epoch.into(),
        }
    }

    #[test]
    fn a_message_is_told_with_its_position() {
        let split = |text: &'static [u8]| positioned(&Bytes::from_static(text));
        let found = split(b"7|3f2a|a|b");
        assert_eq!(found, Some((at(7, "3f2a"), Bytes::from_static(b"a|b"))));
        assert_eq!(split(b"7||"), Some((at(7, ""), Bytes::new())));
        for wrong in [
            &b""[..],
            b"|",
            b"||",
            b"7|",
            b"7",
            b"-7|e|",
            b"x|e|",
            b"7|\xff|",
            b"99999999999999999999|e|",
        ] {
            assert_eq!(split(wrong), None);
        }
    }

    #[test]
    fn what_was_fetched_is_complete_only_without_a_gap() {
        let stored = |offset: &u64| Stored {
            offset: *offset,
            envelope: Bytes::new(),
            age: Duration::ZERO,
        };
        let entries = |offsets: &[u64]| offsets.iter().map(stored).collect();
        for (found, top, after, complete) in [
            (&[][..], 0, Some(at(0, "e")), true),
            (&[], 5, Some(at(5, "e")), true),
            (&[], 5, Some(at(4, "e")), false),
            (&[], 4, Some(at(5, "e")), false),
            (&[5, 6], 6, Some(at(4, "e")), true),
            (&[6], 6, Some(at(4, "e")), false),
            (&[5], 6, Some(at(4, "e")), true),
            (&[5], 5, Some(at(4, "x")), false),
            (&[5], 5, None, true),
            (&[2, 3, 5, 6], 6, Some(at(1, "e")), true),
            (&[2, 2, 9, 3], 3, Some(at(1, "e")), true),
            (&[2, 4_000], 4_000, Some(at(1, "e")), false),
            (&[2, 4_000], 4_000, Some(at(3_999, "e")), true),
            (&[2], 4_000, Some(at(1, "e")), false),
            (&[5], u64::MAX, Some(at(u64::MAX, "e")), true),
            (&[u64::MAX], u64::MAX, Some(at(u64::MAX, "e")), false),
            (&[0], 0, Some(at(0, "e")), true),
        ] {
            let fetched = Fetched::new(entries(found), at(top, "e"), after.as_ref());
            assert_eq!(fetched.complete, complete, "{found:?} {top} {after:?}");
            let offsets = fetched.entries.iter().map(|entry| entry.offset);
            let floor = top - fetched.entries.len() as u64;
            assert!(
                offsets.eq((floor..top).map(|offset| offset + 1)),
                "{found:?} {top}"
            );
        }
    }
}
