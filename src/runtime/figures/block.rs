//! The counters of a process in memory, or in a file that is mapped into memory.
#![allow(unsafe_code)]

use std::{
    sync::atomic::{
        AtomicPtr, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use super::{
    layout::{
        BOUNDS, CLOSED, CODES, COUNTERS, Counter, MESSAGES, Policy, REFUSED, ROUND_TRIPS, STATUSES,
    },
    totals::Totals,
};

/// The first word of a block. The last digit is the version of the layout.
const MAGIC: u64 = 0x6477_7366_6967_0001;

/// Connections share this many places for the counters of their messages.
pub(super) const STRIPES: usize = 16;

/// The counters of the messages of some connections. A cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Stripe {
    received_messages: AtomicU64,
    received_bytes: AtomicU64,
    sent_messages: AtomicU64,
    sent_bytes: AtomicU64,
    /// Messages lost to full outboxes, by [`Policy`].
    dropped: [AtomicU64; 4],
}

impl Stripe {
    const fn new() -> Self {
        Self {
            received_messages: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_messages: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            dropped: [const { AtomicU64::new(0) }; 4],
        }
    }

    /// Counts a message that has arrived.
    #[inline]
    pub fn received(&self, bytes: usize) {
        self.received_messages.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts a message that is sent.
    #[inline]
    pub fn sent(&self, bytes: usize) {
        self.sent_messages.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts messages that are lost to a full outbox.
    #[inline]
    pub fn dropped(&self, policy: Policy, messages: u64) {
        self.dropped[policy as usize].fetch_add(messages, Relaxed);
    }

    fn all(&self) -> [&AtomicU64; MESSAGES] {
        let [close, oldest, newest, block] = &self.dropped;
        [
            &self.received_messages,
            &self.received_bytes,
            &self.sent_messages,
            &self.sent_bytes,
            close,
            oldest,
            newest,
            block,
        ]
    }
}

/// What a file says of itself. See [`Block::claim`].
#[derive(Debug)]
#[repr(C)]
struct Head {
    magic: AtomicU64,
    size: AtomicU64,
    number: AtomicU64,
    pid: AtomicU64,
    started: AtomicU64,
    stopping: AtomicU64,
    /// Only in the file of the dead: the process that was added last, and how many were added.
    last: AtomicU64,
    merges: AtomicU64,
}

/// The counters of a process.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Block {
    head: Head,
    stripes: [Stripe; STRIPES],
    counters: [AtomicU64; COUNTERS],
}

pub(super) fn from_pointer(pointer: &AtomicPtr<Block>) -> &'static Block {
    // SAFETY: the pointer was made from a `&'static Block` (`Figures::new`, `Figures::attach`).
    unsafe { &*pointer.load(Acquire) }
}

impl Block {
    pub(super) const SIZE: usize = size_of::<Self>();

    pub(super) const fn new() -> Self {
        Self {
            head: Head {
                magic: AtomicU64::new(0),
                size: AtomicU64::new(0),
                number: AtomicU64::new(0),
                pid: AtomicU64::new(0),
                started: AtomicU64::new(0),
                stopping: AtomicU64::new(0),
                last: AtomicU64::new(0),
                merges: AtomicU64::new(0),
            },
            stripes: [const { Stripe::new() }; STRIPES],
            counters: [const { AtomicU64::new(0) }; COUNTERS],
        }
    }

    /// The block at the beginning of a mapping; `None` if the mapping is too short.
    pub(super) fn of(mapping: &[u8]) -> Option<&Self> {
        let fits = mapping.len() >= Self::SIZE && mapping.as_ptr().cast::<Self>().is_aligned();
        // SAFETY: the bytes are there, they are aligned, and any bytes are valid atomic numbers. The file
        // has the size of a block from its making on; only this user's processes can shorten it.
        fits.then(|| unsafe { &*mapping.as_ptr().cast::<Self>() })
    }

    /// The block in a mapping that lasts for ever and may be written.
    pub(super) fn at(mapping: *mut u8) -> &'static Self {
        // SAFETY: the caller has mapped a file of at least `SIZE` bytes, writable and shared, and never
        // unmaps it; a mapping begins at a page, and any bytes are valid atomic numbers.
        unsafe { &*mapping.cast::<Self>() }
    }

    /// Says whose block this is. Readers ignore a block that nobody has claimed.
    pub(super) fn claim(&self, number: u64, pid: u32, started: u64) {
        self.head.size.store(Self::SIZE as u64, Relaxed);
        self.head.number.store(number, Relaxed);
        self.head.pid.store(u64::from(pid), Relaxed);
        self.head.started.store(started, Relaxed);
        self.head.magic.store(MAGIC, Release);
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.head.magic.load(Acquire) == MAGIC && self.head.size.load(Relaxed) == Self::SIZE as u64
    }

    /// The number, the process id, the start, and whether the process is about to end.
    pub(super) fn owner(&self) -> (u64, u32, u64, bool) {
        (
            self.head.number.load(Relaxed),
            self.head.pid.load(Relaxed) as u32,
            self.head.started.load(Relaxed),
            self.head.stopping.load(Relaxed) > 0,
        )
    }

    pub(super) fn set_stopping(&self) {
        self.head.stopping.store(1, Relaxed);
    }

    /// The process that was added last to the file of the dead, and how many were added.
    pub(super) fn merged(&self) -> (u64, u64) {
        (self.head.last.load(Relaxed), self.head.merges.load(Relaxed))
    }

    pub(super) fn set_merged(&self, (last, merges): (u64, u64)) {
        self.head.last.store(last, Relaxed);
        self.head.merges.store(merges, Relaxed);
    }

    #[inline]
    pub(super) fn stripe(&self, connection: u64) -> &Stripe {
        &self.stripes[connection as usize % STRIPES]
    }

    pub(super) fn add(&self, counter: Counter, amount: u64) {
        self.counters[counter as usize].fetch_add(amount, Relaxed);
    }

    pub(super) fn round_trip(&self, time: Duration) {
        let micros = time.as_micros();
        let place = BOUNDS.iter().position(|bound| micros <= u128::from(*bound));
        let place = ROUND_TRIPS + place.unwrap_or(BOUNDS.len());
        self.counters[place].fetch_add(1, Relaxed);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.add(Counter::RoundTripNanos, nanos);
    }

    pub(super) fn refused(&self, status: u16) {
        let place = usize::from(status).checked_sub(400);
        let place = place
            .filter(|place| *place < STATUSES)
            .unwrap_or(STATUSES - 1);
        self.counters[REFUSED + place].fetch_add(1, Relaxed);
    }

    /// Counts the end of a connection. `own`: the code has a place of its own.
    pub(super) fn closed(&self, code: u16, own: bool) {
        let place = match code {
            1000..=2999 => usize::from(code) - 1000,
            3000..=4999 if own => usize::from(code) - 1000,
            3000..=3999 => CODES - 3,
            4000..=4999 => CODES - 2,
            _ => CODES - 1,
        };
        self.counters[CLOSED + place].fetch_add(1, Relaxed);
    }

    /// Reads the counters. What ends is read before what begins, so that no end lacks its beginning.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (place, counter) in self.counters.iter().enumerate().rev() {
            totals.counters[place] = counter.load(Acquire);
        }
        for stripe in &self.stripes {
            for (total, counter) in totals.messages.iter_mut().zip(stripe.all()) {
                *total += counter.load(Relaxed);
            }
        }
        totals
    }

    /// All messages that were lost to full outboxes.
    pub(super) fn dropped(&self) -> u64 {
        let lost = self.stripes.iter().flat_map(|stripe| &stripe.dropped);
        lost.map(|counter| counter.load(Relaxed)).sum()
    }

    /// Writes totals into a fresh block.
    pub(super) fn put(&self, totals: &Totals) {
        for (counter, total) in self.counters.iter().zip(&totals.counters) {
            counter.store(*total, Relaxed);
        }
        for (counter, total) in self.stripes[0].all().into_iter().zip(totals.messages) {
            counter.store(total, Relaxed);
        }
    }

    /// Adds all counters to those of another block, and clears them here.
    pub(super) fn move_to(&self, other: &Self) {
        let pairs = self.counters.iter().zip(&other.counters);
        let stripes = self.stripes.iter().zip(&other.stripes);
        let pairs =
            pairs.chain(stripes.flat_map(|(from, to)| from.all().into_iter().zip(to.all())));
        for (from, to) in pairs {
            if from.load(Relaxed) > 0 {
                to.fetch_add(from.swap(0, Relaxed), Relaxed);
            }
        }
    }
}
