//! Members, and the outputs about them.

use std::sync::Arc;

/// A member as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node and the connection, as in `3f2a-17`.
    pub id: Arc<str>,
    /// JSON as text. An info of more than 64 KiB, or one that some reader would refuse, is replaced by
    /// `{}`.
    pub info: Arc<str>,
}

/// An action that the caller has to perform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this message of at most 250 KiB to all nodes, on the control channel.
    Send(Vec<u8>),
    /// A member has joined a group.
    Joined(Arc<str>, Member),
    /// A member has left a group. The member is as it was when it joined; each `Joined` has one `Left`.
    Left(Arc<str>, Member),
}
