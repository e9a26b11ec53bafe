//! The members, which receive the messages. Each thread has its share of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::publisher::{HEAD, NUMBERED, PROBE, Publishers};
use super::{Plan, Shared};
use crate::histogram::Histogram;
use crate::open;
use crate::peer::{Peer, State};
use crate::{Faults, Outcome, Result};

struct Member {
    peer: Peer,
    probed: bool,
    /// The number of the next message, per publisher.
    next: Vec<u64>,
}

/// The result of one thread.
pub struct Tally {
    /// Latencies in nanoseconds, for each measurement.
    latencies: Vec<Histogram>,
    pub faults: Faults,
}

impl Tally {
    pub fn new(phases: usize) -> Self {
        Self {
            latencies: std::iter::repeat_with(Histogram::default)
                .take(phases)
                .collect(),
            faults: Faults::default(),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.faults += other.faults;
        for (mine, more) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.add(more);
        }
    }

    pub fn outcome(&self, plan: &Plan, phases: &[String]) -> Outcome {
        let phases: Vec<_> = phases
            .iter()
            .zip(&self.latencies)
            .zip(&plan.in_flight)
            .map(|((figures, latencies), in_flight)| {
                let percentile = |share| latencies.percentile(share) as f64 / 1e6;
                format!(
                    "{figures},\"in_flight\":{in_flight},\"latency_p50_ms\":{:.3},\
                     \"latency_p99_ms\":{:.3},\"latency_max_ms\":{:.3}",
                    percentile(0.5),
                    percentile(0.99),
                    percentile(1.0),
                )
            })
            .collect();
        let last = phases.last().map_or("", String::as_str);
        Outcome {
            figures: format!("{last},\"phases\":[{{{}}}]", phases.join("},{")),
            faults: self.faults,
        }
    }
}

/// The members of one thread. The first thread serves the publishers, too.
pub struct Members<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    publishers: &'a Publishers<'a>,
    leads: bool,
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    scratch: Vec<u8>,
    tally: Tally,
    /// Deliveries since the last call of `hand_over`: publisher, message, count.
    counted: Vec<(usize, u64, u64)>,
    /// Those of them that are missing.
    missed: u64,
}

impl<'a> Members<'a> {
    /// Opens every `plan.threads`-th connection, from `number` on.
    pub fn open(
        plan: &'a Plan,
        shared: &'a Shared,
        publishers: &'a Publishers<'a>,
        number: usize,
    ) -> Result<Self> {
        let mut all = Self {
            plan,
            shared,
            publishers,
            leads: false,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            members: Vec::new(),
            scratch: Vec::new(),
            tally: Tally::new(plan.in_flight.len()),
            counted: Vec::new(),
            missed: 0,
        };
        for server in 0..plan.addresses.len() {
            let target = plan.target(server, &plan.path);
            // Members of this server have numbers that are `server` modulo the number of servers. Of
            // these, this thread takes every `plan.threads`-th.
            let here = (server..plan.members).step_by(plan.addresses.len()).count();
            let mine = (number..here).step_by(plan.threads).count();
            let first = (server * plan.threads + number) * plan.members;
            for portion in open::portions(first..first + mine) {
                for opened in open::several(&target, portion)? {
                    let token = Token(all.members.len());
                    all.members.push(Member {
                        peer: Peer::new(opened, all.poll.registry(), token)?,
                        probed: false,
                        next: vec![0; plan.publishers],
                    });
                }
                all.attend(Duration::ZERO)?;
            }
        }
        if number == 0 {
            publishers.open(all.poll.registry(), all.members.len())?;
            all.leads = true;
        }
        shared.opened.fetch_add(1, Ordering::Relaxed);
        Ok(all)
    }

