//! The opening handshake (RFC 6455 section 4.2).
//!
//! tungstenite derives the `Sec-WebSocket-Accept`. Its `create_response` is not used, because it accepts
//! only an `Upgrade` header of one element, and has the same error for a missing version (400) and for a
//! wrong version (426).

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

/// The method and the headers that a handshake needs. Repeated headers are joined with commas.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// `Connection`, empty if absent.
    pub connection: &'a str,
    /// `Upgrade`, empty if absent.
    pub upgrade: &'a str,
    /// `Sec-WebSocket-Key`.
    pub key: Option<&'a str>,
    /// `Sec-WebSocket-Version`.
    pub version: Option<&'a str>,
    /// `Sec-WebSocket-Protocol`, empty if absent.
    pub protocols: &'a str,
    /// `Sec-WebSocket-Extensions`, empty if absent.
    pub extensions: &'a str,
}

/// An opening handshake that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The subprotocols that the client offers, in its order of preference.
    pub protocols: Vec<String>,
    /// The value of `Sec-WebSocket-Extensions` for the response.
    pub extensions: Option<String>,
    /// The agreed parameters of permessage-deflate; `None`: messages are not compressed.
    pub deflate: Option<DeflateParams>,
}

/// Checks an opening handshake (RFC 6455 section 4.2.1) and negotiates the extensions.
///
/// # Errors
///
/// The request does not meet a requirement; the error is the first. See [`HandshakeError`].
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
    /// Headers in `headers` that RFC 6455 or HTTP/1.1 decides (`Connection`, `Upgrade`,
    /// `Sec-WebSocket-*`, `Content-Length`, `Content-Type`, `Transfer-Encoding`, `Keep-Alive`) are
    /// ignored. Values are written as latin-1, one byte per character, as in WSGI.
    ///
    /// # Errors
    ///
    /// A header has a name or value that HTTP does not allow, or the client did not offer the subprotocol.
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

/// Writes one header. Refuses a name or value that HTTP does not allow (RFC 9110 section 5.5).
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

/// Whether the site must not set a header of the response.
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

/// Whether a comma-separated header has an element; upper and lower case are the same.
fn lists(header: &str, element: &str) -> bool {
    header
        .split(',')
        .any(|item| ows(item).eq_ignore_ascii_case(element))
}

/// Whether a key has the form of 16 bytes in base64 (RFC 6455 section 4.1).
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22]
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Reads a list of tokens, and drops duplicates.
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
