//! `load http`: HTTP requests in a row, each on a connection of its own.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::Result;
use crate::args::Args;
use crate::open;

/// Runs the command and returns its result as JSON: latencies in microseconds.
pub fn run(mut args: Args) -> Result<String> {
    let address = args.need("address")?;
    let path: String = args.take("path", "/".to_owned())?;
    let requests: usize = args.take("requests", 1000)?;
    let pause = Duration::try_from_secs_f64(args.take("pause", 0.0)?)?;
    // Every command gets `--pid`; this one does not use it.
    let _: i32 = args.take("pid", 0)?;
    args.finish()?;

    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut latencies = Vec::with_capacity(requests);
    for number in 0..requests {
        let start = Instant::now();
        let mut stream = open::connect(address, open::source(number))?;
        stream.write_all(request.as_bytes())?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response)?;
        latencies.push(start.elapsed().as_secs_f64() * 1e6);
        if !response.starts_with(b"HTTP/1.1 200") {
            let text = String::from_utf8_lossy(&response).into_owned();
            return Err(format!("not a 200: {text}").into());
        }
        std::thread::sleep(pause);
    }
    latencies.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        let rank = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(rank.max(1) - 1).copied().unwrap_or_default()
    };
    Ok(format!(
        "{{\"requests\":{requests},\"median_us\":{:.1},\"p90_us\":{:.1},\"p99_us\":{:.1},\
         \"max_us\":{:.1}}}",
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(1.0),
    ))
}
