//! The payload of a message.

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
    /// A JSON text.
    Json,
}
