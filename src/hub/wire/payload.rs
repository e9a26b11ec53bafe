//! The payload of a message.

/// The kind of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
    /// A JSON text.
    Json,
}
