//! Reads the sockets of the views that wait in threads: whoever waits reads.
//!
//! These sockets are in one epoll instance, which one thread at a time *attends*: the thread of a view that
//! waits for its next message while no view runs in the interpreter (see the turnstile). This thread reads
//! every socket that is ready. If its own message is among them, nobody has to be woken for it; the other
//! messages go to their inboxes, and the first of them starts a chain of turns. During the chain nobody
//! attends: what arrives gathers in the sockets, and the thread that ends the last turn reads all of it at
//! once. A message therefore costs one wake-up at most.
//!
//! A view may keep its turn for long, or all views may be busy with something else. If nobody has attended
//! for a while, a task of the runtime stands in until a thread comes back. Large amounts are left to the
//! task of their connection, as soon as one connection has had its share of a round.
//!
//! Each event loop has a poller of its own, which only the loop attends (see `consumer/event_loop`).

use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    fmt, io,
    os::fd::{AsRawFd, RawFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Registry, Token, Waker, unix::SourceFd};
use tokio::{io::unix::AsyncFd, sync::Notify};

use super::adopt;
use crate::runtime::IdHash;

/// The watch looks once a tick. If no turn has ended since the last look, the watch stands in.
const TICK: Duration = Duration::from_millis(1);

/// The most ticks without attendance, although turns end. A chain of turns is rarely longer.
const LONGEST: u32 = 10;

/// The watch ends after this many ticks in which a thread attended.
const QUIET: u32 = 10;

/// The most sockets that one call of epoll reports.
const EVENTS: usize = 256;

/// A round ends after so many bytes: more would leave the processor's cache before the views take them.
const BYTES: usize = 128 * 1024;

/// A round ends after so much time, since the thread has a view of its own.
const ROUND: Duration = Duration::from_millis(1);

/// The token of the waker; connections have their ids.
const WAKER: Token = Token(0);

/// The token of the poller in its lookout.
const POLLER: Token = Token(0);

thread_local! {
    /// Whether this thread attends.
    static ATTENDS: Cell<bool> = const { Cell::new(false) };
}

/// A connection, as the poller sees it.
pub(in crate::engine) trait Source: Send + Sync {
    /// Reads what has arrived by way of `chunk`, and handles it. `ends`: the peer has shut its side, which is
    /// reported once. Returns the number of bytes.
    fn read(self: Arc<Self>, chunk: &mut [u8], ends: bool) -> usize;
}

/// The sockets, and who attends them.
pub(in crate::engine) struct Poller {
    registry: Registry,
    waker: Waker,
    lookout: Lookout,
    sources: Mutex<HashMap<Token, Arc<dyn Source>, IdHash>>,
    /// Locked for a round.
    desk: Mutex<Desk>,
    /// A std mutex: held for a look or a change.
    state: Mutex<State>,
    /// Counts the turns that have ended.
    turns: AtomicU64,
    /// Starts the watch.
    left: Notify,
    /// Tells the watch, which stands in, that a thread attends.
    taken: Notify,
}

/// The place of whoever attends.
struct Desk {
    poll: Poll,
    events: Events,
    /// Connections whose sockets are ready and not read yet, and whether their peers have shut their sides.
    ready: VecDeque<(Arc<dyn Source>, bool)>,
    chunk: Box<[u8]>,
}

