//! Encodes what is queued, and makes the system calls that write it.

use std::{
    cell::Cell,
    io::{self, ErrorKind, IoSlice},
    sync::{Arc, MutexGuard},
};

use bytes::{Buf, Bytes};
use socket2::Socket;

use super::{
    super::wire::Wire,
    Outbox,
    backlog::{Backlog, Item},
    transport::Transport,
    way::Way,
};
use crate::protocol::OpCode;

/// A batch takes small messages until it has at least this many bytes; a larger message goes out by
/// itself, without being copied.
const BATCH: usize = 64 * 1024;

/// Payloads up to this size are copied behind their header, which costs less than a second buffer in the
/// system call.
const SMALL: usize = 16 * 1024;

/// Bytes of one outbox that are written in one go. A fast reader takes them in some tenths of a
/// millisecond; the outbox's lock is held meanwhile, and other threads wait for it.
const STINT: usize = 256 * 1024;

/// The flags of a send. On Linux, a write to a closed socket must not raise SIGPIPE.
#[cfg(target_os = "linux")]
const SEND_FLAGS: libc::c_int = libc::MSG_NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const SEND_FLAGS: libc::c_int = 0;

thread_local! {
    /// The buffer in which batches are encoded. Each thread has one, so that no connection owns a buffer.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends this thread's buffer, or a new one at the very end of a thread, when the thread's storage is
/// gone. (uWSGI ends the interpreter, and so closes connections, while the main thread's storage is torn
/// down.)
fn with_scratch<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let result = f(&mut scratch);
    let _ = SCRATCH.try_with(|place| place.set(scratch));
    result
}

/// The front of the queue, as it is written next.
enum Front {
    /// Small messages, encoded together.
    Batch,
    /// A frame that other connections share, and small messages before it.
    Whole(Bytes),
    /// One large message.
    Large(OpCode, Bytes),
}

/// Writes the messages that were posted; returns how many there were. Batches of small messages are
/// written without the lock: a sender to many visits the members in the same order as the courier, and
/// would otherwise wait for one system call after another. What exceeds a stint is left to the actor.
pub(in crate::engine) fn write_posted<'a>(lock: impl Fn() -> MutexGuard<'a, Outbox>) -> usize {
    let mut outbox = lock();
    let messages = outbox.unpost();
    let mut written = 0;
    let mut outbox = with_scratch(|scratch| {
        while written < STINT
            && let Some(wire) = outbox.begin(scratch)
        {
            drop(outbox);
            let result = send(wire.socket(), scratch);
            written += scratch.len();
            outbox = lock();
            outbox.end(result, scratch);
        }
        outbox
    });
    if written >= STINT && outbox.has_unsent() {
        outbox.leave_to_actor();
    } else if outbox.has_unsent() {
        outbox.flush_or_signal();
    }
    messages
}

impl Outbox {
    /// Writes as much as the transport takes, a stint at most. Returns true if something is left although
    /// the transport may have room; `WouldBlock` means that it has none. While another thread is writing,
    /// this call writes nothing and returns false.
    fn flush(&mut self) -> io::Result<bool> {
        if self.writing {
            return Ok(false);
        }
        let result = match &self.way {
            Some(way) => way.take(&mut self.backlog),
            None => Err(ErrorKind::NotConnected.into()),
        };
        self.settle(&result);
        result.map(|()| self.has_unsent())
    }

    /// Writes for the actor, after the transport has reported room.
    pub(in crate::engine) fn flush_ready(&mut self) -> io::Result<bool> {
        self.blocked = false;
        self.flush()
    }

