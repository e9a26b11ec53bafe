//! The channels on which messages travel, and the rules of their names.
//!
//! A channel is a text: a prefix for its kind, then the name. The broker gets it in this form.
//! `g:chat.1` is a group, `u:7` a user, `a:` stands for all connections, and `p:` carries the presence
//! messages between processes. `m:` carries questions to all processes, and `m:0123456789abcdef` the answers to
//! one of them. A group whose name ends in `*` is a wildcard: it stands for all groups
//! whose names begin with the text before the `*`.

use std::{borrow::Borrow, fmt, sync::Arc};

use thiserror::Error;

/// The most bytes that a group's name may have.
pub const MAX_NAME: usize = 255;

/// The most groups or users that one call may name.
pub(super) const MAX_TARGETS: usize = 1_000;

/// The most connections that one call may exclude.
pub(super) const MAX_EXCLUDED: usize = 1_000;

/// Why a text is not a valid group name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// The name is empty or too long; its length in bytes.
    #[error("a group's name has 1 to {MAX_NAME} bytes of UTF-8, not {0}")]
    Length(usize),
    /// The name has a control character.
    #[error("a group's name has no control characters; this one has {0:?}")]
    Control(char),
    /// The name is a wildcard, but the call needs one group.
    #[error("\"{0}\" ends in *, which stands for many groups: it can be joined, not sent to")]
    Wildcard(String),
}

/// Checks the name of a group. A wildcard is allowed for joining, not for sending.
pub fn check_name(name: &str, may_be_wildcard: bool) -> Result<(), NameError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(NameError::Length(name.len()));
    }
    if let Some(bad) = name.chars().find(|c| c.is_control()) {
        return Err(NameError::Control(bad));
    }
    if !may_be_wildcard && name.ends_with('*') {
        return Err(NameError::Wildcard(name.to_owned()));
    }
    Ok(())
}

const GROUP: &str = "g:";
const USER: &str = "u:";
const EVERYBODY: &str = "a:";
const PRESENCE: &str = "p:";
const INQUIRIES: &str = "m:";

/// The kind of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The members of a group, or of many groups by a wildcard.
    Group,
    /// The connections of a user.
    User,
    /// All connections.
    Everybody,
    /// The other processes.
    Presence,
    /// Questions to the other processes, or the answers to one of them.
    Inquiries,
}

impl Scope {
    const ALL: [Self; 5] = [
        Self::Group,
        Self::User,
        Self::Everybody,
        Self::Presence,
        Self::Inquiries,
    ];

    fn prefix(self) -> &'static str {
        match self {
            Self::Group => GROUP,
            Self::User => USER,
            Self::Everybody => EVERYBODY,
            Self::Presence => PRESENCE,
            Self::Inquiries => INQUIRIES,
        }
    }
}

/// A channel. Copies share one text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Channel(Arc<str>);

impl Channel {
    /// The channel of a group, or of a wildcard. The caller has checked the name.
    pub(super) fn group(name: &str) -> Self {
        Self([GROUP, name].concat().into())
    }

    pub(super) fn user(name: &str) -> Self {
        Self([USER, name].concat().into())
    }

    pub(super) fn everybody() -> Self {
        Self(EVERYBODY.into())
    }

    pub(super) fn presence() -> Self {
        Self(PRESENCE.into())
    }

    /// The channel of questions to all processes.
    pub(super) fn questions() -> Self {
        Self(INQUIRIES.into())
    }

    /// The channel of answers to a process.
    pub(super) fn answers(node: u64) -> Self {
        Self(format!("{INQUIRIES}{node:016x}").into())
    }

