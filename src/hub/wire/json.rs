//! Checks whether a text is JSON, without building values: other programs may write to the broker.
//!
//! The reader does not recurse, so deep nesting cannot overflow the stack.

/// The most characters of a number that [`is_plain`] accepts. Python refuses integers of more than 4,300
/// digits.
pub(in crate::hub) const MAX_NUMBER: usize = 300;

/// Whether a text is JSON (RFC 8259).
pub(in crate::hub) fn is_json(text: &str) -> bool {
    Reader::new(text, usize::MAX).reads_all()
}

/// Whether a text is JSON that every reader accepts: at most `depth` levels deep, without lone
/// surrogates (`\ud83d`), and without numbers of more than [`MAX_NUMBER`] characters.
pub(in crate::hub) fn is_plain(text: &str, depth: usize) -> bool {
    let mut reader = Reader::new(text, depth);
    reader.is_strict = true;
    reader.reads_all()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

struct Reader<'a> {
    left: &'a [u8],
    /// The brackets that are open.
    open: Vec<u8>,
    depth: usize,
    is_strict: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, depth: usize) -> Self {
        Self {
            left: text.as_bytes(),
            open: Vec::new(),
            depth,
            is_strict: false,
        }
    }

    fn reads_all(mut self) -> bool {
        self.values().is_some() && self.open.is_empty() && self.left.is_empty()
    }

    /// Reads one value, with all nested values.
    fn values(&mut self) -> Option<()> {
        loop {
            // A value begins here.
            match self.next()? {
                b'{' => {
                    self.enter(b'{')?;
                    if self.peek() == Some(b'}') {
                        self.leave(b'{')?;
                    } else {
                        self.name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.enter(b'[')?;
                    if self.peek() == Some(b']') {
                        self.leave(b'[')?;
                    } else {
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                first => self.number(first)?,
            }
            // A value has ended: a comma, a closing bracket or the end of the text follows.
            loop {
                let Some(&bracket) = self.open.last() else {
                    self.spaces();
                    return Some(());
                };
                match (self.peek()?, bracket) {
                    (b',', b'[') => {
                        self.left = &self.left[1..];
                        break;
                    }
                    (b',', _) => {
                        self.left = &self.left[1..];
                        self.name()?;
                        break;
                    }
                    (b'}', b'{') | (b']', b'[') => self.leave(bracket)?,
                    _ => return None,
                }
            }
        }
    }

    fn enter(&mut self, bracket: u8) -> Option<()> {
        self.open.push(bracket);
        (self.open.len() <= self.depth).then_some(())
    }

    fn leave(&mut self, bracket: u8) -> Option<()> {
        self.left = self.left.get(1..)?;
        (self.open.pop() == Some(bracket)).then_some(())
    }

    fn name(&mut self) -> Option<()> {
        (self.next()? == b'"').then_some(())?;
        self.string()?;
        (self.next()? == b':').then_some(())
    }

    fn spaces(&mut self) {
        let spaces = self.left.iter().take_while(|byte| is_space(**byte as char));
        let count = spaces.count();
        self.left = &self.left[count..];
    }

    fn peek(&mut self) -> Option<u8> {
        self.spaces();
        self.left.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let next = self.peek()?;
        self.left = &self.left[1..];
        Some(next)
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.left = self.left.strip_prefix(rest)?;
        Some(())
    }

    /// Reads a string after its opening quotation mark.
    fn string(&mut self) -> Option<()> {
        loop {
            let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
            let end = self.left.iter().position(|byte| !plain(byte))?;
            let stop = self.left[end];
            self.left = &self.left[end + 1..];
            match stop {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let (kind, rest) = self.left.split_first()?;
        self.left = rest;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.unit()? {
                0xd800..=0xdbff if self.is_strict => {
                    self.left = self.left.strip_prefix(b"\\u")?;
                    (0xdc00..=0xdfff).contains(&self.unit()?).then_some(())
                }
                0xdc00..=0xdfff if self.is_strict => None,
                _ => Some(()),
            },
            _ => None,
        }
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.left.split_at_checked(4)?;
        self.left = rest;
        digits.iter().try_fold(0, |unit, digit| {
            Some(unit * 16 + (*digit as char).to_digit(16)?)
        })
    }

    fn number(&mut self, first: u8) -> Option<()> {
        let whole = self.left.len();
        let first = if first == b'-' {
            let (first, rest) = self.left.split_first()?;
            self.left = rest;
            *first
        } else {
            first
        };
        match first {
            b'0' => {}
            b'1'..=b'9' => {
                self.digits();
            }
            _ => return None,
        }
        if let Some(rest) = self.left.strip_prefix(b".") {
            self.left = rest;
            (self.digits() > 0).then_some(())?;
        }
        if let [b'e' | b'E', rest @ ..] = self.left {
            self.left = match rest {
                [b'+' | b'-', rest @ ..] => rest,
                rest => rest,
            };
            (self.digits() > 0).then_some(())?;
        }
        (!self.is_strict || whole - self.left.len() < MAX_NUMBER).then_some(())
    }

    fn digits(&mut self) -> usize {
        let digits = self.left.iter().take_while(|byte| byte.is_ascii_digit());
        let count = digits.count();
        self.left = &self.left[count..];
        count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_json() {
        for text in [
            "null",
            " true ",
            "false",
            "0",
            "-0",
            "-1.5e+10",
            "1E5",
            r#""""#,
            r#""\u12aB\n\/""#,
            "[]",
            "[ ]",
            "{ }",
            "[1,[],{}]",
            r#"{"a":{"b":[1 , 2]} , "":null}"#,
            "\t[\r\n]",
            r#""\ud83d""#,
            "\"\u{e9}\u{1F600}\"",
        ] {
            assert!(is_json(text), "{text}");
            assert!(
                text.contains("ud83d") || serde_json::from_str::<serde_json::Value>(text).is_ok()
            );
        }
        assert!(is_json(&("[".repeat(1 << 20) + &"]".repeat(1 << 20))));
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            " ",
            "nul",
            "NaN",
            "Infinity",
            "-",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "'a'",
            "\"",
            "\"a",
            "\"\n\"",
            r#""\x""#,
            r#""\u12g4""#,
            "[",
            "]",
            "[1",
            "[1,]",
            "[,]",
            "[}",
            "{",
            "{]",
            "{1:2}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            "1 2",
            "[] []",
            "{}}",
            "1,\"type\":\"joined\"",
            "\u{feff}1",
            "\u{a0}1",
            "//",
            "nullx",
            "[1 2]",
        ] {
            assert!(!is_json(text), "{text}");
            assert!(
                serde_json::from_str::<serde_json::Value>(text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn json_is_plain_where_every_reader_takes_it() {
        let deep = |depth| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let long = |digits| format!(r#"{{"a":{}}}"#, "1".repeat(digits));
        for (text, expected) in [
            (" {} ", true),
            (r#"{"a":"\ud83d\ude00"}"#, true),
            (r#"{"a":"\ud83d"}"#, false),
            (r#"{"a":"\ude00"}"#, false),
            (r#"{"a":"\ud83d\n"}"#, false),
            (r#"{"\ud83d\u0041":1}"#, false),
            ("[]", true),
            ("1", true),
            ("nope", false),
            ("", false),
            ("{}{}", false),
            (&deep(64), true),
            (&deep(65), false),
            (&long(300), true),
            (&long(301), false),
        ] {
            assert_eq!(is_plain(text, 64), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn serde_agrees(text in r#"[\[\]{}",:0-9.eE+\-a\\u ntrfls]{0,12}"#) {
            let parsed = serde_json::from_str::<serde_json::Value>(&text);
            // serde_json also converts numbers and characters, and refuses some that are valid JSON.
            let strange = text.contains('e') || text.contains('E') || text.contains("\\u");
            if !strange || parsed.is_ok() {
                prop_assert_eq!(is_json(&text), parsed.is_ok());
            }
        }
    }
}