    /// Updates the state after a write, whether it has succeeded or failed.
    fn settle(&mut self, result: &io::Result<()>) {
        match result {
            Ok(()) => self.backlog.shrink(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
            Err(_) => self.fail(),
        }
        if self.room_wanted {
            // The actor wakes the senders that wait, whichever thread has made the room.
            self.signal.raise();
        }
    }

    fn leave_to_actor(&self) {
        self.signal.raise();
    }

    /// Encodes a batch from the queue into `scratch`, to be written without the lock. `None` if there is
    /// nothing to write, or if it must be written with the lock.
    fn begin(&mut self, scratch: &mut Vec<u8>) -> Option<Arc<Wire>> {
        let Some(Way::Socket(wire)) = &self.way else {
            return None;
        };
        let backlog = &mut self.backlog;
        let first = backlog.queue.front().and_then(Item::message_len);
        if (backlog.queue.is_empty() && backlog.controls.is_empty())
            || self.writing
            || self.corked
            || !backlog.unsent.is_empty()
            || (first > Some(SMALL) && backlog.controls.is_empty())
        {
            return None;
        }
        match backlog.take_front(scratch) {
            Front::Batch => {
                self.writing = true;
                Some(Arc::clone(wire))
            }
            // The frame has turned out to be large: `flush` writes it.
            Front::Whole(frame) => {
                backlog.keep(scratch);
                backlog.unsent.push_back(frame);
                None
            }
            Front::Large(opcode, payload) => {
                let frame = backlog.encoder.message(opcode, &payload);
                let frame = [frame.header.as_ref(), &*frame.payload].concat();
                backlog.unsent.push_back(frame.into());
                None
            }
        }
    }

    /// Ends the write of a batch, and keeps the bytes that the socket did not take.
    fn end(&mut self, result: io::Result<usize>, batch: &[u8]) {
        self.writing = false;
        if self.is_cut() {
            return;
        }
        let result = written(result).and_then(|written| {
            self.backlog.taken += written as u64;
            self.backlog.keep(&batch[written..]);
            check_taken(written, batch.len()).map(drop)
        });
        self.settle(&result);
        if result.is_err() || self.actor_waits {
            self.actor_waits = false;
            self.signal.raise();
        }
    }

    /// Writes at once; the actor writes the rest. While the socket is known to be full, this makes no
    /// system call and wakes no task: the actor waits for the socket already.
    pub(super) fn flush_or_signal(&mut self) {
        if self.corked || self.blocked {
            return;
        }
        if !matches!(self.flush(), Ok(false)) {
            self.leave_to_actor();
        }
    }

    /// Makes room in an outbox that is full of answers which were held back only to go out together.
    pub(super) fn flush_held_back(&mut self) {
        if !self.blocked && self.flush().is_err() {
            self.leave_to_actor();
        }
    }

    /// Offers a message to the transport straight from the caller's memory; the actor writes the rest.
    pub(super) fn write_through(&mut self, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
        let Some(way) = &self.way else {
            return Err(ErrorKind::NotConnected.into());
        };
        let result = way.take_through(&mut self.backlog, opcode, payload);
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                self.leave_to_actor();
                Ok(())
            }
            other => other,
        }
    }
}

impl Transport for Socket {
    fn take(&self, backlog: &mut Backlog) -> io::Result<()> {
        let mut written = 0;
        with_scratch(|scratch| {
            while !backlog.is_empty() && written < STINT {
                written += backlog.write_unsent(self, STINT)?;
                if backlog.unsent.is_empty() {
                    written += backlog.write_front(self, scratch)?;
                }
            }
            Ok(())
        })
    }

    fn take_through(
        &self,
        backlog: &mut Backlog,
        opcode: OpCode,
        payload: &[u8],
    ) -> io::Result<()> {
        if payload.len() > SMALL {
            return backlog.write_large(self, opcode, payload).map(drop);
        }
        with_scratch(|scratch| {
            scratch.clear();
            let frame = backlog.encoder.message(opcode, payload);
            scratch.extend_from_slice(frame.header.as_ref());
            scratch.extend_from_slice(&frame.payload);
            backlog.write_scratch(self, scratch).map(drop)
        })
    }
}

