//! Channels as NATS subjects.
//!
//! A subject is a row of tokens with dots between them, and a subscription may leave its end open.
//! So dots stay dots, and what may not stand in a token is escaped: whoever watches the server can
//! read the names, and `chat.*` is asked of the server rather than sorted out here.

/// Stands alone for an empty token, and before two hexadecimal digits for a byte.
const ESCAPE: char = '=';

/// Appends the tokens of a name.
pub(super) fn encode(name: &str, subject: &mut String) {
    for (number, token) in name.split('.').enumerate() {
        if number > 0 {
            subject.push('.');
        }
        if token.is_empty() {
            subject.push(ESCAPE);
        }
        for byte in token.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'/') {
                subject.push(char::from(byte));
            } else {
                subject.push(ESCAPE);
                subject.extend([byte >> 4, byte & 15].map(digit));
            }
        }
    }
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0')
}

/// The name that was encoded; `None` where nothing could have been encoded so.
pub(super) fn decode(subject: &str) -> Option<String> {
    let mut name = Vec::with_capacity(subject.len());
    for (number, token) in subject.split('.').enumerate() {
        if number > 0 {
            name.push(b'.');
        }
        let mut bytes = token.bytes();
        while let Some(byte) = bytes.next() {
            if byte != ESCAPE as u8 {
                name.push(byte);
            } else if token.len() > 1 {
                let (high, low) = (bytes.next()?, bytes.next()?);
                let value = |digit| char::from(digit).to_digit(16);
                name.push(u8::try_from(value(high)? * 16 + value(low)?).ok()?);
            }
        }
    }
    String::from_utf8(name).ok()
}

/// What is listened to for a channel, or for all that begin with what is before a final `*`: all
/// that the server can tell apart.
pub(super) fn filter(channel: &str, subject: &mut String) {
    match channel.strip_suffix('*') {
        None => encode(channel, subject),
        Some(prefix) => {
            if let Some((whole, _)) = prefix.rsplit_once('.') {
                encode(whole, subject);
                subject.push('.');
            }
            subject.push('>');
        }
    }
}

/// Whether a channel is meant by what [`filter`] was asked for.
pub(super) fn matches(wanted: &str, channel: &str) -> bool {
    match wanted.strip_suffix('*') {
        None => wanted == channel,
        Some(prefix) => channel.starts_with(prefix),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(name: &str) -> String {
        let mut subject = String::new();
        encode(name, &mut subject);
        subject
    }

    fn filtered(channel: &str) -> String {
        let mut subject = String::new();
        filter(channel, &mut subject);
        subject
    }

    #[test]
    fn names_stay_readable() {
        assert_eq!(encoded("g:chat.room-1"), "g:chat.room-1");
        assert_eq!(encoded("a b.*.>"), "a=20b.=2a.=3e");
        assert_eq!(encoded(".."), "=.=.=");
        assert_eq!(encoded("é"), "=c3=a9");
    }

    #[test]
    fn patterns_ask_the_server_for_as_little_as_they_can() {
        assert_eq!(filtered("g:chat.*"), "g:chat.>");
        assert_eq!(filtered("g:chat*"), ">");
        assert_eq!(filtered("g:a.b.c*"), "g:a.b.>");
        assert_eq!(filtered("g:chat"), "g:chat");
    }

    #[test]
    fn what_was_never_encoded_is_not_decoded() {
        for subject in ["=4", "a=", "=zz", "=ff"] {
            assert_eq!(decode(subject), None, "{subject}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in ".{0,60}") {
            let subject = encoded(&name);
            prop_assert_eq!(decode(&subject).unwrap(), name);
            for token in subject.split('.') {
                prop_assert!(!token.is_empty());
                prop_assert!(token.bytes().all(|byte| byte.is_ascii_graphic() && !b"*>".contains(&byte)));
            }
        }
    }
}
