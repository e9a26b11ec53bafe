//! Brokers pass messages between the processes of a site.
//!
//! A broker passes envelopes on without reading them, and stores histories. The hub handles gaps,
//! duplicates and messages that have to wait.

// Code that only a broker needs stays, even if no broker is built in.
#![cfg_attr(
    not(all(feature = "redis", feature = "nats")),
    allow(dead_code, unused_imports, unused_variables, clippy::unused_async)
)]

mod contract;
#[cfg(feature = "nats")]
mod nats;
pub(super) mod reconnect;
#[cfg(feature = "redis")]
mod redis;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

pub use self::contract::{BrokerError, Events, Fetched, Key, Stored, positioned};
#[cfg(feature = "nats")]
use self::nats::Nats;
#[cfg(feature = "redis")]
use self::redis::Redis;
use super::position::{Limits, Position};

/// A connection to a broker, which is made again whenever it breaks.
#[derive(Clone)]
pub struct Broker(Backend);

#[derive(Clone)]
enum Backend {
    #[cfg(feature = "redis")]
    Redis(Redis),
    #[cfg(feature = "nats")]
    Nats(Nats),
}

/// Calls a method of the broker, whichever backend it has.
macro_rules! either {
    ($broker:expr, $name:ident($($argument:expr),*)) => {
        match $broker.0 {
            #[cfg(feature = "redis")]
            Backend::Redis(ref redis) => redis.$name($($argument),*).await,
            #[cfg(feature = "nats")]
            Backend::Nats(ref nats) => nats.$name($($argument),*).await,
        }
    };
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Broker")
    }
}

/// The error for a URL whose scheme belongs to no broker.
fn unknown(scheme: Option<&str>) -> BrokerError {
    BrokerError::Url(match scheme {
        // If the URL has a typo, this text may be a part of the password.
        Some(scheme) if !is_scheme(scheme) => {
            "it does not begin with a scheme, as redis://localhost:6379/0 does".into()
        }
        Some(scheme) => {
            format!("\"{scheme}\" is not a broker that is known; redis:// and nats:// are")
        }
        None => "it has no scheme, as redis://localhost:6379/0 has".into(),
    })
}

/// Whether a text is a short URL scheme (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    let letters = |c: u8| c.is_ascii_lowercase() || c == b'+';
    !text.is_empty() && text.len() <= 16 && text.bytes().all(letters)
}

impl Broker {
    /// The broker's URL without the user name and the password, for people.
    #[must_use]
    pub fn address(&self) -> String {
        match self.0 {
            #[cfg(feature = "redis")]
            Backend::Redis(ref redis) => redis.address(),
            #[cfg(feature = "nats")]
            Backend::Nats(ref nats) => nats.address(),
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

    /// Starts connecting, and returns at once. Call it within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Url`]
    pub fn open(url: &str, prefix: &str, events: Arc<dyn Events>) -> Result<Self, BrokerError> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            #[cfg(feature = "redis")]
            Some("redis" | "rediss" | "redis+unix" | "unix") => {
                Redis::open(url, prefix, events).map(|redis| Self(Backend::Redis(redis)))
            }
            #[cfg(feature = "nats")]
            Some("nats" | "tls") => {
                Nats::open(url, prefix, events).map(|nats| Self(Backend::Nats(nats)))
            }
            scheme => Err(unknown(scheme)),
        }
    }

    /// Whether the connection is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        match self.0 {
            #[cfg(feature = "redis")]
            Backend::Redis(ref redis) => redis.is_connected(),
            #[cfg(feature = "nats")]
            Backend::Nats(ref nats) => nats.is_connected(),
        }
    }

    /// Subscribes to a channel, or to all channels that begin with the text before a final `*`. The
    /// subscription is remembered and made again after a reconnect, even if it fails now.
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

    /// Passes an envelope on to the current subscribers, in the order of the calls.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`]: perhaps no subscriber has got the envelope.
    pub async fn publish(&self, channel: &str, envelope: Bytes) -> Result<(), BrokerError> {
        either!(self, publish(channel, envelope))
    }

    /// Adds an envelope to the history of a channel, and passes it on with its position.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`]: the envelope may have been stored; try again with the same key.
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

    /// Reads the messages after a position, or all messages that are kept.
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

    /// Removes histories to which nothing has been stored for `unused`, and returns how many, if the
    /// server does not do that by itself. In that case, each connection does so from time to time, with
    /// a week as `unused`.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`]
    pub async fn sweep(&self, unused: Duration) -> Result<usize, BrokerError> {
        match self.0 {
            #[cfg(feature = "redis")]
            Backend::Redis(_) => Ok(0),
            #[cfg(feature = "nats")]
            Backend::Nats(ref nats) => nats.sweep(unused).await,
        }
    }

    /// Ends the connection for good.
    pub async fn close(&self) {
        either!(self, close());
    }
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
            // A text that could be a scheme is not the password.
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
}
