//! `load echo`: a number of connections, and a number of messages in flight on each. Every echo is checked.
//!
//! `--active 0.05,1` measures twice: first with one of twenty connections active while the others are idle,
//! then with all. The top level of the result has the figures of the last share, `phases` those of each.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::Decompress;
use mio::{Events, Poll, Token};

use crate::args::Args;
use crate::histogram::Histogram;
use crate::open::{self, Opened, Target};
use crate::payload::{self, Kind, Pool, VARIETY};
use crate::peer::{Peer, State};
use crate::wire::Frame;
use crate::{Faults, Outcome, Result, window};

/// Time without any echo after which those that are missing count as lost.
const DRAIN: Duration = Duration::from_secs(10);

struct Plan {
    target: Target,
    connections: usize,
    in_flight: usize,
    takeover: bool,
    pool: Pool,
    /// The numbers of active connections, one for each measurement; they grow.
    active: Vec<usize>,
    /// The number of threads that have opened their connections.
    ready: AtomicUsize,
    /// The current measurement.
    phase: AtomicUsize,
    measuring: AtomicBool,
    stop: AtomicBool,
    start: Instant,
}

struct Echo {
    peer: Peer,
    /// The number of the connection; its messages begin at this place of the pool.
    number: usize,
    /// The numbers of messages: sent, and come back or lost.
    sent: usize,
    echoed: usize,
    /// The times when the messages in flight were sent, as a ring.
    sent_at: Box<[u64]>,
    done: bool,
}

/// The result of one thread.
#[derive(Default)]
struct Tally {
    echoes: u64,
    /// Payload bytes as received, before inflation.
    bytes: u64,
    faults: Faults,
    /// Nanoseconds from sending a message to its echo, for each measurement.
    latencies: Vec<Histogram>,
}

impl Plan {
    fn take(args: &mut Args) -> Result<Self> {
        let deflate: String = args.take("deflate", "off".to_owned())?;
        let extensions = match deflate.as_str() {
            "off" => "",
            "takeover" => "permessage-deflate",
            "no-takeover" => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            }
            other => return Err(format!("--deflate: cannot read {other:?}").into()),
        };
        let kind = args.take("kind", Kind::Text)?;
        let size = args.take("size", 32)?;
        let connections = args.take("connections", 100)?;
        let in_flight = args.take("in-flight", 1)?;
        if in_flight == 0 || in_flight > VARIETY {
            return Err(format!("--in-flight is between 1 and {VARIETY}").into());
        }
        let shares: String = args.take("active", "1".to_owned())?;
        let active = shares
            .split(',')
            .map(|share| Ok(active(connections, share.parse()?)))
            .collect::<Result<Vec<_>>>()?;
        if !active.is_sorted() {
            return Err("the shares of --active must grow".into());
        }
        Ok(Self {
            target: Target {
                address: args.need("address")?,
                path: args.take("path", "/".to_owned())?,
                extensions: extensions.to_owned(),
            },
            connections,
            in_flight,
            takeover: deflate == "takeover",
            pool: Pool::new(kind, size, deflate != "off")?,
            active,
            ready: AtomicUsize::new(0),
            phase: AtomicUsize::new(0),
            measuring: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            start: Instant::now(),
        })
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether a connection is active in a measurement; the active ones are spread evenly.
    fn is_active(&self, number: usize, phase: usize) -> bool {
        let before = |number| number * self.active[phase] / self.connections;
        before(number) < before(number + 1)
    }

    /// Measures once for each number of active connections; returns the results.
    fn measure(
        &self,
        window: &window::Window,
        count: impl Fn() -> u64,
        failed: impl Fn() -> bool,
        threads: usize,
    ) -> Result<Vec<String>> {
        let mut phases = Vec::new();
        for phase in 0..self.active.len() {
            self.phase.store(phase, Ordering::Relaxed);
            phases.push(window.measure(
                || self.ready.load(Ordering::Relaxed) == threads,
                || {
                    // The first call is at the beginning of the measured time.
                    self.measuring.store(true, Ordering::Relaxed);
                    count()
                },
                &failed,
            )?);
            self.measuring.store(false, Ordering::Relaxed);
        }
        Ok(phases)
    }
}

