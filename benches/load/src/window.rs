//! The measured time of a run, after the warm-up. Counts and CPU clocks are read at its two ends.

use std::time::{Duration, Instant};

use crate::args::Args;
use crate::{Result, cpu};

/// The time between two checks of the waiting thread whether a client thread has failed.
const LOOK: Duration = Duration::from_millis(20);

/// The longest measured time if `--least` asks for more messages than have arrived.
const LONGEST: Duration = Duration::from_secs(60);

/// The times of warm-up and measurement, and the processes whose CPU time is counted.
pub struct Window {
    warmup: Duration,
    length: Duration,
    /// The measurement goes on while it has fewer messages than this.
    least: u64,
    pids: Vec<i32>,
}

struct Reading {
    at: Instant,
    messages: u64,
    server: u64,
    client: u64,
}

impl Window {
    /// Takes `--warmup`, `--seconds`, `--least` (messages) and `--pid` (several are separated by commas; 0:
    /// no process) out of the arguments.
    pub fn take(args: &mut Args) -> Result<Self> {
        let warmup = Duration::try_from_secs_f64(args.take("warmup", 1.0)?)?;
        let length = Duration::try_from_secs_f64(args.take("seconds", 3.0)?)?;
        let least = args.take("least", 0)?;
        let mut pids = Vec::new();
        for pid in args.take("pid", "0".to_owned())?.split(',') {
            pids.push(pid.parse()?);
        }
        pids.retain(|pid| *pid != 0);
        Ok(Self {
            warmup,
            length,
            least,
            pids,
        })
    }

    /// Waits for `ready`, warms up and measures; goes on while messages are too few, and ends early if
    /// `failed` returns true. Returns the inside of a JSON object.
    pub fn measure(
        &self,
        ready: impl Fn() -> bool,
        count: impl Fn() -> u64,
        failed: impl Fn() -> bool,
    ) -> Result<String> {
        while !ready() && !failed() {
            std::thread::sleep(LOOK);
        }
        pause(self.warmup, &failed);
        let first = self.read(&count)?;
        pause(self.length, &failed);
        while count() - first.messages < self.least && first.at.elapsed() < LONGEST && !failed() {
            std::thread::sleep(LOOK);
        }
        let last = self.read(&count)?;

        let seconds = last.at.duration_since(first.at).as_secs_f64();
        let messages = last.messages - first.messages;
        let each = |from: u64, to: u64| (to - from) as f64 / 1000.0 / messages.max(1) as f64;
        Ok(format!(
            "\"messages\":{messages},\"seconds\":{seconds:.3},\"rate\":{:.1},\
             \"server_cpu_us\":{:.3},\"client_cpu_us\":{:.3}",
            messages as f64 / seconds,
            each(first.server, last.server),
            each(first.client, last.client),
        ))
    }

    fn read(&self, count: &impl Fn() -> u64) -> Result<Reading> {
        let mut server = 0;
        for pid in &self.pids {
            server += cpu::used(Some(*pid))?;
        }
        Ok(Reading {
            at: Instant::now(),
            messages: count(),
            server,
            client: cpu::used(None)?,
        })
    }
}

fn pause(length: Duration, failed: &impl Fn() -> bool) {
    let end = Instant::now() + length;
    while !failed() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(LOOK));
    }
}
