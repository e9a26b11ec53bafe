//! The figures of a process, for its monitoring: how many connections it has opened, how many messages it
//! has sent, and so on. All of them only rise.
//!
//! ```text
//! counting (any thread) -> Block in memory -> its file in the directory <- the other processes
//! ```
//!
//! * `block`: the counters; `layout`: their places.
//! * `totals`: a reading of the counters, which can be added up and shown.
//! * `file`: the file that a process maps, so that its counts survive it.
//! * `directory`: the files of all processes of a site on one machine.

mod block;
mod directory;
mod file;
mod layout;
#[cfg(test)]
mod tests;
mod totals;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use self::{block::Block, file::Attached};
pub use self::{
    block::Stripe,
    directory::{Machine, Process, hostname, read},
    layout::{Counter, Policy},
    totals::Totals,
};
use super::{PerProcess, random};

/// The figures of this process.
static FIGURES: PerProcess<Figures> = PerProcess::new();

/// Counts what is not wanted, or cannot be counted because the figures cannot be made. Nobody reads it.
static SPARE: Block = Block::new();

/// The figures of this process.
#[derive(Debug)]
pub struct Figures {
    number: u64,
    /// The time at which the figures were made, in seconds since 1970.
    started: u64,
    block: AtomicPtr<Block>,
    /// Counts what happens before the process has a file; moved into the file later.
    early: &'static Block,
    /// The close codes from 3000 to 4999 that this side has said, one bit each.
    said: [AtomicU64; 32],
    attached: Mutex<Option<Attached>>,
}

/// The figures of this process, which are made if there are none.
#[must_use]
pub fn figures() -> Option<&'static Figures> {
    FIGURES.get_or_try_init(|| Ok(Figures::new())).ok()
}

/// Adds to a counter of this process.
pub fn count(counter: Counter, amount: u64) {
    current().add(counter, amount);
}

/// Counts a round-trip time.
pub fn count_round_trip(time: Duration) {
    current().round_trip(time);
}

/// Counts a refused handshake by its HTTP status.
pub fn count_refused(status: u16) {
    current().refused(status);
}

/// Notes a close code that this side has said. A code of an application counts by itself only if this
/// side has said it, so that peers cannot make up thousands of them.
pub fn note_said(code: u16) {
    if let (Some(figures), Some((word, bit))) = (figures(), place(code)) {
        figures.said[word].fetch_or(bit, Relaxed);
    }
}

/// Counts a connection that has ended with this code.
pub fn count_closed(code: u16) {
    let own = place(code).is_none_or(|(word, bit)| {
        figures().is_some_and(|figures| figures.said[word].load(Relaxed) & bit != 0)
    });
    current().closed(code, own);
}

/// The counters of one connection's messages, which other connections share.
#[must_use]
pub fn stripe(connection: u64) -> &'static Stripe {
    current().stripe(connection)
}

/// Counters that nobody reads, for a connection whose messages must not be in the figures.
#[must_use]
pub fn uncounted() -> &'static Stripe {
    SPARE.stripe(0)
}

/// The messages that this process has lost to full outboxes.
#[must_use]
pub fn dropped() -> u64 {
    figures().map_or(0, |own| own.block().dropped() + own.early_dropped())
}

/// Counts messages to many.
pub fn count_broadcast(messages: u64, bytes: u64) {
    let block = current();
    block.add(Counter::BroadcastMessages, messages);
    block.add(Counter::BroadcastBytes, bytes);
}

fn place(code: u16) -> Option<(usize, u64)> {
    let bit = usize::from(code.checked_sub(3000)?);
    (bit < 2000).then(|| (bit / 64, 1 << (bit % 64)))
}

fn current() -> &'static Block {
    figures().map_or(&SPARE, Figures::block)
}

impl Figures {
    fn new() -> Self {
        let early: &'static Block = Box::leak(Box::new(Block::new()));
        Self {
            number: random(),
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            block: AtomicPtr::new(std::ptr::from_ref(early).cast_mut()),
            early,
            said: [const { AtomicU64::new(0) }; 32],
            attached: Mutex::default(),
        }
    }

    /// A number that no other process has.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The time at which this process began to count, in seconds since 1970.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.started
    }

    fn block(&self) -> &'static Block {
        block::from_pointer(&self.block)
    }

    /// Keeps the figures in a file of this directory from now on, where the other processes of the site
    /// find them; later calls do nothing. Makes the directory if it is not there.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or is not this user's own, or the file cannot be made.
    pub fn attach(&self, directory: &Path) -> io::Result<()> {
        let mut attached = self.attached();
        if attached.is_some() {
            return Ok(());
        }
        let (made, block) = Attached::new(directory, self.number, self.started)?;
        self.block.store(
            std::ptr::from_ref(block).cast_mut(),
            std::sync::atomic::Ordering::Release,
        );
        *attached = Some(made);
        drop(attached);
        self.settle();
        let _ = directory::tidy(directory);
        Ok(())
    }

    /// The directory with this process's file, if it has one.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        Some(self.attached().as_ref()?.directory.clone())
    }

    /// Tells the readers of the file that this process is about to end.
    pub fn note_stopping(&self) {
        self.block().set_stopping();
    }

    /// What was dropped before the process had a file.
    fn early_dropped(&self) -> u64 {
        match std::ptr::eq(self.block(), self.early) {
            true => 0,
            false => self.early.dropped(),
        }
    }

    /// The present totals.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.settle();
        let mut totals = self.block().totals();
        if !std::ptr::eq(self.block(), self.early) {
            totals.add(&self.early.totals());
        }
        totals
    }

    /// Moves what was counted before the process had a file into the file.
    fn settle(&self) {
        if !std::ptr::eq(self.block(), self.early) {
            self.early.move_to(self.block());
        }
    }

    fn attached(&self) -> MutexGuard<'_, Option<Attached>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
