//! The JSON frames of the client protocol that the hub sends.
//!
//! The order of the fields is a part of the format: clients may compare frames as texts.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::payload::PayloadKind;
use crate::{
    hub::position::Position,
    protocol::{Broadcast, OpCode},
};

/// A message to a group, to a user or to everybody; for the last two, `group` is empty.
pub(in crate::hub) fn message(
    group: &str,
    kind: PayloadKind,
    payload: &[u8],
    position: Option<&Position>,
) -> Broadcast {
    let mut frame = Frame::new("message", payload.len() + group.len() + 96);
    if !group.is_empty() {
        frame.text("group", group);
    }
    match kind {
        PayloadKind::Json => frame.json("data", &String::from_utf8_lossy(payload)),
        PayloadKind::Text => frame.text("data", &String::from_utf8_lossy(payload)),
        PayloadKind::Binary => {
            frame.text("data", &STANDARD.encode(payload));
            frame.text("encoding", "base64");
        }
    }
    if let Some(position) = position {
        frame.position(position);
    }
    frame.finish()
}

/// The answer to a request to join. `request` is the client's id of the request, a JSON value. If the
/// group keeps a history, `history` has the position and the number of missed messages that follow.
pub(in crate::hub) fn joined(
    group: &str,
    request: &str,
    recovered: bool,
    history: Option<(&Position, usize)>,
) -> Broadcast {
    let mut frame = Frame::of_group("joined", group);
    frame.json("id", request);
    frame.json("recovered", if recovered { "true" } else { "false" });
    if let Some((position, missed)) = history {
        frame.position(position);
        frame.json("missed", &missed.to_string());
    }
    frame.finish()
}

/// The answer to a request to leave.
pub(in crate::hub) fn left(group: &str, request: &str) -> Broadcast {
    let mut frame = Frame::of_group("left", group);
    frame.json("id", request);
    frame.finish()
}

/// A present member has joined a group. `info` is a JSON object.
pub(in crate::hub) fn member_joined(group: &str, id: &str, info: &str) -> Broadcast {
    member("join", group, id, info)
}

/// A present member has left a group.
pub(in crate::hub) fn member_left(group: &str, id: &str, info: &str) -> Broadcast {
    member("leave", group, id, info)
}

fn member(event: &str, group: &str, id: &str, info: &str) -> Broadcast {
    let mut frame = Frame::of_group(event, group);
    let member = format!(r#"{{"id":{},"info":{info}}}"#, quoted(id));
    frame.json("member", &member);
    frame.finish()
}

/// Tells the client that it has lost messages of a group: the next message follows this position.
pub(in crate::hub) fn reset(group: &str, position: &Position) -> Broadcast {
    let mut frame = Frame::of_group("reset", group);
    frame.position(position);
    frame.finish()
}

/// A JSON object that is being built.
struct Frame(String);

impl Frame {
    fn new(kind: &str, capacity: usize) -> Self {
        let mut json = String::with_capacity(capacity);
        json.push_str(r#"{"type":""#);
        json.push_str(kind);
        json.push('"');
        Self(json)
    }

    fn of_group(kind: &str, group: &str) -> Self {
        let mut frame = Self::new(kind, group.len() + 96);
        frame.text("group", group);
        frame
    }

    /// Appends a string.
    fn text(&mut self, name: &str, value: &str) {
        self.json(name, &quoted(value));
    }

    /// Appends a value that is JSON already.
    fn json(&mut self, name: &str, value: &str) {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
        self.0.push_str(value);
    }

    fn position(&mut self, position: &Position) {
        self.json("offset", &position.offset.to_string());
        self.text("epoch", &position.epoch);
    }

    fn finish(mut self) -> Broadcast {
        self.0.push('}');
        Broadcast::new(OpCode::Text, self.0.into())
    }
}

fn quoted(value: &str) -> String {
    // A string always serializes.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group whose name has to be quoted.
    const GROUP: &str = "a \"b\"";

    fn at() -> Position {
        Position {
            offset: 7,
            epoch: "e".into(),
        }
    }

    fn check(table: &[(Broadcast, &str)]) {
        for (frame, expected) in table {
            let bytes = frame.payload().to_vec();
            assert_eq!(String::from_utf8(bytes).unwrap(), *expected);
        }
    }

    #[test]
    fn messages_have_their_bytes() {
        let (at, group) = (at(), GROUP);
        check(&[
            (
                message(group, PayloadKind::Json, br#"{"x":[1]}"#, Some(&at)),
                r#"{"type":"message","group":"a \"b\"","data":{"x":[1]},"offset":7,"epoch":"e"}"#,
            ),
            (
                message(group, PayloadKind::Text, b"say \"hi\"\n", None),
                r#"{"type":"message","group":"a \"b\"","data":"say \"hi\"\n"}"#,
            ),
            (
                message(group, PayloadKind::Binary, b"\x00\xff", None),
                r#"{"type":"message","group":"a \"b\"","data":"AP8=","encoding":"base64"}"#,
            ),
            (
                message("", PayloadKind::Json, b"1", None),
                r#"{"type":"message","data":1}"#,
            ),
            (
                message("", PayloadKind::Binary, b"", Some(&at)),
                r#"{"type":"message","data":"","encoding":"base64","offset":7,"epoch":"e"}"#,
            ),
        ]);
    }

    #[test]
    fn answers_and_events_have_their_bytes() {
        let (at, group) = (at(), GROUP);
        check(&[
            (
                joined(group, "1", false, None),
                r#"{"type":"joined","group":"a \"b\"","id":1,"recovered":false}"#,
            ),
            (
                joined("g", "\"x\"", true, Some((&at, 3))),
                r#"{"type":"joined","group":"g","id":"x","recovered":true,"offset":7,"epoch":"e","missed":3}"#,
            ),
            (
                joined("g", "null", true, Some((&Position::nowhere(), 0))),
                r#"{"type":"joined","group":"g","id":null,"recovered":true,"offset":0,"epoch":"","missed":0}"#,
            ),
            (
                left(group, "2"),
                r#"{"type":"left","group":"a \"b\"","id":2}"#,
            ),
            (
                left("g.*", "null"),
                r#"{"type":"left","group":"g.*","id":null}"#,
            ),
            (
                member_joined(group, "3f-1", r#"{"n":1}"#),
                r#"{"type":"join","group":"a \"b\"","member":{"id":"3f-1","info":{"n":1}}}"#,
            ),
            (
                member_left("g", "3f-1\n", "{}"),
                r#"{"type":"leave","group":"g","member":{"id":"3f-1\n","info":{}}}"#,
            ),
            (
                reset(group, &at),
                r#"{"type":"reset","group":"a \"b\"","offset":7,"epoch":"e"}"#,
            ),
            (
                reset("\u{e9}", &Position::nowhere()),
                "{\"type\":\"reset\",\"group\":\"\u{e9}\",\"offset\":0,\"epoch\":\"\"}",
            ),
        ]);
    }
}
