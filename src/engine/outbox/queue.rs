//! A transport without a descriptor: a bounded queue in each direction.
//!
//! The connection has one end of the queue. The program that carries the messages on has the other end,
//! the [`FarEnd`]: an event loop that speaks to a server, or a test. The far end drains what the
//! connection sends, as whole messages and control frames, and pushes what the peer says. An event loop
//! never waits at the far end: a [`WakeQueue`] reports that there is something to drain, or room to push
//! again.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, ErrorKind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    backlog::{Backlog, Item},
    signal::Signal,
    transport::Transport,
};
use crate::{
    protocol::{CloseFrame, Event, Message, OpCode},
    runtime::{WakeQueue, fork},
};

/// The capacity of each direction of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Messages and control frames.
    pub frames: usize,
    /// Bytes of their payloads. A single frame may be longer if the queue is empty.
    pub bytes: usize,
}

impl Default for Capacity {
    /// 64 frames and 256 KiB: about what a socket holds.
    fn default() -> Self {
        Self {
            frames: 64,
            bytes: 256 * 1024,
        }
    }
}

/// How the far end is notified.
#[derive(Clone, Debug)]
pub struct Wakeup {
    /// The queue of the event loop.
    pub queue: Arc<WakeQueue>,
    /// The number that is pushed to that queue.
    pub token: u64,
}

/// The result of a push of the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The frame is queued; the connection will take it.
    Done,
    /// The queue is full; [`FarEnd::arm_room`] asks for a report of room.
    Full,
    /// The connection accepts nothing any more.
    Closed,
}

/// One direction of a queue.
#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<Event>,
    bytes: usize,
    /// A frame was refused, and its sender must be told when there is room.
    refused: bool,
}

/// What a frame counts in addition to its payload where the pace of the far end is measured: a server takes one
/// frame after the other, however short they are.
const FRAME: usize = 1024;

fn len(event: &Event) -> usize {
    match event {
        Event::Message(Message::Text(data) | Message::Binary(data))
        | Event::Ping(data)
        | Event::Pong(data) => data.len(),
        Event::Close(frame) => frame.as_ref().map_or(0, |frame| 2 + frame.reason.len()),
    }
}

impl Lane {
    fn has_room(&self, len: usize, capacity: Capacity) -> bool {
        self.frames.is_empty()
            || (self.frames.len() < capacity.frames && self.bytes + len <= capacity.bytes)
    }

    fn push(&mut self, event: Event) {
        self.bytes += len(&event);
        self.frames.push_back(event);
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.frames.pop_front()?;
        self.bytes -= len(&event);
        if self.frames.is_empty() && self.frames.capacity() > 16 {
            self.frames = VecDeque::new();
        }
        Some(event)
    }
}

#[derive(Debug, Default)]
struct State {
    outgoing: Lane,
    incoming: Lane,
    /// The far end has asked for a report of something to drain.
    armed: bool,
    /// The far end has asked for a report of room.
    room_armed: bool,
    /// The connection has ended: it pushes nothing and takes nothing any more.
    ended: bool,
    /// The far end has hung up: it pushes nothing any more, and gets nothing new.
    hung_up: bool,
}

/// The connection's end of the queue.
#[derive(Debug)]
pub(in crate::engine) struct Queue {
    capacity: Capacity,
    wakeup: Option<Wakeup>,
    /// Raised to wake the actor.
    signal: Arc<Signal>,
    /// A std mutex: held to move frames.
    state: Mutex<State>,
    /// Signalled for a thread in [`FarEnd::wait`].
    some: Condvar,
}

impl Queue {
    /// Makes both ends of a queue.
    pub(in crate::engine) fn new(
        capacity: Capacity,
        wakeup: Option<Wakeup>,
        signal: Arc<Signal>,
    ) -> (Arc<Self>, FarEnd) {
        let queue = Arc::new(Self {
            capacity,
            wakeup,
            signal,
            state: Mutex::default(),
            some: Condvar::new(),
        });
        let far = FarEnd {
            generation: fork::generation(),
            queue: Arc::clone(&queue),
        };
        (queue, far)
    }

