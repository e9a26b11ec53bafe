//! `load handshake`: connections that are opened, echo one message and are closed, a few at a time.
//!
//! With `--kind http` each connection carries one GET instead: the time that the server and the view need
//! without any WebSocket.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::args::Args;
use crate::histogram::Histogram;
use crate::open::{self, Opened, Target};
use crate::payload::{Kind, Pool};
use crate::window::Window;
use crate::{Outcome, Result, wire};

/// The content of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    WebSocket,
    Http,
}

impl std::str::FromStr for Visit {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        match text {
            "websocket" => Ok(Self::WebSocket),
            "http" => Ok(Self::Http),
            _ => Err(()),
        }
    }
}

struct Plan {
    target: Target,
    visit: Visit,
    /// The number of connections that exist at a time.
    connections: usize,
    pool: Pool,
    next: AtomicU64,
    done: AtomicU64,
    measuring: AtomicBool,
    stop: AtomicBool,
    failed: AtomicBool,
}

/// Latencies in nanoseconds, since the beginning of the connection.
#[derive(Default)]
struct Latencies {
    /// Until the response to the handshake or the request is there.
    answered: Histogram,
    /// Until the connection is closed.
    closed: Histogram,
}

/// Runs the command and returns its result as JSON. Each connection counts as a message.
pub fn run(mut args: Args) -> Result<Outcome> {
    let visit = args.take("kind", Visit::WebSocket)?;
    let plan = Plan {
        target: Target {
            address: args.need("address")?,
            path: args.take("path", "/".to_owned())?,
            extensions: String::new(),
        },
        visit,
        connections: args.take("connections", 8)?,
        pool: Pool::new(Kind::Text, args.take("size", 32)?, false)?,
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        measuring: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        failed: AtomicBool::new(false),
    };
    let window = Window::take(&mut args)?;
    args.finish()?;
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..plan.connections)
            .map(|_| scope.spawn(|| visitor(&plan)))
            .collect();
        let result = window.measure(
            || true,
            || {
                // The first call is at the beginning of the measured time.
                plan.measuring.store(true, Ordering::Relaxed);
                plan.done.load(Ordering::Relaxed)
            },
            || plan.failed.load(Ordering::Relaxed),
        );
        plan.measuring.store(false, Ordering::Relaxed);
        plan.stop.store(true, Ordering::Relaxed);
        let mut all = Latencies::default();
        for visitor in visitors {
            let some = visitor.join().map_err(|_| "a client thread panicked")??;
            all.answered.add(&some.answered);
            all.closed.add(&some.closed);
        }
        Ok(Outcome::sound(format!(
            "{},\"answered_p50_us\":{:.1},\"answered_p99_us\":{:.1},\"latency_p50_us\":{:.1},\
             \"latency_p99_us\":{:.1}",
            result?,
            all.answered.micros(0.5),
            all.answered.micros(0.99),
            all.closed.micros(0.5),
            all.closed.micros(0.99),
        )))
    })
}

/// Opens and closes connections, one after the other, until the end.
fn visitor(plan: &Plan) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    while !plan.stop.load(Ordering::Relaxed) {
        let number = plan.next.fetch_add(1, Ordering::Relaxed) as usize;
        let start = Instant::now();
        let outcome = match plan.visit {
            Visit::WebSocket => talk(plan, number),
            Visit::Http => get(plan, number),
        };
        let answered = outcome.inspect_err(|_| plan.failed.store(true, Ordering::Relaxed))?;
        if plan.measuring.load(Ordering::Relaxed) {
            let nanos = |end: Instant| u64::try_from((end - start).as_nanos()).unwrap_or(u64::MAX);
            latencies.answered.record(nanos(answered), 1);
            latencies.closed.record(nanos(Instant::now()), 1);
        }
        plan.done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(latencies)
}

/// The number of a source address for one of many connections that live shortly: all addresses are used in
/// turn, because a closed connection keeps its port for a while.
fn rotated(number: usize) -> usize {
    number * open::PER_SOURCE
}

/// One WebSocket: handshake, echo, close handshake. Returns the time when the handshake was complete.
fn talk(plan: &Plan, number: usize) -> Result<Instant> {
    let Opened {
        mut stream,
        leftover: mut received,
        ..
    } = open::websocket(&plan.target, rotated(number))?;
    let answered = Instant::now();
    stream.write_all(plan.pool.frames(number, 1))?;
    until(&mut stream, &mut received, |frame| match frame.opcode {
        wire::TEXT | wire::BINARY if frame.payload == plan.pool.message(number) => {
            Ok(ControlFlow::Break(()))
        }
        wire::PING => Ok(ControlFlow::Continue(())),
        _ => Err("the echo is not what was sent".into()),
    })?;
    let mut close = Vec::new();
    wire::encode(
        &mut close,
        wire::CLOSE,
        false,
        [1, 2, 3, 4],
        &1000_u16.to_be_bytes(),
    );
    stream.write_all(&close)?;
    until(&mut stream, &mut received, |frame| match frame.opcode {
        wire::CLOSE => Ok(ControlFlow::Break(())),
        wire::PING => Ok(ControlFlow::Continue(())),
        _ => Err("a message came twice".into()),
    })?;
    Ok(answered)
}

/// Reads frames until `on_frame` breaks.
fn until(
    stream: &mut std::net::TcpStream,
    received: &mut Vec<u8>,
    mut on_frame: impl FnMut(&wire::Frame<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    loop {
        while let Some(frame) = wire::decode(received)? {
            let length = frame.length;
            let flow = on_frame(&frame)?;
            received.drain(..length);
            if flow.is_break() {
                return Ok(());
            }
        }
        let mut chunk = [0; 1024];
        let count = crate::again(|| stream.read(&mut chunk))?;
        if count == 0 {
            return Err("the server closed a connection without a Close frame".into());
        }
        received.extend_from_slice(&chunk[..count]);
    }
}

/// One HTTP request. Returns the time when the response had come.
fn get(plan: &Plan, number: usize) -> Result<Instant> {
    let Target { address, path, .. } = &plan.target;
    open::get(*address, path, rotated(number))?;
    Ok(Instant::now())
}
