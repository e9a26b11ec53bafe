//! Tells an event loop about many connections through one file descriptor.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A flag that can be polled: readable while it is up.
///
/// A flag is a socket pair rather than an eventfd, because every Unix has socket pairs. The second
/// descriptor is no loss, because a process has few flags.
#[derive(Debug)]
pub(crate) struct Flag {
    reader: UnixStream,
    writer: UnixStream,
    up: bool,
}

impl Flag {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self {
            reader,
            writer,
            up: false,
        })
    }

    pub(crate) fn fileno(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    pub(crate) fn set(&mut self, up: bool) {
        if up != self.up {
            // The pair holds at most one byte, so neither call can block or fall short.
            let done = if up {
                self.writer.write(&[1])
            } else {
                self.reader.read(&mut [0])
            };
            self.up = if done.is_ok() { up } else { self.up };
        }
    }
}

/// The ids of connections that have become ready, and a descriptor that wakes an event loop.
#[derive(Debug)]
pub struct WakeQueue {
    /// A std mutex: held for a push and at most one byte written.
    state: Mutex<Queued>,
}

#[derive(Debug)]
struct Queued {
    ids: Vec<u64>,
    flag: Flag,
    /// The loop is about to drain the queue, so that nobody has to wake it.
    attended: bool,
}

impl WakeQueue {
    /// An empty queue with a descriptor of its own.
    ///
    /// # Errors
    ///
    /// The operating system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::new(Queued {
                ids: Vec::new(),
                flag: Flag::new()?,
                attended: false,
            }),
        })
    }

    /// The descriptor that polls readable while [`WakeQueue::drain`] has an id.
    #[must_use]
    pub fn fileno(&self) -> RawFd {
        self.state().flag.fileno()
    }

    /// Reports a connection. The number of connections bounds the queue, because each connection is
    /// armed for one report at a time.
    pub(crate) fn push(&self, id: u64) {
        let mut state = self.state();
        state.ids.push(id);
        if !state.attended {
            state.flag.set(true);
        }
    }

    /// Announces a call of [`WakeQueue::drain`]: what is reported until then wakes nobody.
    pub(crate) fn attend(&self) {
        self.state().attended = true;
    }

    /// Whether [`WakeQueue::drain`] has an id.
    pub(crate) fn has_reports(&self) -> bool {
        !self.state().ids.is_empty()
    }

    /// Takes out the ids that were reported.
    #[must_use]
    pub fn drain(&self) -> Vec<u64> {
        let mut state = self.state();
        state.attended = false;
        state.flag.set(false);
        std::mem::take(&mut state.ids)
    }

    fn state(&self) -> MutexGuard<'_, Queued> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
