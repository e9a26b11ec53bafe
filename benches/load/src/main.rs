//! A lean WebSocket client for benchmarks. It prints each result as one line of JSON.
//!
//!     load echo --address 127.0.0.1:8000 --path /echo --connections 100 --size 32 --pid PID
//!     load chat --address 127.0.0.1:8000 --path /chat --members 200 --senders 10
//!     load fanout --address 127.0.0.1:8000 --members 1000 --in-flight 16 --pid PID
//!     load http --address 127.0.0.1:8000 --path /hello --requests 2000
//!     load hold --address 127.0.0.1:8000 --path /echo      (commands on standard input)

mod args;
mod chat;
mod cpu;
mod echo;
mod fanout;
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

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    raise_descriptor_limit()?;
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let args = args::Args::parse(words)?;
    match command.as_str() {
        "echo" => println!("{}", echo::run(args)?),
        "chat" => println!("{}", chat::run(args)?),
        "fanout" => println!("{}", fanout::run(args)?),
        "http" => println!("{}", http::run(args)?),
        "hold" => hold::run(args)?,
        _ => {
            let usage =
                "usage: load echo|chat|fanout|http|hold --address IP:PORT [--name value ...]";
            return Err(usage.into());
        }
    }
    Ok(())
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
