//! Members, and what has to be told of them.

use std::sync::Arc;

/// A member as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node and the connection, as in `3f2a-17`.
    pub id: Arc<str>,
    /// JSON as text. Of more than 64 KiB, or where not everybody can read it, it becomes `{}`.
    pub info: Arc<str>,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Goes to all nodes, on the control channel. At most 250 KiB.
    Send(Vec<u8>),
    /// A member has joined a group.
    Joined(Arc<str>, Member),
    /// A member has left a group: as it was when it joined, and once.
    Left(Arc<str>, Member),
}
