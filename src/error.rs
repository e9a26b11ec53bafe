//! The errors of a peer, with the close code or the HTTP status that answers each.

use thiserror::Error;
use tungstenite::protocol::frame::coding::CloseCode;

/// The peer broke RFC 6455 or RFC 7692, or went past a limit.
///
/// Every variant ends the connection: send a Close frame with [`close_code`](Self::close_code),
/// hand no further bytes to the decoder (it ignores them), and drop the socket once the frame has
/// been written (RFC 6455 section 7.1.7).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame has a reserved bit set to which no negotiated extension gives a meaning (section 5.2).
    /// Close with 1002.
    #[error("a frame has a reserved bit set")]
    ReservedBits,
    /// A frame has an opcode that RFC 6455 reserves (section 5.2). Close with 1002.
    #[error("a frame has the reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    /// A client sent a frame without a mask (section 5.1). Close with 1002.
    #[error("a client's frame is not masked")]
    Unmasked,
    /// A server sent a frame with a mask (section 5.1). Close with 1002.
    #[error("a server's frame is masked")]
    Masked,
    /// A length is not encoded in the fewest bytes (section 5.2). Close with 1002.
    #[error("a frame's length is not in its shortest form")]
    LengthNotMinimal,
    /// A length has its most significant bit set (section 5.2). Close with 1002.
    #[error("a frame's length does not fit 63 bits")]
    LengthOverflow,
    /// A control frame is fragmented (section 5.5). Close with 1002.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame has more than 125 bytes (section 5.5). Close with 1002.
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    /// A continuation frame arrived while no message was under way (section 5.4). Close with 1002.
    #[error("a continuation frame continues nothing")]
    UnexpectedContinuation,
    /// A new message began before the last fragment of the one under way (section 5.4). Close with
    /// 1002.
    #[error("a new message begins within a fragmented one")]
    ExpectedContinuation,
    /// A Close frame's body has one byte (section 5.5.1). Close with 1002.
    #[error("a Close frame has a body of one byte")]
    CloseBody,
    /// A Close frame has a code that must not be sent (section 7.4). Close with 1002.
    #[error("a Close frame has the code {0}, which must not be sent")]
    CloseCode(u16),
    /// A Close frame's reason is not UTF-8 (section 5.5.1). Close with 1007.
    #[error("a Close frame's reason is not UTF-8")]
    CloseReason,
    /// A text message is not UTF-8 (section 8.1). Close with 1007.
    #[error("a text message is not UTF-8")]
    InvalidUtf8,
    /// A compressed message does not inflate (RFC 7692 section 7.2.2). Close with 1002.
    #[error("a compressed message is corrupt")]
    CorruptDeflate,
    /// A message is longer than `max_message_size`. Close with 1009.
    #[error("a message is longer than {limit} bytes")]
    MessageTooBig {
        /// The limit.
        limit: usize,
    },
    /// A frame is longer than `max_frame_size`. Close with 1009.
    #[error("a frame is longer than {limit} bytes")]
    FrameTooBig {
        /// The limit.
        limit: usize,
    },
    /// A message has more empty frames than `max_fragments`. Close with 1008.
    #[error("a message has more than {limit} empty fragments")]
    TooManyFragments {
        /// The limit.
        limit: u32,
    },
    /// A compressed message has too many blocks that inflate to almost nothing. Close with 1008.
    #[error("a compressed message has too many blocks that are empty")]
    EmptyDeflate,
}

impl ProtocolError {
    /// The status code for the Close frame (RFC 6455 section 7.4.1).
    #[must_use]
    pub fn close_code(&self) -> u16 {
        let code = match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::LengthOverflow
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::CloseBody
            | Self::CloseCode(_)
            | Self::CorruptDeflate => CloseCode::Protocol,
            Self::CloseReason | Self::InvalidUtf8 => CloseCode::Invalid,
            Self::TooManyFragments { .. } | Self::EmptyDeflate => CloseCode::Policy,
            Self::MessageTooBig { .. } | Self::FrameTooBig { .. } => CloseCode::Size,
        };
        code.into()
    }
}

/// The request is not an opening handshake that can be accepted (RFC 6455 section 4.2.1).
///
/// Answer every variant with an ordinary HTTP response: the status is [`status`](Self::status), the
/// headers include [`headers`](Self::headers), and the body may be the text of the error. The
/// connection stays HTTP.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The method is not GET. Answer 405 with `Allow: GET`.
    #[error("the request method is not GET")]
    Method,
    /// `Connection` does not list `Upgrade`. Answer 400.
    #[error(
        "the Connection header does not list \"Upgrade\". \
         (Behind nginx: proxy_set_header Connection \"upgrade\";)"
    )]
    Connection,
    /// `Upgrade` does not list `websocket`. Answer 400.
    #[error("the Upgrade header does not list \"websocket\"")]
    Upgrade,
    /// `Sec-WebSocket-Version` is missing. Answer 400, and name the supported version.
    #[error("the Sec-WebSocket-Version header is missing")]
    MissingVersion,
    /// `Sec-WebSocket-Version` is not 13. Answer 426, and name the supported version (section 4.4).
    #[error("the Sec-WebSocket-Version header is not 13")]
    Version,
    /// `Sec-WebSocket-Key` is missing. Answer 400.
    #[error("the Sec-WebSocket-Key header is missing")]
    MissingKey,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64. Answer 400.
    #[error("the Sec-WebSocket-Key header is not 16 bytes in base64")]
    Key,
    /// `Sec-WebSocket-Protocol` is not a list of tokens. Answer 400.
    #[error("the Sec-WebSocket-Protocol header is not a list of tokens")]
    Protocols,
    /// `Sec-WebSocket-Extensions` breaks its grammar (section 9.1). Answer 400.
    #[error("the Sec-WebSocket-Extensions header is malformed")]
    Extensions,
}

