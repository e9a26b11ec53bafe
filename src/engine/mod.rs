//! The connections of one process.
//!
//! Each file stands on those below it:
//!
//! * `Connection::start` (`start`): from a socket to a running connection.
//! * `connection/actor`: the task that reads a connection.
//! * `Engine` (`table`): the table of open connections; stops them within a bound.
//! * `Inbox` (`inbox`): messages that wait for a view; `consumer`: how the view takes them out.
//! * [`connection`]: what an application sees of a connection, and how it ends.
//! * `shared`: the parts of a process that all connections use: the turnstile and the couriers.
//! * `outbox`, `courier`, `permit`, [`habit`], [`adopt`]: parts that know no connection.

pub mod adopt;
pub mod connection;
mod consumer;
mod courier;
pub mod habit;
mod inbox;
mod outbox;
mod permit;
mod shared;
mod start;
mod table;

pub(crate) use self::courier::Mailbag;
pub use self::{
    connection::{Connection, End, Handler, Overflow, Owner, Stats},
    consumer::{Consumer, Turnstile},
    inbox::{Inbox, Received},
    outbox::{Capacity, FarEnd, Pushed, Sent, Wakeup},
    permit::Permit,
    start::{Parts, QueueParts},
    table::{Engine, engine, running},
};