/// The number of active connections of a share of them, at least one.
fn active(connections: usize, share: f64) -> usize {
    ((connections as f64 * share).round() as usize).clamp(1, connections.max(1))
}

/// Runs the command and returns its result as JSON.
pub fn run(mut args: Args) -> Result<Outcome> {
    let plan = Plan::take(&mut args)?;
    let threads: usize = args.take("threads", 1)?;
    let window = window::Window::take(&mut args)?;
    args.finish()?;

    let counters: Vec<_> = (0..threads).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = counters
            .iter()
            .enumerate()
            .map(|(number, counter)| {
                let share =
                    plan.connections * number / threads..plan.connections * (number + 1) / threads;
                let plan = &plan;
                scope.spawn(move || {
                    let worker = Worker::open(plan, share)?;
                    plan.ready.fetch_add(1, Ordering::Relaxed);
                    worker.run(counter)
                })
            })
            .collect();
        let count = || {
            counters
                .iter()
                .map(|counter| counter.load(Ordering::Relaxed))
                .sum()
        };
        let failed = || workers.iter().any(|worker| worker.is_finished());
        let phases = plan.measure(&window, count, failed, threads);
        plan.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::new(&plan);
        for worker in workers {
            let tally: Result<Tally> = worker.join().map_err(|_| "a client thread panicked")?;
            all.add(&tally?);
        }
        Ok(all.outcome(&plan, &phases?))
    })
}

impl Tally {
    fn new(plan: &Plan) -> Self {
        Self {
            latencies: plan.active.iter().map(|_| Histogram::default()).collect(),
            ..Self::default()
        }
    }

    fn add(&mut self, other: &Self) {
        self.echoes += other.echoes;
        self.bytes += other.bytes;
        self.faults += other.faults;
        for (mine, more) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.add(more);
        }
    }

    fn outcome(&self, plan: &Plan, phases: &[String]) -> Outcome {
        let phases: Vec<_> = phases
            .iter()
            .zip(&self.latencies)
            .zip(&plan.active)
            .map(|((figures, latencies), active)| {
                format!(
                    "{figures},\"active\":{active},\"latency_p50_us\":{:.1},\
                     \"latency_p99_us\":{:.1}",
                    latencies.micros(0.5),
                    latencies.micros(0.99)
                )
            })
            .collect();
        let last = phases.last().map_or("", String::as_str);
        let size = self.bytes / self.echoes.max(1);
        Outcome {
            figures: format!(
                "{last},\"reply_bytes\":{size},\"phases\":[{{{}}}]",
                phases.join("},{")
            ),
            faults: self.faults,
        }
    }
}

/// The connections of one thread.
struct Worker<'a> {
    plan: &'a Plan,
    poll: Poll,
    events: Events,
    echoes: Vec<Echo>,
    /// The inflaters: with context takeover one per connection, else one for all.
    inflaters: Vec<Decompress>,
    scratch: Vec<u8>,
    inflated: Vec<u8>,
    tally: Tally,
}

impl<'a> Worker<'a> {
    fn open(plan: &'a Plan, share: std::ops::Range<usize>) -> Result<Self> {
        let inflaters = if plan.takeover { share.len() } else { 1 };
        let mut worker = Self {
            plan,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            echoes: Vec::with_capacity(share.len()),
            inflaters: (0..inflaters).map(|_| Decompress::new(false)).collect(),
            scratch: Vec::new(),
            inflated: Vec::new(),
            tally: Tally::new(plan),
        };
        for portion in open::portions(share) {
            for (number, opened) in portion.clone().zip(open::several(&plan.target, portion)?) {
                worker.add(number, opened)?;
            }
            worker.attend(Duration::ZERO)?;
        }
        Ok(worker)
    }