impl HandshakeError {
    /// The HTTP status of the refusal.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Method => 405,
            Self::Version => 426,
            Self::Connection
            | Self::Upgrade
            | Self::MissingVersion
            | Self::MissingKey
            | Self::Key
            | Self::Protocols
            | Self::Extensions => 400,
        }
    }

    /// The headers that the refusal must carry.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Method => vec![("Allow", "GET")],
            Self::Version | Self::MissingVersion => vec![("Sec-WebSocket-Version", "13")],
            Self::Connection
            | Self::Upgrade
            | Self::MissingKey
            | Self::Key
            | Self::Protocols
            | Self::Extensions => Vec::new(),
        }
    }
}

/// The site asked for a response head that must not be sent.
///
/// The program is wrong, not the peer: raise the error to the caller that asked for the head, and
/// answer the request with 500. Nothing has been written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// A header's name is not a token (RFC 9110 section 5.1). Correct the name.
    #[error("the header name {0:?} is not a token")]
    HeaderName(String),
    /// A header's value has a control character (CR and LF would end the header) or a character outside
    /// latin-1. Correct the value. The text of the error has the header's name only.
    #[error("the value of the header {0:?} has a character that no header may have")]
    HeaderValue(String),
    /// The client did not offer the subprotocol (RFC 6455 section 4.2.2). Choose one that it offered,
    /// or none.
    #[error("the client did not offer the subprotocol {0:?}")]
    Subprotocol(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_error_has_its_close_code() {
        // RFC 6455 section 7.4.1
        let table = [
            (ProtocolError::ReservedBits, 1002),
            (ProtocolError::ReservedOpcode(3), 1002),
            (ProtocolError::Unmasked, 1002),
            (ProtocolError::Masked, 1002),
            (ProtocolError::LengthNotMinimal, 1002),
            (ProtocolError::LengthOverflow, 1002),
            (ProtocolError::FragmentedControl, 1002),
            (ProtocolError::ControlTooLong, 1002),
            (ProtocolError::UnexpectedContinuation, 1002),
            (ProtocolError::ExpectedContinuation, 1002),
            (ProtocolError::CloseBody, 1002),
            (ProtocolError::CloseCode(1005), 1002),
            (ProtocolError::CorruptDeflate, 1002),
            (ProtocolError::CloseReason, 1007),
            (ProtocolError::InvalidUtf8, 1007),
            (ProtocolError::TooManyFragments { limit: 1 }, 1008),
            (ProtocolError::EmptyDeflate, 1008),
            (ProtocolError::MessageTooBig { limit: 1 }, 1009),
            (ProtocolError::FrameTooBig { limit: 1 }, 1009),
        ];
        for (error, code) in table {
            assert_eq!(error.close_code(), code, "{error}");
        }
    }

    #[test]
    fn every_handshake_error_has_its_status_and_headers() {
        // RFC 6455 sections 4.2.1 and 4.4, RFC 9110 section 15.5.6
        let version: &[_] = &[("Sec-WebSocket-Version", "13")];
        type Headers = &'static [(&'static str, &'static str)];
        let table: [(HandshakeError, u16, Headers); 9] = [
            (HandshakeError::Method, 405, &[("Allow", "GET")]),
            (HandshakeError::Connection, 400, &[]),
            (HandshakeError::Upgrade, 400, &[]),
            (HandshakeError::MissingVersion, 400, version),
            (HandshakeError::Version, 426, version),
            (HandshakeError::MissingKey, 400, &[]),
            (HandshakeError::Key, 400, &[]),
            (HandshakeError::Protocols, 400, &[]),
            (HandshakeError::Extensions, 400, &[]),
        ];
        for (error, status, headers) in table {
            assert_eq!(error.status(), status, "{error}");
            assert_eq!(error.headers(), headers, "{error}");
        }
    }

    #[test]
    fn errors_stay_small_enough_to_be_returned_by_value() {
        assert_eq!(size_of::<ProtocolError>(), 16);
        assert_eq!(size_of::<HandshakeError>(), 1);
        assert_eq!(size_of::<ResponseError>(), 32);
    }

    #[test]
    fn no_message_repeats_what_the_peer_or_the_site_sent_in_a_value() {
        let error = ResponseError::HeaderValue("Set-Cookie".to_owned());
        assert_eq!(
            error.to_string(),
            "the value of the header \"Set-Cookie\" has a character that no header may have"
        );
    }
}
