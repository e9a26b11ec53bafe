//! The messages that Redis has sent and this process has not passed on yet.
//!
//! The client's own task reads the socket whatever happens to the messages, and its queue has no limit. So
//! this queue takes each message out of that one at once, and ends the connection when too many wait: Redis
//! itself notices only a process that does not read.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt};
use redis::{Msg, aio::PubSubStream};
use tokio::task::coop::{consume_budget, unconstrained};

/// The most bytes of messages that may wait.
const MOST: usize = 64 << 20;

/// The bytes that a message takes beside its payload.
const OVERHEAD: usize = 256;

/// The beats after which a message has waited for too long.
const LATE: u32 = 6;

/// The places that are kept when no message waits any more.
const KEPT: usize = 1_024;

/// Messages that wait, oldest first.
pub(super) struct Backlog<S = PubSubStream> {
    stream: S,
    /// Each message with the beat in which it came. Beats stand still while the process does.
    waiting: VecDeque<(u32, Msg)>,
    bytes: usize,
    has_ended: bool,
}

/// Why there is no next message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The connection has ended.
    Gone,
    /// So many messages are lost that came faster than they were passed on.
    TooFast(usize),
}

impl<S: Stream<Item = Msg> + Unpin> Backlog<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            waiting: VecDeque::new(),
            bytes: 0,
            has_ended: false,
        }
    }

    /// Waits for the next message. `beat` is counted up as time goes by.
    pub(super) async fn next(&mut self, beat: &AtomicU32) -> Result<Msg, End> {
        // Other tasks have their turn after some messages. The reading itself must not stop before: what
        // stays in the client's queue is not counted.
        consume_budget().await;
        unconstrained(poll_fn(|context| self.poll(context, beat))).await
    }

    fn poll(&mut self, context: &mut Context<'_>, beat: &AtomicU32) -> Poll<Result<Msg, End>> {
        let now = beat.load(Ordering::Relaxed);
        while !self.has_ended && self.bytes <= MOST {
            match self.stream.poll_next_unpin(context) {
                Poll::Ready(Some(message)) => {
                    self.bytes += weight(&message);
                    self.waiting.push_back((now, message));
                }
                Poll::Ready(None) => self.has_ended = true,
                Poll::Pending => break,
            }
        }
        let Some((came, _)) = self.waiting.front() else {
            return match self.has_ended {
                true => Poll::Ready(Err(End::Gone)),
                false => Poll::Pending,
            };
        };
        if self.bytes > MOST || now.wrapping_sub(*came) >= LATE {
            return Poll::Ready(Err(End::TooFast(self.waiting.len())));
        }
        let next = self.waiting.pop_front().map(|(_, message)| message);
        self.bytes -= next.as_ref().map_or(0, weight);
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = VecDeque::new();
        }
        next.map_or(Poll::Pending, |message| Poll::Ready(Ok(message)))
    }
}

fn weight(message: &Msg) -> usize {
    message.get_payload_bytes().len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use redis::Value;

    use super::*;

    fn message(payload: &[u8]) -> Msg {
        let parts = [b"message", &b"x:g:y"[..], payload];
        let parts = parts.map(|part| Value::BulkString(part.to_vec()));
        Msg::from_value(&Value::Array(parts.to_vec())).unwrap()
    }

    /// The next message if it is there.
    fn next<S: Stream<Item = Msg> + Unpin>(
        backlog: &mut Backlog<S>,
        beat: &AtomicU32,
    ) -> Option<Result<Vec<u8>, End>> {
        let next = backlog.next(beat).now_or_never()?;
        Some(next.map(|message| message.get_payload_bytes().to_vec()))
    }

    #[test]
    fn messages_come_in_order_until_the_connection_ends() {
        let beat = AtomicU32::new(0);
        let some = [b"1", b"2", b"3"];
        let mut backlog = Backlog::new(stream::iter(some.map(|payload| message(payload))));
        for expected in some {
            assert_eq!(next(&mut backlog, &beat), Some(Ok(expected.to_vec())));
        }
        assert_eq!(next(&mut backlog, &beat), Some(Err(End::Gone)));
        assert_eq!(backlog.bytes, 0);
        let many = stream::iter((0..2 * KEPT).map(|_| message(b"x")));
        let mut backlog = Backlog::new(many.chain(stream::pending()));
        while let Some(one) = next(&mut backlog, &beat) {
            assert!(one.is_ok());
        }
        assert_eq!((backlog.bytes, backlog.waiting.capacity()), (0, 0));
        let mut backlog = Backlog::new(stream::pending());
        assert_eq!(next(&mut backlog, &beat), None);
    }

    #[test]
    fn a_message_that_waits_for_too_long_ends_the_connection() {
        let beat = AtomicU32::new(u32::MAX);
        let some = stream::iter((0..9).map(|_| message(b"x"))).chain(stream::pending());
        let mut backlog = Backlog::new(some);
        for _ in 0..LATE {
            assert_eq!(next(&mut backlog, &beat), Some(Ok(b"x".to_vec())));
            beat.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(next(&mut backlog, &beat), Some(Err(End::TooFast(3))));
        // A message that comes late has not waited.
        let mut backlog = Backlog::new(stream::iter([message(b"x")]));
        assert_eq!(next(&mut backlog, &beat), Some(Ok(b"x".to_vec())));
    }

    #[test]
    fn as_many_messages_wait_as_fit() {
        let beat = AtomicU32::new(0);
        let size = 4 << 20;
        let fit = MOST / (size + OVERHEAD);
        for (count, ends) in [(fit, false), (fit + 1, true)] {
            let payload = vec![b'x'; size];
            let some = stream::iter((0..count).map(|_| message(&payload)));
            let mut backlog = Backlog::new(some);
            let first = next(&mut backlog, &beat).unwrap();
            assert_eq!(first.err(), ends.then_some(End::TooFast(count)));
        }
        // Small messages have a weight, too.
        let some = stream::iter((0..MOST / OVERHEAD).map(|_| message(b"x")));
        let mut backlog = Backlog::new(some);
        assert!(matches!(
            next(&mut backlog, &beat),
            Some(Err(End::TooFast(_)))
        ));
    }
}
