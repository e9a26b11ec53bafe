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
    fmt,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::Notify};

use crate::runtime::WORKER_THREADS;

/// Tasks that write what is left in outboxes: one for each thread.
const COURIERS: usize = WORKER_THREADS;

/// Connections of a message to many that are posted at once: the couriers start after so many.
const LOT: usize = 256;

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

/// A connection, as its courier sees it.
pub(super) trait Flush: Send + Sync {
    /// Writes what was posted; returns how many messages there were.
    fn write_posted(&self) -> usize;

    /// The latest round in which the courier wrote it.
    fn round(&self) -> &Round;
}

/// The couriers of a process. Each connection has its own among them.
#[derive(Debug)]
pub(super) struct Couriers([Arc<Courier>; COURIERS]);

impl Couriers {
    /// Starts the tasks, which run as long as the runtime does.
    pub(super) fn start(handle: &Handle) -> Self {
        Self(std::array::from_fn(|_| {
            let courier = Arc::new(Courier::default());
            let called = Arc::clone(&courier);
            handle.spawn(async move { called.run().await });
            courier
        }))
    }

    /// Has the outbox of connection `id` written soon.
    pub(super) fn post(&self, id: u64, connection: Arc<dyn Flush>) {
        self.0[number(id)].post(connection);
    }
}

/// The number of the courier that writes the outbox of a connection.
fn number(id: u64) -> usize {
    (id % COURIERS as u64) as usize
}

/// Connections that have got a message to many and are to be written, sorted by courier. Posts them when
/// there are [`LOT`] for one courier, and the rest when it is dropped.
#[derive(Default)]
pub(crate) struct Mailbag {
    lots: [Vec<Arc<dyn Flush>>; COURIERS],
    couriers: Option<&'static Couriers>,
}

impl fmt::Debug for Mailbag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbag").finish_non_exhaustive()
    }
}

impl Mailbag {
    pub(super) fn add(&mut self, couriers: &'static Couriers, id: u64, connection: Arc<dyn Flush>) {
        self.couriers = Some(couriers);
        let number = number(id);
        let lot = &mut self.lots[number];
        lot.push(connection);
        if lot.len() >= LOT {
            couriers.0[number].post_all(lot);
        }
    }
}

impl Drop for Mailbag {
    fn drop(&mut self) {
        if let Some(Couriers(couriers)) = self.couriers {
            for (courier, lot) in couriers.iter().zip(&mut self.lots) {
                courier.post_all(lot);
            }
        }
    }
}

/// The connections whose outboxes a task is to write.
#[derive(Default)]
struct Courier {
    /// A std mutex: held for a push or a swap. Bounded by the number of connections: each is posted
    /// once until its outbox is written.
    posted: Mutex<Vec<Arc<dyn Flush>>>,
    /// Wakes the task.
    called: Notify,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

impl Courier {
    fn post(&self, connection: Arc<dyn Flush>) {
        let mut posted = self.posted();
        posted.push(connection);
        let first = posted.len() == 1;
        drop(posted);
        if first {
            self.called.notify_one();
        }
    }

    /// Posts all of a list, and empties it.
    fn post_all(&self, connections: &mut Vec<Arc<dyn Flush>>) {
        let mut posted = self.posted();
        let first = posted.is_empty() && !connections.is_empty();
        posted.append(connections);
        drop(posted);
        if first {
            self.called.notify_one();
        }
    }

    /// Writes what is posted; runs as long as the engine does.
    async fn run(&self) {
        let mut round = Vec::new();
        let mut number = 0_u32;
        loop {
            self.called.notified().await;
            number = number.wrapping_add(1);
            let began = Instant::now();
            std::mem::swap(&mut round, &mut *self.posted());
            let (connections, mut messages) = (round.len(), 0);
            for (written, connection) in round.drain(..).enumerate() {
                connection.round().0.store(number, Relaxed);
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
            .is_some_and(|connection| connection.round().0.load(Relaxed) == number)
    }

    fn posted(&self) -> MutexGuard<'_, Vec<Arc<dyn Flush>>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