    /// Reads and checks until the end.
    pub fn run(mut self) -> Result<Tally> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.attend(Duration::from_millis(20))?;
        }
        Ok(self.tally)
    }

    /// Handles the events of the sockets; waits for them for at most `timeout`.
    fn attend(&mut self, timeout: Duration) -> Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        crate::again(|| self.poll.poll(&mut events, Some(timeout)))?;
        for event in &events {
            let Token(number) = event.token();
            if number < self.members.len() {
                if event.is_writable() {
                    self.members[number].peer.flush()?;
                }
                self.receive(number)?;
            } else if self.leads {
                self.publishers
                    .attend(number - self.members.len(), &mut self.scratch)?;
            }
        }
        self.events = events;
        self.hand_over()
    }

    /// Reads and checks the messages for one member.
    fn receive(&mut self, number: usize) -> Result<()> {
        let Member { peer, probed, next } = &mut self.members[number];
        let (plan, shared, publishers) = (self.plan, self.shared, self.publishers);
        let (counted, missed) = (&mut self.counted, &mut self.missed);
        let Tally { latencies, faults } = &mut self.tally;
        let latencies = &mut latencies[shared.phase.load(Ordering::Relaxed)];
        let measuring = shared.measuring.load(Ordering::Relaxed);
        // The clock is read once for all messages of a read.
        let mut now = None;
        let state = peer.receive(&mut self.scratch, |frame| {
            let (kind, publisher, message) = parse(frame.payload, plan.size)?;
            if &frame.payload[HEAD..] != publishers.padding(message) {
                faults.changed += 1;
            }
            if kind == PROBE {
                shared.probed.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(probed, true) {
                    shared.joined.fetch_add(1, Ordering::Relaxed);
                }
                return Ok(());
            }
            let expected = next
                .get_mut(publisher)
                .ok_or("a member got a message of nobody")?;
            if message < *expected {
                faults.doubled += 1;
                return Ok(());
            }
            if message > *expected + plan.most() as u64 {
                return Err("a member got a message that nobody has sent yet".into());
            }
            // A lost message counts as delivered, so that its publisher goes on.
            faults.lost += message - *expected;
            *missed += message - *expected;
            let arrived = *expected..=message;
            *expected = message + 1;
            if measuring {
                let at = *now.get_or_insert_with(|| shared.now());
                latencies.record(at.saturating_sub(publishers.sent_at(publisher, message)), 1);
            }
            for message in arrived {
                match counted
                    .iter_mut()
                    .find(|one| (one.0, one.1) == (publisher, message))
                {
                    Some(one) => one.2 += 1,
                    None => counted.push((publisher, message, 1)),
                }
            }
            Ok(())
        })?;
        match state {
            State::Open => Ok(()),
            State::Closed | State::Broken => Err("the server closed a member".into()),
        }
    }

    /// Reports the deliveries to the publishers.
    fn hand_over(&mut self) -> Result<()> {
        let mut total = 0;
        for (publisher, message, count) in self.counted.drain(..) {
            total += count;
            self.publishers.delivered(publisher, message, count)?;
        }
        total -= std::mem::take(&mut self.missed);
        self.shared.delivered.fetch_add(total, Ordering::Relaxed);
        Ok(())
    }
}

/// Parses the head of a message: its kind, its publisher, its number.
fn parse(payload: &[u8], size: usize) -> Result<(u8, usize, u64)> {
    let head = match payload.get(..HEAD) {
        Some(head) if payload.len() == size => head,
        _ => return Err(format!("a message of {} bytes, not {size}", payload.len()).into()),
    };
    let kind = head[0];
    if (kind != PROBE && kind != NUMBERED) || head[1] != b' ' || head[6] != b' ' {
        return Err("a member got what nobody has sent".into());
    }
    Ok((kind, hex(&head[2..6])? as usize, hex(&head[7..])?))
}

fn hex(digits: &[u8]) -> Result<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = char::from(*digit)
            .to_digit(16)
            .ok_or("a number is not what was sent")?;
        Ok(number << 4 | u64::from(digit))
    })
}
