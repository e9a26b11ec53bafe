//! The lifecycle of a connection (open, closing or gone): one state, and one table of transitions.
//!
//! A connection has two halves, and a Close frame closes each of them (RFC 6455 section 7.1):
//!
//! ```text
//!            our Close          it is written
//! Open ----------> Saying ------------------> Said ---.
//!   | the peer's     | the peer's                     | the peer's
//!   v                v                                v
//! Draining -----> Answering ----------------> Lingering
//!      our Close          it is written
//! ```
//!
//! From every state, a connection that breaks or has nothing left to do goes to `Gone`.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use thiserror::Error;

/// How a connection ended (RFC 6455 section 7.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The code of the peer's Close; 1005 if that had no code; 1006 if the connection broke without a
    /// Close; the engine's code if the engine failed the connection.
    pub code: u16,
    /// The reason that was received or sent with the code.
    pub reason: String,
    /// Why the engine failed the connection, for a log.
    pub error: Option<String>,
}

impl End {
    /// The connection broke without a Close frame.
    pub(crate) fn broken(error: Option<String>) -> Self {
        Self {
            code: 1006,
            reason: String::new(),
            error,
        }
    }
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// Messages flow in both directions.
    Open,
    /// The peer has said Close, or has broken the protocol. Our Close waits until the view has taken the
    /// messages before it; the view's replies still go out.
    Draining,
    /// Our Close is queued behind the messages that wait; nothing may follow it (section 5.5.1).
    Saying,
    /// Our Close is written; the peer's is awaited.
    Said,
    /// The peer has said Close, and ours is queued.
    Answering,
    /// Both sides have said Close. This side of the transport is shut. Input is discarded until the peer
    /// shuts its side: unread bytes would cause a TCP reset that overtakes the Close frame.
    Lingering,
    /// Nothing is left to do.
    Gone,
}

/// An event that changes the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This side says Close.
    Close,
    /// Our Close frame has been written.
    Written,
    /// The peer says Close, or the engine fails the connection because of the peer's error.
    PeerClose,
    /// The transport is broken, a time limit is over, or nothing is left to do.
    Leave,
}

/// A step that the state does not allow.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a connection that is {state:?} cannot take the step {step:?}")]
pub(super) struct Illegal {
    pub(super) state: State,
    pub(super) step: Step,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Open,
        Self::Draining,
        Self::Saying,
        Self::Said,
        Self::Answering,
        Self::Lingering,
        Self::Gone,
    ];

    /// The table: the state after a step; `None` where the step is illegal.
    const fn after(self, step: Step) -> Option<Self> {
        Some(match (self, step) {
            (Self::Open, Step::Close) => Self::Saying,
            (Self::Open, Step::PeerClose) => Self::Draining,
            (Self::Draining, Step::Close) => Self::Answering,
            (Self::Saying, Step::Written) => Self::Said,
            (Self::Saying, Step::PeerClose) => Self::Answering,
            (Self::Said, Step::PeerClose) => Self::Lingering,
            (Self::Answering, Step::Written) => Self::Lingering,
            (Self::Gone, _) => return None,
            (_, Step::Leave) => Self::Gone,
            _ => return None,
        })
    }

    /// Whether messages may be sent.
    pub(super) const fn may_send(self) -> bool {
        matches!(self, Self::Open | Self::Draining)
    }

    /// Whether the peer's messages are delivered.
    pub(super) const fn may_receive(self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether the peer's half is open. While it is, the peer's Close or the end of the transport decides
    /// how the connection ended, even if this side has said Close.
    pub(super) const fn hears_peer(self) -> bool {
        matches!(self, Self::Open | Self::Saying | Self::Said)
    }

    /// Whether a Close of this side is under way.
    pub(super) const fn is_closing(self) -> bool {
        matches!(self, Self::Saying | Self::Said | Self::Answering)
    }
}

/// The state of one connection, and how it ended. A thread that holds this lock takes no other lock.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Lifecycle {
    /// Read without the lock, written with it.
    state: AtomicU8,
    /// How the connection ended. While the peer's half is open, this is what this side has said.
    end: Mutex<Option<Box<End>>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(State::Open as u8),
            end: Mutex::default(),
        }
    }
}

impl Lifecycle {
    /// The current state.
    #[inline]
    pub(super) fn state(&self) -> State {
        State::ALL[usize::from(self.state.load(Ordering::Acquire))]
    }

    /// Takes a step, and returns the state before it. `end` is how the connection ends by this step; it
    /// is kept unless the peer's half was closed before.
    ///
    /// Only one step leaves [`State::Open`]; its caller tells the handler that no message follows.
    ///
    /// # Errors
    ///
    /// The state does not allow the step, and stays as it is.
    pub(super) fn step(&self, step: Step, end: Option<End>) -> Result<State, Illegal> {
        let mut kept = self.lock();
        let state = self.state();
        let Some(next) = state.after(step) else {
            return Err(Illegal { state, step });
        };
        if state.hears_peer()
            && let Some(end) = end
        {
            *kept = Some(Box::new(end));
        }
        self.state.store(next as u8, Ordering::Release);
        Ok(state)
    }

    /// How the connection ended. While the peer's half is open, this is what this side has said.
    pub(super) fn end(&self) -> Option<End> {
        self.lock().as_deref().cloned()
    }

