//! Sends a message to one connection or to many, and waits for room in an outbox.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::{
    super::{
        consumer::answers_more,
        courier::{self, Flush, Mailbag, Round},
        outbox::{self, Sent},
    },
    Connection, Overflow,
};
use crate::{
    protocol::{Broadcast, OpCode},
    runtime::figures::Policy,
};

/// The reason that goes with 1013.
const SLOW: &str = "the peer reads too slowly";

impl Connection {
    /// Sends one message; see [`Overflow`] for a full outbox. Never waits.
    ///
    /// A payload of more than 16 KiB is copied only if the socket does not take all of it at once; a
    /// smaller one is always copied.
    pub fn send(self: &Arc<Self>, opcode: OpCode, payload: &[u8], overflow: Overflow) -> Sent {
        if self.is_foreign() {
            return Sent::Closed;
        }
        let held = answers_more(self.id)
            .then(|| self.handler.event_loop())
            .flatten();
        let later = held.is_some()
            || courier::is_in_a_row()
            || (self.shared.turnstile.is_crowded() && self.handler.event_loop().is_none());
        let sent = self.sending(|outbox| {
            if later && outbox.may_post(payload) && outbox.post() {
                let me = Arc::clone(self) as _;
                match held {
                    Some(event_loop) => event_loop.hold(me),
                    None => self.shared.couriers.post(self.id, me),
                }
            }
            outbox.send(opcode, payload, overflow, &self.config)
        });
        let sent = sent.unwrap_or(Sent::Closed);
        if sent.lost() > 0 {
            self.note_lost(sent, overflow);
        }
        sent
    }

    /// Counts the messages that were lost, and fails the connection if the policy says so.
    #[cold]
    fn note_lost(&self, sent: Sent, overflow: Overflow) {
        let lost = sent.lost();
        if lost == 0 {
            return;
        }
        self.stripe().dropped(policy(overflow), lost);
        self.counters.dropped_messages.fetch_add(lost, Relaxed);
        if sent == Sent::Overflowed {
            // Code 1013 (try again later) is defined in the IANA registry, not in section 7.4.1.
            self.close_now(1013, SLOW);
        }
    }

    /// Queues a message to many on this connection, and adds the connection to `mailbag`, which has it
    /// written.
    ///
    /// If the outbox is full, the policy for broadcasts in the connection's configuration decides. The
    /// call never waits.
    pub(crate) fn broadcast(
        self: &Arc<Self>,
        message: &Arc<Broadcast>,
        mailbag: &mut Mailbag,
    ) -> Sent {
        if self.is_foreign() {
            return Sent::Closed;
        }
        let result = self.sending(|outbox| {
            let sent = outbox.broadcast(message, self.config.broadcast_overflow, &self.config);
            let taken = matches!(sent, Sent::Done | Sent::DroppedOldest(_));
            (sent, taken && outbox.post())
        });
        let (sent, posted) = result.unwrap_or((Sent::Closed, false));
        if sent != Sent::Done {
            self.note_lost(sent, self.config.broadcast_overflow);
        }
        if posted {
            mailbag.add(&self.shared.couriers, self.id, Arc::clone(self) as _);
        }
        sent
    }

    /// Blocks until the outbox has room for `len` bytes or the connection is closing. Returns false if
    /// the deadline passes first.
    pub fn wait_for_room(&self, len: usize, deadline: Option<Instant>) -> bool {
        if self.is_foreign() {
            return true;
        }
        let mut outbox = self.outbox();
        while self.lifecycle.state().may_send() && !outbox.has_room(len, &self.config) {
            outbox.want_room();
            outbox = match deadline {
                None => self
                    .room
                    .wait(outbox)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.room
                        .wait_timeout(outbox, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        true
    }

    /// Asks for [`Handler::on_room`](super::Handler::on_room) once the outbox has room. Returns false if
    /// it has room already, or if nothing may be sent any more.
    pub fn ask_for_room(&self) -> bool {
        if self.is_foreign() {
            return false;
        }
        let asked = self.sending(|outbox| {
            let full = !outbox.has_room(1, &self.config);
            if full {
                outbox.want_room();
            }
            full
        });
        asked.unwrap_or(false)
    }

    /// Fails the connection, because its outbox has been full for too long.
    pub fn give_up(&self) {
        if !self.is_foreign() {
            self.close_now(1013, SLOW);
        }
    }

    /// Counts a message that was given up because the outbox stayed full.
    pub fn count_dropped(&self) {
        self.stripe().dropped(Policy::Block, 1);
        self.counters.dropped_messages.fetch_add(1, Relaxed);
    }
}

fn policy(overflow: Overflow) -> Policy {
    match overflow {
        Overflow::Close => Policy::Close,
        Overflow::DropOldest => Policy::DropOldest,
        Overflow::DropNewest => Policy::DropNewest,
        Overflow::Refuse | Overflow::Overdraw => Policy::Block,
    }
}

impl Flush for Connection {
    fn write_posted(&self) -> usize {
        outbox::write_posted(|| self.outbox())
    }

    fn round(&self) -> &Round {
        &self.round
    }
}
