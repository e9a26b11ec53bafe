//! The base layer: the threads of one process, and the objects that they share.
//!
//! # The story of a fork
//!
//! WSGI servers import the application and then fork their workers (`gunicorn --preload`, uWSGI).
//! A tokio runtime does not survive that: its threads exist in the parent only, and the child shares
//! its epoll descriptor with the parent. So nothing starts at import, and each object that exists once
//! per process is a [`PerProcess`] value: the runtime here, the engine and the hub in the layers above.
//! A fork increments the generation of the child (see [`fork`]), which voids all these values at once.

mod chores;
pub mod figures;
pub mod fork;
#[cfg(any(test, feature = "python"))]
mod futexes;
mod gate;
mod id_hash;
mod log;
mod on_the_way;
mod per_process;
mod prefetch;
mod process;
mod random;
mod schedule;
mod signals;
#[cfg(any(test, feature = "python"))]
mod stack;
mod start;
mod thread_clock;
mod trim;
mod wake;
mod weight;

pub(crate) use self::{
    chores::{Chore, Chores},
    id_hash::IdHash,
    on_the_way::on_the_way,
    prefetch::prefetch,
    random::random,
    signals::told_to_end,
    start::WORKER_THREADS,
    wake::Flag,
    weight::Weight,
};
#[cfg(feature = "python")]
pub(crate) use self::{futexes::make_room, stack::settle};
pub use self::{
    gate::{Gate, Pass},
    log::{Level, Log, Record},
    per_process::PerProcess,
    process::{Runtime, running, runtime},
    thread_clock::ThreadClock,
    wake::WakeQueue,
};