    fn add(&mut self, number: usize, opened: Opened) -> Result<()> {
        check_extensions(self.plan, &opened)?;
        let token = Token(self.echoes.len());
        self.echoes.push(Echo {
            peer: Peer::new(opened, self.poll.registry(), token)?,
            number,
            sent: 0,
            echoed: 0,
            sent_at: vec![0; self.plan.in_flight].into(),
            done: false,
        });
        Ok(())
    }

    /// Sends and checks until the end.
    fn run(mut self, counter: &AtomicU64) -> Result<Tally> {
        let (mut begun, mut last) = (None, None);
        loop {
            let stop = self.plan.stop.load(Ordering::Relaxed);
            let phase = self.plan.phase.load(Ordering::Relaxed);
            if begun != Some(phase) && !stop {
                begun = Some(phase);
                self.begin(phase)?;
            }
            let stop = self.attend(Duration::from_millis(50))?;
            counter.store(self.tally.echoes, Ordering::Relaxed);
            if stop && self.finish(&mut last)? {
                return Ok(self.tally);
            }
        }
    }

    /// Handles the events of the sockets; waits for them for at most `timeout`. Returns whether the run is
    /// about to end.
    fn attend(&mut self, timeout: Duration) -> Result<bool> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        crate::again(|| self.poll.poll(&mut events, Some(timeout)))?;
        let stop = self.plan.stop.load(Ordering::Relaxed);
        let phase = self.plan.phase.load(Ordering::Relaxed);
        for event in &events {
            let Token(index) = event.token();
            if event.is_writable() {
                self.echoes[index].peer.flush()?;
            }
            self.turn(index, phase, stop)?;
        }
        self.events = events;
        Ok(stop)
    }

    /// Sends the first messages of the connections that become active.
    fn begin(&mut self, phase: usize) -> Result<()> {
        let plan = self.plan;
        for echo in &mut self.echoes {
            if echo.sent == 0 && plan.is_active(echo.number, phase) {
                echo.send(plan, plan.in_flight, plan.now())?;
            }
        }
        Ok(())
    }

    /// Takes the echoes of one connection, and sends as many messages.
    fn turn(&mut self, index: usize, phase: usize, stop: bool) -> Result<()> {
        let (plan, inflated, tally) = (self.plan, &mut self.inflated, &mut self.tally);
        let inflater = &mut self.inflaters[if plan.takeover { index } else { 0 }];
        let echo = &mut self.echoes[index];
        let first = echo.echoed;
        let measuring = plan.measuring.load(Ordering::Relaxed);
        // The clock is read once for all messages of a read.
        let mut now = None;
        let state = echo.peer.receive(&mut self.scratch, |frame| {
            let payload = content(plan, frame, echo.number + echo.echoed, inflater, inflated)?;
            let place = Place::of(&plan.pool, payload, echo.number + echo.echoed, {
                echo.sent - echo.echoed
            });
            match place {
                Place::Expected => {
                    tally.echoes += 1;
                    tally.bytes += frame.payload.len() as u64;
                    let now = *now.get_or_insert_with(|| plan.now());
                    let sent_at = echo.sent_at[echo.echoed % plan.in_flight];
                    if measuring {
                        tally.latencies[phase].record(now - sent_at, 1);
                    }
                    echo.echoed += 1;
                }
                Place::Later(lost) => {
                    tally.faults.lost += lost as u64;
                    echo.echoed += lost + 1;
                }
                Place::Earlier => tally.faults.doubled += 1,
                Place::Nowhere => {
                    tally.faults.changed += 1;
                    echo.echoed = echo.sent.min(echo.echoed + 1);
                }
            }
            Ok(())
        })?;
        if state != State::Open && !echo.done {
            return Err("the server closed a connection".into());
        }
        let fresh = echo.echoed - first;
        if !stop && fresh > 0 {
            let now = now.unwrap_or_else(|| plan.now());
            echo.send(plan, fresh, now)?;
        }
        Ok(())
    }

    /// Closes the connections that have all their echoes; true if no connection is left. After a while,
    /// the missing echoes count as lost.
    fn finish(&mut self, last: &mut Option<(u64, Instant)>) -> Result<bool> {
        let since = match last {
            Some((echoes, since)) if *echoes == self.tally.echoes => *since,
            _ => last.insert((self.tally.echoes, Instant::now())).1,
        };
        for echo in self
            .echoes
            .iter_mut()
            .filter(|echo| !echo.done && echo.echoed == echo.sent)
        {
            echo.peer.close()?;
            echo.peer.shutdown();
            echo.done = true;
        }
        if since.elapsed() > DRAIN {
            let missing: usize = self.echoes.iter().map(|echo| echo.sent - echo.echoed).sum();
            self.tally.faults.lost += missing as u64;
            return Ok(true);
        }
        Ok(self.echoes.iter().all(|echo| echo.done))
    }
}

