//! The messages between nodes, as bytes.
//!
//! ```text
//! message = format 1, kind, node, body               kind  body
//! string  = length (16 bits), UTF-8                  1     beat: version
//! member  = group, id, info (length: 32 bits)        2     hello: version
//! version, index: 64 and 32 bits, big-endian         3     ask: the node that is asked
//!                                                    4     join: version, member
//! In a part, an empty group stands for               5     leave: version, group, id
//! that of the member before.                         6     part of a roster: last?, version, index, members
//! ```

use std::sync::Arc;

use super::member::Member;
use crate::hub::wire::json::is_plain;

/// The format of these messages. A message of another format is ignored, so that different versions of
/// the package can share a broker.
const FORMAT: u8 = 1;

/// The most bytes of a part. Brokers leave room for that, with the envelope around it.
const MAX_PART: usize = 250 * 1024;

/// The most bytes of a name. A longer name is refused.
const MAX_STRING: usize = 1024;

/// The most bytes of a member's info. `Presence::join` replaces a longer one by `{}`.
pub const MAX_INFO: usize = 64 * 1024;

/// The most levels of nesting in a member's info. Python's JSON reader accepts more, but has a limit,
/// too.
pub const MAX_DEPTH: usize = 64;

const BEAT: u8 = 1;
const HELLO: u8 = 2;
const ASK: u8 = 3;
const JOIN: u8 = 4;
const LEAVE: u8 = 5;
const PART: u8 = 6;

/// A member and its group.
pub(super) type Entry = (Arc<str>, Member);

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gossip<'a> {
    /// The node that sends the message.
    pub(super) node: &'a str,
    pub(super) body: News<'a>,
}

/// Versions count the changes of a node's roster.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News<'a> {
    /// The node is alive, and its roster has this version.
    Beat(u64),
    /// The same; the other nodes are to answer with their versions.
    Hello(u64),
    /// This node is asked for its roster.
    Ask(&'a str),
    /// The change that made this version.
    Change(u64, Change),
    Part(Part<'a>),
}

/// One step from a version of a roster to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Join(Entry),
    /// The group and the member's id.
    Leave(Arc<str>, Arc<str>),
}

/// A piece of a whole roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) version: u64,
    pub(super) index: u32,
    pub(super) last: bool,
    /// The encoded members, which are decoded only if the part is needed.
    members: &'a [u8],
}

impl Part<'_> {
    /// Decodes the members; also returns how many were left out because their info is invalid. `None`:
    /// the bytes are no members.
    pub(super) fn members(&self) -> Option<(Vec<Entry>, usize)> {
        let mut reader = Reader(self.members);
        let mut entries: Vec<Entry> = Vec::new();
        let mut left_out = 0;
        let mut group: Option<Arc<str>> = None;
        while !reader.0.is_empty() {
            let (name, member) = reader.member()?;
            if !name.is_empty() {
                group = Some(name.into());
            }
            let group = group.as_ref()?;
            match member {
                Some(member) => entries.push((Arc::clone(group), member)),
                None => left_out += 1,
            }
        }
        Some((entries, left_out))
    }
}

pub(super) fn beat(node: &str, version: u64) -> Vec<u8> {
    versioned(BEAT, node, version)
}

pub(super) fn hello(node: &str, version: u64) -> Vec<u8> {
    versioned(HELLO, node, version)
}

pub(super) fn ask(node: &str, whom: &str) -> Vec<u8> {
    let mut message = start(ASK, node);
    put(&mut message, whom);
    message
}

pub(super) fn join(node: &str, version: u64, group: &str, member: &Member) -> Vec<u8> {
    let mut message = versioned(JOIN, node, version);
    put_member(&mut message, group, member);
    message
}

pub(super) fn leave(node: &str, version: u64, group: &str, id: &str) -> Vec<u8> {
    let mut message = versioned(LEAVE, node, version);
    put(&mut message, group);
    put(&mut message, id);
    message
}

