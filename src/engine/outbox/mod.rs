//! The outbox of a connection: messages and control frames on their way to the peer.
//!
//! Messages wait unencoded. A policy can therefore drop a message without breaking a compression context,
//! and many small messages become one write. Only the rest of a write that the socket did not take in
//! full is kept as encoded bytes.
//!
//! * `backlog`: what waits, and in which order it is written.
//! * `policy`: what happens to a message that finds no room.
//! * `transport`: where the messages go: to a socket (`write`), or to the far end of a `queue`.

mod backlog;
mod policy;
mod queue;
mod sent;
mod signal;
mod transport;
mod way;
mod write;

use std::{net::Shutdown, sync::Arc};

use self::backlog::{Backlog, Item};
pub(super) use self::{queue::Queue, signal::Signal, way::Way, write::write_posted};
pub use self::{
    queue::{Capacity, FarEnd, Pushed, Wakeup},
    sent::Sent,
};
use crate::{
    config::{Config, Overflow},
    protocol::{Broadcast, Encoder, OpCode},
    runtime::figures::Stripe,
};

/// Payloads up to this size may be left to the [`Courier`](super::Courier): a copy costs less than the
/// system call.
const POSTED: usize = 4 * 1024;

/// Pongs that may wait. RFC 6455 section 5.5.3 allows an endpoint to answer only the latest ping.
pub(super) const PONGS: usize = 16;

/// Pings that may wait: the application's and the keepalive's. Measuring the latency needs one.
const PINGS: usize = 64;

/// The sending half of a connection.
///
/// The connection's lifecycle knows whether anything may be sent; the outbox knows whether the transport
/// and the limits allow it.
///
/// The fields stay in this order in memory: most of those that a message to many touches come first,
/// close together.
#[repr(C)]
pub(super) struct Outbox {
    /// A thread has taken a batch out and writes it without the lock; no other thread writes meanwhile.
    writing: bool,
    /// The actor must be woken when that write is over.
    actor_waits: bool,
    /// Set by the actor while it handles input, so that the answers go out in one write.
    corked: bool,
    /// The courier has been asked to write.
    posted: bool,
    /// A sender waits for room.
    room_wanted: bool,
    /// The transport took less than it was offered. Only the actor tries again, once the transport
    /// reports room.
    blocked: bool,
    /// The transport has failed by itself: it was not cut.
    failed: bool,
    /// Messages and bytes that were accepted, even if they were dropped later. The outbox counts them
    /// because a sender holds its lock anyway.
    sent: (u64, u64),
    /// Counts the messages of several connections, for monitoring.
    stripe: &'static Stripe,
    backlog: Backlog,
    /// `None` once the transport has failed or was cut, or the connection is gone.
    way: Option<Way>,
    signal: Arc<Signal>,
}

impl Outbox {
    pub(super) fn new(
        way: Way,
        encoder: Encoder,
        head: Vec<u8>,
        signal: Arc<Signal>,
        stripe: &'static Stripe,
    ) -> Self {
        Self {
            way: Some(way),
            backlog: Backlog::new(encoder, head),
            sent: (0, 0),
            stripe,
            writing: false,
            actor_waits: false,
            corked: false,
            posted: false,
            room_wanted: false,
            blocked: false,
            failed: false,
            signal,
        }
    }

    /// Counts messages here from now on.
    pub(super) fn count_in(&mut self, stripe: &'static Stripe) {
        self.stripe = stripe;
    }

    /// Whether messages may be compressed.
    pub(super) fn compresses(&self) -> bool {
        self.backlog.encoder.compresses()
    }

