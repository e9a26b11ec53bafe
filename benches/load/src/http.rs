//! `load http`: HTTP requests in a row, each on a connection of its own.

use std::time::{Duration, Instant};

use crate::args::Args;
use crate::histogram::Histogram;
use crate::{Outcome, Result, open};

/// Runs the command and returns its result as JSON: latencies in microseconds.
pub fn run(mut args: Args) -> Result<Outcome> {
    let address = args.need("address")?;
    let path: String = args.take("path", "/".to_owned())?;
    let requests: usize = args.take("requests", 1000)?;
    let pause = Duration::try_from_secs_f64(args.take("pause", 0.0)?)?;
    // Every command gets `--pid`; this one does not use it.
    let _: i32 = args.take("pid", 0)?;
    args.finish()?;

    let mut latencies = Histogram::default();
    for number in 0..requests {
        let start = Instant::now();
        open::get(address, &path, number)?;
        latencies.record(
            u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            1,
        );
        std::thread::sleep(pause);
    }
    Ok(Outcome::sound(format!(
        "\"requests\":{requests},\"median_us\":{:.1},\"p90_us\":{:.1},\"p99_us\":{:.1},\
         \"max_us\":{:.1}",
        latencies.micros(0.5),
        latencies.micros(0.9),
        latencies.micros(0.99),
        latencies.micros(1.0),
    )))
}