/// A whole roster, in as many parts as needed. Members of a group should follow each other: their group
/// is written once.
pub(super) fn parts<'a>(
    node: &str,
    version: u64,
    entries: impl Iterator<Item = (&'a str, &'a Member)>,
) -> Vec<Vec<u8>> {
    let mut head = start(PART, node);
    let last = head.len();
    head.push(0);
    head.extend_from_slice(&version.to_be_bytes());
    let begin = |index: usize| {
        let mut part = head.clone();
        part.extend_from_slice(&u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes());
        part
    };
    let mut done = Vec::new();
    let mut part = begin(0);
    let mut before = "";
    for (group, member) in entries {
        let size = 8 + group.len() + member.id.len() + member.info.len();
        if part.len() + size > MAX_PART {
            done.push(part);
            part = begin(done.len());
            before = "";
        }
        let same = group == before;
        put_member(&mut part, if same { "" } else { group }, member);
        before = group;
    }
    part[last] = 1;
    done.push(part);
    done
}

/// Whether a message has another format, which other versions of the package may use.
pub(super) fn is_foreign(message: &[u8]) -> bool {
    message.first().is_some_and(|first| *first != FORMAT)
}

/// Whether every reader accepts a member's info.
pub(super) fn is_info(info: &str) -> bool {
    info.len() <= MAX_INFO && is_plain(info, MAX_DEPTH)
}

/// Decodes a message. `None`: the bytes are no message, or have another format.
pub(super) fn decode(message: &[u8]) -> Option<Gossip<'_>> {
    let mut reader = Reader(message);
    if reader.byte()? != FORMAT {
        return None;
    }
    let kind = reader.byte()?;
    let node = reader.name()?;
    let body = match kind {
        BEAT => News::Beat(reader.u64()?),
        HELLO => News::Hello(reader.u64()?),
        ASK => News::Ask(reader.name()?),
        JOIN => {
            let version = reader.u64()?;
            let (group, member) = reader.member()?;
            if group.is_empty() {
                return None;
            }
            let member = member?;
            News::Change(version, Change::Join((group.into(), member)))
        }
        LEAVE => {
            let version = reader.u64()?;
            let (group, id) = (reader.name()?, reader.name()?);
            News::Change(version, Change::Leave(group.into(), id.into()))
        }
        PART => News::Part(Part {
            last: reader.byte()? == 1,
            version: reader.u64()?,
            index: reader.u32()?,
            members: std::mem::take(&mut reader.0),
        }),
        _ => return None,
    };
    reader.0.is_empty().then_some(Gossip { node, body })
}

fn start(kind: u8, node: &str) -> Vec<u8> {
    let mut message = vec![FORMAT, kind];
    put(&mut message, node);
    message
}

fn versioned(kind: u8, node: &str, version: u64) -> Vec<u8> {
    let mut message = start(kind, node);
    message.extend_from_slice(&version.to_be_bytes());
    message
}

/// Whether other nodes accept a name.
pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_STRING).contains(&text.len())
}

/// Appends a string. A string that is too long breaks the message: receivers ignore it.
fn put(message: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(text.as_bytes());
}

fn put_member(message: &mut Vec<u8>, group: &str, member: &Member) {
    put(message, group);
    put(message, &member.id);
    let length = u32::try_from(member.info.len()).unwrap_or(u32::MAX);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(member.info.as_bytes());
}