    /// Whether the transport has failed or was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.way.is_none()
    }

    /// Whether a write has failed. What the peer has sent before may still be read.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the transport has taken the Close frame, and with it everything before.
    pub(super) fn close_is_written(&self) -> bool {
        self.backlog.close_taken && !self.writing && self.backlog.unsent.is_empty()
    }

    /// Messages and bytes that wait.
    pub(super) fn backlog(&self) -> (usize, usize) {
        (
            self.backlog.messages,
            self.backlog.bytes + self.backlog.unsent_bytes() + self.backlog.controls_bytes(),
        )
    }

    /// The bytes that the peer has taken, as a position in all that is sent; 0 if the transport is cut. The
    /// position tells how much the peer takes in some time, and nothing else: at a socket, it may begin below 0.
    pub(super) fn taken(&self) -> i64 {
        let way = self.way.as_ref();
        way.map_or(0, |way| self.backlog.taken as i64 - way.on_the_way() as i64)
    }

    /// The position in all that is sent behind the pings and pongs that wait.
    pub(super) fn end_of_controls(&self) -> i64 {
        let before = self.backlog.unsent_bytes() + self.backlog.controls_bytes();
        self.backlog.taken as i64 + before as i64
    }

    /// Messages and bytes that were accepted.
    pub(super) fn sent(&self) -> (u64, u64) {
        self.sent
    }

    fn count(&mut self, len: usize) {
        self.sent.0 += 1;
        self.sent.1 += len as u64;
    }

    /// Whether the head of the response still waits.
    pub(super) fn head_waits(&self) -> bool {
        self.backlog.head_waits
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.backlog.is_empty()
    }

    pub(super) fn want_room(&mut self) {
        self.room_wanted = true;
    }

    /// Whether a sender waits for room and the room has come; resets the request. `closing`: nothing can
    /// be sent any more, so the sender need not wait.
    pub(super) fn take_room_wanted(&mut self, config: &Config, closing: bool) -> bool {
        let granted = self.room_wanted && (closing || self.has_room(1, config));
        self.room_wanted &= !granted;
        granted
    }

    /// Whether a message may be left to the courier. If so, the caller calls [`Outbox::post`] before it
    /// sends. A queue takes a message without a system call, so a courier would only cost a wake-up.
    pub(super) fn may_post(&self, payload: &[u8]) -> bool {
        payload.len() <= POSTED
            && !self.corked
            && !self.has_unsent()
            && matches!(self.way, Some(Way::Socket(_)))
    }

    /// Holds messages back until the courier runs [`write_posted`]; false if they are held back already.
    pub(super) fn post(&mut self) -> bool {
        !std::mem::replace(&mut self.posted, true)
    }

    /// Ends the holding back of messages; returns how many messages wait.
    pub(super) fn unpost(&mut self) -> usize {
        self.posted = false;
        self.backlog.messages
    }

    /// Whether another thread is writing a batch; that thread wakes the actor when the write is over.
    pub(super) fn is_left_to_writer(&mut self) -> bool {
        self.actor_waits = self.writing;
        self.writing
    }

    pub(super) fn send(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        overflow: Overflow,
        config: &Config,
    ) -> Sent {
        if self.is_cut() {
            return Sent::Closed;
        }
        let done = match self.admit(payload.len(), overflow, config) {
            Ok(done) => done,
            Err(refused) => return refused,
        };
        // Counted first: the peer may have the message before this call returns.
        self.stripe.sent(payload.len());
        if self.corked || self.posted || self.writing || self.has_unsent() {
            self.backlog.push_copy(opcode, payload);
        } else if self.write_through(opcode, payload).is_err() {
            self.fail();
            return Sent::Closed;
        }
        self.count(payload.len());
        done
    }

    /// Queues a message to many. The caller has it written, by [`Outbox::post`].
    pub(super) fn broadcast(
        &mut self,
        message: &Arc<Broadcast>,
        overflow: Overflow,
        config: &Config,
    ) -> Sent {
        if self.is_cut() {
            return Sent::Closed;
        }
        match self.admit(message.len(), overflow, config) {
            Ok(done) => {
                self.backlog.push(Item::Broadcast(Arc::clone(message)));
                self.count(message.len());
                done
            }
            Err(refused) => refused,
        }
    }

    /// Writes a ping at once, or queues it. Returns false if the transport is cut, or if [`PINGS`] pings
    /// wait already.
    pub(super) fn ping(&mut self, payload: &[u8]) -> bool {
        if self.is_cut() || self.backlog.waiting(OpCode::Ping) >= PINGS {
            return false;
        }
        // Messages that were sent before the ping go out before it, if the socket takes them now.
        if !self.backlog.queue.is_empty() {
            self.flush_or_signal();
        }
        self.backlog.push_control(OpCode::Ping, payload);
        self.flush_or_signal();
        true
    }

    /// Answers pings in one write. If more than [`PONGS`] pongs wait, the oldest ones are dropped.
    pub(super) fn pong<'a>(&mut self, payloads: impl Iterator<Item = &'a [u8]>) {
        if self.is_cut() {
            return;
        }
        let mut waiting = self.backlog.waiting(OpCode::Pong);
        for payload in payloads {
            if waiting >= PONGS {
                self.backlog.drop_oldest_control(OpCode::Pong);
            } else {
                waiting += 1;
            }
            self.backlog.push_control(OpCode::Pong, payload);
        }
        self.flush_or_signal();
    }

    /// Queues the Close frame behind what waits; false if the transport is cut. Called once.
    pub(super) fn close(&mut self, code: u16, reason: &str) -> bool {
        if self.is_cut() {
            return false;
        }
        // 1005 stands for a Close frame without a code and is never sent (section 7.4.1).
        let code = (code != 1005).then_some(code);
        self.backlog.push(Item::Close(code, reason.to_owned()));
        self.flush_or_signal();
        true
    }

    /// Tells the peer of a socket that nothing follows; false if that is left to the actor.
    pub(super) fn shut(&self) -> bool {
        // The server shuts its side of TCP first (section 7.1.1).
        matches!(&self.way, Some(Way::Socket(wire)) if wire.socket().shutdown(Shutdown::Write).is_ok())
    }

    /// Discards the messages that wait; returns how many.
    pub(super) fn discard_queue(&mut self) -> u64 {
        self.backlog.discard_messages()
    }

    pub(super) fn abort(&mut self) {
        self.cut();
        self.failed = false;
    }

    /// Releases the socket and discards everything that waits. Called when the connection is gone.
    pub(super) fn finish(&mut self) {
        self.cut();
        self.backlog.encoder.release();
    }

    fn fail(&mut self) {
        self.failed |= !self.is_cut();
        self.cut();
    }

    fn cut(&mut self) {
        if let Some(way) = self.way.take() {
            way.cut();
        }
        self.backlog.clear();
        self.blocked = false;
        self.signal.raise();
    }

    pub(super) fn cork(&mut self) {
        self.corked = true;
    }

    /// Writes what was held back, and leaves to the actor what the socket does not take.
    pub(super) fn uncork(&mut self) {
        self.corked = false;
        if self.has_unsent() {
            self.flush_or_signal();
        }
    }

    /// Frees a compressor that is not needed now.
    pub(super) fn release(&mut self) {
        self.backlog.encoder.release();
    }
}
