//! `load fanout`: many members and a few publishers. The server sends the publishers' messages to every
//! member.
//!
//! The server must send a message that arrives on `--publish-path` to all connections on `--path`. Every
//! delivery is checked: the bytes are right, each message arrives once, and those of each publisher
//! arrive in order.
//!
//! `--in-flight 1,16` measures twice: first with one message on its way, then with up to 16. The top level
//! of the result has the figures of the last measurement, `phases` those of each.

mod members;
mod publisher;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::members::{Members, Tally};
use self::publisher::Publishers;
use crate::args::Args;
use crate::open::Target;
use crate::window::Window;
use crate::{Outcome, Result};

/// Time limit for all members to join.
const JOIN: Duration = Duration::from_secs(120);

/// Time without a probe's delivery after which the second probe is sent. It doubles with each probe, so that
/// a slow server is not flooded.
const SILENCE: Duration = Duration::from_millis(250);

struct Plan {
    /// The addresses of the servers, which share the members evenly.
    addresses: Vec<SocketAddr>,
    path: String,
    publish_path: String,
    members: usize,
    publishers: usize,
    threads: usize,
    /// The most messages of one publisher that are on their way, for each measurement; they grow.
    in_flight: Vec<usize>,
    size: usize,
    /// Messages per second of each publisher; 0: as many as `in_flight` allows.
    rate: f64,
    /// Time without any delivery after which the messages on their way count as lost.
    drain: Duration,
    /// Whether the publishers get their own messages, too; these are ignored.
    heard: bool,
}

impl Plan {
    /// The most messages on their way of all measurements.
    fn most(&self) -> usize {
        self.in_flight.last().copied().unwrap_or_default()
    }

    fn take(args: &mut Args) -> Result<Self> {
        let addresses: String = args.need("address")?;
        Ok(Self {
            addresses: addresses
                .split(',')
                .map(str::parse)
                .collect::<std::result::Result<_, _>>()?,
            path: args.take("path", "/member".to_owned())?,
            publish_path: args.take("publish-path", "/publish".to_owned())?,
            members: args.take("members", 1000)?,
            publishers: args.take("publishers", 1)?,
            threads: args.take("threads", 2)?,
            in_flight: args
                .take("in-flight", "16".to_owned())?
                .split(',')
                .map(str::parse)
                .collect::<std::result::Result<_, _>>()?,
            size: args.take("size", 128)?,
            rate: args.take("rate", 0.0)?,
            drain: Duration::try_from_secs_f64(args.take("drain", 20.0)?)?,
            heard: args.take("heard", false)?,
        })
    }

    fn target(&self, number: usize, path: &str) -> Target {
        Target {
            address: self.addresses[number % self.addresses.len()],
            path: path.to_owned(),
            extensions: String::new(),
        }
    }
}

/// The state that the threads share.
struct Shared {
    start: Instant,
    /// Threads whose members are open.
    opened: AtomicUsize,
    /// Members that have received a probe.
    joined: AtomicUsize,
    probed: AtomicU64,
    delivered: AtomicU64,
    talking: AtomicBool,
    measuring: AtomicBool,
    /// The current measurement.
    phase: AtomicUsize,
    stop: AtomicBool,
    failed: AtomicBool,
}

impl Shared {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            opened: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            probed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            talking: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
            phase: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Runs the command and returns its result as JSON. Each delivery to one member counts as a message.
pub fn run(mut args: Args) -> Result<Outcome> {
    let plan = Plan::take(&mut args)?;
    let window = Window::take(&mut args)?;
    args.finish()?;
    let bounds = &plan.in_flight;
    if plan.size < publisher::HEAD || bounds.contains(&0) || plan.threads == 0 {
        let least = publisher::HEAD;
        return Err(
            format!("--size is at least {least}, --in-flight and --threads at least 1").into(),
        );
    }
    if !bounds.is_sorted() {
        return Err("the numbers of --in-flight must grow".into());
    }
    let shared = Shared::new();
    let publishers = Publishers::new(&plan, &shared)?;
    std::thread::scope(|scope| {
        let work = |number| {
            let (plan, shared, publishers) = (&plan, &shared, &publishers);
            move || {
                let outcome = Members::open(plan, shared, publishers, number)
                    .and_then(|members| members.run());
                if outcome.is_err() {
                    shared.failed.store(true, Ordering::Relaxed);
                }
                outcome
            }
        };
        let threads: Vec<_> = (0..plan.threads)
            .map(|number| scope.spawn(work(number)))
            .collect();
        let outcome = conduct(&plan, &shared, &publishers, &window);
        shared.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::new(plan.in_flight.len());
        for thread in threads {
            all.add(&thread.join().map_err(|_| "a client thread panicked")??);
        }
        let (phases, missing) = outcome?;
        all.faults.lost += missing;
        Ok(all.outcome(&plan, &phases))
    })
}

/// Waits until all members have joined, starts the publishers, measures, and waits for the messages that
/// are on their way. Returns the figures of each measurement, and the number of messages that have not come by then.
fn conduct(
    plan: &Plan,
    shared: &Shared,
    publishers: &Publishers<'_>,
    window: &Window,
) -> Result<(Vec<String>, u64)> {
    let failed = || shared.failed.load(Ordering::Relaxed);
    gather(plan, shared, publishers)?;
    shared.talking.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let pacer = scope.spawn(|| publishers.pace());
        let mut phases = Vec::new();
        for phase in 0..plan.in_flight.len() {
            shared.phase.store(phase, Ordering::Relaxed);
            phases.push(window.measure(
                || true,
                || {
                    // The first call is at the beginning of the measured time.
                    shared.measuring.store(true, Ordering::Relaxed);
                    shared.delivered.load(Ordering::Relaxed)
                },
                failed,
            )?);
            shared.measuring.store(false, Ordering::Relaxed);
        }
        shared.talking.store(false, Ordering::Relaxed);
        pacer.join().map_err(|_| "the pacing thread panicked")??;
        let (mut before, mut since) = (publishers.waiting(), Instant::now());
        while !failed() && publishers.waiting() > 0 {
            let waiting = publishers.waiting();
            if waiting != before {
                (before, since) = (waiting, Instant::now());
            }
            if since.elapsed() > plan.drain {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((phases, publishers.waiting()))
    })
}

/// Sends probes until every member has received one.
fn gather(plan: &Plan, shared: &Shared, publishers: &Publishers<'_>) -> Result<()> {
    let deadline = Instant::now() + JOIN;
    let (mut before, mut since, mut silence) = (u64::MAX, Instant::now(), SILENCE);
    loop {
        if shared.failed.load(Ordering::Relaxed) {
            // The thread that failed reports the error.
            return Ok(());
        }
        if shared.opened.load(Ordering::Relaxed) == plan.threads {
            let probed = shared.probed.load(Ordering::Relaxed);
            if shared.joined.load(Ordering::Relaxed) == plan.members {
                return Ok(());
            }
            if before == u64::MAX || (probed == before && since.elapsed() > silence) {
                publishers.probe()?;
                silence *= 2;
                since = Instant::now();
            }
            if probed != before {
                (before, since) = (probed, Instant::now());
            }
        }
        if Instant::now() > deadline {
            let joined = shared.joined.load(Ordering::Relaxed);
            return Err(format!("only {joined} members got a message").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
