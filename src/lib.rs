//! The engine behind `dwebsocket`: WebSockets for Django sites that run on WSGI.
//!
//! # Layout
//!
//! An incoming message passes the modules from the bottom up. A module imports only modules below it:
//! `py` -> `monitor` -> `hub` -> `engine` -> `protocol`, `runtime` -> `config`, `error`.
//!
//! * [`protocol`]: RFC 6455 and RFC 7692 without I/O. Bytes in, events out; time is an argument.
//! * [`engine`]: the connections of one process: actors on tokio, inboxes, outboxes, keepalive.
//! * [`hub`]: groups of connections: fan-out, history, presence, and brokers between processes.
//! * [`monitor`]: the figures and the connections of all processes of a site, for those who watch it.
//! * [`runtime`]: the base layer: the threads of one process, fork, log, the gate to the interpreter.
//! * [`config`] and [`error`]: the limits and the errors that the layers above share.
//! * `py`: the Python classes, and the only module that names pyo3.

pub mod config;
pub mod engine;
pub mod error;
pub mod hub;
pub mod monitor;
pub mod protocol;
#[cfg(feature = "python")]
mod py;
pub mod runtime;
