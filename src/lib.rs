//! The engine behind `dwebsocket`: WebSockets for Django sites that run on WSGI.
//!
//! # Layout
//!
//! A message flows through the modules from the bottom up, and imports go the same one way:
//! `py` -> `hub` -> `engine` -> `protocol`, `runtime` -> `config`, `error`.
//!
//! * [`protocol`]: RFC 6455 and RFC 7692 without I/O. Bytes in, events out; time is an argument.
//! * [`engine`]: the connections of one process: actors on tokio, inboxes, outboxes, keepalive.
//! * [`hub`]: groups of connections: fan-out, history, presence, and brokers between processes.
//! * [`runtime`]: the ground: the threads of one process, fork, log, the gate to the interpreter.
//! * [`config`] and [`error`]: what the layers above agree on.
//! * `py`: the Python classes, and the only place that names pyo3.

pub mod config;
pub mod engine;
pub mod error;
pub mod hub;
pub mod protocol;
#[cfg(feature = "python")]
mod py;
pub mod runtime;
