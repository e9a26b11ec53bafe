//! The ways in which a view takes messages out of its inbox: in threads, or in an event loop.

mod event_loop;
mod thread;
mod turnstile;

use std::sync::Arc;

pub use self::turnstile::Turnstile;
pub(super) use self::{
    event_loop::Armed,
    thread::{Seated, Seats, Waiting},
    turnstile::{Turn, Wake},
};
use crate::runtime::WakeQueue;

/// Who takes the messages out.
#[derive(Debug)]
pub enum Consumer {
    /// Threads, which wait for them; the turnstile decides when one is woken.
    Threads(Arc<Turnstile>),
    /// An event loop, which hears of the inbox through the queue.
    EventLoop(Arc<WakeQueue>),
}
