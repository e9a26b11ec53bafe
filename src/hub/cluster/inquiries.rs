//! Questions of monitoring to the other processes of the site, and their answers.
//!
//! A question goes to all processes, an answer to the one that has asked. Nothing is sent again: who does
//! not answer in time is left out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, Bytes};
use tokio::sync::Semaphore;

use super::line::Line;
use crate::hub::{
    answering::Answering,
    losses::Losses,
    names::Channel,
    node::Node,
    presence::who::Attendance,
    wire::envelope::{Content, Envelope},
};

/// The most questions that a process answers at the same time. Further ones get no answer.
const AT_ONCE: usize = 8;

/// The most bytes of a question, and of an answer. The brokers take a megabyte.
const MOST: usize = 900 * 1024;

const QUESTION: u8 = 0;
const ANSWER: u8 = 1;

/// The answers to one question, by the number of the process.
type Answers = HashMap<u64, Bytes>;

/// Asks the other processes, and answers them.
pub(in crate::hub) struct Inquiries {
    node: &'static Node,
    losses: &'static Losses,
    attendance: &'static Attendance,
    line: OnceLock<&'static Line>,
    answering: OnceLock<Arc<dyn Answering>>,
    /// The questions that wait for answers. A std mutex: held for a map operation.
    open: Mutex<HashMap<u64, Answers>>,
    answered: Condvar,
    next: AtomicU64,
    busy: Arc<Semaphore>,
}

impl Inquiries {
    pub(in crate::hub) fn new(
        node: &'static Node,
        losses: &'static Losses,
        attendance: &'static Attendance,
    ) -> Self {
        Self {
            node,
            losses,
            attendance,
            line: OnceLock::new(),
            answering: OnceLock::new(),
            open: Mutex::default(),
            answered: Condvar::new(),
            next: AtomicU64::new(1),
            busy: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Sets who answers the questions of other processes; later calls do nothing.
    pub(in crate::hub) fn answer_by(&self, answering: Arc<dyn Answering>) {
        let _ = self.answering.set(answering);
    }

    /// From now on, there are other processes.
    pub(super) fn speak_over(&self, line: &'static Line) {
        let _ = self.line.set(line);
    }

    /// The channels on which questions and answers come.
    pub(super) fn channels(&self) -> [Channel; 2] {
        [Channel::questions(), Channel::answers(self.node.number())]
    }

    /// Asks all other processes. Returns the answers that have come when every process that is known has
    /// answered, or after `timeout`.
    pub(in crate::hub) fn ask(&'static self, question: &[u8], timeout: Duration) -> Vec<Bytes> {
        let Some(line) = self.line.get().filter(|line| !line.is_away()) else {
            return Vec::new();
        };
        let deadline = Instant::now() + timeout;
        let others = self.attendance.others();
        let id = self.next.fetch_add(1, Relaxed);
        self.open().insert(id, Answers::new());
        let envelope = self.envelope(QUESTION, id, question);
        let sent = line.wait(timeout, async move {
            line.settle().await;
            let channel = Channel::questions();
            line.broker.publish(channel.as_str(), envelope).await
        });
        let mut open = self.open();
        while sent.is_ok() && open.get(&id).is_some_and(|some| some.len() < others) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.answered.wait_timeout(open, left);
            open = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        open.remove(&id).unwrap_or_default().into_values().collect()
    }

    /// Takes a question or an answer from the broker.
    pub(super) fn take(&'static self, origin: u64, mut bytes: Bytes) {
        let (Ok(kind), Ok(id)) = (bytes.try_get_u8(), bytes.try_get_u64_le()) else {
            return;
        };
        if bytes.len() > MOST {
            return;
        }
        match kind {
            QUESTION if origin != self.node.number() => self.answer(origin, id, bytes),
            ANSWER => {
                if let Some(answers) = self.open().get_mut(&id) {
                    answers.insert(origin, bytes);
                }
                self.answered.notify_all();
            }
            _ => {}
        }
    }

    fn answer(&'static self, origin: u64, id: u64, question: Bytes) {
        let (Some(line), Some(answering)) = (self.line.get(), self.answering.get()) else {
            return;
        };
        let Ok(busy) = Arc::clone(&self.busy).try_acquire_owned() else {
            self.losses.note();
            return;
        };
        let answering = Arc::clone(answering);
        line.handle.spawn(async move {
            let answer = answering.answer(question).await;
            if answer.len() <= MOST {
                let envelope = self.envelope(ANSWER, id, &answer);
                let channel = Channel::answers(origin);
                // If the answer is lost, the other process does without it.
                let _ = line.broker.publish(channel.as_str(), envelope).await;
            }
            drop(busy);
        });
    }

    fn envelope(&self, kind: u8, id: u64, content: &[u8]) -> Bytes {
        let mut bytes = Vec::with_capacity(9 + content.len());
        bytes.put_u8(kind);
        bytes.put_u64_le(id);
        bytes.extend_from_slice(content);
        Envelope::of(self.node, &[], &[], Content::Inquiry(bytes.into())).encode()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Answers>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
