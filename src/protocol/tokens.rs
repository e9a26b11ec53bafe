//! Tokens and white space in the values of HTTP headers (RFC 9110 section 5.6).

/// A list element or value without the optional white space around it (OWS, RFC 9110 section 5.6.3).
pub(crate) fn ows(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Whether a text is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether a token may contain a byte.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
