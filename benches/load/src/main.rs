//! A lean WebSocket client for benchmarks. It prints each result as one line of JSON.
//!
//!     load echo --address 127.0.0.1:8000 --path /echo --connections 100 --size 32 --pid PID
//!     load fanout --address 127.0.0.1:8000 --members 1000 --in-flight 16 --pid PID
//!     load handshake --address 127.0.0.1:8000 --path /echo --connections 8 --pid PID
//!     load http --address 127.0.0.1:8000 --path /hello --requests 2000
//!     load hold --address 127.0.0.1:8000 --path /echo      (commands on standard input)

mod args;
mod cpu;
mod echo;
mod fanout;
mod handshake;
mod histogram;
mod hold;
mod http;
mod open;
mod payload;
mod peer;
mod window;
mod wire;

use std::process::ExitCode;

/// The result of every part of the program; the user of the program reads the error's text.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The figures of a run, and its faults.
pub struct Outcome {
    /// The inside of a JSON object.
    pub figures: String,
    /// Messages that the server lost, sent twice or changed.
    pub faults: Faults,
}

impl Outcome {
    /// The outcome of a run in which every message was right.
    pub fn sound(figures: String) -> Self {
        Self {
            figures,
            faults: Faults::default(),
        }
    }
}

/// The numbers of messages that the server lost, sent twice or changed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Faults {
    pub lost: u64,
    pub doubled: u64,
    pub changed: u64,
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.changed += other.changed;
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(Faults {
            lost: 0,
            doubled: 0,
            changed: 0,
        }) => ExitCode::SUCCESS,
        Ok(Faults {
            lost,
            doubled,
            changed,
        }) => {
            eprintln!(
                "load: the server lost {lost}, doubled {doubled}, changed {changed} messages"
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Faults> {
    raise_descriptor_limit()?;
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let args = args::Args::parse(words)?;
    let Outcome { figures, faults } = match command.as_str() {
        "echo" => echo::run(args)?,
        "fanout" => fanout::run(args)?,
        "handshake" => handshake::run(args)?,
        "http" => http::run(args)?,
        "hold" => {
            hold::run(args)?;
            return Ok(Faults::default());
        }
        _ => {
            let usage = "usage: load echo|fanout|handshake|http|hold --address IP:PORT \
                         [--name value ...]";
            return Err(usage.into());
        }
    };
    let Faults {
        lost,
        doubled,
        changed,
    } = faults;
    println!("{{{figures},\"lost\":{lost},\"doubled\":{doubled},\"changed\":{changed}}}");
    Ok(faults)
}

/// Repeats a system call that a signal has interrupted, as when the machine was paused.
fn again<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Raises the soft limit of open files to the hard one.
fn raise_descriptor_limit() -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is initialised.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}
