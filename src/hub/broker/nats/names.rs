//! Names in NATS: of subjects and of streams.
//!
//! ```text
//! <prefix>.c.m.<channel>          a message for those who listen now
//! <prefix>.c.<epoch>.<channel>    one that has been stored in the history with this epoch
//! <prefix>.s.<hash>.<epoch>       what is to be stored
//! <prefix>-<hash>                 the stream of a channel's history
//! ```
//!
//! A subject consists of tokens with dots between them. A channel becomes one token for each of its
//! parts between dots, so that a wildcard that ends with `.*` is a wildcard in NATS, too. In a token,
//! bytes other than ASCII letters, digits, `-` and `_` are written `=XX`, and an empty part is written
//! `=`.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// Takes the place of the epoch in the subject of a message that is not stored. No epoch looks like
/// this.
const LIVE: &str = "m";

/// The names of one site.
#[derive(Debug)]
pub(super) struct Names(String);

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        let mut root = String::new();
        token(&mut root, prefix);
        Self(root)
    }

    /// The subject of a message for the current subscribers.
    pub(super) fn live(&self, channel: &str) -> String {
        format!("{}.c.{LIVE}.{}", self.0, tokens(channel))
    }

    /// The subject on which a stored message is published.
    pub(super) fn kept(&self, channel: &str, epoch: &str) -> String {
        format!("{}.c.{epoch}.{}", self.0, tokens(channel))
    }

    /// The subject to subscribe to for a channel. For a wildcard, the subject may match more channels
    /// than the wildcard.
    pub(super) fn heard(&self, channel: &str) -> String {
        let root = &self.0;
        let Some(prefix) = channel.strip_suffix('*') else {
            return format!("{root}.c.*.{}", tokens(channel));
        };
        match prefix.rsplit_once('.') {
            Some((whole, _)) => format!("{root}.c.*.{}.>", tokens(whole)),
            None => format!("{root}.c.*.>"),
        }
    }

    /// Splits the subject of a published message: the epoch if the message is stored, and the channel,
    /// still as tokens.
    pub(super) fn split<'a>(&self, subject: &'a str) -> Option<(Option<&'a str>, &'a str)> {
        let rest = subject.strip_prefix(&self.0)?.strip_prefix(".c.")?;
        let (kind, channel) = rest.split_once('.')?;
        Some(((kind != LIVE).then_some(kind), channel))
    }

    /// The subject for messages that are to be stored in a history.
    pub(super) fn store(&self, channel: &str, epoch: &str) -> String {
        format!("{}.s.{}.{epoch}", self.0, hash(channel))
    }

    /// The pattern for the subjects of all histories.
    pub(super) fn stores(&self) -> String {
        format!("{}.s.>", self.0)
    }

    /// The stream of a channel.
    pub(super) fn stream(&self, channel: &str) -> String {
        format!("{}-{}", self.0, hash(channel))
    }

    /// A subject without subscribers: the server itself answers that there are none.
    pub(super) fn echo(&self) -> String {
        format!("{}.echo", self.0)
    }

    /// The prefix of the subjects for answers.
    pub(super) fn inbox(&self) -> String {
        format!("{}.inbox", self.0)
    }
}

fn tokens(channel: &str) -> String {
    let mut tokens = String::with_capacity(channel.len() + 8);
    for (number, part) in channel.split('.').enumerate() {
        if number > 0 {
            tokens.push('.');
        }
        token(&mut tokens, part);
    }
    tokens
}

fn token(to: &mut String, part: &str) {
    if part.is_empty() {
        to.push('=');
    }
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            to.push(byte.into());
        } else {
            let _ = write!(to, "={byte:02X}");
        }
    }
}

/// The channel that [`tokens`] were made of.
pub(super) fn channel(tokens: &str) -> Option<String> {
    let mut channel = Vec::with_capacity(tokens.len());
    for (number, part) in tokens.split('.').enumerate() {
        if number > 0 {
            channel.push(b'.');
        }
        if part == "=" {
            continue;
        }
        let mut pieces = part.split('=');
        channel.extend_from_slice(pieces.next()?.as_bytes());
        for piece in pieces {
            channel.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
            channel.extend_from_slice(piece.get(2..)?.as_bytes());
        }
    }
    String::from_utf8(channel).ok()
}

fn hash(channel: &str) -> String {
    let digest = digest(&SHA256, channel.as_bytes());
    let mut hash = String::with_capacity(32);
    for byte in &digest.as_ref()[..16] {
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_has_a_subject_of_its_own() {
        let names = Names::new("my site.x");
        let long = "\u{1F600}".repeat(128);
        for (name, subject) in [
            ("g:chat.7", "my=20site=2Ex.c.m.g=3Achat.7"),
            ("g:", "my=20site=2Ex.c.m.g=3A"),
            ("", "my=20site=2Ex.c.m.="),
            ("..", "my=20site=2Ex.c.m.=.=.="),
            ("a*b > c", "my=20site=2Ex.c.m.a=2Ab=20=3E=20c"),
            ("=.\u{e9}", "my=20site=2Ex.c.m.=3D.=C3=A9"),
        ] {
            assert_eq!(names.live(name), subject);
            let (epoch, rest) = names.split(subject).unwrap();
            assert_eq!((epoch, channel(rest).as_deref()), (None, Some(name)));
        }
        let kept = names.kept(&long, "0123");
        let (epoch, rest) = names.split(&kept).unwrap();
        assert_eq!((epoch, channel(rest)), (Some("0123"), Some(long)));
    }

    #[test]
    fn what_is_no_name_of_a_channel_is_none() {
        let names = Names::new("x");
        for subject in ["y.c.m.a", "x.c.m", "x.s.a.b", "x"] {
            assert_eq!(names.split(subject), None, "{subject}");
        }
        for tokens in ["=G0", "a=1", "=C3", "a=", "=\u{e9}"] {
            assert_eq!(channel(tokens), None, "{tokens}");
        }
    }

    #[test]
    fn a_wildcard_is_subscribed_to_by_its_whole_parts() {
        let names = Names::new("x");
        for (channel, subject) in [
            ("g:chat.7", "x.c.*.g=3Achat.7"),
            ("g:chat.*", "x.c.*.g=3Achat.>"),
            ("g:chat.7*", "x.c.*.g=3Achat.>"),
            ("g:ch*", "x.c.*.>"),
        ] {
            assert_eq!(names.heard(channel), subject);
        }
    }

    #[test]
    fn names_of_streams_are_short_and_differ() {
        let names = Names::new("x");
        let long = names.stream(&"g".repeat(512));
        assert_eq!(long.len(), 34);
        assert_ne!(long, names.stream("g"));
    }
}
