//! Gives questions to the server a time limit, and their errors one type.

use std::{fmt::Display, future::Future, time::Duration};

use crate::hub::broker::{contract::BrokerError, reconnect::COMMAND_TIMEOUT};

/// How often the server is asked whether it is there.
pub(super) const PING: Duration = Duration::from_secs(2);

pub(super) fn broken() -> BrokerError {
    unavailable("the connection to NATS has broken")
}

pub(super) fn unavailable(error: impl Display) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}

pub(super) async fn limited<T, E: Into<Trouble>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(COMMAND_TIMEOUT, work).await {
        Ok(result) => result.map_err(|error| error.into().0),
        Err(_) => Err(unavailable("NATS does not answer")),
    }
}

/// Any error, converted to a [`BrokerError`].
pub(super) struct Trouble(BrokerError);

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
