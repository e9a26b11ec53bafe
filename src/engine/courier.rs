//! Couriers write the messages that senders have left in outboxes.
//!
//! A sending thread queues a message to many in the outbox of each receiver, and a courier writes it from
//! there. Several messages in quick succession become one system call for each connection.
//!
//! Two kinds of views leave their small messages to the couriers, too: a view that sends to many
//! connections in a loop, and any view while several threads wait at the [`Turnstile`](super::Turnstile). A
//! system call in a view delays all threads in that line, and includes the time that the kernel takes to
//! wake the peer.

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

/// The number of couriers: one task for each worker thread.
const COURIERS: usize = WORKER_THREADS;

/// A [`Mailbag`] posts the connections of a courier once it has this many of them, so that the courier
/// starts before the sender has gone through all receivers.
const LOT: usize = 256;

/// Connections that a courier writes in a row before it yields to other tasks.
const STINT: usize = 64;

/// The shortest and the longest pause of a courier before it writes the same connections again. The
/// courier pauses after a round with several messages for each connection: such a sender usually sends
/// more within that time, and one system call then writes it all.
const PAUSE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(5);

/// The pause is the duration of the round divided by this number, within the bounds of [`PAUSE`]. A
/// message is delayed by no more than that.
const SHARE: u32 = 4;

/// A thread that sends its next message within this time is likely to go on.
const IN_A_ROW: Duration = Duration::from_micros(100);

thread_local! {
    /// The time of this thread's latest send.
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Whether this thread sends one message after another, as in a loop over many connections. Call it once
/// for each message: it also records the time of the send.
pub(super) fn is_in_a_row() -> bool {
    let now = Instant::now();
    let last = LAST.try_with(|last| last.replace(Some(now)));
    matches!(last, Ok(Some(last)) if now.duration_since(last) < IN_A_ROW)
}

/// Notes that this thread waits for a message: what it sends next is the first of a row.
pub(super) fn end_row() {
    let _ = LAST.try_with(|last| last.set(None));
}

/// The latest round in which a courier wrote a connection.
#[derive(Debug, Default)]
pub(super) struct Round(AtomicU32);

/// A connection, as its courier sees it.
pub(super) trait Flush: Send + Sync {
    /// Writes the messages that were left in the outbox; returns how many there were.
    fn write_posted(&self) -> usize;

    /// The latest round in which the courier wrote this connection.
    fn round(&self) -> &Round;
}

/// The couriers of a process. Each connection always has the same courier.
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

    /// Asks the courier of connection `id` to write its outbox soon.
    pub(super) fn post(&self, id: u64, connection: Arc<dyn Flush>) {
        self.0[number(id)].post(connection);
    }
}

/// The number of the courier that writes the outbox of a connection.
fn number(id: u64) -> usize {
    (id % COURIERS as u64) as usize
}

/// Connections that have got a message to many and must be written, one list for each courier. The
/// mailbag posts a list when it has [`LOT`] connections, and the remaining ones when the mailbag is
/// dropped.
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

/// One courier: the connections whose outboxes its task must write.
#[derive(Default)]
struct Courier {
    /// A std mutex: held for a push or a swap. Each connection is in the list at most once until its
    /// outbox is written, so the number of connections limits its length.
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

    /// Posts all connections of a list, and empties the list.
    fn post_all(&self, connections: &mut Vec<Arc<dyn Flush>>) {
        let mut posted = self.posted();
        let first = posted.is_empty() && !connections.is_empty();
        posted.append(connections);
        drop(posted);
        if first {
            self.called.notify_one();
        }
    }

    /// Writes the posted connections; runs as long as the engine does.
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
            // Frees the memory of an unusually large round.
            round.shrink_to(1024);
            if messages >= 2 * connections && self.comes_again(number) {
                let pause = (began.elapsed() / SHARE).clamp(*PAUSE.start(), *PAUSE.end());
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Whether the first connection that was posted during this round was also written in this round.
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
