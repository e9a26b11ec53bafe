//! The figures and the connections of all processes of a site, for those who watch it.
//!
//! Every process answers questions: over a socket in the directory of the site on this machine, and over
//! the broker. A question and its answer are JSON objects.
//!
//! * `question`: reads a question.
//! * `answer`: answers it for this process.
//! * `listen`: takes questions over the socket.

mod answer;
mod listen;
mod question;

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    engine,
    hub::{self, Answering},
    runtime::figures::{self, Machine, figures},
};

/// Keeps the figures of this process in a file of this directory, where other processes find them.
///
/// # Errors
///
/// The directory cannot be made or is not this user's own, or the file cannot be made.
pub fn attach(directory: &Path) -> io::Result<()> {
    let figures = figures().ok_or(io::ErrorKind::Interrupted)?;
    figures.attach(directory)
}

/// Answers the questions of other processes from now on. The engine runs already.
///
/// # Errors
///
/// The socket cannot be made.
pub fn serve() -> io::Result<()> {
    hub::hub()?.answer_by(Arc::new(Answerer));
    listen::begin()
}

/// Answers questions that come over the broker.
struct Answerer;

impl Answering for Answerer {
    fn answer(&self, question: Bytes) -> hub::Answer<'_> {
        Box::pin(async move { answer::answer(&question).await.to_string().into_bytes() })
    }
}

/// Answers a question for this process. Waits while it is answered, so it must not be called on tokio.
#[must_use]
pub fn answer(question: &[u8]) -> String {
    let made = answer::answer(question);
    let answer = match engine::running() {
        Some(engine) => engine.handle().block_on(made),
        // Without connections there is nothing to pause for.
        None => futures_util::FutureExt::now_or_never(made).unwrap_or_default(),
    };
    answer.to_string()
}

/// Asks all other processes that have the same broker. Returns the answers that come within `timeout`.
#[must_use]
pub fn ask(question: &[u8], timeout: Duration) -> Vec<Bytes> {
    hub::running().map_or_else(Vec::new, |hub| hub.ask(question, timeout))
}

/// The figures of all processes that use a directory.
///
/// # Errors
///
/// The directory is not there, or not this user's own.
pub fn read(directory: &Path) -> io::Result<String> {
    Ok(shown(&figures::read(directory)?).to_string())
}

/// The machine as an object of JSON.
fn shown(machine: &Machine) -> Value {
    let processes = machine.processes.iter().map(|one| {
        json!({
            "process": name(one.number),
            "pid": one.pid,
            "started": one.started,
            "stopping": one.stopping,
            "connections": one.connections,
            "socket": one.socket.to_string_lossy(),
        })
    });
    json!({
        "place": machine.place,
        "machine": machine.place.split(':').next(),
        "processes": processes.collect::<Vec<_>>(),
        "counters": machine.totals.shown(),
    })
}

/// The name of a process in answers.
fn name(number: u64) -> String {
    format!("{number:016x}")
}
