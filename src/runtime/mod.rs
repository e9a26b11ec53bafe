//! The ground that everything stands on: the threads of one process, and what they share.
//!
//! # The story of a fork
//!
//! WSGI servers import the application and then fork their workers (`gunicorn --preload`, uWSGI).
//! A tokio runtime does not survive that: its threads exist in the parent only, and its epoll
//! descriptor is shared with the parent's. So nothing starts at import, the engine of a process
//! hangs on one atomic pointer, and a child of a fork forgets that pointer (see [`fork`]). What
//! it pointed to is leaked on purpose: dropping it would join threads that do not exist here and
//! take the parent's sockets out of the epoll instance that both processes share.

pub mod fork;
mod gate;
mod log;
mod schedule;
#[cfg(any(test, feature = "python"))]
mod stack;
pub(crate) mod start;
pub(crate) mod trim;
mod wake;

#[cfg(feature = "python")]
pub(crate) use self::stack::settle;
pub(crate) use self::trim::Weight;
pub(crate) use self::wake::Flag;
pub use self::{
    gate::{Gate, Pass},
    log::{Level, Log, Record},
    wake::WakeQueue,
};
