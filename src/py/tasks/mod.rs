//! An event loop of asyncio, and the connections whose views are tasks in it.
//!
//! A wake-up of a task carries no message (docs/adr/0020). A task that waits is *parked*: it waits for a
//! [`parking::PyParking`], which has the parts of a future that a task needs and never a result. When something
//! has arrived, the loop runs the next step of the task, and the step looks into the inbox.

mod line;
mod parking;
mod port;
mod receiving;
mod sending;
mod task_loop;

pub(super) use self::{
    port::PyTaskPort, receiving::PyReceiving, sending::PySending, task_loop::PyTaskLoop,
};
