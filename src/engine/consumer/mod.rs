//! The ways in which a view takes messages out of its inbox: in threads, or in an event loop, which a crew of
//! threads may attend.

mod crew;
mod event_loop;
mod thread;
mod turnstile;

use std::sync::Arc;

pub use self::{
    crew::{Call, Crew, Duty, Next},
    event_loop::EventLoop,
    turnstile::Turnstile,
};
pub(super) use self::{
    event_loop::{Armed, answers_more, note_running},
    thread::{Seated, Seats, Waiting},
    turnstile::{Turn, Wake},
};

/// The way in which messages are taken out of an inbox.
#[derive(Debug)]
pub enum Consumer {
    /// Threads wait for messages; the turnstile decides when a thread is woken.
    Threads(Arc<Turnstile>),
    /// An event loop reads the socket, and takes the messages.
    EventLoop(Arc<EventLoop>),
}