impl Echo {
    /// Sends the next messages.
    fn send(&mut self, plan: &Plan, count: usize, now: u64) -> Result<()> {
        for message in self.sent..self.sent + count {
            self.sent_at[message % plan.in_flight] = now;
        }
        self.peer
            .send(plan.pool.frames(self.number + self.sent, count))?;
        self.sent += count;
        Ok(())
    }
}

/// The place of an echo in the row of messages that were sent.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Expected,
    /// So many echoes before it are missing.
    Later(usize),
    /// It has come before.
    Earlier,
    /// It equals no message of the last ones.
    Nowhere,
}

impl Place {
    /// Finds the place, from the number of the expected message and how many are in flight.
    fn of(pool: &Pool, payload: &[u8], expected: usize, in_flight: usize) -> Self {
        let is = |number| payload == pool.message(number);
        if in_flight > 0 && is(expected) {
            return Self::Expected;
        }
        // The pool's messages come again after VARIETY.
        if let Some(lost) = (1..in_flight).find(|ahead| is(expected + ahead)) {
            Self::Later(lost)
        } else if (1..=VARIETY - in_flight).any(|back| back <= expected && is(expected - back)) {
            Self::Earlier
        } else {
            Self::Nowhere
        }
    }
}

fn check_extensions(plan: &Plan, opened: &Opened) -> Result<()> {
    let agreed = opened.extensions.contains("permessage-deflate");
    if agreed == plan.target.extensions.is_empty() {
        return Err(format!(
            "offered {:?}, the server answered {:?}",
            plan.target.extensions, opened.extensions
        )
        .into());
    }
    Ok(())
}

/// Returns the payload of an echo, inflated where it is compressed.
fn content<'a>(
    plan: &Plan,
    frame: &'a Frame<'_>,
    number: usize,
    inflater: &mut Decompress,
    inflated: &'a mut Vec<u8>,
) -> Result<&'a [u8]> {
    if frame.compressed {
        if !plan.takeover {
            inflater.reset(false);
        }
        let size = plan.pool.message(number).len();
        payload::inflate(inflater, frame.payload, size, inflated)?;
        Ok(inflated)
    } else if plan.target.extensions.is_empty() {
        Ok(frame.payload)
    } else {
        Err("the server sent a message plain that it should have deflated".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(got: usize, expected: usize, in_flight: usize) -> Result<Place> {
        let pool = Pool::new(Kind::Text, 32, false)?;
        Ok(Place::of(&pool, pool.message(got), expected, in_flight))
    }

    #[test]
    fn the_place_of_an_echo_tells_lost_and_doubled_ones() -> Result<()> {
        assert_eq!(place(100, 100, 8)?, Place::Expected);
        assert_eq!(place(103, 100, 8)?, Place::Later(3));
        assert_eq!(place(99, 100, 8)?, Place::Earlier);
        assert_eq!(place(99, 100, 0)?, Place::Earlier);
        let pool = Pool::new(Kind::Text, 32, false)?;
        assert_eq!(Place::of(&pool, b"something", 100, 8), Place::Nowhere);
        Ok(())
    }

    #[test]
    fn a_share_of_the_connections_is_at_least_one() {
        assert_eq!(active(1, 0.05), 1);
        assert_eq!(active(100, 0.05), 5);
        assert_eq!(active(15_000, 1.0), 15_000);
    }
}
