//! Writes what others have left in the outboxes.
//!
//! A message for many is queued for each of them by the thread that sends it, and written from
//! here: several that come in quick succession become one system call for each connection.
//!
//! The same helps views. A system call that a view makes is one that the whole line at the [`Turnstile`](super::Turnstile)
//! waits for, the wake-up of the peer included. As long as there is a line, views leave their
//! messages in the outbox, and a task of the engine's writes those of many connections in one go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Connection;

/// Writes in a row before other tasks get their turn.
const STINT: usize = 64;

/// The connections whose outboxes a task is to write.
#[derive(Debug, Default)]
pub struct Courier {
    /// A std mutex: held for a push or a swap. Bounded by the number of connections: each is posted
    /// once until its outbox is written.
    posted: Mutex<Vec<Arc<Connection>>>,
    /// Wakes the task.
    called: Notify,
}

impl Courier {
    /// Has the outbox of `connection` written soon.
    pub(super) fn post(&self, connection: &Arc<Connection>) {
        let mut posted = self.posted();
        posted.push(Arc::clone(connection));
        let first = posted.len() == 1;
        drop(posted);
        if first {
            self.called.notify_one();
        }
    }

    /// Has many written soon; empties the list.
    pub(crate) fn post_all(&self, connections: &mut Vec<Arc<Connection>>) {
        let mut posted = self.posted();
        let first = posted.is_empty() && !connections.is_empty();
        posted.append(connections);
        drop(posted);
        if first {
            self.called.notify_one();
        }
    }

    /// Writes what is posted; runs as long as the engine does.
    pub(crate) async fn run(&self) {
        let mut round = Vec::new();
        loop {
            self.called.notified().await;
            std::mem::swap(&mut round, &mut *self.posted());
            for (number, connection) in round.drain(..).enumerate() {
                connection.write_posted();
                if number % STINT == STINT - 1 {
                    tokio::task::yield_now().await;
                }
            }
            // A crowd's memory is not kept for ever.
            round.shrink_to(1024);
        }
    }

    fn posted(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
