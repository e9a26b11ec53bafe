//! `Sec-WebSocket-Extensions` (RFC 6455 section 9.1) and permessage-deflate (RFC 7692 section 7.1).

/// What was agreed on for permessage-deflate (RFC 7692 section 7.1).
///
/// Connections with equal parameters and no context takeover may share a compressed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeflateParams {
    /// The server starts every message with an empty window.
    pub server_no_context_takeover: bool,
    /// The client starts every message with an empty window.
    pub client_no_context_takeover: bool,
    /// Base-2 logarithm of the server's window, 9 to 15.
    pub server_max_window_bits: u8,
    /// Base-2 logarithm of the client's window, 8 to 15.
    pub client_max_window_bits: u8,
}