    /// Takes the next frame of the peer.
    pub(in crate::engine) fn next(&self) -> Option<Event> {
        let mut state = self.state();
        let event = state.incoming.pop()?;
        state.incoming.refused = false;
        if std::mem::take(&mut state.room_armed) {
            self.tell();
        }
        Some(event)
    }

    /// Whether the far end has pushed frames that are not taken yet.
    pub(in crate::engine) fn has_more(&self) -> bool {
        !self.state().incoming.frames.is_empty()
    }

    /// Whether the far end pushes nothing any more.
    pub(in crate::engine) fn has_hung_up(&self) -> bool {
        self.state().hung_up
    }

    /// Whether the far end has hung up, and everything that it pushed was taken.
    pub(in crate::engine) fn is_hung_up(&self) -> bool {
        let state = self.state();
        state.hung_up && state.incoming.frames.is_empty()
    }

    /// The bytes that the far end has not drained, and [`FRAME`] for each frame.
    pub(super) fn undrained(&self) -> usize {
        let Lane { frames, bytes, .. } = &self.state().outgoing;
        bytes + FRAME * frames.len()
    }

    /// Ends the connection's use of the queue, and tells the far end, whether it has asked or not: it may be
    /// busy with an earlier message for longer than anybody wants to wait. The far end may still drain what
    /// the connection has sent.
    pub(super) fn end(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.ended, true) {
            return;
        }
        state.incoming = Lane::default();
        state.room_armed = false;
        state.armed = false;
        self.tell();
        self.some.notify_all();
    }

    fn tell_of_frames(&self, state: &mut State) {
        if std::mem::take(&mut state.armed) {
            self.tell();
        }
        self.some.notify_all();
    }

    fn tell(&self) {
        if let Some(Wakeup { queue, token }) = &self.wakeup {
            queue.push(*token);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(opcode: OpCode, payload: bytes::Bytes) -> Event {
    Event::Message(match opcode {
        OpCode::Text => Message::Text(payload),
        _ => Message::Binary(payload),
    })
}

/// Converts an item to the event that the far end gets.
fn event(item: Item) -> Event {
    match item {
        Item::Message(opcode, payload) => message(opcode, payload),
        Item::Broadcast(broadcast) => message(broadcast.opcode(), broadcast.payload().clone()),
        Item::Close(code, reason) => Event::Close(code.map(|code| CloseFrame { code, reason })),
    }
}

impl Transport for Queue {
    fn take(&self, backlog: &mut Backlog) -> io::Result<()> {
        let mut state = self.state();
        if state.hung_up && state.incoming.frames.is_empty() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if state.hung_up {
            // The far end has hung up, so the answers are discarded. The frames that it pushed before are
            // still delivered.
            backlog.controls.clear();
            while backlog.pop().is_some() {}
            return Ok(());
        }
        // A queue carries frames and has no use for encoded bytes.
        backlog.unsent.clear();
        backlog.head_waits = false;
        let State { outgoing, .. } = &mut *state;
        let mut result = Ok(());
        while !backlog.is_empty() {
            let first = match backlog.controls.front() {
                Some((_, payload)) => payload.len(),
                None => backlog
                    .queue
                    .front()
                    .and_then(Item::message_len)
                    .unwrap_or(0),
            };
            if !outgoing.has_room(first, self.capacity) {
                outgoing.refused = true;
                result = Err(ErrorKind::WouldBlock.into());
                break;
            }
            backlog.taken += (FRAME + first) as u64;
            if let Some((opcode, payload)) = backlog.controls.pop_front() {
                outgoing.push(match opcode {
                    OpCode::Ping => Event::Ping(payload),
                    _ => Event::Pong(payload),
                });
            } else if let Some(item) = backlog.pop() {
                outgoing.push(event(item));
            }
        }
        if !outgoing.frames.is_empty() {
            self.tell_of_frames(&mut state);
        }
        result
    }

    fn take_through(
        &self,
        backlog: &mut Backlog,
        opcode: OpCode,
        payload: &[u8],
    ) -> io::Result<()> {
        backlog.push_copy(opcode, payload);
        self.take(backlog)
    }
}

/// The other end of a connection whose transport is a queue. Dropping it hangs up.
pub struct FarEnd {
    /// The generation of the process that made it: a forked child must not touch it.
    generation: u32,
    queue: Arc<Queue>,
}

impl fmt::Debug for FarEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FarEnd").finish_non_exhaustive()
    }
}

