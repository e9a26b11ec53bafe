//! `load chat`: the members of one chat room, some of which send messages. Every delivery is checked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::args::Args;
use crate::open::{self, Target};
use crate::peer::{Peer, State};
use crate::window::Window;
use crate::{Result, wire};

/// Time limit for all members to join.
const JOIN: Duration = Duration::from_secs(60);

struct Plan {
    target: Target,
    members: usize,
    senders: usize,
    size: usize,
    ready: AtomicBool,
    stop: AtomicBool,
}

/// The number of the next message that one member expects of one sender.
#[derive(Clone, Copy, Default)]
struct Seen(u64);

/// Runs the command and returns its result as JSON. Each delivery to one member counts as a message.
pub fn run(mut args: Args) -> Result<String> {
    let plan = Plan {
        target: Target {
            address: args.need("address")?,
            path: args.take("path", "/".to_owned())?,
            extensions: String::new(),
        },
        members: args.take("members", 200)?,
        senders: args.take("senders", 10)?,
        size: args.take("size", 32)?,
        ready: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    };
    let window = Window::take(&mut args)?;
    args.finish()?;
    if plan.senders > plan.members || plan.size < 20 {
        return Err("--senders is at most --members, --size at least 20".into());
    }
    let counter = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| Room::open(&plan)?.talk(&counter));
        let result = window.measure(
            || plan.ready.load(Ordering::Relaxed),
            || counter.load(Ordering::Relaxed),
            || worker.is_finished(),
        );
        plan.stop.store(true, Ordering::Relaxed);
        worker.join().map_err(|_| "the client thread panicked")??;
        Ok(format!("{{{}}}", result?))
    })
}

struct Room<'a> {
    plan: &'a Plan,
    poll: Poll,
    peers: Vec<Peer>,
    /// The number of the next message, per member and sender.
    next: Vec<Vec<Seen>>,
    /// Whether each member is in the server's list, which it is once it has seen its own greeting.
    joined: Vec<bool>,
}

impl<'a> Room<'a> {
    fn open(plan: &'a Plan) -> Result<Self> {
        let poll = Poll::new()?;
        let mut peers = Vec::with_capacity(plan.members);
        for opened in open::several(&plan.target, 0..plan.members)? {
            peers.push(Peer::new(opened, poll.registry(), Token(peers.len()))?);
        }
        Ok(Self {
            plan,
            poll,
            peers,
            next: vec![vec![Seen::default(); plan.senders]; plan.members],
            joined: vec![false; plan.members],
        })
    }

    fn talk(mut self, counter: &AtomicU64) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut scratch = Vec::new();
        let deadline = Instant::now() + JOIN;
        for member in 0..self.plan.members {
            let greeting = text(self.plan.size, 'J', member, 0);
            self.send(member, &greeting)?;
        }
        let mut talking = false;
        let mut total = 0;
        while !self.plan.stop.load(Ordering::Relaxed) {
            self.poll
                .poll(&mut events, Some(Duration::from_millis(50)))?;
            for event in &events {
                let Token(member) = event.token();
                if event.is_writable() {
                    self.peers[member].flush()?;
                }
                let (delivered, answer) = self.receive(member, &mut scratch)?;
                total += delivered;
                if let Some(number) = answer {
                    self.send(member, &text(self.plan.size, 'M', member, number))?;
                }
            }
            counter.store(total, Ordering::Relaxed);
            if !talking && self.joined.iter().all(|joined| *joined) {
                talking = true;
                for sender in 0..self.plan.senders {
                    self.send(sender, &text(self.plan.size, 'M', sender, 0))?;
                }
                self.plan.ready.store(true, Ordering::Relaxed);
            }
            if !talking && Instant::now() > deadline {
                return Err("not every member of the room saw its own greeting".into());
            }
        }
        Ok(())
    }

    fn send(&mut self, member: usize, message: &str) -> Result<()> {
        let mut frame = Vec::new();
        wire::encode(
            &mut frame,
            wire::TEXT,
            false,
            [9, 8, 7, 6],
            message.as_bytes(),
        );
        self.peers[member].send(&frame)
    }

    /// Reads the messages for one member. Returns the deliveries, and the number of its own next message
    /// if its turn has come.
    fn receive(&mut self, member: usize, scratch: &mut Vec<u8>) -> Result<(u64, Option<u64>)> {
        let (next, joined) = (&mut self.next[member], &mut self.joined[member]);
        let size = self.plan.size;
        let mut delivered = 0;
        let mut answer = None;
        let state = self.peers[member].receive(scratch, |frame| {
            let (kind, sender, number) = parse(frame.payload, size)?;
            if kind == 'J' {
                *joined |= sender == member;
                return Ok(());
            }
            let Seen(expected) = next.get_mut(sender).map_or(Seen(u64::MAX), |seen| {
                let now = *seen;
                seen.0 += 1;
                now
            });
            if number != expected {
                return Err(format!(
                    "member {member} got message {number} of {sender}, not {expected}"
                )
                .into());
            }
            delivered += 1;
            if sender == member {
                answer = Some(number + 1);
            }
            Ok(())
        })?;
        if state == State::Open {
            Ok((delivered, answer))
        } else {
            Err("the server closed a connection".into())
        }
    }
}

/// A message with its sender and its number, padded to `size`.
fn text(size: usize, kind: char, sender: usize, number: u64) -> String {
    format!("{kind} {sender} {number} {:.<size$}", "")
        .chars()
        .take(size)
        .collect()
}

fn parse(payload: &[u8], size: usize) -> Result<(char, usize, u64)> {
    let text = std::str::from_utf8(payload)?;
    let mut words = text.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some(kind), Some(sender), Some(number)) if text.len() == size => Ok((
            kind.chars().next().unwrap_or('?'),
            sender.parse()?,
            number.parse()?,
        )),
        _ => Err(format!("not a message of the chat: {text:?}").into()),
    }
}
