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