impl FarEnd {
    /// Takes out the oldest messages and control frames that the connection has sent, `most` at most. A
    /// Close frame is the last of all.
    #[must_use]
    pub fn drain(&self, most: usize) -> Vec<Event> {
        let Some(mut state) = self.state() else {
            return Vec::new();
        };
        let lane = &mut state.outgoing;
        let frames = std::iter::from_fn(|| lane.pop()).take(most).collect();
        if std::mem::take(&mut lane.refused) {
            self.queue.signal.raise();
        }
        frames
    }

    /// Pushes a message, a ping, a pong or a Close of the peer. The connection's task takes it. There is
    /// always room for a Close.
    pub fn push(&self, event: Event) -> Pushed {
        let pushed = self.enqueue(event);
        if pushed == Pushed::Done {
            self.queue.signal.raise();
        }
        pushed
    }

    /// Pushes like [`FarEnd::push`], and wakes nobody: the caller has the connection take the frame.
    pub(in crate::engine) fn enqueue(&self, event: Event) -> Pushed {
        let Some(mut state) = self.state() else {
            return Pushed::Closed;
        };
        if state.ended || state.hung_up {
            return Pushed::Closed;
        }
        // A Close always fits: it is short, and the last frame of all.
        let fits = matches!(event, Event::Close(_))
            || state.incoming.has_room(len(&event), self.queue.capacity);
        if !fits {
            state.incoming.refused = true;
            return Pushed::Full;
        }
        state.incoming.push(event);
        Pushed::Done
    }

    /// Asks for one report to the wake queue once there is something to drain or the connection is gone.
    /// Returns false if that is the case already.
    #[must_use]
    pub fn arm(&self) -> bool {
        self.state().is_some_and(|mut state| {
            state.armed = state.outgoing.frames.is_empty() && !state.ended;
            state.armed
        })
    }

    /// Asks for one report to the wake queue once there is room for a frame that was refused. Returns
    /// false if there is room already.
    #[must_use]
    pub fn arm_room(&self) -> bool {
        self.state().is_some_and(|mut state| {
            state.room_armed = state.incoming.refused && !state.ended;
            state.room_armed
        })
    }

    /// Blocks the thread until there is something to drain or the connection is gone. Returns false if
    /// the deadline passes first.
    #[must_use]
    pub fn wait(&self, deadline: Instant) -> bool {
        let Some(mut state) = self.state() else {
            return true;
        };
        while state.outgoing.frames.is_empty() && !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.queue.some.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Whether the connection is gone; what it has sent may still have to be drained.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state().is_none_or(|state| state.ended)
    }

    /// Whether the connection is gone and everything it has sent is drained.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state()
            .is_none_or(|state| state.ended && state.outgoing.frames.is_empty())
    }

    /// Tells the connection that the peer is gone, with or without a Close before.
    pub fn hang_up(&self) {
        if let Some(mut state) = self.state() {
            state.hung_up = true;
            drop(state);
            self.queue.signal.raise();
        }
    }

    /// Locks the state. `None` in the child of a fork: a thread of the parent may have held the lock, and
    /// never releases it in the child.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        (self.generation == fork::generation()).then(|| self.queue.state())
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.hang_up();
    }
}
