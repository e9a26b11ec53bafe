//! Writes what others have left in the outboxes.
//!
//! A message for many is queued for each of them by the thread that sends it, and written from
//! here: several that come in quick succession become one system call for each connection.
//!
//! The same helps a view that sends to many in a loop, and all views when they are many: a system
//! call that a view makes is one that the whole line at the [`Turnstile`](super::Turnstile) waits
//! for, the wake-up of the peer included. So these leave small messages in the outboxes, too.

use std::{
    cell::Cell,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::Connection;

/// Writes in a row before other tasks get their turn.
const STINT: usize = 64;

/// A pause before connections are written that were written a moment ago, several messages to each.
/// Who sends so much sends more within that time, and one system call takes it all. At the least, and
/// at the most.
const PAUSE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(5);

/// The pause is so much of the time that the writing took: all that it adds to how long a message takes.
const SHARE: u32 = 4;

/// A thread that sends again so soon is likely to go on.
const IN_A_ROW: Duration = Duration::from_micros(100);

thread_local! {
    /// When this thread has sent last.
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Whether this thread is sending one message after the other, as in a loop over many connections.
/// Called once for each message.
pub(super) fn is_in_a_row() -> bool {
    let now = Instant::now();
    let last = LAST.try_with(|last| last.replace(Some(now)));
    matches!(last, Ok(Some(last)) if now.duration_since(last) < IN_A_ROW)
}

/// The latest round in which a courier wrote a connection.
#[derive(Debug, Default)]
pub(super) struct Round(AtomicU32);

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
        let mut number = 0_u32;
        loop {
            self.called.notified().await;
            number = number.wrapping_add(1);
            let began = Instant::now();
            std::mem::swap(&mut round, &mut *self.posted());
            let (connections, mut messages) = (round.len(), 0);
            for (written, connection) in round.drain(..).enumerate() {
                connection.round.0.store(number, Relaxed);
                messages += connection.write_posted();
                if written % STINT == STINT - 1 {
                    tokio::task::yield_now().await;
                }
            }
            // A crowd's memory is not kept for ever.
            round.shrink_to(1024);
            if messages >= 2 * connections && self.comes_again(number) {
                let pause = (began.elapsed() / SHARE).clamp(*PAUSE.start(), *PAUSE.end());
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Whether what was posted meanwhile begins with a connection that was written in this round.
    fn comes_again(&self, number: u32) -> bool {
        let posted = self.posted();
        posted
            .first()
            .is_some_and(|connection| connection.round.0.load(Relaxed) == number)
    }

    fn posted(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
