//! Who answers questions of other processes.

use std::pin::Pin;

use bytes::Bytes;

/// An answer that is being made.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'a>>;

/// A layer above the hub that answers questions of other processes.
pub trait Answering: Send + Sync + 'static {
    /// Makes an answer. It runs on tokio and must not block.
    fn answer(&self, question: Bytes) -> Answer<'_>;
}
