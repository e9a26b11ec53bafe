//! A question about a process.

use serde_json::Value;

/// The most rows of one answer.
const ROWS: u64 = 500;

/// The most connections that one question may close.
const CLOSED: usize = 1_000;

/// The most questions in one.
const SEVERAL: usize = 64;

/// The most users that one question may name.
const USERS: usize = 200;

/// A question about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Its gauges. `machine`: also the figures of all processes on its machine.
    Figures { machine: bool },
    /// A page of the connections behind this one: by process, then by id.
    Rows {
        after: (String, u64),
        most: usize,
        wanted: Wanted,
    },
    /// A page of its groups, by name.
    Groups {
        after: String,
        most: usize,
        search: String,
    },
    /// Close some of its connections.
    Close {
        process: String,
        ids: Vec<u64>,
        code: u16,
        reason: String,
    },
    /// Close all its connections of a user, or all in a group; those that watch the site stay.
    CloseAll {
        wanted: Wanted,
        code: u16,
        reason: String,
    },
    /// Several of the others.
    Several(Vec<Self>),
}

/// Which connections are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A text in the path, the address, a user or a group; upper and lower case are the same.
    pub(super) search: String,
    /// A user; empty: all.
    pub(super) user: String,
    /// Users whose connections are found like those with the text.
    pub(super) users: Vec<String>,
    /// A group; empty: all.
    pub(super) group: String,
    /// Only this connection; 0: all.
    pub(super) id: u64,
    /// Whether connections that watch the site are left out.
    pub(super) without_watchers: bool,
}

impl Question {
    /// Reads a question; `None`: it is none of these.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        if value["kind"] != "several" {
            return Self::of(&value);
        }
        let questions = value["questions"].as_array()?.iter().take(SEVERAL);
        // All have an answer at their place, so a question that is none ends the reading.
        questions
            .map(Self::of)
            .collect::<Option<_>>()
            .map(Self::Several)
    }

    /// Reads a question that is not several.
    fn of(value: &Value) -> Option<Self> {
        let number = |name: &str| value[name].as_u64();
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let code = || u16::try_from(number("code")?).ok();
        let most = number("limit").unwrap_or(100).clamp(1, ROWS) as usize;
        Some(match value["kind"].as_str()? {
            "figures" => Self::Figures {
                machine: value["machine"].as_bool().unwrap_or(false),
            },
            "rows" => Self::Rows {
                after: (text("process"), number("after").unwrap_or(0)),
                most,
                wanted: Wanted::of(value),
            },
            "groups" => Self::Groups {
                after: text("after"),
                most,
                search: text("search"),
            },
            "close" => Self::Close {
                process: text("process"),
                ids: numbers(&value["ids"])?,
                code: code()?,
                reason: text("reason"),
            },
            "close_all" => Self::CloseAll {
                wanted: Wanted::all(text("user"), text("group"))?,
                code: code()?,
                reason: text("reason"),
            },
            _ => return None,
        })
    }
}

impl Wanted {
    /// Reads which connections a question is about.
    fn of(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let users = value["users"].as_array().map_or(&[][..], Vec::as_slice);
        let users = users.iter().filter_map(Value::as_str).take(USERS);
        Self {
            search: text("search").to_lowercase(),
            user: text("user"),
            users: users.map(str::to_owned).collect(),
            group: text("group"),
            id: value["id"].as_u64().unwrap_or(0),
            without_watchers: value["without_watchers"].as_bool().unwrap_or(false),
        }
    }

    /// All connections of a user, or all in a group; `None` if neither is named.
    fn all(user: String, group: String) -> Option<Self> {
        let named = !user.is_empty() || !group.is_empty();
        named.then(|| Self {
            user,
            group,
            without_watchers: true,
            ..Self::default()
        })
    }
}

fn numbers(value: &Value) -> Option<Vec<u64>> {
    let numbers = value.as_array()?.iter().filter_map(Value::as_u64);
    Some(numbers.take(CLOSED).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Question> {
        Question::parse(text.as_bytes())
    }

    #[test]
    fn several_questions_stay_in_their_order() {
        let found =
            parse(r#"{"kind": "several", "questions": [{"kind": "groups"}, {"kind": "figures"}]}"#);
        let Some(Question::Several(questions)) = found else {
            panic!("{found:?}");
        };
        assert!(matches!(
            questions[..],
            [
                Question::Groups { .. },
                Question::Figures { machine: false }
            ]
        ));
    }

    #[test]
    fn several_questions_are_bounded_and_not_nested() {
        let figures = r#"{"kind": "figures"}"#;
        let many = vec![figures; SEVERAL + 1].join(",");
        let found = parse(&format!(r#"{{"kind": "several", "questions": [{many}]}}"#));
        assert!(matches!(found, Some(Question::Several(all)) if all.len() == SEVERAL));
        let nested = r#"{"kind": "several", "questions": []}"#;
        for wrong in [nested, "7", r#"{"kind": "?"}"#] {
            let text = format!(r#"{{"kind": "several", "questions": [{figures}, {wrong}]}}"#);
            assert_eq!(parse(&text), None, "{text}");
        }
    }

    #[test]
    fn closing_all_needs_a_name_and_a_code() {
        for wrong in [
            r#"{"kind": "close_all", "code": 4001}"#,
            r#"{"kind": "close_all", "code": 4001, "user": "", "group": ""}"#,
            r#"{"kind": "close_all", "user": "7"}"#,
            r#"{"kind": "close_all", "user": "7", "code": 70000}"#,
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        let found = parse(r#"{"kind": "close_all", "user": "7", "code": 4001}"#);
        let Some(Question::CloseAll { wanted, .. }) = found else {
            panic!("{found:?}");
        };
        assert_eq!(wanted.user, "7");
        assert!(wanted.without_watchers);
    }

    #[test]
    fn a_search_has_no_case_and_a_bounded_number_of_users() {
        let users = vec![r#""7""#; USERS + 1].join(",");
        let found = parse(&format!(
            r#"{{"kind": "rows", "search": "LI", "users": [{users}], "group": "tea"}}"#
        ));
        let Some(Question::Rows { wanted, .. }) = found else {
            panic!("{found:?}");
        };
        assert_eq!(
            (&*wanted.search, &*wanted.group, wanted.users.len()),
            ("li", "tea", USERS)
        );
        assert!(!wanted.without_watchers);
    }
}
