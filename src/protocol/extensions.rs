//! `Sec-WebSocket-Extensions` (RFC 6455 section 9.1) and permessage-deflate (RFC 7692 section 7.1).

use std::fmt::Write;

use crate::{
    config::Compression,
    error::HandshakeError,
    protocol::{
        Role,
        deflate::LEAST_WINDOW_BITS,
        tokens::{is_token, is_token_byte, ows},
    },
};

/// The extension's name (RFC 7692 section 7).
const NAME: &str = "permessage-deflate";
/// The window size in bits if the offer names none (section 7.1.2).
const WINDOW_BITS: u8 = 15;

/// The agreed parameters of permessage-deflate (RFC 7692 section 7.1).
///
/// Connections with equal `server_max_window_bits` and compression level share the compressed frame of
/// a [`Broadcast`](crate::protocol::Broadcast).
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

impl DeflateParams {
    /// Whether the messages that `role` sends may refer to earlier ones.
    pub(crate) fn own_context(self, role: Role) -> bool {
        !match role {
            Role::Server => self.server_no_context_takeover,
            Role::Client => self.client_no_context_takeover,
        }
    }

    /// Whether the messages that the peer of `role` sends may refer to earlier ones.
    pub(crate) fn peer_context(self, role: Role) -> bool {
        self.own_context(match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        })
    }

    /// The window size in bits with which `role` compresses.
    pub(crate) fn own_window_bits(self, role: Role) -> u8 {
        match role {
            Role::Server => self.server_max_window_bits,
            Role::Client => self.client_max_window_bits,
        }
    }
}

/// An extension with its parameters, as a client offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The extension's name.
    pub name: String,
    /// The parameters, in order, with their values.
    pub parameters: Vec<(String, Option<String>)>,
}

/// Parses the value of the header. The values of several header lines may be joined with commas.
///
/// # Errors
///
/// [`HandshakeError::Extensions`]: the value is malformed, so the connection fails (RFC 6455 section 9.1).
pub fn parse(header: &str) -> Result<Vec<Offer>, HandshakeError> {
    let mut reader = Reader { rest: header };
    let mut offers = Vec::new();
    loop {
        // RFC 9110 section 5.6.1: empty elements of a list are ignored.
        while reader.skip(',') {}
        if reader.rest.is_empty() {
            return Ok(offers);
        }
        offers.push(reader.offer()?);
        if !reader.rest.is_empty() && !reader.skip(',') {
            return Err(HandshakeError::Extensions);
        }
    }
}

/// The unread rest of a header. After each step it begins with no white space.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Takes a separator and the white space around it, if the separator comes next.
    fn skip(&mut self, separator: char) -> bool {
        self.rest = ows(self.rest);
        match self.rest.strip_prefix(separator) {
            Some(rest) => {
                self.rest = ows(rest);
                true
            }
            None => false,
        }
    }

    /// extension = extension-token *( ";" extension-param )
    fn offer(&mut self) -> Result<Offer, HandshakeError> {
        let name = self.token()?.to_owned();
        let mut parameters = Vec::new();
        while self.skip(';') {
            let parameter = self.token()?.to_owned();
            let value = if self.skip('=') {
                Some(self.value()?)
            } else {
                None
            };
            parameters.push((parameter, value));
        }
        Ok(Offer { name, parameters })
    }

    fn token(&mut self) -> Result<&'a str, HandshakeError> {
        let end = self.rest.bytes().position(|byte| !is_token_byte(byte));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if token.is_empty() {
            return Err(HandshakeError::Extensions);
        }
        self.rest = rest;
        Ok(token)
    }

    /// Takes a token, plain or in quotation marks.
    fn value(&mut self) -> Result<String, HandshakeError> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            return self.token().map(str::to_owned);
        };
        let mut value = String::new();
        let mut characters = quoted.chars();
        loop {
            match characters.next().ok_or(HandshakeError::Extensions)? {
                '"' => break,
                '\\' => value.push(characters.next().ok_or(HandshakeError::Extensions)?),
                character => value.push(character),
            }
        }
        self.rest = characters.as_str();
        // Section 9.1: "the value after quoted-string unescaping MUST conform to the 'token' ABNF".
        if is_token(&value) {
            Ok(value)
        } else {
            Err(HandshakeError::Extensions)
        }
    }
}

/// Accepts the first offer of permessage-deflate that the server can meet (RFC 7692 section 5). Returns
/// the agreed parameters and the value of the response's header.
#[must_use]
pub fn negotiate(offers: &[Offer], compression: Compression) -> Option<(DeflateParams, String)> {
    if compression == Compression::Off {
        return None;
    }
    let mut known = offers.iter().filter(|offer| offer.name == NAME);
    let request = known.find_map(|offer| read_offer(&offer.parameters))?;
    let shared = compression == Compression::Shared;
    let params = DeflateParams {
        server_no_context_takeover: shared || request.server_no_context_takeover,
        client_no_context_takeover: shared || request.client_no_context_takeover,
        server_max_window_bits: request.server_max_window_bits.unwrap_or(WINDOW_BITS),
        client_max_window_bits: request.client_max_window_bits.unwrap_or(WINDOW_BITS),
    };
    Some((params, request.answer(params)))
}

/// The parameters of an offer (section 7.1).
#[derive(Clone, Copy, Debug, Default)]
struct DeflateOffer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// `Some` only if the parameter has a value.
    client_max_window_bits: Option<u8>,
}

/// Reads an offer; `None` if it must be declined, because a parameter is unknown or comes twice or has
/// a wrong value (section 7), or zlib does not support the window.
fn read_offer(parameters: &[(String, Option<String>)]) -> Option<DeflateOffer> {
    let mut offer = DeflateOffer::default();
    for (index, (name, value)) in parameters.iter().enumerate() {
        if parameters[..index]
            .iter()
            .any(|(earlier, _)| earlier == name)
        {
            return None;
        }
        match (name.as_str(), value.as_deref()) {
            ("server_no_context_takeover", None) => offer.server_no_context_takeover = true,
            ("client_no_context_takeover", None) => offer.client_no_context_takeover = true,
            ("server_max_window_bits", Some(value)) => {
                // zlib cannot compress with a window of 8 bits.
                let bits = window_bits(value).filter(|&bits| bits >= LEAST_WINDOW_BITS)?;
                offer.server_max_window_bits = Some(bits);
            }
            ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => {
                offer.client_max_window_bits = Some(window_bits(value)?);
            }
            _ => return None,
        }
    }
    Some(offer)
}

/// Section 7.1.2: "a decimal integer value without leading zeroes between 8 to 15 inclusive".
fn window_bits(value: &str) -> Option<u8> {
    if value.starts_with(['0', '+']) {
        return None;
    }
    value.parse().ok().filter(|bits| (8..=15).contains(bits))
}

impl DeflateOffer {
    /// The response to the offer. It names a window only if the offer does.
    fn answer(self, params: DeflateParams) -> String {
        let mut answer = NAME.to_owned();
        if params.server_no_context_takeover {
            answer.push_str("; server_no_context_takeover");
        }
        if params.client_no_context_takeover {
            answer.push_str("; client_no_context_takeover");
        }
        // Writing to a String cannot fail.
        if let Some(bits) = self.server_max_window_bits {
            let _ = write!(answer, "; server_max_window_bits={bits}");
        }
        if let Some(bits) = self.client_max_window_bits {
            let _ = write!(answer, "; client_max_window_bits={bits}");
        }
        answer
    }
}

#[cfg(test)]
mod tests;
