//! Answers a question for this process.
//!
//! An answer may look at ten thousand connections. It takes the locks of one connection at a time, and
//! pauses now and then, so that nobody waits for it.

use std::{cmp::Ordering, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    name,
    question::{Question, Wanted},
    shown,
};
use crate::{
    engine::{self, Connection, Engine, Queues},
    hub::{self, BrokerState, Hub},
    protocol::close::{is_sendable, reason_fits},
    runtime::figures::{self, figures, hostname},
};

/// The connections that an answer looks at between two pauses.
const STINT: usize = 256;

/// Answers a question. What is no question gets an answer without content.
pub(super) async fn answer(question: &[u8]) -> Value {
    let own = figures().map(|own| name(own.number()));
    let process = own.as_deref().unwrap_or_default();
    let content = match Question::parse(question) {
        Some(Question::Several(questions)) => {
            let mut answers = Vec::with_capacity(questions.len());
            for question in questions {
                answers.push(content(process, question).await);
            }
            json!({ "answers": answers })
        }
        Some(question) => content(process, question).await,
        None => json!({}),
    };
    let mut answer = json!({
        "process": own,
        "pid": std::process::id(),
        "host": hostname(),
    });
    if let (Value::Object(answer), Value::Object(content)) = (&mut answer, content) {
        answer.extend(content);
    }
    answer
}

/// The content of the answer of this process, which has the name `own`, to a question.
async fn content(own: &str, question: Question) -> Value {
    match question {
        Question::Figures { machine } => figures_of(machine).await,
        Question::Rows {
            after: (process, id),
            most,
            wanted,
        } => match own.cmp(&process) {
            Ordering::Less => json!({ "rows": [], "more": false }),
            Ordering::Equal => rows(id, most, &wanted).await,
            Ordering::Greater => rows(0, most, &wanted).await,
        },
        Question::Groups {
            after,
            most,
            search,
        } => groups(&after, most, &search),
        Question::Close {
            process,
            ids,
            code,
            reason,
        } => {
            let own = own == process;
            json!({ "closed": if own { close(&ids, code, &reason) } else { 0 } })
        }
        Question::CloseAll {
            wanted,
            code,
            reason,
        } => json!({ "closed": close_all(&wanted, code, &reason).await }),
        // Not inside of one another.
        Question::Several(_) => json!({}),
    }
}

/// The ids of the open connections, in order.
fn ids() -> Vec<u64> {
    let mut ids = engine::running().map_or_else(Vec::new, Engine::ids);
    ids.sort_unstable();
    ids
}

/// Those of these connections that are open.
fn some(ids: &[u64]) -> Vec<Arc<Connection>> {
    engine::running().map_or_else(Vec::new, |engine| engine.some(ids))
}

async fn figures_of(machine: bool) -> Value {
    let ids = engine::running().map_or_else(Vec::new, Engine::ids);
    let mut queues = Queues::default();
    for part in ids.chunks(STINT) {
        if let Some(engine) = engine::running() {
            queues.add(engine, part);
        }
        tokio::task::yield_now().await;
    }
    let mut answer = json!({
        "connections": ids.len(),
        "outbox_messages": queues.outbox_messages,
        "outbox_bytes": queues.outbox_bytes,
        "inbox_messages": queues.inbox_messages,
        "inbox_bytes": queues.inbox_bytes,
        "watchers": queues.watchers,
        "views": by_view(&queues),
        "started": figures().map(figures::Figures::started),
        "stopping": engine::running().is_some_and(Engine::is_stopping),
        "broker": "none",
        "counters": figures().map(|own| own.totals().shown()),
    });
    if let (Some(hub), Some(engine)) = (hub::running(), engine::running()) {
        let stats = hub.stats(engine);
        answer["groups"] = json!(stats.groups);
        answer["memberships"] = json!(stats.memberships);
        answer["users"] = json!(stats.users);
        answer["broker_waiting"] = json!(stats.waiting);
        answer["broker"] = json!(word(stats.broker));
        answer["broker_address"] = json!(hub.broker_address());
    }
    if machine && let Some(directory) = figures().and_then(figures::Figures::directory) {
        answer["machine"] = figures::read(&directory).map_or(Value::Null, |all| shown(&all));
    }
    answer
}

/// How many connections there are, by what their views run in, and by their transport. Connections that
/// nobody has described, such as one whose view has not begun, are left out.
fn by_view(queues: &Queues) -> Value {
    let mut views = Map::new();
    for ((view, transport), count) in &queues.views {
        if !view.is_empty() {
            views.entry(*view).or_insert_with(|| json!({}))[*transport] = json!(count);
        }
    }
    views.into()
}