    /// Returns `None` for a text that is no channel of this package: other programs may write to the
    /// broker, too.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scope, name) = split(text)?;
        let fits = match scope {
            Scope::Group => (1..=MAX_NAME).contains(&name.len()),
            Scope::User => true,
            Scope::Everybody | Scope::Presence => name.is_empty(),
            Scope::Inquiries => name.is_empty() || is_node(name),
        };
        fits.then(|| Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn scope(&self) -> Scope {
        // Every constructor writes one of the prefixes.
        split(&self.0).map_or(Scope::Group, |(scope, _)| scope)
    }

    /// The name of the group or the user; empty for the other kinds.
    pub(super) fn name(&self) -> &str {
        split(&self.0).map_or("", |(_, name)| name)
    }

    /// The channel in words, for a line of the log.
    pub(super) fn in_words(&self) -> String {
        match self.scope() {
            Scope::Group => format!("{:?}", self.name()),
            Scope::User => format!("the user {:?}", self.name()),
            Scope::Everybody => "everybody".to_owned(),
            Scope::Presence => "the other processes".to_owned(),
            Scope::Inquiries => "the monitoring of the other processes".to_owned(),
        }
    }

    /// The name, if the channel is a group.
    pub(super) fn group_name(&self) -> Option<&str> {
        self.0.strip_prefix(GROUP)
    }

    /// True for the channels that each process listens to, whether it has members or not.
    pub(super) fn is_for_all(&self) -> bool {
        matches!(
            self.scope(),
            Scope::Everybody | Scope::Presence | Scope::Inquiries
        )
    }

    /// Whether the channel is that of a user. A name that begins with `~` and a digit is a user of a tenant:
    /// the number is the length of the tenant's name (`logins/rights.py`). Other names that begin with `~`
    /// are logins.
    pub(super) fn is_user(&self) -> bool {
        let special = self.name().strip_prefix('~');
        self.scope() == Scope::User
            && special.is_none_or(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard().is_some()
    }

    /// Whether a message to `other` reaches this wildcard.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.wildcard()
            .is_some_and(|start| other.0.starts_with(start))
    }

    /// The prefix of the channels that this wildcard covers; `None`: the channel is no wildcard.
    fn wildcard(&self) -> Option<&str> {
        let is_wildcard = self.0.starts_with(GROUP) && self.0.ends_with('*');
        is_wildcard.then(|| self.0.trim_end_matches('*'))
    }

    /// A channel that [`Self::parse`] may refuse.
    #[cfg(test)]
    pub(super) fn unchecked(text: &str) -> Self {
        Self(text.into())
    }
}

/// The kind and the name of a channel.
fn split(text: &str) -> Option<(Scope, &str)> {
    let found = |scope: Scope| Some((scope, text.strip_prefix(scope.prefix())?));
    Scope::ALL.into_iter().find_map(found)
}

/// Whether a text is the name of a process.
fn is_node(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Lets a map whose keys are channels be searched by text.
impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn logins_are_no_users_and_those_of_tenants_are() {
        for (channel, expected) in [
            (Channel::user("7"), true),
            (Channel::user("~6:chengd:7"), true),
            (Channel::user("~active:7:"), false),
            (Channel::user("~session:0123"), false),
            (Channel::group("7"), false),
            (Channel::everybody(), false),
        ] {
            assert_eq!(channel.is_user(), expected, "{channel}");
        }
    }

    #[test]
    fn a_channel_has_words_for_the_log() {
        for (channel, words) in [
            (Channel::group("news"), "\"news\""),
            (Channel::user("7"), "the user \"7\""),
            (Channel::everybody(), "everybody"),
            (Channel::presence(), "the other processes"),
        ] {
            assert_eq!(channel.in_words(), words);
        }
    }

    #[test]
    fn a_channel_is_parsed_and_written_back() {
        let longest = format!("g:{}", "x".repeat(MAX_NAME));
        let table: [(&str, Option<(Scope, &str)>); 21] = [
            ("g:chat.1", Some((Scope::Group, "chat.1"))),
            ("g:chat.*", Some((Scope::Group, "chat.*"))),
            ("g:g:", Some((Scope::Group, "g:"))),
            ("g:\u{e9}", Some((Scope::Group, "\u{e9}"))),
            (&longest, Some((Scope::Group, &longest[2..]))),
            ("u:7", Some((Scope::User, "7"))),
            ("u:", Some((Scope::User, ""))),
            ("u:~session:x", Some((Scope::User, "~session:x"))),
            ("a:", Some((Scope::Everybody, ""))),
            ("p:", Some((Scope::Presence, ""))),
            ("g:", None),
            (&format!("{longest}x"), None),
            ("a:b", None),
            ("p:b", None),
            ("m:", Some((Scope::Inquiries, ""))),
            (
                "m:0123456789abcdef",
                Some((Scope::Inquiries, "0123456789abcdef")),
            ),
            ("m:b", None),
            ("x:y", None),
            ("g", None),
            ("", None),
            ("\u{e9}", None),
        ];
        for (text, expected) in table {
            let channel = Channel::parse(text);
            let found = channel.as_ref().map(|one| (one.scope(), one.name()));
            assert_eq!(found, expected, "{text}");
            if let Some(channel) = channel {
                assert_eq!(channel.to_string(), text);
                assert_eq!(format!("{channel:?}"), format!("{text:?}"));
            }
        }
    }

    #[test]
    fn what_is_made_is_what_is_parsed() {
        for made in [
            Channel::group("chat.1"),
            Channel::group("*"),
            Channel::user("7"),
            Channel::user("a:"),
            Channel::everybody(),
            Channel::presence(),
            Channel::questions(),
            Channel::answers(7),
        ] {
            assert_eq!(Channel::parse(made.as_str()), Some(made));
        }
        assert_eq!(Channel::group("x").group_name(), Some("x"));
        assert_eq!(Channel::user("x").group_name(), None);
        assert!(Channel::everybody().is_for_all() && Channel::presence().is_for_all());
        assert!(!Channel::group("a:").is_for_all() && !Channel::user("").is_for_all());
    }

    #[test]
    fn a_wildcard_covers_the_groups_that_begin_like_it() {
        let chats = Channel::group("chat.*");
        let all = Channel::group("*");
        for (wildcard, other, expected) in [
            (&chats, Channel::group("chat.1"), true),
            (&chats, Channel::group("chat."), true),
            (&chats, Channel::group("chat"), false),
            (&chats, Channel::group("news.chat.1"), false),
            (&chats, Channel::user("chat.1"), false),
            (&all, Channel::group("x"), true),
            (&all, Channel::user("x"), false),
            (&all, Channel::everybody(), false),
            (&Channel::group("chat.1"), Channel::group("chat.1"), false),
            (&Channel::user("x*"), Channel::user("xy"), false),
        ] {
            assert_eq!(wildcard.covers(&other), expected, "{wildcard} {other}");
        }
        assert!(chats.is_wildcard() && all.is_wildcard());
        assert!(!Channel::group("a*b").is_wildcard() && !Channel::user("*").is_wildcard());
    }

    #[test]
    fn names_have_rules() {
        let longest = "x".repeat(MAX_NAME);
        let long = "\u{e9}".repeat(MAX_NAME);
        for (name, joined, sent_to) in [
            ("chat.1", Ok(()), Ok(())),
            (&longest, Ok(()), Ok(())),
            ("a*b", Ok(()), Ok(())),
            ("", Err(NameError::Length(0)), Err(NameError::Length(0))),
            (
                &long,
                Err(NameError::Length(510)),
                Err(NameError::Length(510)),
            ),
            (
                "a\0",
                Err(NameError::Control('\0')),
                Err(NameError::Control('\0')),
            ),
            ("a.*", Ok(()), Err(NameError::Wildcard("a.*".into()))),
        ] {
            assert_eq!(check_name(name, true), joined, "{name:?}");
            assert_eq!(check_name(name, false), sent_to, "{name:?}");
        }
    }

    #[test]
    fn a_map_by_channel_is_asked_by_text() {
        let map = HashMap::from([(Channel::group("x"), 1)]);
        assert_eq!(map.get("g:x"), Some(&1));
        assert_eq!(map.get("u:x"), None);
    }
}
