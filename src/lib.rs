//! The engine behind `dwebsocket`: WebSockets for Django sites that run on WSGI.
//!
//! # Layout
//!
//! A message flows through the modules from the bottom up, and imports go the same one way:
//! `py` -> `hub`, `connection`, `runtime` -> `protocol` -> `config`, `error`.
//!
//! * [`protocol`]: RFC 6455 and RFC 7692 without I/O. Bytes in, events out; time is an argument.
//! * [`connection`]: one adopted socket: its actor on tokio, inbox, outbox and keepalive.
//! * [`hub`]: groups of connections: fan-out, history, presence, and brokers between processes.
//! * [`runtime`]: one tokio runtime per process: lazy start, fork, bounded stop.
//! * [`config`] and [`error`]: what the layers above agree on.
//! * `py`: the Python classes, and the only place that names pyo3.

pub mod config;
pub mod connection;
pub mod error;
pub mod hub;
pub mod protocol;
#[cfg(feature = "python")]
mod py;
pub mod runtime;