impl Backlog {
    /// Writes bytes that the socket did not take before, until about `most` bytes are written; returns
    /// how many.
    fn write_unsent(&mut self, socket: &Socket, most: usize) -> io::Result<usize> {
        let mut total = 0;
        while total < most
            && let Some(first) = self.unsent.front_mut()
        {
            let offered = first.len().min(most);
            let written = send(socket, &first[..offered])?;
            first.advance(written);
            total += written;
            self.taken += written as u64;
            if first.is_empty() {
                self.unsent.pop_front();
                self.head_waits = false;
            }
        }
        Ok(total)
    }

    /// Encodes and writes the front of the queue; returns how many bytes were written.
    fn write_front(&mut self, socket: &Socket, scratch: &mut Vec<u8>) -> io::Result<usize> {
        match self.take_front(scratch) {
            Front::Batch => self.write_scratch(socket, scratch),
            Front::Whole(frame) => self.write_whole(socket, frame, scratch),
            Front::Large(opcode, payload) => self.write_large(socket, opcode, &payload),
        }
    }

    /// Takes small messages out of the queue together, or a large one by itself.
    fn take_front(&mut self, scratch: &mut Vec<u8>) -> Front {
        scratch.clear();
        while let Some((opcode, payload)) = self.controls.pop_front() {
            let frame = self.encoder.control(opcode, &payload);
            scratch.extend_from_slice(frame.as_ref());
        }
        while let Some(item) = self.queue.front() {
            let len = item.message_len();
            if scratch.len() >= BATCH || (len > Some(SMALL) && !scratch.is_empty()) {
                break;
            }
            match self.pop() {
                Some(Item::Close(code, reason)) => {
                    let frame = self.encoder.close(code, &reason);
                    scratch.extend_from_slice(frame.as_ref());
                }
                Some(Item::Broadcast(message)) => {
                    let frame = self.encoder.broadcast(&message);
                    if frame.len() > SMALL {
                        return Front::Whole(frame.clone());
                    }
                    scratch.extend_from_slice(frame);
                }
                Some(Item::Message(opcode, payload)) => {
                    if payload.len() > SMALL {
                        return Front::Large(opcode, payload);
                    }
                    let frame = self.encoder.message(opcode, &payload);
                    scratch.extend_from_slice(frame.header.as_ref());
                    scratch.extend_from_slice(&frame.payload);
                }
                None => break,
            }
        }
        Front::Batch
    }

    fn write_scratch(&mut self, socket: &Socket, scratch: &[u8]) -> io::Result<usize> {
        if scratch.is_empty() {
            return Ok(0);
        }
        let written = written(send(socket, scratch))?;
        self.taken += written as u64;
        self.keep(&scratch[written..]);
        check_taken(written, scratch.len())
    }

    /// Writes the bytes `before` and then a frame that other connections share, without copying the
    /// frame.
    fn write_whole(&mut self, socket: &Socket, frame: Bytes, before: &[u8]) -> io::Result<usize> {
        let taken = self.write_scratch(socket, before);
        self.unsent.push_back(frame);
        Ok(taken? + self.write_unsent(socket, STINT)?)
    }

    fn write_large(
        &mut self,
        socket: &Socket,
        opcode: OpCode,
        payload: &[u8],
    ) -> io::Result<usize> {
        let frame = self.encoder.message(opcode, payload);
        let (header, body) = (frame.header.as_ref(), &*frame.payload);
        let slices = [IoSlice::new(header), IoSlice::new(body)];
        let total = header.len() + body.len();
        let written = written(send_vectored(socket, &slices))?;
        self.taken += written as u64;
        if written < total {
            self.keep(header.get(written..).unwrap_or_default());
            self.keep(&body[written.saturating_sub(header.len())..]);
        }
        check_taken(written, total)
    }

    fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.unsent.push_back(Bytes::copy_from_slice(rest));
        }
    }
}

fn check_taken(written: usize, total: usize) -> io::Result<usize> {
    if written < total {
        Err(ErrorKind::WouldBlock.into())
    } else {
        Ok(written)
    }
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    retry(|| socket.send_with_flags(bytes, SEND_FLAGS))
}

fn send_vectored(socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    retry(|| socket.send_vectored_with_flags(slices, SEND_FLAGS))
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