#[derive(Default)]
struct State {
    attendant: Attendant,
    /// Counts the times that a thread has ceased to attend.
    left: u64,
    /// Whether the watch is running.
    watched: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Attendant {
    #[default]
    Nobody,
    Thread,
    Watch,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

impl Poller {
    /// A poller without sockets, which reads at most `chunk` bytes at once.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub(in crate::engine) fn new(chunk: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        Ok(Self {
            waker: Waker::new(&registry, WAKER)?,
            lookout: Lookout::new(registry.as_raw_fd())?,
            registry,
            sources: Mutex::default(),
            desk: Mutex::new(Desk {
                poll,
                events: Events::with_capacity(EVENTS),
                ready: VecDeque::new(),
                chunk: vec![0; chunk].into(),
            }),
            state: Mutex::default(),
            turns: AtomicU64::new(0),
            left: Notify::new(),
            taken: Notify::new(),
        })
    }

    /// Adds the socket of a connection, until [`Poller::remove`].
    ///
    /// # Errors
    ///
    /// The system has no memory for it.
    pub(in crate::engine) fn add(
        &self,
        id: u64,
        fd: RawFd,
        source: Arc<dyn Source>,
    ) -> io::Result<()> {
        let token = token(id)?;
        lock(&self.sources).insert(token, source);
        let mut socket = SourceFd(&fd);
        if let Err(error) = self
            .registry
            .register(&mut socket, token, Interest::READABLE)
        {
            lock(&self.sources).remove(&token);
            return Err(error);
        }
        let mut state = lock(&self.state);
        if state.attendant == Attendant::Nobody {
            self.start_watch(&mut state);
        }
        Ok(())
    }

    /// Removes the socket of a connection, which is still open.
    pub(in crate::engine) fn remove(&self, id: u64, fd: RawFd) {
        if let Ok(token) = token(id)
            && lock(&self.sources).remove(&token).is_some()
        {
            // The kernel forgets a socket that it does not know any more.
            let _ = self.registry.deregister(&mut SourceFd(&fd));
        }
    }

    /// Counts a turn that has ended: views still take what was read.
    pub(in crate::engine) fn note_turn(&self) {
        self.turns.fetch_add(1, Relaxed);
    }

    /// Ends the round of the thread that attends, unless this is the calling thread.
    pub(in crate::engine) fn wake(&self) {
        if !ATTENDS.get() {
            // An error means that the waker is set already.
            let _ = self.waker.wake();
        }
    }

    /// Has the calling thread attend, unless another thread does.
    pub(in crate::engine) fn attend(&self) -> Option<Attendance<'_>> {
        let mut state = lock(&self.state);
        match state.attendant {
            Attendant::Thread => return None,
            Attendant::Watch => self.taken.notify_one(),
            Attendant::Nobody => {}
        }
        state.attendant = Attendant::Thread;
        drop(state);
        ATTENDS.set(true);
        Some(Attendance(self))
    }

    /// Starts the watch, unless it is running.
    fn start_watch(&self, state: &mut State) {
        if !std::mem::replace(&mut state.watched, true) {
            self.left.notify_one();
        }
    }

    /// Stands in when no thread attends; runs as long as the engine does.
    pub(in crate::engine) async fn watch(&self) {
        let mut events = None;
        loop {
            self.left.notified().await;
            let mut watch = Watch::default();
            loop {
                tokio::time::sleep(TICK).await;
                match self.look(&mut watch) {
                    Look::Wait => {}
                    Look::End => break,
                    // If the system has no memory for it, the watch tries again at the next tick.
                    Look::StandIn => {
                        if events.is_none() {
                            events = adopt::register(
                                self.lookout.as_raw_fd(),
                                tokio::io::Interest::READABLE,
                            )
                            .ok();
                        }
                        match &events {
                            Some(events) if self.stand_in(events).await.is_ok() => {}
                            _ => self.stand_down(),
                        }
                    }
                }
            }
        }
    }

    /// Decides what the watch does at a tick.
    fn look(&self, watch: &mut Watch) -> Look {
        let mut state = lock(&self.state);
        let turns = self.turns.load(Relaxed);
        let moved = std::mem::replace(&mut watch.turns, turns) != turns;
        let left = std::mem::replace(&mut watch.left, state.left) != state.left;
        if state.attendant == Attendant::Thread {
            watch.alone = 0;
            watch.attended += 1;
            if watch.attended < QUIET {
                return Look::Wait;
            }
            state.watched = false;
            return Look::End;
        }
        watch.attended = 0;
        watch.alone = if left { 0 } else { watch.alone + 1 };
        if left || (moved && watch.alone < LONGEST) {
            return Look::Wait;
        }
        state.attendant = Attendant::Watch;
        Look::StandIn
    }

    /// Whether the watch attends.
    fn stands_in(&self) -> bool {
        lock(&self.state).attendant == Attendant::Watch
    }

    /// Has nobody attend if the watch does.
    fn stand_down(&self) {
        let mut state = lock(&self.state);
        if state.attendant == Attendant::Watch {
            state.attendant = Attendant::Nobody;
        }
    }

    /// Attends until a thread does. `events` tells when the lookout is readable.
    async fn stand_in(&self, events: &AsyncFd<RawFd>) -> io::Result<()> {
        self.lookout.show()?;
        let attended = loop {
            while self.watch_round() > 0 {
                tokio::task::yield_now().await;
            }
            tokio::select! {
                () = self.taken.notified() => break Ok(()),
                guard = events.readable() => match guard {
                    Ok(mut guard) => guard.clear_ready(),
                    Err(error) => break Err(error),
                },
            }
        };
        self.lookout.hide()?;
        attended
    }

    /// Has a descriptor that becomes readable end a wait.
    ///
    /// # Errors
    ///
    /// The system has no memory for it.
    pub(in crate::engine) fn add_waker(&self, fd: RawFd) -> io::Result<()> {
        self.registry
            .register(&mut SourceFd(&fd), WAKER, Interest::READABLE)
    }

    /// Waits until sockets are ready, which the next round reads; at most `timeout`, and not if there is
    /// something to do already: a round of somebody else may have taken the event that would end the wait.
    pub(in crate::engine) fn wait(&self, timeout: Option<Duration>, is_due: impl FnOnce() -> bool) {
        let mut desk = lock(&self.desk);
        if desk.ready.is_empty() && !is_due() {
            desk.look(&self.sources, timeout);
        }
    }

    /// Whether there is no socket.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        lock(&self.sources).is_empty()
    }

    /// The instance that tells a watch of sockets that are ready.
    pub(in crate::engine) fn lookout(&self) -> &Lookout {
        &self.lookout
    }

    /// Reads the sockets that are ready now; returns whether some are left for another round.
    pub(in crate::engine) fn attended_round(&self) -> bool {
        let mut desk = lock(&self.desk);
        let read = desk.round(&self.sources, Some(Duration::ZERO));
        read >= EVENTS || !desk.ready.is_empty()
    }

    /// Reads the sockets that are ready now, unless somebody reads at this moment. Returns how many it has
    /// read.
    pub(in crate::engine) fn try_round(&self) -> usize {
        // A thread holds this lock for as long as it waits for sockets.
        self.desk.try_lock().map_or(0, |mut desk| {
            desk.round(&self.sources, Some(Duration::ZERO))
        })
    }

    /// The round of the watch while it stands in. Returns how many sockets it has read.
    fn watch_round(&self) -> usize {
        if self.stands_in() {
            self.late_round()
        } else {
            0
        }
    }

    /// The round of a watch that stood in a moment ago.
    fn late_round(&self) -> usize {
        let many = self.try_round();
        if !self.stands_in() {
            // The thread that has taken over waits for the desk. It may have been woken already, and this
            // round may have taken the event.
            let _ = self.waker.wake();
        }
        many
    }
}

