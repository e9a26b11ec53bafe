//! Threads that serve the handlers of many connections: one thread *leads*, the others wait.
//!
//! The leading thread waits for the sockets, reads those that are ready, and then runs the handlers of what it
//! has read, one connection after the other: no other thread is woken for a message. A handler may take long.
//! While handlers run, a task of the runtime, the watch, therefore looks every millisecond: if the same handler
//! still runs, the lead passes on to a thread that waits, which goes on with the rest. The slow thread joins the
//! others when its handler has returned.
//!
//! Handlers may wait (for a database) rather than compute, each for less than a tick. Then one thread after the
//! other would wait alone. So the watch compares the time that the leading thread has computed with the time that
//! has passed, and has further threads *help*: they take connections out of the same line until the line is
//! empty, or until they compute.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::EventLoop;
use crate::runtime::ThreadClock;

/// The watch looks once a tick.
const TICK: Duration = Duration::from_millis(1);

/// The watch sleeps after this many ticks in which no handler ran.
const QUIET: u32 = 10;

/// Ticks in a row in which connections waited in line, before the watch looks for threads that wait.
const BACKLOG: u32 = 2;

/// A thread that computes for less than this share of the time waits for something.
const WAITING_SHARE: u32 = 2;

/// The place of a thread in a crew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// The thread waits for the sockets and runs handlers, for as long as the lead has this number.
    Lead(u64),
    /// The thread runs handlers only.
    Help,
}

/// What a thread that asks for a duty gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The lead of this number.
    Lead(u64),
    /// The time is up, and other threads wait: this one may end.
    Spare,
    /// The time is up, and this thread is the only one that waits.
    Idle,
    /// The crew has ended.
    Ended,
}

/// What a thread with a duty does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// It runs the handlers of a connection.
    Work(T),
    /// It waits for the sockets: no connection is in line.
    Wait,
    /// Its lead has passed on, because it waited for something: it helps.
    Help,
    /// It asks for another duty.
    Leave,
}

/// The threads, and the connections in line.
pub struct Crew<T> {
    event_loop: Arc<EventLoop>,
    /// A std mutex: held for a look or a change.
    state: Mutex<State<T>>,
    /// Signalled for a thread that waits.
    called: Condvar,
    /// The number of the handler that the leading thread runs; 0: none.
    running: AtomicU64,
    /// Wakes the watch.
    began: Notify,
    /// Whether the watch is awake.
    watched: AtomicBool,
    /// Nobody will lead any more.
    ended: AtomicBool,
    most: usize,
}

struct State<T> {
    /// Each connection stands in line at most once, so their number limits the length.
    line: VecDeque<T>,
    /// The number of the lead that is out; `None`: nobody leads.
    lead: Option<u64>,
    /// The number of the latest lead.
    latest: u64,
    /// Counts the handlers that leading threads have run.
    handled: u64,
    /// The clock of the leading thread.
    clock: Option<ThreadClock>,
    /// Leads that were taken away from threads that waited for something; those threads help when they are back.
    waited: Vec<u64>,
    /// Threads of the crew, and those that wait for a duty.
    threads: usize,
    idle: usize,
}

impl<T> fmt::Debug for Crew<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").finish_non_exhaustive()
    }
}

impl<T> Crew<T> {
    /// A crew of at most `most` threads, without any.
    pub fn new(event_loop: Arc<EventLoop>, most: usize) -> Self {
        Self {
            event_loop,
            state: Mutex::new(State {
                line: VecDeque::new(),
                lead: None,
                latest: 0,
                handled: 0,
                clock: None,
                waited: Vec::new(),
                threads: 0,
                idle: 0,
            }),
            called: Condvar::new(),
            running: AtomicU64::new(0),
            began: Notify::new(),
            watched: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            most,
        }
    }

    /// The loop that the leading thread attends.
    #[must_use]
    pub fn event_loop(&self) -> &Arc<EventLoop> {
        &self.event_loop
    }