/// The bytes of a message that are not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        if length > MAX_STRING {
            return None;
        }
        std::str::from_utf8(self.take(length)?).ok()
    }

    /// A string that is not empty.
    fn name(&mut self) -> Option<&'a str> {
        self.string().filter(|name| is_name(name))
    }

    /// Reads a group and a member; the member is `None` if its info is invalid.
    fn member(&mut self) -> Option<(&'a str, Option<Member>)> {
        let (group, id) = (self.string()?, self.name()?);
        let length = usize::try_from(self.u32()?).ok()?;
        let info = self.take(length)?;
        let info = std::str::from_utf8(info).ok().filter(|info| is_info(info));
        let member = info.map(|info| Member {
            id: id.into(),
            info: info.into(),
        });
        Some((group, member))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn member(id: &str, info: &str) -> Member {
        Member {
            id: id.into(),
            info: info.into(),
        }
    }

    fn members_of(messages: &[Vec<u8>]) -> Vec<Entry> {
        let parts = messages.iter().map(|message| match decode(message) {
            Some(Gossip {
                body: News::Part(part),
                ..
            }) => part,
            other => panic!("not a part: {other:?}"),
        });
        let mut entries = Vec::new();
        for (index, part) in parts.enumerate() {
            assert_eq!(part.index as usize, index);
            assert_eq!(part.last, index == messages.len() - 1);
            assert_eq!(part.version, 9);
            entries.extend(part.members().expect("members").0);
        }
        entries
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let ann = member("n-1", r#"{"name":"Ann"}"#);
        let change = Change::Join(("chat.ä".into(), ann.clone()));
        let left = Change::Leave("chat.ä".into(), "n-1".into());
        for (bytes, body) in [
            (beat("n", 7), News::Beat(7)),
            (hello("n", u64::MAX), News::Hello(u64::MAX)),
            (ask("n", "m"), News::Ask("m")),
            (join("n", 8, "chat.ä", &ann), News::Change(8, change)),
            (leave("n", 9, "chat.ä", "n-1"), News::Change(9, left)),
        ] {
            assert_eq!(decode(&bytes), Some(Gossip { node: "n", body }));
        }
    }

    #[test]
    fn an_empty_roster_is_one_part() {
        let parts = parts("n", 9, std::iter::empty());
        assert_eq!(parts.len(), 1);
        assert_eq!(members_of(&parts), []);
    }

    #[test]
    fn a_large_roster_comes_in_parts_of_limited_size() {
        let info = format!(r#"{{"about":"{}"}}"#, "x".repeat(MAX_INFO - 12));
        let entries: Vec<Entry> = (0..12)
            .map(|index| {
                (
                    format!("group {}", index / 5).into(),
                    member(&format!("n-{index}"), &info),
                )
            })
            .collect();
        let borrowed = entries.iter().map(|(group, member)| (&**group, member));
        let parts = parts("n", 9, borrowed);
        assert!(parts.len() > 3, "{}", parts.len());
        assert!(parts.iter().all(|part| part.len() <= MAX_PART));
        assert_eq!(members_of(&parts), entries);
    }

    #[test]
    fn a_member_whose_info_is_none_is_left_out_alone() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(65), "}".repeat(65));
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_INFO));
        let digits = format!(r#"{{"a":{}}}"#, "7".repeat(5_000));
        let infos = [
            "",
            "nope",
            "{",
            "{}{}",
            r#"{"a":NaN}"#,
            r#"{"a":"\ud83d"}"#,
            &deep,
            &large,
            &digits,
        ];
        for info in infos {
            let bad = member("n-1", info);
            assert_eq!(decode(&join("n", 8, "g", &bad)), None, "{info:.80}");
            let (ann, bob) = (member("n-0", "{}"), member("n-2", r#"{"name":"Bob"}"#));
            // The member that is left out may be the one that names the group.
            for first in [&ann, &bad] {
                let entries = [("g", first), ("h", &bad), ("h", &bob)];
                let parts = parts("n", 9, entries.into_iter());
                let members = members_of(&parts);
                let expected =
                    [("g", &ann), ("h", &bob)].map(|(group, one)| (group.into(), one.clone()));
                let skipped = usize::from(first == &bad);
                assert_eq!(members, expected[skipped..], "{info:.80}");
            }
        }
    }

    #[test]
    fn another_format_is_ignored() {
        let mut message = beat("n", 1);
        message[0] = FORMAT + 1;
        assert_eq!(decode(&message), None);
    }

    #[test]
    fn a_name_that_is_too_long_breaks_its_message_only() {
        assert_eq!(decode(&ask("n", &"x".repeat(70_000))), None);
        assert_eq!(decode(&ask("n", &"x".repeat(MAX_STRING + 1))), None);
    }

    #[test]
    fn a_message_that_is_cut_short_or_goes_on_is_none() {
        let whole = join("node", 3, "group", &member("node-1", "{}"));
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None);
        }
        let longer = [&whole[..], b"x"].concat();
        assert_eq!(decode(&longer), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(head in 0u8..3, kind in 0u8..9, rest in vec(any::<u8>(), 0..80)) {
            let bytes = [&[head, kind][..], &rest].concat();
            if let Some(Gossip { body: News::Part(part), .. }) = decode(&bytes) {
                let _ = part.members();
            }
        }
    }
}
