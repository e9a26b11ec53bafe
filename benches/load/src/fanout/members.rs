//! The members, which receive the messages. Each thread has its share of them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::histogram::Histogram;
use super::publisher::{HEAD, NUMBERED, PROBE, Publishers};
use super::{Plan, Shared};
use crate::Result;
use crate::open;
use crate::peer::{Peer, State};

struct Member {
    peer: Peer,
    probed: bool,
    /// The number of the next message, per publisher.
    next: Vec<u64>,
}

/// The members of one thread. The first thread serves the publishers, too.
pub struct Members<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    publishers: &'a Publishers<'a>,
    leads: bool,
    poll: Poll,
    members: Vec<Member>,
    scratch: Vec<u8>,
    latencies: Histogram,
    /// Deliveries since the last call of `hand_over`: publisher, message, count.
    counted: Vec<(usize, u64, u64)>,
}

impl<'a> Members<'a> {
    /// Opens every `plan.threads`-th connection, from `number` on.
    pub fn open(
        plan: &'a Plan,
        shared: &'a Shared,
        publishers: &'a Publishers<'a>,
        number: usize,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        let mut members = Vec::new();
        for server in 0..plan.addresses.len() {
            let target = plan.target(server, &plan.path);
            // Members of this server have numbers that are `server` modulo the number of servers. Of
            // these, this thread takes every `plan.threads`-th.
            let all = (server..plan.members).step_by(plan.addresses.len()).count();
            let mine = (number..all).step_by(plan.threads).count();
            let first = (server * plan.threads + number) * plan.members;
            for opened in open::several(&target, first..first + mine)? {
                let peer = Peer::new(opened, poll.registry(), Token(members.len()))?;
                members.push(Member {
                    peer,
                    probed: false,
                    next: vec![0; plan.publishers],
                });
            }
        }
        if number == 0 {
            publishers.place(poll.registry(), members.len())?;
        }
        shared.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            plan,
            shared,
            publishers,
            leads: number == 0,
            poll,
            members,
            scratch: Vec::new(),
            latencies: Histogram::default(),
            counted: Vec::new(),
        })
    }

    /// Reads and checks until the end; returns the latencies of the measured time.
    pub fn run(mut self) -> Result<Histogram> {
        let mut events = Events::with_capacity(1024);
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.poll
                .poll(&mut events, Some(Duration::from_millis(20)))?;
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
            self.hand_over()?;
        }
        Ok(self.latencies)
    }

    /// Reads and checks the messages for one member.
    fn receive(&mut self, number: usize) -> Result<()> {
        let Member { peer, probed, next } = &mut self.members[number];
        let (plan, shared, publishers) = (self.plan, self.shared, self.publishers);
        let (counted, latencies) = (&mut self.counted, &mut self.latencies);
        let measuring = shared.measuring.load(Ordering::Relaxed);
        // The clock is read once for all messages of a read.
        let mut now = None;
        let state = peer.receive(&mut self.scratch, |frame| {
            let (kind, publisher, message) = parse(frame.payload, plan.size)?;
            if &frame.payload[HEAD..] != publishers.padding(message) {
                return Err("a member got other bytes than were sent".into());
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
            if message != *expected {
                return Err(format!(
                    "a member got message {message} of publisher {publisher}, not {expected}"
                )
                .into());
            }
            *expected += 1;
            if measuring {
                let at = *now.get_or_insert_with(|| shared.now());
                latencies.record(at.saturating_sub(publishers.sent_at(publisher, message)), 1);
            }
            match counted
                .iter_mut()
                .find(|one| (one.0, one.1) == (publisher, message))
            {
                Some(one) => one.2 += 1,
                None => counted.push((publisher, message, 1)),
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
