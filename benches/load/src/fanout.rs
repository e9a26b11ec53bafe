//! `load fanout`: many members and a few publishers. The server sends the publishers' messages to every
//! member.
//!
//! The server must send a message that arrives on `--publish-path` to all connections on `--path`. Every
//! delivery is checked: the bytes are right, each message arrives once, and those of each publisher
//! arrive in order.

mod histogram;
mod members;
mod publisher;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::histogram::Histogram;
use self::members::Members;
use self::publisher::Publishers;
use crate::Result;
use crate::args::Args;
use crate::open::Target;
use crate::window::Window;

/// Time limit for all members to join.
const JOIN: Duration = Duration::from_secs(120);

/// Time without a probe's delivery after which the next probe is sent.
const SILENCE: Duration = Duration::from_millis(250);

struct Plan {
    /// The addresses of the servers, which share the members evenly.
    addresses: Vec<SocketAddr>,
    path: String,
    publish_path: String,
    members: usize,
    publishers: usize,
    threads: usize,
    /// The most messages of one publisher that are on their way.
    in_flight: usize,
    size: usize,
    /// Messages per second of each publisher; 0: as many as `in_flight` allows.
    rate: f64,
    /// Time limit for the messages that are on their way at the end.
    drain: Duration,
    /// Whether the publishers get their own messages, too; these are ignored.
    heard: bool,
}

impl Plan {
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
pub fn run(mut args: Args) -> Result<String> {
    let addresses: String = args.need("address")?;
    let plan = Plan {
        addresses: addresses
            .split(',')
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?,
        path: args.take("path", "/member".to_owned())?,
        publish_path: args.take("publish-path", "/publish".to_owned())?,
        members: args.take("members", 1000)?,
        publishers: args.take("publishers", 1)?,
        threads: args.take("threads", 2)?,
        in_flight: args.take("in-flight", 16)?,
        size: args.take("size", 128)?,
        rate: args.take("rate", 0.0)?,
        drain: Duration::try_from_secs_f64(args.take("drain", 60.0)?)?,
        heard: args.take("heard", false)?,
    };
    let window = Window::take(&mut args)?;
    args.finish()?;
    if plan.size < publisher::HEAD || plan.in_flight == 0 || plan.threads == 0 {
        let least = publisher::HEAD;
        return Err(
            format!("--size is at least {least}, --in-flight and --threads at least 1").into(),
        );
    }
    let shared = Shared::new();
    let publishers = Publishers::open(&plan, &shared)?;
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
        let mut latencies = Histogram::default();
        for thread in threads {
            latencies.add(&thread.join().map_err(|_| "a client thread panicked")??);
        }
        let percentile = |share| latencies.percentile(share) as f64 / 1e6;
        Ok(format!(
            "{{{},\"latency_p50_ms\":{:.3},\"latency_p99_ms\":{:.3},\"latency_max_ms\":{:.3}}}",
            outcome?,
            percentile(0.5),
            percentile(0.99),
            percentile(1.0),
        ))
    })
}

/// Waits until all members have joined, starts the publishers, measures, and waits for the messages that
/// are on their way.
fn conduct(
    plan: &Plan,
    shared: &Shared,
    publishers: &Publishers<'_>,
    window: &Window,
) -> Result<String> {
    let failed = || shared.failed.load(Ordering::Relaxed);
    gather(plan, shared, publishers)?;
    shared.talking.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let pacer = scope.spawn(|| publishers.pace());
        let result = window.measure(
            || true,
            || {
                // The first call is at the beginning of the measured time.
                shared.measuring.store(true, Ordering::Relaxed);
                shared.delivered.load(Ordering::Relaxed)
            },
            failed,
        );
        shared.measuring.store(false, Ordering::Relaxed);
        shared.talking.store(false, Ordering::Relaxed);
        pacer.join().map_err(|_| "the pacing thread panicked")??;
        let deadline = Instant::now() + plan.drain;
        while !failed() && publishers.waiting() > 0 {
            if Instant::now() > deadline {
                let missing = publishers.waiting();
                return Err(format!("{missing} deliveries were lost at the end").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        result
    })
}

/// Sends probes until every member has received one.
fn gather(plan: &Plan, shared: &Shared, publishers: &Publishers<'_>) -> Result<()> {
    let deadline = Instant::now() + JOIN;
    let (mut before, mut since) = (u64::MAX, Instant::now());
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
            if before == u64::MAX || (probed == before && since.elapsed() > SILENCE) {
                publishers.probe()?;
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
