//! Questions that the broker refuses are asked again with growing pauses, and the log has one line about
//! them.
//!
//! Each group has a [`Backoff`](crate::hub::broker::Backoff) of its own. In addition, all groups of the
//! process share a pace: while the broker refuses, repeated questions keep apart, so that ten thousand
//! groups together soon ask only once per [`FARTHEST`].

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::hub::names::Channel;

/// The time between two repeated questions of a process, at first and at most.
const CLOSEST: Duration = Duration::from_millis(4);
const FARTHEST: Duration = Duration::from_millis(250);

/// The shortest time between log lines about trouble that comes and goes.
const SILENCE: Duration = Duration::from_secs(10);

/// A refused publish is not repeated. The trouble of its channel counts as over when no publish to the
/// channel was refused for this time.
const STALE: Duration = Duration::from_secs(60);

/// The most channels that are remembered because a publish to them was refused.
const MAX_CHANNELS: usize = 1_000;

/// The most different refusals of one kind of question that are logged.
const MAX_WORDS: usize = 16;

/// The kinds of questions that the broker may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    Read,
    Store,
    Listen,
    Publish,
}

impl Question {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Read => "read the history of",
            Self::Store => "store messages to",
            Self::Listen => "listen to",
            Self::Publish => "publish to",
        }
    }
}

/// The questions that are refused at present.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// A std mutex: held for a map operation.
    all: Mutex<HashMap<Question, Trouble>>,
    /// Repeated questions wait for this lock, one after the other.
    pub(super) queue: tokio::sync::Mutex<()>,
    /// A question was refused lately. While this is false, `over` does not take the lock.
    some: AtomicBool,
}

#[derive(Debug, Default)]
struct Trouble {
    /// When each channel was last refused. Bounded by the groups that exist, or by [`MAX_CHANNELS`].
    channels: HashMap<Channel, Instant>,
    since: Option<Instant>,
    refused: u64,
    /// Refusals that the log has a line about.
    said: HashSet<String>,
    last_said: Option<Instant>,
    /// The time between two repeated questions.
    space: Duration,
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Trouble>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal; returns true if it is a new one and the log is to have a line.
    pub(super) fn refused(
        &self,
        question: Question,
        channel: &Channel,
        words: &str,
        now: Instant,
    ) -> bool {
        self.some.store(true, Ordering::Release);
        let mut all = self.lock();
        let trouble = all.entry(question).or_default();
        trouble.since.get_or_insert(now);
        if question != Question::Publish
            || trouble.channels.len() < MAX_CHANNELS
            || trouble.channels.contains_key(channel)
        {
            trouble.channels.insert(channel.clone(), now);
        }
        trouble.refused += 1;
        trouble.space = (trouble.space * 2).clamp(CLOSEST, FARTHEST);
        let quiet = trouble
            .last_said
            .is_none_or(|last| now.duration_since(last) >= SILENCE || !trouble.said.is_empty());
        let is_new = quiet && trouble.said.len() < MAX_WORDS && !trouble.said.contains(words);
        if is_new {
            trouble.said.insert(words.to_owned());
            trouble.last_said = Some(now);
        }
        is_new
    }

    /// Ends the trouble of a channel. If it was the last trouble of its kind and the log has a line
    /// about it, returns how long it lasted and the number of refusals.
    pub(super) fn over(
        &self,
        question: Question,
        channel: &Channel,
        now: Instant,
    ) -> Option<(Duration, u64)> {
        if !self.some.load(Ordering::Acquire) {
            return None;
        }
        let mut all = self.lock();
        let trouble = all.get_mut(&question)?;
        let before = trouble.channels.len();
        trouble.channels.remove(channel);
        if question == Question::Publish {
            let is_fresh = |at: &Instant| now.duration_since(*at) < STALE;
            trouble.channels.retain(|_, at| is_fresh(at));
        }
        if trouble.channels.len() == before {
            return None;
        }
        trouble.space = match trouble.space / 2 {
            space if space < CLOSEST => Duration::ZERO,
            space => space,
        };
        if !trouble.channels.is_empty() {
            return None;
        }
        let said = !trouble.said.is_empty();
        let since = trouble.since.take().unwrap_or(now);
        let refused = trouble.refused;
        *trouble = Trouble {
            last_said: trouble.last_said,
            ..Trouble::default()
        };
        let some = all.values().any(|trouble| !trouble.channels.is_empty());
        self.some.store(some, Ordering::Release);
        said.then(|| (now.duration_since(since), refused))
    }

    pub(super) fn space(&self, question: Question) -> Duration {
        self.lock()
            .get(&question)
            .map_or(Duration::ZERO, |trouble| trouble.space)
    }

    /// Ends the pace: over a new connection, every question may be asked again at once.
    pub(super) fn forget(&self) {
        for trouble in self.lock().values_mut() {
            trouble.space = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_said_once_however_many_groups_meet_it() {
        let troubles = Troubles::default();
        let now = Instant::now();
        let channels: Vec<_> = (0..300).map(|n| Channel::group(&n.to_string())).collect();
        let refuse = |channel| troubles.refused(Question::Read, channel, "no", now);
        assert!(refuse(&channels[0]));
        assert!((0..9).all(|_| !channels.iter().any(refuse)));
        // Another refusal and another question have lines of their own.
        assert!(troubles.refused(Question::Read, &channels[0], "never", now));
        assert!(troubles.refused(Question::Store, &channels[0], "no", now));
        assert_eq!(troubles.space(Question::Read), FARTHEST);
        let (last, rest) = channels.split_last().unwrap();
        for channel in rest {
            assert_eq!(troubles.over(Question::Read, channel, now), None);
        }
        assert!(troubles.space(Question::Read) < CLOSEST);
        let later = now + Duration::from_secs(3);
        let over = troubles.over(Question::Read, last, later);
        assert_eq!(over, Some((Duration::from_secs(3), 2_702)));
        assert_eq!(troubles.over(Question::Read, last, later), None);
    }

    #[test]
    fn what_may_not_be_published_is_remembered_for_a_while() {
        let troubles = Troubles::default();
        let now = Instant::now();
        for n in 0..3 * MAX_CHANNELS {
            let channel = Channel::user(&n.to_string());
            let said = troubles.refused(Question::Publish, &channel, "no", now);
            assert_eq!(said, n == 0);
        }
        assert_eq!(
            troubles.lock()[&Question::Publish].channels.len(),
            MAX_CHANNELS
        );
        assert_eq!(
            troubles.over(Question::Publish, &Channel::user("other"), now),
            None
        );
        let over = troubles.over(Question::Publish, &Channel::user("other"), now + STALE);
        assert_eq!(over, Some((STALE, 3 * MAX_CHANNELS as u64)));
        assert!(!troubles.some.load(Ordering::Acquire));
    }

    #[test]
    fn trouble_that_comes_and_goes_does_not_fill_the_log() {
        let troubles = Troubles::default();
        let begun = Instant::now();
        let channel = Channel::group("x");
        let mut lines = 0;
        for tenth in 0..300 {
            let now = begun + Duration::from_millis(100) * tenth;
            lines += usize::from(troubles.refused(Question::Store, &channel, "no", now));
            lines += usize::from(troubles.over(Question::Store, &channel, now).is_some());
        }
        assert_eq!(lines, 6);
    }
}
