//! The messages and control frames that wait in an outbox, and the order in which they are written.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::{
    protocol::{Broadcast, Encoder, OpCode},
    runtime::Weight,
};

#[derive(Debug)]
pub(super) enum Item {
    Message(OpCode, Bytes),
    Broadcast(Arc<Broadcast>),
    /// A Close frame with this code and reason; the last item.
    Close(Option<u16>, String),
}

impl Item {
    /// The bytes that count against the limits; `None` for the Close frame, which is not counted.
    pub(super) fn message_len(&self) -> Option<usize> {
        match self {
            Self::Message(_, payload) => Some(payload.len()),
            Self::Broadcast(message) => Some(message.len()),
            Self::Close(..) => None,
        }
    }
}

/// Everything that waits. The order of writing is `unsent`, then `controls`, then `queue`.
#[repr(C)]
pub(super) struct Backlog {
    pub(super) queue: VecDeque<Item>,
    /// Messages in the queue.
    pub(super) messages: usize,
    /// Payload bytes of the messages in the queue.
    pub(super) bytes: usize,
    /// Encoded bytes that the socket did not take; written before everything else.
    pub(super) unsent: VecDeque<Bytes>,
    /// The first entry of `unsent` is the head of the response.
    pub(super) head_waits: bool,
    /// The Close frame has left the queue.
    pub(super) close_taken: bool,
    /// Pings and pongs. They are written before the messages, so that they go out soon and few of them
    /// wait, even behind many messages.
    pub(super) controls: VecDeque<(OpCode, Bytes)>,
    pub(super) weight: Weight,
    pub(super) encoder: Encoder,
    /// Bytes that the transport has taken.
    pub(super) taken: u64,
}

impl Backlog {
    pub(super) fn new(encoder: Encoder, head: Vec<u8>) -> Self {
        let unsent = if head.is_empty() {
            VecDeque::new()
        } else {
            VecDeque::from([head.into()])
        };
        Self {
            encoder,
            queue: VecDeque::new(),
            messages: 0,
            bytes: 0,
            controls: VecDeque::new(),
            head_waits: !unsent.is_empty(),
            unsent,
            close_taken: false,
            weight: Weight::default(),
            taken: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_empty() && self.queue.is_empty() && self.controls.is_empty()
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.iter().map(Bytes::len).sum()
    }

    /// Bytes of the control frames that wait, with their headers.
    pub(super) fn controls_bytes(&self) -> usize {
        let controls = self.controls.iter();
        controls.map(|(_, payload)| 2 + payload.len()).sum()
    }

    pub(super) fn push(&mut self, item: Item) {
        if let Some(len) = item.message_len() {
            self.messages += 1;
            self.bytes += len;
            self.weight.grown(self.bytes);
        }
        self.queue.push_back(item);
    }

    pub(super) fn push_copy(&mut self, opcode: OpCode, payload: &[u8]) {
        self.push(Item::Message(opcode, Bytes::copy_from_slice(payload)));
    }

    /// Takes the front out of the queue.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.queue.pop_front()?;
        match item.message_len() {
            Some(len) => {
                self.messages -= 1;
                self.bytes -= len;
            }
            None => self.close_taken = true,
        }
        Some(item)
    }

    pub(super) fn push_control(&mut self, opcode: OpCode, payload: &[u8]) {
        debug_assert!(opcode.is_control());
        self.controls
            .push_back((opcode, Bytes::copy_from_slice(payload)));
    }

    /// The number of control frames of one kind that wait.
    pub(super) fn waiting(&self, kind: OpCode) -> usize {
        let controls = self.controls.iter();
        controls.filter(|(opcode, _)| *opcode == kind).count()
    }

    pub(super) fn drop_oldest_control(&mut self, kind: OpCode) {
        let mut controls = self.controls.iter();
        let oldest = controls.position(|(opcode, _)| *opcode == kind);
        oldest.and_then(|oldest| self.controls.remove(oldest));
    }

    /// Drops the oldest message; `None` where there is none.
    pub(super) fn drop_oldest_message(&mut self) -> Option<()> {
        let mut items = self.queue.iter();
        let oldest = items.position(|item| item.message_len().is_some())?;
        let len = self.queue.remove(oldest)?.message_len()?;
        self.messages -= 1;
        self.bytes -= len;
        Some(())
    }

    /// Discards the messages that wait; returns how many.
    pub(super) fn discard_messages(&mut self) -> u64 {
        let lost = self.messages;
        self.queue.retain(|item| matches!(item, Item::Close(..)));
        (self.messages, self.bytes) = (0, 0);
        lost as u64
    }

    /// Discards everything that waits.
    pub(super) fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.unsent = VecDeque::new();
        self.controls = VecDeque::new();
        self.weight.gone();
        (self.messages, self.bytes) = (0, 0);
    }

    /// Frees the memory of empty queues, except a message queue of at most 16 places.
    pub(super) fn shrink(&mut self) {
        if self.queue.is_empty() {
            if self.queue.capacity() > 16 {
                self.queue = VecDeque::new();
            }
            self.weight.gone();
        }
        if self.unsent.is_empty() && self.unsent.capacity() > 0 {
            self.unsent = VecDeque::new();
        }
        if self.controls.is_empty() && self.controls.capacity() > 0 {
            self.controls = VecDeque::new();
        }
    }
}
