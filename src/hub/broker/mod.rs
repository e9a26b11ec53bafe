//! Pipes between the processes. (Stand-in.)

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::history::{Limits, Position};

/// What can go wrong with a broker.
#[derive(Clone, Debug, Error)]
#[allow(missing_docs)]
pub enum BrokerError {
    #[error("the broker's URL cannot be used: {0}")]
    Url(String),
    #[error("the broker cannot be reached: {0}")]
    Unavailable(String),
}

/// Who hears from the broker.
#[allow(missing_docs)]
pub trait Events: Send + Sync + 'static {
    fn message(&self, channel: &str, envelope: Bytes, position: Option<Position>);
    fn connected(&self);
    fn disconnected(&self, error: &str);
}

/// Makes storing idempotent.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Key {
    pub publisher: Arc<str>,
    pub sequence: u64,
}

/// Part of a channel's history.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Fetched {
    pub entries: Vec<(u64, Bytes)>,
    pub top: Position,
    pub complete: bool,
}

/// A connection to a broker.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Broker(());

#[allow(missing_docs, clippy::unused_async)]
impl Broker {
    pub fn open(url: &str, _prefix: &str, _events: Arc<dyn Events>) -> Result<Self, BrokerError> {
        Err(BrokerError::Url(url.into()))
    }

    pub fn is_connected(&self) -> bool {
        false
    }

    pub async fn subscribe(&self, _channel: &str) -> Result<(), BrokerError> {
        Err(BrokerError::Unavailable(String::new()))
    }

    pub async fn unsubscribe(&self, _channel: &str) {}

    pub async fn publish(&self, _channel: &str, _envelope: Bytes) -> Result<(), BrokerError> {
        Err(BrokerError::Unavailable(String::new()))
    }

    pub async fn store(
        &self,
        _channel: &str,
        _envelope: Bytes,
        _key: &Key,
        _limits: Limits,
    ) -> Result<Position, BrokerError> {
        Err(BrokerError::Unavailable(String::new()))
    }

    pub async fn fetch(
        &self,
        _channel: &str,
        _after: Option<&Position>,
        _limits: Limits,
    ) -> Result<Fetched, BrokerError> {
        Err(BrokerError::Unavailable(String::new()))
    }

    pub async fn close(&self) {}
}