    /// What [`Lifecycle::end`] has returned before a fork, for the child: a thread that it does not have may
    /// hold the lock.
    pub(super) fn end_at_fork(&self) -> Option<End> {
        self.end.try_lock().ok()?.as_deref().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<End>>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{State::*, *};

    const STEPS: [Step; 4] = [Step::Close, Step::Written, Step::PeerClose, Step::Leave];

    fn end(code: u16) -> Option<End> {
        Some(End {
            code,
            reason: String::new(),
            error: None,
        })
    }

    /// A lifecycle after some steps.
    fn after(steps: &[Step]) -> Lifecycle {
        let lifecycle = Lifecycle::default();
        for step in steps {
            lifecycle.step(*step, None).unwrap();
        }
        lifecycle
    }

    /// The shortest way to a state.
    fn way(state: State) -> &'static [Step] {
        match state {
            Open => &[],
            Draining => &[Step::PeerClose],
            Saying => &[Step::Close],
            Said => &[Step::Close, Step::Written],
            Answering => &[Step::PeerClose, Step::Close],
            Lingering => &[Step::Close, Step::PeerClose, Step::Written],
            Gone => &[Step::Leave],
        }
    }

    /// Checks the whole row of a state: the result of each of the four steps.
    fn row(state: State, next: [Option<State>; 4]) {
        for (step, next) in STEPS.into_iter().zip(next) {
            let lifecycle = after(way(state));
            assert_eq!(lifecycle.state(), state);
            let expected = match next {
                Some(_) => Ok(state),
                None => Err(Illegal { state, step }),
            };
            assert_eq!(lifecycle.step(step, None), expected, "{state:?} {step:?}");
            assert_eq!(lifecycle.state(), next.unwrap_or(state), "{step:?}");
        }
    }

    #[test]
    fn an_open_connection_cannot_have_written_a_close() {
        row(Open, [Some(Saying), None, Some(Draining), Some(Gone)]);
    }

    #[test]
    fn a_draining_connection_hears_no_second_close_and_has_written_none() {
        row(Draining, [Some(Answering), None, None, Some(Gone)]);
    }

    #[test]
    fn a_connection_that_is_saying_close_says_it_once() {
        row(Saying, [None, Some(Said), Some(Answering), Some(Gone)]);
    }

    #[test]
    fn a_connection_that_has_said_close_neither_says_nor_writes_it_again() {
        row(Said, [None, None, Some(Lingering), Some(Gone)]);
    }

    #[test]
    fn an_answering_connection_neither_says_nor_hears_close_again() {
        row(Answering, [None, Some(Lingering), None, Some(Gone)]);
    }

    #[test]
    fn a_lingering_connection_can_only_leave() {
        row(Lingering, [None, None, None, Some(Gone)]);
    }

    #[test]
    fn a_connection_that_is_gone_stays_so() {
        row(Gone, [None, None, None, None]);
    }

    #[test]
    fn rights_follow_from_the_state() {
        for (state, send, receive, hears, closing) in [
            (Open, true, true, true, false),
            (Draining, true, false, false, false),
            (Saying, false, false, true, true),
            (Said, false, false, true, true),
            (Answering, false, false, false, true),
            (Lingering, false, false, false, false),
            (Gone, false, false, false, false),
        ] {
            assert_eq!(state.may_send(), send, "{state:?}");
            assert_eq!(state.may_receive(), receive, "{state:?}");
            assert_eq!(state.hears_peer(), hears, "{state:?}");
            assert_eq!(state.is_closing(), closing, "{state:?}");
        }
    }

    #[test]
    fn the_peers_close_outweighs_what_this_side_has_said() {
        let lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.end(), None);
        lifecycle.step(Step::Close, end(4000)).unwrap();
        assert_eq!(lifecycle.end(), end(4000));
        lifecycle.step(Step::PeerClose, end(4001)).unwrap();
        lifecycle.step(Step::Leave, end(1006)).unwrap();
        assert_eq!(lifecycle.end(), end(4001));
    }

    #[test]
    fn an_answer_does_not_change_how_the_connection_ended() {
        let lifecycle = Lifecycle::default();
        lifecycle.step(Step::PeerClose, end(4001)).unwrap();
        lifecycle.step(Step::Close, end(1000)).unwrap();
        assert_eq!(lifecycle.end(), end(4001));
    }

    #[test]
    fn a_connection_breaks_with_1006_until_the_peer_has_said_close() {
        for steps in [&[][..], &[Step::Close], &[Step::Close, Step::Written]] {
            let lifecycle = after(steps);
            lifecycle.step(Step::Leave, end(1006)).unwrap();
            assert_eq!(lifecycle.end(), end(1006), "{steps:?}");
        }
    }

    #[test]
    fn an_illegal_step_changes_nothing() {
        let lifecycle = after(&[Step::Close]);
        let refused = lifecycle.step(Step::Close, end(4000));
        assert_eq!(
            refused,
            Err(Illegal {
                state: Saying,
                step: Step::Close
            })
        );
        assert_eq!(lifecycle.end(), None);
    }

    #[test]
    fn one_thread_of_many_leaves_the_open_state() {
        let lifecycle = Lifecycle::default();
        let left = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let step = STEPS[[0, 2, 3][n % 3]];
                    let lifecycle = &lifecycle;
                    scope.spawn(move || lifecycle.step(step, None) == Ok(Open))
                })
                .collect();
            threads
                .into_iter()
                .map(|one| one.join().unwrap())
                .filter(|left| *left)
                .count()
        });
        assert_eq!(left, 1);
    }
}
