//! Close codes and the body of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

use tungstenite::protocol::frame::coding::CloseCode;

use crate::{error::ProtocolError, protocol::header::SHORT};

/// The most bytes of a Close frame's reason: the 125 of a control frame, less two for the code.
pub const MAX_REASON: usize = SHORT as usize - 2;

/// "No status received": the code of a Close frame without a body. It is never on the wire.
pub const NO_STATUS: u16 = 1005;

/// The body of a Close frame.
///
/// tungstenite's type is not used, because its code is an enum and not a plain number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// The status code.
    pub code: u16,
    /// The reason, a text for people; often empty.
    pub reason: String,
}

/// Whether a Close frame that arrives may have a code (RFC 6455 section 7.4).
///
/// The rule is tungstenite's, and allows 1014 (bad gateway) in addition, which IANA registered later.
#[must_use]
pub fn is_receivable(code: u16) -> bool {
    code == 1014 || CloseCode::from(code).is_allowed()
}

/// Whether a Close frame that is sent may have a code.
///
/// The same codes as [`is_receivable`]. They include 1010, which a server only echoes.
#[must_use]
pub fn is_sendable(code: u16) -> bool {
    is_receivable(code)
}

/// Whether a reason fits a Close frame.
#[must_use]
pub fn reason_fits(reason: &str) -> bool {
    reason.len() <= MAX_REASON
}

/// The longest beginning of `reason` that fits a Close frame and ends with a whole character.
#[must_use]
pub fn fitting_reason(reason: &str) -> &str {
    let end = (0..=MAX_REASON.min(reason.len()))
        .rev()
        .find(|&end| reason.is_char_boundary(end));
    &reason[..end.unwrap_or(0)]
}

/// Reads the body of a Close frame; `None` if the frame has no body.
///
/// The reason must be UTF-8 even if `validate_utf8` is off, because it is passed on as a string.
pub(crate) fn parse(body: &[u8]) -> Result<Option<CloseFrame>, ProtocolError> {
    let Some((&code, reason)) = body.split_first_chunk::<2>() else {
        return if body.is_empty() {
            Ok(None)
        } else {
            Err(ProtocolError::CloseBody)
        };
    };
    let code = u16::from_be_bytes(code);
    if !is_receivable(code) {
        return Err(ProtocolError::CloseCode(code));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::CloseReason)?;
    Ok(Some(CloseFrame {
        code,
        reason: reason.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_judged_as_section_7_4_and_the_registry_have_them() {
        let allowed = [1000..=1003, 1007..=1014, 3000..=4999];
        for code in 0..=u16::MAX {
            let expected = allowed.iter().any(|range| range.contains(&code));
            assert_eq!(is_receivable(code), expected, "{code}");
            assert_eq!(is_sendable(code), expected, "{code}");
        }
    }

    #[test]
    fn a_body_is_read_as_section_5_5_1_has_it() {
        let frame = |code, reason: &str| {
            Ok(Some(CloseFrame {
                code,
                reason: reason.to_owned(),
            }))
        };
        let longest = "x".repeat(MAX_REASON);
        let table = [
            (vec![], Ok(None)),
            (vec![3], Err(ProtocolError::CloseBody)),
            (vec![3, 0xe8], frame(1000, "")),
            (
                [&[3, 0xe9], "going \u{e4}way".as_bytes()].concat(),
                frame(1001, "going \u{e4}way"),
            ),
            (
                [&[0x0f, 0xa0], longest.as_bytes()].concat(),
                frame(4000, &longest),
            ),
            (vec![3, 0xed], Err(ProtocolError::CloseCode(1005))),
            (vec![0, 0, b'x'], Err(ProtocolError::CloseCode(0))),
            (vec![3, 0xe8, 0xff], Err(ProtocolError::CloseReason)),
            (vec![3, 0xe8, 0xe2, 0x82], Err(ProtocolError::CloseReason)),
        ];
        for (body, expected) in table {
            assert_eq!(parse(&body), expected, "{body:x?}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(fitting_reason("short"), "short");
        assert!(reason_fits(&"x".repeat(123)) && !reason_fits(&"x".repeat(124)));
        assert_eq!(fitting_reason(&"x".repeat(200)).len(), 123);
        // The reason has 62 characters of two bytes: the 123rd byte is the first of a character.
        assert_eq!(fitting_reason(&"\u{e4}".repeat(62)), "\u{e4}".repeat(61));
    }
}
