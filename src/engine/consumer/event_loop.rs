//! Views in an event loop: the loop attends a poller of its own, which reads the sockets of its views.
//!
//! The loop looks at the descriptor of the poller, among its own. When sockets are ready, it has the poller
//! read all of them, and then runs the views that wait for what was read. While views run, nobody reads:
//! what arrives gathers in the sockets. No thread but the loop's is woken for a message.
//!
//! A view may compute for long, and the loop may have ended. A task of the runtime therefore looks every few
//! milliseconds whether the loop has come back, and stands in if not. The task sleeps while nothing arrives.

use std::{
    cell::Cell,
    fmt, io,
    os::fd::{AsRawFd, RawFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

use super::super::{
    adopt,
    courier::{self, Flush},
    poller::Poller,
};
use crate::runtime::{Flag, WakeQueue, fork};

/// A loop that has not attended for one to two ticks is late, and the watch stands in.
const TICK: Duration = Duration::from_millis(5);

/// After this many ticks in which nothing was read, the watch sleeps until something arrives.
const QUIET: u32 = 2;

thread_local! {
    /// The connection whose view runs in this thread's loop and has more messages before it; 0: none.
    static BUSY: Cell<u64> = const { Cell::new(0) };
}

/// Notes which view runs now, and whether more messages wait for it.
pub(in crate::engine) fn note_running(id: u64, more: bool) {
    // What the view sends next is the first of a row.
    courier::end_row();
    BUSY.set(if more { id } else { 0 });
}

/// Whether the view of connection `id` runs in this thread, and has more messages before it. Its answers
/// may go out together.
pub(in crate::engine) fn answers_more(id: u64) -> bool {
    BUSY.get() == id
}

/// An event loop, as its connections see it.
pub struct EventLoop {
    /// The generation of the process that has made the loop: a forked child must not read its sockets.
    generation: u32,
    poller: Arc<Poller>,
    queue: Arc<WakeQueue>,
    /// The connections whose answers are held back, for one write each. A std mutex: held for a push or a
    /// swap.
    held: Mutex<Vec<Arc<dyn Flush>>>,
    /// Counts the times that the loop has attended.
    rounds: AtomicU64,
    /// Nobody will attend any more.
    ended: AtomicBool,
    /// Wakes the watch.
    called: Notify,
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").finish_non_exhaustive()
    }
}

impl EventLoop {
    /// A loop without connections, which reads at most `chunk` bytes at once.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub(in crate::engine) fn new(chunk: usize) -> io::Result<Self> {
        Ok(Self {
            generation: fork::generation(),
            poller: Arc::new(Poller::new(chunk)?),
            queue: Arc::new(WakeQueue::new()?),
            held: Mutex::default(),
            rounds: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            called: Notify::new(),
        })
    }

    /// Whether another process has made the loop, before a fork.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }

    /// The descriptors that poll readable while there is something for [`EventLoop::attend`] to do: sockets
    /// that are ready, and reports.
    #[must_use]
    pub fn filenos(&self) -> (RawFd, RawFd) {
        (self.poller.as_raw_fd(), self.queue.fileno())
    }

    /// The queue of the reports; [`EventLoop::attend`] empties it.
    #[must_use]
    pub fn queue(&self) -> &Arc<WakeQueue> {
        &self.queue
    }

    /// Reads the sockets that are ready. Returns the ids of the connections for which a report was asked
    /// and is due, and whether sockets are left for another call.
    pub fn attend(&self) -> (Vec<u64>, bool) {
        if self.is_foreign() {
            return (Vec::new(), false);
        }
        self.write_held();
        self.rounds.fetch_add(1, Relaxed);
        self.queue.attend();
        let left = self.poller.attended_round();
        (self.queue.drain(), left)
    }

    /// Has reports end [`EventLoop::wait`], for a loop of which a thread waits so.
    ///
    /// # Errors
    ///
    /// The system has no memory for it.
    pub(in crate::engine) fn wait_for_reports(&self) -> io::Result<()> {
        self.poller.add_waker(self.queue.fileno())
    }

    /// Waits until there may be something for [`EventLoop::attend`] to do, at most `timeout`.
    pub fn wait(&self, timeout: Option<Duration>) {
        if !self.is_foreign() {
            self.poller.wait(timeout, || {
                self.queue.has_reports() || self.ended.load(Relaxed)
            });
        }
    }

    /// Reports a connection, as if something had arrived for it.
    pub fn report(&self, id: u64) {
        if !self.is_foreign() {
            self.queue.push(id);
        }
    }

    /// Ends [`EventLoop::wait`].
    pub fn interrupt(&self) {
        self.poller.wake();
    }

    /// Tells that nobody will attend any more. The watch goes on as long as there are connections.
    pub fn end(&self) {
        if !self.is_foreign() {
            self.ended.store(true, Relaxed);
            self.called.notify_one();
        }
    }

    /// The poller that the loop attends.
    pub(in crate::engine) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Removes a socket from the poller.
    pub(in crate::engine) fn remove(&self, id: u64, fd: RawFd) {
        self.poller.remove(id, fd);
        if self.ended.load(Relaxed) {
            self.called.notify_one();
        }
    }

    /// Holds the answers of a connection back until [`EventLoop::write_held`].
    pub(in crate::engine) fn hold(&self, connection: Arc<dyn Flush>) {
        let mut held = self.held();
        held.push(connection);
        let first = held.len() == 1;
        drop(held);
        if first {
            self.called.notify_one();
        }
    }

    /// Writes the answers that are held back: no view runs in the calling thread now, or it has waited. A
    /// forked child leaves those of its parent alone.
    pub fn write_held(&self) {
        BUSY.set(0);
        if self.is_foreign() {
            return;
        }
        let mut held = self.held();
        if held.is_empty() {
            return;
        }
        let connections = std::mem::take(&mut *held);
        drop(held);
        for connection in connections {
            connection.write_posted();
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Arc<dyn Flush>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.ended.load(Relaxed) && self.poller.is_empty()
    }

    /// Stands in when the loop is late.
    pub(in crate::engine) async fn watch(&self) {
        let lookout = self.poller.lookout();
        let mut events = None;
        while !self.is_over() {
            if events.is_none() {
                // If the system has no memory for it, the watch looks at every tick.
                events = adopt::register(lookout.as_raw_fd(), Interest::READABLE).ok();
            }
            if let Some(events) = &events
                && lookout.show().is_ok()
            {
                self.sleep(events).await;
                let _ = lookout.hide();
            }
            self.keep_looking().await;
        }
    }

    /// Waits until something arrives.
    async fn sleep(&self, events: &AsyncFd<RawFd>) {
        // The lookout may not tell of what was ready before.
        if self.poller.try_round() > 0 {
            return;
        }
        tokio::select! {
            () = self.called.notified() => {}
            guard = events.readable() => if let Ok(mut guard) = guard {
                guard.clear_ready();
            },
        }
    }

    /// Looks at every tick whether the loop has attended, and reads what it has not read, until nothing
    /// arrives any more.
    async fn keep_looking(&self) {
        let mut quiet = 0;
        let mut seen = self.rounds.load(Relaxed);
        while quiet < QUIET {
            tokio::time::sleep(TICK).await;
            let rounds = self.rounds.load(Relaxed);
            if std::mem::replace(&mut seen, rounds) != rounds {
                quiet = 0;
                continue;
            }
            self.write_held();
            quiet += 1;
            while self.poller.try_round() > 0 && self.rounds.load(Relaxed) == seen {
                quiet = 0;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The reports that an event loop has asked for. Each request gives one report. This value is part of the
/// inbox's state, under its lock.
#[derive(Debug, Default)]
pub(in crate::engine) struct Armed {
    message: bool,
    room: bool,
    end: bool,
    flag: Option<Box<Flag>>,
}

impl Armed {
    /// Asks for a report of something to receive.
    pub(in crate::engine) fn arm(&mut self) {
        self.message = true;
    }

    /// Asks for a report of room in the outbox.
    pub(in crate::engine) fn arm_room(&mut self) {
        self.room = true;
    }

    /// Asks for a report of the end.
    pub(in crate::engine) fn arm_end(&mut self) {
        self.end = true;
    }

    /// Reports that there is something to receive from connection `id`, if that was asked for.
    pub(in crate::engine) fn report(&mut self, event_loop: &EventLoop, id: u64) {
        if std::mem::take(&mut self.message) {
            event_loop.queue.push(id);
        }
    }

    /// Reports that the outbox of connection `id` has room, if that was asked for.
    pub(in crate::engine) fn report_room(&mut self, event_loop: &EventLoop, id: u64) {
        if std::mem::take(&mut self.room) {
            event_loop.queue.push(id);
        }
    }

    /// Reports the end of connection `id`, if that was asked for.
    pub(in crate::engine) fn report_end(&mut self, event_loop: &EventLoop, id: u64) {
        if std::mem::take(&mut self.end) {
            event_loop.queue.push(id);
        }
    }

    /// A descriptor that polls readable while there is something, by the latest call of [`Armed::show`].
    pub(in crate::engine) fn fileno(&mut self, something: bool) -> io::Result<RawFd> {
        if self.flag.is_none() {
            self.flag = Some(Box::new(Flag::new()?));
        }
        self.show(something);
        Ok(self.flag.as_ref().map_or(-1, |flag| flag.fileno()))
    }

    /// Makes the descriptor poll readable or not, by whether there is something to receive.
    pub(in crate::engine) fn show(&mut self, something: bool) {
        if let Some(flag) = &mut self.flag {
            flag.set(something);
        }
    }
}
