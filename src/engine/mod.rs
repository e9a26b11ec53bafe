//! The connections of one process.
//!
//! Each part of this list uses only the parts below it:
//!
//! * `Connection::start` (`start`): makes a running connection from a socket or a queue, and an event loop.
//! * `connection/actor`: the task of a connection, which writes and keeps the time limits.
//! * `Engine` (`table`): the table of open connections; closes all of them within a time limit.
//! * `goodbye`: closes the connections one after the other when the process is told to stop; `leaving` knows
//!   how far that is.
//! * `Inbox` (`inbox`): the messages that wait for a view.
//! * [`connection`]: a connection as an application sees it, and how it ends.
//! * `shared`: the parts of a process that all connections use: the turnstile and the couriers.
//! * `consumer`: how a view takes messages out of an inbox: in threads, or in an event loop, or in the handlers
//!   that a crew of threads runs.
//! * `poller`: reads the sockets of views, in the thread or the event loop that waits.
//! * `wire`: the socket of a connection.
//! * `outbox`, `courier`, `permit`, [`habit`], [`adopt`]: parts that do not depend on connections.

pub mod adopt;
pub mod connection;
mod consumer;
mod courier;
mod goodbye;
pub mod habit;
mod inbox;
mod leaving;
mod outbox;
mod permit;
mod poller;
mod queues;
mod shared;
mod start;
mod table;
mod wire;

pub(crate) use self::courier::Mailbag;
pub use self::{
    connection::{About, Connection, End, Handler, Overflow, Owner, Stats},
    consumer::{Call, Consumer, Crew, Duty, EventLoop, Next, Turnstile},
    inbox::{Inbox, Received},
    outbox::{Capacity, FarEnd, Pushed, Sent, Wakeup},
    permit::Permit,
    queues::Queues,
    start::{Parts, QueueParts},
    table::{Engine, engine, renew, running},
};
