//! Checks UTF-8 that arrives in pieces (RFC 6455 section 8.1), and refuses it at the first wrong byte.
//!
//! tungstenite's `StringCollector` is private, and copies each piece to check it.

/// The most bytes of a character (RFC 3629 section 3).
const LONGEST: usize = 4;

/// Whether a whole piece is UTF-8.
#[inline]
pub(crate) fn is_valid(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Checks a text piece by piece, and keeps the beginning of a character that the end of a piece cuts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8Validator {
    /// The beginning of a character: a valid prefix, never a whole character.
    cut: [u8; LONGEST - 1],
    length: u8,
}

impl Utf8Validator {
    /// Checks the next piece. False: no continuation can make the text valid.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> bool {
        while self.length > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return true;
            };
            piece = rest;
            let mut character = [0; LONGEST];
            let length = usize::from(self.length);
            character[..length].copy_from_slice(&self.cut[..length]);
            character[length] = byte;
            if !self.keep_tail(&character[..=length]) {
                return false;
            }
        }
        let whole = piece.len() - tail_length(piece);
        let (front, tail) = piece.split_at(whole);
        is_valid(front) && self.keep_tail(tail)
    }

    /// Whether the text may end here.
    pub(crate) fn is_complete(self) -> bool {
        self.length == 0
    }

    /// Checks the beginning of a character, and keeps it if the character is incomplete. False: the bytes
    /// are wrong.
    fn keep_tail(&mut self, tail: &[u8]) -> bool {
        self.length = 0;
        match std::str::from_utf8(tail) {
            Ok(_) => true,
            // An error without a length: the bytes are a valid prefix, of fewer than four bytes.
            Err(error) if error.error_len().is_none() => {
                self.cut[..tail.len()].copy_from_slice(tail);
                self.length = tail.len() as u8;
                true
            }
            Err(_) => false,
        }
    }
}

/// The number of bytes at the end of `piece` that begin an incomplete character.
fn tail_length(piece: &[u8]) -> usize {
    for (index, &byte) in piece.iter().rev().take(LONGEST - 1).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if length > index + 1 { index + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of the piece at which `text` is refused when it arrives in pieces of `size` bytes.
    fn refused_at(text: &[u8], size: usize) -> Option<usize> {
        let mut validator = Utf8Validator::default();
        let mut end = 0;
        for piece in text.chunks(size) {
            end += piece.len();
            if !validator.push(piece) {
                return Some(end);
            }
        }
        (!validator.is_complete()).then_some(end)
    }

    #[test]
    fn pieces_of_any_size_are_judged_as_the_whole_is() {
        let texts: [&[u8]; 14] = [
            b"",
            b"plain",
            "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes(),
            "a\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}z".as_bytes(),
            b"\xc3",             // cut
            b"\xf0\x9f\x98",     // cut
            b"\x80",             // a continuation byte alone
            b"\xc0\xaf",         // not the shortest form
            b"\xe0\x80\xaf",     // not the shortest form
            b"\xed\xa0\x80",     // a surrogate
            b"\xf4\x90\x80\x80", // past U+10FFFF
            b"\xf5\x80\x80\x80", // past U+10FFFF
            b"\xff",
            b"abc\xe2\x82abc",
        ];
        for text in texts {
            let valid = std::str::from_utf8(text).is_ok();
            for size in 1..=text.len().max(1) {
                assert_eq!(
                    refused_at(text, size).is_none(),
                    valid,
                    "{text:x?} by {size}"
                );
            }
        }
    }

    #[test]
    fn the_first_wrong_byte_is_refused_when_it_arrives() {
        // Autobahn 6.4.1 to 6.4.4: U+D800 in the middle, f4 90 past the last character.
        for (text, position) in [
            (&b"\xce\xba\xed\xa0\x80edited"[..], 4),
            (b"\xce\xba\xf4\x90\x80\x80edited", 4),
            (b"ab\xf0\x80\x80\x80", 4),
            (b"ab\xe0\x9f\x80", 4),
            (b"\xc1\xbf", 1),
        ] {
            assert_eq!(refused_at(text, 1), Some(position), "{text:x?}");
        }
    }

    #[test]
    fn a_piece_may_be_empty_in_the_middle_of_a_character() {
        let mut validator = Utf8Validator::default();
        for piece in [&b"\xe2"[..], b"", b"\x82", b"", b"\xac"] {
            assert!(validator.push(piece));
        }
        assert!(validator.is_complete());
    }
}
