//! A question about a process.

use serde_json::Value;

/// The most rows of one answer.
const ROWS: u64 = 500;

/// The most connections that one question may close.
const CLOSED: usize = 1_000;

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
}

/// Which connections are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A text in the path, the address, a user or a group; upper and lower case are the same.
    pub(super) search: String,
    /// A user; empty: all.
    pub(super) user: String,
    /// Only this connection; 0: all.
    pub(super) id: u64,
}

impl Question {
    /// Reads a question; `None`: it is none of these.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let number = |name: &str| value[name].as_u64();
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let most = number("limit").unwrap_or(100).clamp(1, ROWS) as usize;
        Some(match value["kind"].as_str()? {
            "figures" => Self::Figures {
                machine: value["machine"].as_bool().unwrap_or(false),
            },
            "rows" => Self::Rows {
                after: (text("process"), number("after").unwrap_or(0)),
                most,
                wanted: Wanted {
                    search: text("search").to_lowercase(),
                    user: text("user"),
                    id: number("id").unwrap_or(0),
                },
            },
            "groups" => Self::Groups {
                after: text("after"),
                most,
                search: text("search"),
            },
            "close" => Self::Close {
                process: text("process"),
                ids: value["ids"]
                    .as_array()?
                    .iter()
                    .filter_map(Value::as_u64)
                    .take(CLOSED)
                    .collect(),
                code: u16::try_from(number("code")?).ok()?,
                reason: text("reason"),
            },
            _ => return None,
        })
    }
}