fn word(state: BrokerState) -> &'static str {
    match state {
        BrokerState::None => "none",
        BrokerState::Connected => "connected",
        BrokerState::Away => "away",
    }
}

async fn rows(after: u64, most: usize, wanted: &Wanted) -> Value {
    let (mut rows, mut more) = (Vec::new(), false);
    let ids = ids();
    let begin = ids.partition_point(|id| *id <= after);
    'all: for part in ids[begin..].chunks(STINT) {
        for connection in some(part) {
            if let Some(row) = row(&connection, wanted) {
                if rows.len() == most {
                    more = true;
                    break 'all;
                }
                rows.push(row);
            }
        }
        tokio::task::yield_now().await;
    }
    json!({ "rows": rows, "more": more })
}

/// What the search looks at.
struct Found<'a> {
    users: Vec<String>,
    groups: Vec<String>,
    path: &'a str,
    address: &'a str,
}

/// Looks at a connection; `None` if it is not wanted.
fn find<'a>(connection: &'a Connection, wanted: &Wanted) -> Option<Found<'a>> {
    if wanted.id > 0 && wanted.id != connection.id()
        || wanted.without_watchers && connection.watches_site()
    {
        return None;
    }
    let users = Hub::users_of(connection);
    if !wanted.user.is_empty() && !users.contains(&wanted.user) {
        return None;
    }
    let groups = Hub::groups_of(connection);
    if !wanted.group.is_empty() && !groups.contains(&wanted.group) {
        return None;
    }
    let (path, address) = connection
        .about()
        .map_or(("", ""), |about| (&*about.path, &*about.address));
    let contains = |text: &str| text.to_lowercase().contains(&wanted.search);
    let found = wanted.search.is_empty()
        || contains(path)
        || contains(address)
        || users
            .iter()
            .any(|one| contains(one) || wanted.users.contains(one))
        || groups.iter().any(|one| contains(one));
    found.then_some(Found {
        users,
        groups,
        path,
        address,
    })
}

/// What is shown of a connection; `None` if it is not wanted.
fn row(connection: &Connection, wanted: &Wanted) -> Option<Value> {
    let Found {
        users,
        groups,
        path,
        address,
    } = find(connection, wanted)?;
    let stats = connection.stats();
    let (inbox_messages, inbox_bytes) = connection.waiting();
    let (view, transport) = connection
        .about()
        .map_or(("", ""), |about| (about.view, about.transport));
    Some(json!({
        "id": connection.id(),
        "member_id": hub::running().map(|hub| hub.member_id(connection.id()).to_string()),
        "user": users.first(),
        "path": path,
        "address": address,
        "view": view,
        "transport": transport,
        "since": connection.opened() as f64 / 1e3,
        "received_messages": stats.received_messages,
        "received_bytes": stats.received_bytes,
        "sent_messages": stats.sent_messages,
        "sent_bytes": stats.sent_bytes,
        "dropped": stats.dropped_messages,
        "round_trip": connection.latency().map(|time| time.as_secs_f64()),
        "outbox_messages": stats.outbox_messages,
        "outbox_bytes": stats.outbox_bytes,
        "inbox_messages": inbox_messages,
        "inbox_bytes": inbox_bytes,
        "closing": connection.has_ended(),
        "groups": groups.len(),
        "some_groups": groups.into_iter().take(8).collect::<Vec<_>>(),
    }))
}

fn groups(after: &str, most: usize, search: &str) -> Value {
    let mut found = hub::running().map_or_else(Vec::new, |hub| hub.groups(after, search, most + 1));
    let more = found.len() > most;
    found.truncate(most);
    let groups = found
        .into_iter()
        .map(|(name, members)| json!({"name": name, "members": members}));
    json!({ "groups": groups.collect::<Vec<_>>(), "more": more })
}

/// Closes connections; returns how many this call has begun to close.
fn close(ids: &[u64], code: u16, reason: &str) -> usize {
    if !is_sendable(code) || !reason_fits(reason) {
        return 0;
    }
    let open = some(ids).into_iter();
    open.filter(|one| one.close(code, reason)).count()
}

/// Closes all connections that are wanted; returns how many this call has begun to close.
async fn close_all(wanted: &Wanted, code: u16, reason: &str) -> usize {
    if !is_sendable(code) || !reason_fits(reason) {
        return 0;
    }
    let mut closed = 0;
    for part in ids().chunks(STINT) {
        let open = some(part).into_iter();
        closed += open
            .filter(|one| find(one, wanted).is_some() && one.close(code, reason))
            .count();
        tokio::task::yield_now().await;
    }
    closed
}