    /// The number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.state().threads
    }

    /// Counts a thread that is about to be started, if one is missing: one thread always waits, so that the lead
    /// can pass on.
    #[must_use]
    pub fn enlist(&self) -> bool {
        let mut state = self.state();
        let wanted = state.idle == 0 && state.threads < self.most;
        if wanted && !self.ended.load(SeqCst) {
            state.threads += 1;
            return true;
        }
        false
    }

    /// Counts a thread that could not be started, or that ends.
    pub fn discharge(&self) {
        if !self.event_loop.is_foreign() {
            self.state().threads -= 1;
        }
    }

    /// Waits for a duty, at most `timeout`.
    pub fn wait_for_duty(&self, timeout: Duration) -> Call {
        if self.is_over() {
            return Call::Ended;
        }
        let until = Instant::now() + timeout;
        let mut state = self.state();
        loop {
            if self.is_over() {
                return Call::Ended;
            }
            if state.lead.is_none() {
                state.latest += 1;
                let lead = state.latest;
                state.lead = Some(lead);
                state.clock = ThreadClock::of_caller();
                return Call::Lead(lead);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return if state.idle > 0 {
                    Call::Spare
                } else {
                    Call::Idle
                };
            }
            state.idle += 1;
            state = self
                .called
                .wait_timeout(state, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
            state.idle -= 1;
        }
    }

    /// Puts connections at the end of the line; for the thread that leads.
    pub fn line_up(&self, items: impl IntoIterator<Item = T>) {
        self.state().line.extend(items);
    }

    /// Puts a connection at the end of the line again. Returns it if the leading thread waits for the sockets and
    /// would not look at the line: then the connection must be reported.
    #[must_use]
    pub fn line_up_again(&self, duty: Duty, item: T) -> Option<T> {
        if self.event_loop.is_foreign() {
            return None;
        }
        let mut state = self.state();
        let waits = self.running.load(SeqCst) == 0;
        match (state.lead, duty) {
            (Some(lead), Duty::Lead(mine)) if lead != mine && waits => Some(item),
            (Some(_), Duty::Help) if waits => Some(item),
            _ => {
                state.line.push_back(item);
                None
            }
        }
    }

    /// Returns what a thread does next. `computed`: a helper has computed for most of its time.
    pub fn next(&self, duty: Duty, computed: bool) -> Next<T> {
        if self.event_loop.is_foreign() {
            return Next::Leave;
        }
        let mut state = self.state();
        match duty {
            Duty::Lead(lead) if state.lead == Some(lead) => {
                if self.is_over() {
                    return Next::Leave;
                }
                let Some(item) = state.line.pop_front() else {
                    self.running.store(0, SeqCst);
                    return Next::Wait;
                };
                // Each handler has a number of its own, so that the watch knows it again.
                state.handled += 1;
                self.running.store(state.handled, SeqCst);
                drop(state);
                self.start_watch();
                Next::Work(item)
            }
            Duty::Lead(lead) => {
                let waited = state.waited.iter().position(|one| *one == lead);
                match waited.map(|at| state.waited.swap_remove(at)) {
                    Some(_) => Next::Help,
                    None => Next::Leave,
                }
            }
            Duty::Help => {
                if computed || state.lead.is_none() || self.ended.load(SeqCst) {
                    return Next::Leave;
                }
                state.line.pop_front().map_or(Next::Leave, Next::Work)
            }
        }
    }

    /// Ends the duties, and has the threads end.
    pub fn end(&self) {
        if self.event_loop.is_foreign() {
            return;
        }
        self.ended.store(true, SeqCst);
        drop(self.state());
        self.called.notify_all();
        self.event_loop.end();
        self.event_loop.interrupt();
        self.began.notify_one();
    }

    /// Whether nobody will lead any more: the crew has ended, or this is a forked child, which must leave the
    /// sockets of its parent alone. The child asks before it takes the lock, which a thread of the parent may
    /// have held.
    fn is_over(&self) -> bool {
        self.ended.load(SeqCst) || self.event_loop.is_foreign()
    }

    fn start_watch(&self) {
        if !self.watched.load(SeqCst) && !self.watched.swap(true, SeqCst) {
            self.began.notify_one();
        }
    }

    /// Passes the lead on from slow handlers; runs until the crew has ended.
    pub async fn watch(&self) {
        while !self.ended.load(SeqCst) {
            self.began.notified().await;
            let mut look = Look::default();
            while !self.ended.load(SeqCst) {
                tokio::time::sleep(TICK).await;
                self.look(&mut look);
                if look.quiet < QUIET {
                    continue;
                }
                self.watched.store(false, SeqCst);
                if self.running.load(SeqCst) == 0 || self.watched.swap(true, SeqCst) {
                    break;
                }
            }
        }
    }

    /// One look of the watch.
    fn look(&self, look: &mut Look) {
        let running = self.running.load(SeqCst);
        let same = std::mem::replace(&mut look.running, running) == running;
        if running == 0 {
            look.quiet += 1;
            look.backlog = 0;
            look.since = None;
            return;
        }
        look.quiet = 0;
        let state = self.state();
        if state.lead.is_none() || self.running.load(SeqCst) == 0 {
            // Nobody leads, or the leading thread waits for the sockets now.
            return;
        }
        look.backlog = if state.line.is_empty() {
            0
        } else {
            look.backlog + 1
        };
        let waits = look.waits(state.clock);
        if same || (look.backlog >= BACKLOG && waits) {
            self.pass_on(state, waits);
            look.backlog = 0;
            look.since = None;
        }
    }

    /// Takes the lead away from its thread. `waits`: the thread waits for something more than it computes.
    fn pass_on(&self, mut state: MutexGuard<'_, State<T>>, waits: bool) {
        let lead = state.lead.take();
        if waits {
            state.waited.extend(lead);
        }
        state.clock = None;
        drop(state);
        self.called.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the watch remembers from one look to the next.
#[derive(Default)]
struct Look {
    /// The number of the handler that ran.
    running: u64,
    /// Looks in a row at which no handler ran.
    quiet: u32,
    /// Looks in a row at which connections waited in line.
    backlog: u32,
    /// The time of the latest look at the clock of the leading thread, and what it has shown.
    since: Option<(Instant, Duration)>,
}

impl Look {
    /// Whether the thread of this clock has waited for most of the time since the latest look.
    fn waits(&mut self, clock: Option<ThreadClock>) -> bool {
        let Some(computed) = clock.and_then(ThreadClock::now) else {
            return false;
        };
        let now = Instant::now();
        let Some((since, before)) = self.since.replace((now, computed)) else {
            return false;
        };
        let passed = now - since;
        computed.saturating_sub(before) * WAITING_SHARE < passed
    }
}
