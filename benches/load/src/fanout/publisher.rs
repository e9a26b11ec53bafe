//! The publishers, which send the messages. Each has a bounded number of messages on their way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::{Registry, Token};

use super::{Plan, Shared};
use crate::open;
use crate::payload::{Kind, Pool};
use crate::peer::{Peer, State};
use crate::{Result, wire};

/// Bytes of a message before its padding: its kind, its publisher, its number.
pub const HEAD: usize = 23;

/// The kind of a probe, which finds out the members that have joined and is not counted.
pub const PROBE: u8 = b'P';
pub const NUMBERED: u8 = b'N';

/// One message that is on its way.
struct Slot {
    /// Members that have received the message.
    count: AtomicU64,
    /// The time when the message was sent or was due, in nanoseconds since the start.
    at: AtomicU64,
}

struct Talker {
    /// The connection, once it is open.
    peer: Option<Peer>,
    sent: u64,
}

/// All publishers.
pub struct Publishers<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    pool: Pool,
    talkers: Vec<Mutex<Talker>>,
    /// One slot per publisher and message on its way.
    slots: Vec<Slot>,
}

impl<'a> Publishers<'a> {
    /// Makes the publishers, without connections yet.
    pub fn new(plan: &'a Plan, shared: &'a Shared) -> Result<Self> {
        let silent = || {
            Mutex::new(Talker {
                peer: None,
                sent: 0,
            })
        };
        let free = || Slot {
            count: AtomicU64::new(plan.members as u64),
            at: AtomicU64::new(0),
        };
        Ok(Self {
            plan,
            shared,
            pool: Pool::new(Kind::Text, plan.size - HEAD, false)?,
            talkers: std::iter::repeat_with(silent)
                .take(plan.publishers)
                .collect(),
            slots: std::iter::repeat_with(free)
                .take(plan.publishers * plan.most())
                .collect(),
        })
    }

    /// Opens the connections on an event loop, with tokens from `first` on. They are opened after those of
    /// the members, which may take longer than a server waits for the answer to a ping.
    pub fn open(&self, registry: &Registry, first: usize) -> Result<()> {
        for number in 0..self.talkers.len() {
            let target = self.plan.target(number, &self.plan.publish_path);
            let opened = open::websocket(&target, self.plan.members + number)?;
            self.talker(number).peer = Some(Peer::new(opened, registry, Token(first + number))?);
        }
        Ok(())
    }

    /// Writes the bytes that wait, and reads. Only pings arrive, unless publishers get their own messages.
    pub fn attend(&self, number: usize, scratch: &mut Vec<u8>) -> Result<()> {
        let mut talker = self.talker(number);
        let Some(peer) = &mut talker.peer else {
            return Ok(());
        };
        peer.flush()?;
        let heard = |_: &wire::Frame<'_>| match self.plan.heard {
            true => Ok(()),
            false => Err("a publisher was sent a message".into()),
        };
        match peer.receive(scratch, heard)? {
            State::Open => Ok(()),
            State::Closed | State::Broken => Err("the server closed a publisher".into()),
        }
    }

    /// Sends a probe, which every member that has joined gets.
    pub fn probe(&self) -> Result<()> {
        let mut talker = self.talker(0);
        self.write(&mut talker, PROBE, 0, 0)
    }

    /// Counts deliveries of one message. The last delivery makes room for the next message, which is sent
    /// at once.
    pub fn delivered(&self, publisher: usize, message: u64, count: u64) -> Result<()> {
        let slot = self.slot(publisher, message);
        let before = slot.count.fetch_add(count, Ordering::AcqRel);
        if before + count == self.plan.members as u64 && self.plan.rate == 0.0 {
            self.pump(publisher, u64::MAX)?;
        }
        Ok(())
    }

    /// The time when a message was sent.
    pub fn sent_at(&self, publisher: usize, message: u64) -> u64 {
        self.slot(publisher, message).at.load(Ordering::Relaxed)
    }

    /// The bytes that follow the head in a message with this number.
    pub fn padding(&self, message: u64) -> &[u8] {
        self.pool.message(message as usize)
    }

    /// The number of deliveries that are missing.
    pub fn waiting(&self) -> u64 {
        let missing = |slot: &Slot| self.plan.members as u64 - slot.count.load(Ordering::Acquire);
        self.slots.iter().map(missing).sum()
    }

    /// Starts sending. If there is a rate, keeps it until `talking` is false.
    pub fn pace(&self) -> Result<()> {
        let begin = self.shared.now();
        while self.shared.talking.load(Ordering::Relaxed)
            && !self.shared.failed.load(Ordering::Relaxed)
        {
            for publisher in 0..self.talkers.len() {
                if self.plan.rate == 0.0 {
                    self.pump(publisher, u64::MAX)?;
                } else {
                    let passed = (self.shared.now() - begin) as f64 / 1e9;
                    let due = (passed * self.plan.rate) as u64 + 1;
                    self.pump_paced(publisher, due, begin)?;
                }
            }
            if self.plan.rate == 0.0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn pump(&self, publisher: usize, due: u64) -> Result<()> {
        self.send_while(publisher, due, |_| self.shared.now())
    }

    /// Sends at a rate. The time of a message is when it was due, so waiting for room adds to its latency.
    fn pump_paced(&self, publisher: usize, due: u64, begin: u64) -> Result<()> {
        let interval = 1e9 / self.plan.rate;
        self.send_while(publisher, due, |message| {
            begin + (message as f64 * interval) as u64
        })
    }

    fn send_while(&self, publisher: usize, due: u64, at: impl Fn(u64) -> u64) -> Result<()> {
        let mut talker = self.talker(publisher);
        let in_flight = self.plan.in_flight[self.shared.phase.load(Ordering::Relaxed)] as u64;
        while talker.sent < due && self.shared.talking.load(Ordering::Relaxed) {
            let message = talker.sent;
            // Members get the messages in order: if this one was delivered, so were all before it.
            if message >= in_flight {
                let before = self.slot(publisher, message - in_flight);
                if before.count.load(Ordering::Acquire) < self.plan.members as u64 {
                    return Ok(());
                }
            }
            let slot = self.slot(publisher, message);
            slot.at.store(at(message), Ordering::Relaxed);
            slot.count.store(0, Ordering::Release);
            talker.sent += 1;
            self.write(&mut talker, NUMBERED, publisher, message)?;
        }
        Ok(())
    }

    fn write(&self, talker: &mut Talker, kind: u8, publisher: usize, message: u64) -> Result<()> {
        let mut text = format!("{} {publisher:04x} {message:016x}", char::from(kind)).into_bytes();
        text.extend_from_slice(self.padding(message));
        let mut frame = Vec::with_capacity(text.len() + 16);
        wire::encode(&mut frame, wire::TEXT, false, [9, 8, 7, 6], &text);
        match &mut talker.peer {
            Some(peer) => peer.send(&frame),
            None => Err("a publisher talks before its time".into()),
        }
    }

    fn slot(&self, publisher: usize, message: u64) -> &Slot {
        let most = self.plan.most();
        let within = (message % most as u64) as usize;
        &self.slots[publisher * most + within]
    }

    fn talker(&self, number: usize) -> MutexGuard<'_, Talker> {
        self.talkers[number]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
