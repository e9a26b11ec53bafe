//! The ground that everything stands on: the threads of one process, and what they share.
//!
//! # The story of a fork
//!
//! WSGI servers import the application and then fork their workers (`gunicorn --preload`, uWSGI).
//! A tokio runtime does not survive that: its threads exist in the parent only, and its epoll
//! descriptor is shared with the parent's. So nothing starts at import, and whatever a process has
//! once is a [`PerProcess`] value: the runtime here, the engine and the hub above. A fork bumps the
//! generation of the child (see [`fork`]), which makes all of them void at once.

pub mod fork;
mod gate;
mod log;
mod per_process;
mod process;
mod schedule;
#[cfg(any(test, feature = "python"))]
mod stack;
mod start;
mod trim;
mod wake;
mod weight;

#[cfg(feature = "python")]
pub(crate) use self::stack::settle;
pub use self::{
    gate::{Gate, Pass},
    log::{Level, Log, Record},
    per_process::PerProcess,
    process::{Runtime, running, runtime},
    wake::WakeQueue,
};
pub(crate) use self::{start::WORKER_THREADS, wake::Flag, weight::Weight};
