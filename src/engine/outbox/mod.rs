//! What is on its way to the peer.
//!
//! Messages wait unencoded: a policy may then drop one without breaking a compression context, and
//! many small ones become one write. Only what the socket refused in the middle of a write is kept
//! as encoded bytes.

mod write;

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use socket2::Socket;
use tokio::io::unix::AsyncFd;

pub(super) use self::write::write_posted;
use crate::{
    config::{Config, Overflow},
    protocol::{Broadcast, Encoder, OpCode},
    runtime::Weight,
};

/// Payloads up to this size may be left to the [`Courier`](super::Courier): a copy costs less than the
/// system call.
const POSTED: usize = 4 * 1024;

/// Answers to pings that may wait. RFC 6455 section 5.5.3 allows to answer only the latest.
pub(super) const PONGS: usize = 16;

/// Pings that may wait: the application's and the keepalive's. Whoever measures needs one.
const PINGS: usize = 64;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Written or queued.
    Done,
    /// Queued, and so many older ones were dropped for it.
    DroppedOldest(u64),
    /// Dropped: the outbox is full.
    Dropped,
    /// Not taken: the outbox is full, and the caller decides.
    Full,
    /// Not taken: the outbox is full, so the connection has to be failed.
    Overflowed,
    /// Not taken: the connection is closing or closed.
    Closed,
}

impl Item {
    /// Bytes that it counts for; `None` for the Close frame, which no limit counts.
    fn message_len(&self) -> Option<usize> {
        match self {
            Self::Message(_, payload) => Some(payload.len()),
            Self::Broadcast(message) => Some(message.len()),
            Self::Close(_) => None,
        }
    }
}

#[derive(Debug)]
enum Item {
    Message(OpCode, Bytes),
    Broadcast(Arc<Broadcast>),
    /// The Close frame, encoded; the last item.
    Close(Bytes),
}

/// The sending half of a connection.
///
/// Whether anything may be sent, the connection's lifecycle knows; the outbox knows whether it can be.
///
/// In this order in memory: whoever sends to many touches nothing after `unsent`.
#[repr(C)]
pub(super) struct Outbox {
    /// The Close frame has left the queue.
    close_taken: bool,
    /// A batch has been taken out, and is being written without the lock: nobody else writes.
    writing: bool,
    /// The actor is to hear when that is over.
    actor_waits: bool,
    /// Set by the actor while it handles what it read, so that the answers go out in one write.
    corked: bool,
    /// The courier has been asked to write.
    posted: bool,
    /// Somebody waits for room.
    room_wanted: bool,
    /// The socket took less than it was offered: nobody but the actor tries again, once it is told
    /// that the socket has room. There are `unsent` bytes then.
    blocked: bool,
    queue: VecDeque<Item>,
    queued_messages: usize,
    queued_bytes: usize,
    /// Messages and bytes that were taken, whatever became of them later. Here, for whoever sends has
    /// this at hand.
    sent: (u64, u64),
    /// Encoded bytes that the socket did not take; before everything in the queue.
    unsent: VecDeque<Bytes>,
    /// The head of the response is the first of them.
    head_waits: bool,
    /// Pings and pongs, encoded, which go before the messages: so they come soon, and at most
    /// [`PINGS`] and [`PONGS`] of them wait, however many messages do.
    controls: VecDeque<(OpCode, Bytes)>,
    weight: Weight,
    encoder: Encoder,
    /// `None` once it has failed, was cut, or the connection is gone.
    socket: Option<Arc<AsyncFd<Socket>>>,
    signal: Arc<Signal>,
}

/// Makes the actor look again. Apart from the outbox, so that the actor can look without its lock.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: AtomicBool,
    /// The actor's; a task has the same one all its life.
    waker: OnceLock<Waker>,
}

impl Signal {
    pub(super) fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel)
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// Whether it was raised since the last time; from the first call on, `waker` is woken by it.
    pub(super) fn take(&self, waker: &Waker) -> bool {
        self.waker.get_or_init(|| waker.clone());
        self.raised.swap(false, Ordering::AcqRel)
    }
}

