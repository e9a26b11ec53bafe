//! The opening handshake (RFC 6455 section 4.2).
//!
//! tungstenite derives the `Sec-WebSocket-Accept`. Its `create_response` is not used, because it accepts
//! an `Upgrade` header of one element only, and has one error for a version that is missing (400) and one
//! that is wrong (426).

use std::collections::HashSet;

use tungstenite::handshake::derive_accept_key;

use crate::{
    config::ProtocolConfig,
    error::{HandshakeError, ResponseError},
    protocol::{
        DeflateParams, extensions,
        tokens::{is_token, ows},
    },
};

/// The headers of a request that matter; those that come several times joined by commas.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// `Connection`, empty where absent.
    pub connection: &'a str,
    /// `Upgrade`, empty where absent.
    pub upgrade: &'a str,
    /// `Sec-WebSocket-Key`.
    pub key: Option<&'a str>,
    /// `Sec-WebSocket-Version`.
    pub version: Option<&'a str>,
    /// `Sec-WebSocket-Protocol`, empty where absent.
    pub protocols: &'a str,
    /// `Sec-WebSocket-Extensions`, empty where absent.
    pub extensions: &'a str,
}

/// An opening handshake that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The subprotocols that the client offers, by its preference.
    pub protocols: Vec<String>,
    /// The value of `Sec-WebSocket-Extensions` for the response.
    pub extensions: Option<String>,
    /// What was agreed on for permessage-deflate.
    pub deflate: Option<DeflateParams>,
}

/// Checks an opening handshake (RFC 6455 section 4.2.1) and negotiates the extensions.
///
/// # Errors
///
/// The first requirement that the request does not meet; see [`HandshakeError`].
pub fn accept(request: &Request<'_>, config: &ProtocolConfig) -> Result<Handshake, HandshakeError> {
    if request.method != "GET" {
        return Err(HandshakeError::Method);
    }
    if !lists(request.upgrade, "websocket") {
        return Err(HandshakeError::Upgrade);
    }
    if !lists(request.connection, "upgrade") {
        return Err(HandshakeError::Connection);
    }
    match request.version.map(ows) {
        Some("13") => {}
        Some(_) => return Err(HandshakeError::Version),
        None => return Err(HandshakeError::MissingVersion),
    }
    let key = request.key.map(ows).ok_or(HandshakeError::MissingKey)?;
    if !is_key(key.as_bytes()) {
        return Err(HandshakeError::Key);
    }
    let offers = extensions::parse(request.extensions)?;
    let (deflate, extensions) = extensions::negotiate(&offers, config.compression).unzip();
    Ok(Handshake {
        accept: derive_accept_key(key.as_bytes()),
        protocols: parse_protocols(request.protocols)?,
        extensions,
        deflate,
    })
}

impl Handshake {
    /// Writes the head of the 101 response (RFC 6455 section 4.2.2).
    ///
    /// Headers that RFC 6455 or HTTP/1.1 decide (`Connection`, `Upgrade`, `Sec-WebSocket-*`,
    /// `Content-Length`, `Content-Type`, `Transfer-Encoding`, `Keep-Alive`) are left out of
    /// `headers`. Values are written as latin-1, one byte a character, as WSGI has them.
    ///
    /// # Errors
    ///
    /// A name or value that would end the header, or a subprotocol that the client did not offer.
    pub fn response(
        &self,
        subprotocol: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Vec<u8>, ResponseError> {
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        put(&mut head, "Sec-WebSocket-Accept", &self.accept)?;
        if let Some(subprotocol) = subprotocol {
            if !self.protocols.iter().any(|offered| offered == subprotocol) {
                return Err(ResponseError::Subprotocol(subprotocol.to_owned()));
            }
            put(&mut head, "Sec-WebSocket-Protocol", subprotocol)?;
        }
        if let Some(extensions) = &self.extensions {
            put(&mut head, "Sec-WebSocket-Extensions", extensions)?;
        }
        for (name, value) in headers {
            if !is_decided_here(name) {
                put(&mut head, name, value)?;
            }
        }
        head.extend_from_slice(b"\r\n");
        Ok(head)
    }
}

/// Writes one header, or refuses it where it could be read as anything else (RFC 9110 section 5.5).
fn put(head: &mut Vec<u8>, name: &str, value: &str) -> Result<(), ResponseError> {
    if !is_token(name) {
        return Err(ResponseError::HeaderName(name.to_owned()));
    }
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    for character in value.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte == b'\t' || !(byte < b' ' || byte == 0x7f) => head.push(byte),
            Ok(_) | Err(_) => return Err(ResponseError::HeaderValue(name.to_owned())),
        }
    }
    head.extend_from_slice(b"\r\n");
    Ok(())
}

/// Whether a header of the response is not the site's to set.
fn is_decided_here(name: &str) -> bool {
    const DECIDED: [&str; 6] = [
        "connection",
        "upgrade",
        "content-length",
        "content-type",
        "transfer-encoding",
        "keep-alive",
    ];
    const PREFIX: &str = "sec-websocket-";
    DECIDED
        .iter()
        .any(|decided| name.eq_ignore_ascii_case(decided))
        || name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether a comma-separated header has an element, in any case.
fn lists(header: &str, element: &str) -> bool {
    header
        .split(',')
        .any(|item| ows(item).eq_ignore_ascii_case(element))
}

/// Whether a key is what 16 bytes look like in base64 (RFC 6455 section 4.1).
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22]
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Reads a list of tokens; one that is named twice counts once.
fn parse_protocols(header: &str) -> Result<Vec<String>, HandshakeError> {
    let mut protocols = Vec::new();
    let mut known = HashSet::new();
    for item in header.split(',').map(ows).filter(|item| !item.is_empty()) {
        if !is_token(item) {
            return Err(HandshakeError::Protocols);
        }
        if known.insert(item) {
            protocols.push(item.to_owned());
        }
    }
    Ok(protocols)
}

#[cfg(test)]
mod tests;
