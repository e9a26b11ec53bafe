//! `load echo`: a number of connections, and a number of messages in flight on each. Every echo is checked.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::Decompress;
use mio::{Events, Poll, Token};

use crate::args::Args;
use crate::open::{self, Opened, Target};
use crate::payload::{self, Kind, Pool};
use crate::peer::{Peer, State};
use crate::wire::Frame;
use crate::{Result, window};

/// Time limit for the last echoes, after the last message was sent.
const DRAIN: Duration = Duration::from_secs(10);

struct Plan {
    target: Target,
    connections: usize,
    in_flight: usize,
    takeover: bool,
    pool: Pool,
    /// The number of threads that have opened their connections.
    ready: AtomicUsize,
    stop: AtomicBool,
}

struct Echo {
    peer: Peer,
    sent: usize,
    echoed: usize,
    done: bool,
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
        Ok(Self {
            target: Target {
                address: args.need("address")?,
                path: args.take("path", "/".to_owned())?,
                extensions: extensions.to_owned(),
            },
            connections: args.take("connections", 100)?,
            in_flight: args.take("in-flight", 1)?,
            takeover: deflate == "takeover",
            pool: Pool::new(kind, size, deflate != "off")?,
            ready: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        })
    }
}

/// Runs the command and returns its result as JSON.
pub fn run(mut args: Args) -> Result<String> {
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
        let ready = || plan.ready.load(Ordering::Relaxed) == threads;
        let failed = || workers.iter().any(|worker| worker.is_finished());
        let result = window.measure(ready, count, failed);
        plan.stop.store(true, Ordering::Relaxed);
        let (mut echoes, mut bytes) = (0, 0);
        for worker in workers {
            let outcome: Result<(u64, u64)> =
                worker.join().map_err(|_| "a client thread panicked")?;
            let (some, their_bytes) = outcome?;
            echoes += some;
            bytes += their_bytes;
        }
        let size = bytes / echoes.max(1);
        Ok(format!("{{{},\"reply_bytes\":{size}}}", result?))
    })
}

/// The connections of one thread.
struct Worker<'a> {
    plan: &'a Plan,
    poll: Poll,
    echoes: Vec<Echo>,
    /// The inflaters: with context takeover one per connection, else one for all.
    inflaters: Vec<Decompress>,
    scratch: Vec<u8>,
    inflated: Vec<u8>,
    /// Payload bytes as received, before inflation.
    bytes: u64,
}

impl<'a> Worker<'a> {
    fn open(plan: &'a Plan, share: std::ops::Range<usize>) -> Result<Self> {
        let poll = Poll::new()?;
        let mut echoes = Vec::with_capacity(share.len());
        for opened in open::several(&plan.target, share)? {
            check_extensions(plan, &opened)?;
            let peer = Peer::new(opened, poll.registry(), Token(echoes.len()))?;
            echoes.push(Echo {
                peer,
                sent: 0,
                echoed: 0,
                done: false,
            });
        }
        let inflaters = if plan.takeover { echoes.len() } else { 1 };
        Ok(Self {
            plan,
            poll,
            echoes,
            inflaters: (0..inflaters).map(|_| Decompress::new(false)).collect(),
            scratch: Vec::new(),
            inflated: Vec::new(),
            bytes: 0,
        })
    }

    /// Sends and checks until the end. Returns the number of echoes, and their bytes.
    fn run(mut self, counter: &AtomicU64) -> Result<(u64, u64)> {
        let mut events = Events::with_capacity(1024);
        for echo in &mut self.echoes {
            echo.sent = self.plan.in_flight;
            echo.peer
                .send(self.plan.pool.frames(0, self.plan.in_flight))?;
        }
        let mut total = 0;
        let mut deadline = None;
        loop {
            self.poll
                .poll(&mut events, Some(Duration::from_millis(50)))?;
            let stop = self.plan.stop.load(Ordering::Relaxed);
            for event in &events {
                let Token(index) = event.token();
                if event.is_writable() {
                    self.echoes[index].peer.flush()?;
                }
                total += self.turn(index, stop)? as u64;
            }
            counter.store(total, Ordering::Relaxed);
            if stop && finish(&mut self.echoes, &mut deadline)? {
                return Ok((total, self.bytes));
            }
        }
    }

    /// Takes the echoes of one connection and sends as many messages; returns their number.
    fn turn(&mut self, index: usize, stop: bool) -> Result<usize> {
        let (plan, inflated) = (self.plan, &mut self.inflated);
        let inflater = &mut self.inflaters[if plan.takeover { index } else { 0 }];
        let echo = &mut self.echoes[index];
        let first = echo.echoed;
        let (echoed, bytes) = (&mut echo.echoed, &mut self.bytes);
        let state = echo.peer.receive(&mut self.scratch, |frame| {
            check(plan, frame, *echoed, inflater, inflated)?;
            *echoed += 1;
            *bytes += frame.payload.len() as u64;
            Ok(())
        })?;
        if state != State::Open && !echo.done {
            return Err("the server closed a connection".into());
        }
        let fresh = echo.echoed - first;
        if !stop && fresh > 0 {
            echo.peer.send(plan.pool.frames(echo.sent, fresh))?;
            echo.sent += fresh;
        }
        Ok(fresh)
    }
}

/// Closes the connections that have all their echoes; true if no connection is left.
fn finish(echoes: &mut [Echo], deadline: &mut Option<Instant>) -> Result<bool> {
    let deadline = *deadline.get_or_insert_with(|| Instant::now() + DRAIN);
    for echo in echoes
        .iter_mut()
        .filter(|echo| !echo.done && echo.echoed == echo.sent)
    {
        echo.peer.close()?;
        echo.peer.shutdown();
        echo.done = true;
    }
    if Instant::now() > deadline {
        let missing: usize = echoes.iter().map(|echo| echo.sent - echo.echoed).sum();
        return Err(format!("{missing} echoes never came").into());
    }
    Ok(echoes.iter().all(|echo| echo.done))
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

/// Compares an echo with its message.
fn check(
    plan: &Plan,
    frame: &Frame<'_>,
    number: usize,
    inflater: &mut Decompress,
    inflated: &mut Vec<u8>,
) -> Result<()> {
    let expected = plan.pool.message(number);
    let payload = if frame.compressed {
        if !plan.takeover {
            inflater.reset(false);
        }
        payload::inflate(inflater, frame.payload, expected.len(), inflated)?;
        inflated.as_slice()
    } else if plan.target.extensions.is_empty() {
        frame.payload
    } else {
        return Err("the server sent a message plain that it should have deflated".into());
    };
    if payload == expected {
        Ok(())
    } else {
        Err(format!(
            "echo {number} is not what was sent ({} bytes)",
            payload.len()
        )
        .into())
    }
}