impl Outbox {
    pub(super) fn new(
        socket: Arc<AsyncFd<Socket>>,
        encoder: Encoder,
        head: Vec<u8>,
        signal: Arc<Signal>,
    ) -> Self {
        let unsent = if head.is_empty() {
            VecDeque::new()
        } else {
            VecDeque::from([head.into()])
        };
        Self {
            socket: Some(socket),
            encoder,
            queue: VecDeque::new(),
            queued_messages: 0,
            queued_bytes: 0,
            controls: VecDeque::new(),
            sent: (0, 0),
            head_waits: !unsent.is_empty(),
            unsent,
            close_taken: false,
            writing: false,
            actor_waits: false,
            corked: false,
            posted: false,
            room_wanted: false,
            blocked: false,
            weight: Weight::default(),
            signal,
        }
    }

    /// Whether the transport has failed or was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.socket.is_none()
    }

    /// Whether the transport has taken the Close frame, and so everything.
    pub(super) fn close_is_written(&self) -> bool {
        self.close_taken && !self.writing && self.unsent.is_empty()
    }

    /// Messages and bytes that wait.
    pub(super) fn backlog(&self) -> (usize, usize) {
        (
            self.queued_messages,
            self.queued_bytes + self.unsent_bytes() + self.controls_bytes(),
        )
    }

    fn controls_bytes(&self) -> usize {
        self.controls.iter().map(|(_, frame)| frame.len()).sum()
    }

    /// Messages and bytes that were taken.
    pub(super) fn sent(&self) -> (u64, u64) {
        self.sent
    }

    fn count(&mut self, len: usize) {
        self.sent.0 += 1;
        self.sent.1 += len as u64;
    }

    /// Whether the peer has not taken the head of the response yet, whatever else waits.
    pub(super) fn head_waits(&self) -> bool {
        self.head_waits
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || !self.queue.is_empty() || !self.controls.is_empty()
    }

    /// Whether a message of `len` bytes would be taken now. One is always taken when none waits,
    /// whatever its size.
    pub(super) fn has_room(&self, len: usize, config: &Config) -> bool {
        let bytes = self.queued_bytes + self.unsent_bytes();
        bytes == 0
            || (self.queued_messages < config.outbox_messages && bytes + len <= config.outbox_bytes)
    }

    pub(super) fn want_room(&mut self) {
        self.room_wanted = true;
    }

    /// Whether somebody waits for room that has come; resets the wish. `closing`: sending does nothing any
    /// more, so that nobody needs to wait.
    pub(super) fn take_room_wanted(&mut self, config: &Config, closing: bool) -> bool {
        let granted = self.room_wanted && (closing || self.has_room(1, config));
        self.room_wanted &= !granted;
        granted
    }

    /// Whether a message that is sent now should be posted, by [`Outbox::post`] first.
    pub(super) fn may_post(&self, payload: &[u8]) -> bool {
        payload.len() <= POSTED && !self.corked && !self.has_unsent()
    }

    /// Holds messages back until [`Outbox::write_posted`]; false where they are held already.
    pub(super) fn post(&mut self) -> bool {
        !std::mem::replace(&mut self.posted, true)
    }

    /// What is held back may be written; returns how many messages that is.
    pub(super) fn unpost(&mut self) -> usize {
        self.posted = false;
        self.queued_messages
    }

    /// Whether another thread is writing, which tells the actor when it has done so.
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
        if self.corked || self.posted || self.writing || self.has_unsent() {
            self.push(Item::Message(opcode, Bytes::copy_from_slice(payload)));
        } else if self.write_through(opcode, payload).is_err() {
            self.fail();
            return Sent::Closed;
        }
        self.count(payload.len());
        done
    }

    /// Queues a message that goes to many; whoever calls has it written, by [`Outbox::post`].
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
                self.push(Item::Broadcast(Arc::clone(message)));
                self.count(message.len());
                done
            }
            Err(refused) => refused,
        }
    }

    /// Finds room for a message, by the policy; what to answer, or why there is none.
    fn admit(&mut self, len: usize, overflow: Overflow, config: &Config) -> Result<Sent, Sent> {
        if self.corked && !self.has_room(len, config) {
            self.flush_held_back();
        }
        if self.has_room(len, config) {
            return Ok(Sent::Done);
        }
        match overflow {
            Overflow::Close => Err(Sent::Overflowed),
            Overflow::DropNewest => Err(Sent::Dropped),
            Overflow::Refuse => Err(Sent::Full),
            Overflow::DropOldest => match self.make_room(len, config) {
                Some(lost) => Ok(Sent::DroppedOldest(lost)),
                None => Err(Sent::Dropped),
            },
        }
    }

    fn push(&mut self, item: Item) {
        if let Some(len) = item.message_len() {
            self.queued_messages += 1;
            self.queued_bytes += len;
            self.weight.grown(self.queued_bytes);
        }
        self.queue.push_back(item);
    }

    /// Writes a ping at once, or queues it; false where the transport is cut, or where as many wait
    /// as may wait.
    pub(super) fn ping(&mut self, payload: &[u8]) -> bool {
        if self.is_cut() || self.waiting(OpCode::Ping) >= PINGS {
            return false;
        }
        // What was sent before goes out before, if the socket takes it now.
        if !self.queue.is_empty() {
            self.flush_or_signal();
        }
        self.queue_control(OpCode::Ping, payload);
        self.flush_or_signal();
        true
    }

    /// Answers pings, in one write; of those that wait already, the oldest give way.
    pub(super) fn pong<'a>(&mut self, payloads: impl Iterator<Item = &'a [u8]>) {
        if self.is_cut() {
            return;
        }
        let mut waiting = self.waiting(OpCode::Pong);
        for payload in payloads {
            if waiting >= PONGS {
                let mut controls = self.controls.iter();
                let oldest = controls.position(|(opcode, _)| *opcode == OpCode::Pong);
                oldest.and_then(|oldest| self.controls.remove(oldest));
            } else {
                waiting += 1;
            }
            self.queue_control(OpCode::Pong, payload);
        }
        self.flush_or_signal();
    }

    fn waiting(&self, kind: OpCode) -> usize {
        let controls = self.controls.iter();
        controls.filter(|(opcode, _)| *opcode == kind).count()
    }

    fn queue_control(&mut self, opcode: OpCode, payload: &[u8]) {
        let frame = self.encoder.control(opcode, payload);
        let frame = Bytes::copy_from_slice(frame.as_ref());
        self.controls.push_back((opcode, frame));
    }

    /// Queues the Close frame behind what waits; false where the transport is cut. Called once.
    pub(super) fn close(&mut self, code: u16, reason: &str) -> bool {
        if self.is_cut() {
            return false;
        }
        // 1005 stands for a Close frame without a code and is never sent (section 7.4.1).
        let code = (code != 1005).then_some(code);
        let frame = self.encoder.close(code, reason);
        self.queue
            .push_back(Item::Close(Bytes::copy_from_slice(frame.as_ref())));
        self.flush_or_signal();
        self.signal.raise();
        true
    }

    /// Forgets the messages that wait; returns how many.
    pub(super) fn discard_queue(&mut self) -> u64 {
        let lost = self.queued_messages;
        self.queue.retain(|item| matches!(item, Item::Close(_)));
        (self.queued_messages, self.queued_bytes) = (0, 0);
        lost as u64
    }

    pub(super) fn abort(&mut self) {
        self.fail();
    }

    /// The connection is gone: lets go of the socket and of everything that waits.
    pub(super) fn finish(&mut self) {
        self.fail();
        self.encoder.release();
    }

    fn fail(&mut self) {
        self.socket = None;
        self.queue = VecDeque::new();
        self.unsent = VecDeque::new();
        self.controls = VecDeque::new();
        self.blocked = false;
        self.weight.gone();
        (self.queued_messages, self.queued_bytes) = (0, 0);
        self.signal.raise();
    }

    pub(super) fn cork(&mut self) {
        self.corked = true;
    }

    /// Writes what was held back; what the socket does not take is left to the actor.
    pub(super) fn uncork(&mut self) {
        self.corked = false;
        if self.has_unsent() {
            self.flush_or_signal();
        }
    }

    /// Gives back a compressor that is not needed now.
    pub(super) fn release(&mut self) {
        self.encoder.release();
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent.iter().map(Bytes::len).sum()
    }

    /// Drops the oldest messages until `len` bytes fit; `None` where nothing helps.
    fn make_room(&mut self, len: usize, config: &Config) -> Option<u64> {
        let mut lost = 0;
        while !self.has_room(len, config) {
            let oldest = self
                .queue
                .iter()
                .position(|item| item.message_len().is_some())?;
            let item = self.queue.remove(oldest);
            if let Some(len) = item.as_ref().and_then(Item::message_len) {
                self.queued_messages -= 1;
                self.queued_bytes -= len;
                lost += 1;
            }
        }
        Some(lost)
    }
}