impl AsRawFd for Poller {
    /// The descriptor of the epoll instance, which polls readable while a socket is ready.
    fn as_raw_fd(&self) -> RawFd {
        self.registry.as_raw_fd()
    }
}

/// A second epoll instance with the poller's instance in it, which the watch has tokio look at.
///
/// If tokio's own instance had the poller's instance only while the watch stands in, the kernel would walk
/// through all sockets at each beginning: a millisecond for 10,000 of them. In the lookout, the poller's
/// instance stays all the time, and is hidden by asking for an event that it never has.
pub(in crate::engine) struct Lookout {
    poll: Poll,
    /// The poller's instance, which lives as long as this value.
    poller: RawFd,
}

#[cfg(target_os = "linux")]
impl Lookout {
    fn new(poller: RawFd) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut SourceFd(&poller), POLLER, Interest::PRIORITY)?;
        Ok(Self { poll, poller })
    }

    /// From now on, the lookout becomes readable when a socket becomes ready. It may not tell of sockets that
    /// are ready already: the caller reads those.
    pub(in crate::engine) fn show(&self) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.reregister(&mut SourceFd(&self.poller), POLLER, Interest::READABLE)
    }

    /// From now on, the lookout does not become readable.
    pub(in crate::engine) fn hide(&self) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.reregister(&mut SourceFd(&self.poller), POLLER, Interest::PRIORITY)
    }
}

#[cfg(not(target_os = "linux"))]
impl Lookout {
    fn new(poller: RawFd) -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self { poll, poller })
    }

    pub(in crate::engine) fn show(&self) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&self.poller), POLLER, Interest::READABLE)
    }

    pub(in crate::engine) fn hide(&self) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&self.poller))
    }
}

impl AsRawFd for Lookout {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

/// What the watch remembers from one tick to the next.
#[derive(Default)]
struct Watch {
    /// Ticks in a row in which a thread attended.
    attended: u32,
    /// Ticks in a row in which nobody attended.
    alone: u32,
    turns: u64,
    left: u64,
}

/// What the watch does after a look.
enum Look {
    Wait,
    StandIn,
    End,
}

impl Desk {
    /// Waits for sockets that are ready, at most `timeout`, and notes them.
    fn look(
        &mut self,
        sources: &Mutex<HashMap<Token, Arc<dyn Source>, IdHash>>,
        timeout: Option<Duration>,
    ) {
        // A signal ends the wait early, which is no error.
        if self.poll.poll(&mut self.events, timeout).is_err() {
            return;
        }
        let sources = lock(sources);
        self.ready.extend(self.events.iter().filter_map(|event| {
            let source = sources.get(&event.token())?;
            Some((Arc::clone(source), event.is_read_closed()))
        }));
    }

    fn round(
        &mut self,
        sources: &Mutex<HashMap<Token, Arc<dyn Source>, IdHash>>,
        timeout: Option<Duration>,
    ) -> usize {
        if self.ready.is_empty() {
            self.look(sources, timeout);
        }
        let began = Instant::now();
        let (mut many, mut bytes) = (0, 0);
        while bytes < BYTES
            && let Some((source, ends)) = self.ready.pop_front()
        {
            many += 1;
            bytes += source.read(&mut self.chunk, ends);
            if began.elapsed() > ROUND {
                break;
            }
        }
        many
    }
}

/// The attendance of a thread, which ends when this value is dropped.
pub(in crate::engine) struct Attendance<'a>(&'a Poller);

impl Attendance<'_> {
    /// Waits for sockets that are ready, at most `timeout`, and reads them.
    pub(in crate::engine) fn round(&self, timeout: Option<Duration>) {
        lock(&self.0.desk).round(&self.0.sources, timeout);
    }
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        ATTENDS.set(false);
        let mut state = lock(&self.0.state);
        state.attendant = Attendant::Nobody;
        state.left = state.left.wrapping_add(1);
        self.0.start_watch(&mut state);
    }
}

fn token(id: u64) -> io::Result<Token> {
    usize::try_from(id).map(Token).map_err(io::Error::other)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
