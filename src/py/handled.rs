//! A connection whose messages its handlers get, one after the other.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::{Duration, Instant},
};

use pyo3::{intern, prelude::*, types::PyBool};

use super::{connection::PyConnection, handling};
use crate::engine::{Handler, Received};

/// The most messages of one connection before the handlers of others run.
const MESSAGES: u32 = 32;

/// The time after which the handlers of others run.
const SLICE: Duration = Duration::from_millis(1);

/// Messages between two looks at the clock.
const STRIDE: u32 = 4;

/// Nobody serves the connection.
const IDLE: u8 = 0;
/// A thread serves the connection, or will.
const BUSY: u8 = 1;
/// A report has come meanwhile: the thread looks again.
const AGAIN: u8 = 2;
/// The connection has ended, and `on_close` was called.
const DONE: u8 = 3;

/// Numbers threads; a thread that has ended leaves no number to others.
static THREADS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static THREAD: u64 = THREADS.fetch_add(1, Relaxed);
}

/// A connection with handlers.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Handled")]
pub(super) struct PyHandled {
    connection: Py<PyConnection>,
    /// Runs a function with the state of the request: `run(function, *args)`.
    context: Py<PyAny>,
    /// What opens the connection, ends it, and takes care of exceptions.
    call: Py<PyAny>,
    /// Gets each message.
    on_message: Py<PyAny>,
    /// The signal that is sent for each message; it costs nothing without receivers.
    signal: Py<PyAny>,
    /// The number of the thread that has served the connection last; 0: it was not opened yet.
    thread: AtomicU64,
    /// Whether the call wants to hear of each message, whoever receives the signal.
    hears: AtomicBool,
    /// One of the constants above.
    state: AtomicU8,
}

/// What is left to do for a connection after its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// More messages wait, for the next turn.
    More,
    /// Nothing until the next report.
    Nothing,
    /// Nothing more: it has ended.
    End,
}

/// What there is for the handlers.
enum Next<'py> {
    Message(Bound<'py, PyAny>),
    /// No message follows.
    End,
    /// The connection is given up until the next report.
    Nothing,
}

impl PyHandled {
    pub(super) fn id(&self) -> u64 {
        self.connection.get().connection.id()
    }

    /// Has the calling thread serve the connection; false if another one does, which then looks again.
    pub(super) fn claim(&self) -> bool {
        let claimed = self
            .state
            .fetch_update(AcqRel, Acquire, |state| match state {
                IDLE => Some(BUSY),
                BUSY => Some(AGAIN),
                _ => None,
            });
        claimed == Ok(IDLE)
    }

    /// Gives the connection up; the caller reports it.
    pub(super) fn let_go(&self) {
        self.state.store(IDLE, Release);
    }

    /// Gives the connection up until the next report; false if that has come.
    fn rest(&self) -> bool {
        let rested = self.state.compare_exchange(BUSY, IDLE, AcqRel, Acquire);
        if rested.is_err() {
            self.state.store(BUSY, Release);
        }
        rested.is_ok()
    }

    /// Calls the handlers for what has arrived.
    pub(super) fn serve(&self, py: Python<'_>) -> Left {
        handling::set(self.id());
        let left = self.turn(py).unwrap_or_else(|error| {
            self.give_up(py, error);
            Left::End
        });
        handling::set(0);
        // Answers to several messages go out in one write.
        if let Some(event_loop) = self.connection.get().inbox.event_loop() {
            event_loop.write_held();
        }
        if left == Left::End {
            self.state.store(DONE, Release);
        }
        left
    }

    fn turn(&self, py: Python<'_>) -> PyResult<Left> {
        let call = self.call.bind(py);
        let thread = THREAD.with(|thread| *thread);
        let before = self.thread.swap(thread, Relaxed);
        if before == 0 {
            self.run(py, call.getattr(intern!(py, "enter"))?)?;
            let hears = call.getattr(intern!(py, "hears"))?.is_truthy()?;
            self.hears.store(hears, Relaxed);
        } else if before != thread {
            // Django's local state belongs to a context in a thread.
            self.run(py, call.getattr(intern!(py, "move"))?)?;
        }
        let receivers = self.signal.bind(py).getattr(intern!(py, "receivers"))?;
        let heard = self.hears.load(Relaxed) || receivers.is_truthy()?;
        let began = Instant::now();
        for count in 1..=MESSAGES {
            match self.next(py)? {
                Next::Message(message) => self.handle(py, message, heard)?,
                Next::End => return self.end(py),
                Next::Nothing => return Ok(Left::Nothing),
            }
            if count.is_multiple_of(STRIDE) && began.elapsed() > SLICE {
                break;
            }
        }
        Ok(Left::More)
    }

    /// Takes the next message. Without one, the connection is given up until the next report.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Next<'py>> {
        let connection = self.connection.get();
        let (engine, inbox) = (&connection.connection, &connection.inbox);
        loop {
            if engine.is_foreign() {
                return Ok(Next::Nothing);
            }
            if engine.has_ended() && self.is_over(py)? {
                return Ok(Next::End);
            }
            // A peer that does not read gets no more answers: its messages wait.
            if connection.ask_for_room(py) && connection.arm_writable(py) {
                if self.rest() {
                    return Ok(Next::Nothing);
                }
                continue;
            }
            match inbox.take_in_loop(engine) {
                Received::Message(message) => {
                    return Ok(Next::Message(connection.to_python(py, &message)));
                }
                Received::End => {
                    engine.acknowledge_end();
                    return Ok(Next::End);
                }
                Received::Nothing => {
                    if inbox.arm() && self.rest() {
                        return Ok(Next::Nothing);
                    }
                }
            }
        }
    }

    /// Whether this side has closed the connection, so that nothing is handled any more.
    #[cold]
    fn is_over(&self, py: Python<'_>) -> PyResult<bool> {
        let call = self.call.bind(py);
        call.call_method0(intern!(py, "is_over"))?.is_truthy()
    }

    fn handle(&self, py: Python<'_>, message: Bound<'_, PyAny>, heard: bool) -> PyResult<()> {
        let name = intern!(py, "run");
        let context = self.context.bind(py);
        if heard {
            let hear = self.call.bind(py).getattr(intern!(py, "hear"))?;
            context.call_method1(name, (hear, &message))?;
        }
        match context.call_method1(name, (&self.on_message, message)) {
            Ok(returned) if returned.is_none() => Ok(()),
            Ok(returned) => self.tell(py, "look_at", returned),
            Err(error) => self.tell(py, "raised", error.into_value(py).into_bound(py).into_any()),
        }
    }

    /// Tells the call what a handler has returned or raised.
    #[cold]
    fn tell(&self, py: Python<'_>, method: &str, what: Bound<'_, PyAny>) -> PyResult<()> {
        let method = self.call.bind(py).getattr(method)?;
        let name = intern!(py, "run");
        self.context
            .call_method1(py, name, (method, what))
            .map(drop)
    }

    /// Gives the connection up: a hook of the project's failed, not a handler.
    #[cold]
    fn give_up(&self, py: Python<'_>, error: PyErr) {
        let call = self.call.bind(py);
        let error = error.into_value(py);
        if let Err(error) = call.call_method1(intern!(py, "lose"), (error,)) {
            error.write_unraisable(py, Some(call));
            self.connection.get().connection.abort();
        }
    }

    fn run(&self, py: Python<'_>, function: Bound<'_, PyAny>) -> PyResult<()> {
        let name = intern!(py, "run");
        self.context.call_method1(py, name, (function,)).map(drop)
    }

    fn end(&self, py: Python<'_>) -> PyResult<Left> {
        self.run(py, self.call.bind(py).getattr(intern!(py, "finish"))?)?;
        Ok(Left::End)
    }
}

#[pymethods]
impl PyHandled {
    #[new]
    fn new(
        connection: Py<PyConnection>,
        context: Py<PyAny>,
        call: Py<PyAny>,
        on_message: Py<PyAny>,
        signal: Py<PyAny>,
    ) -> Self {
        Self {
            connection,
            context,
            call,
            on_message,
            signal,
            thread: AtomicU64::new(0),
            hears: AtomicBool::new(false),
            state: AtomicU8::new(IDLE),
        }
    }

    /// Has the caller serve the connection; see [`PyHandled::claim`].
    #[pyo3(name = "claim")]
    fn py_claim(&self) -> bool {
        self.claim()
    }

    /// Calls the handlers; whether the caller goes on after others had their turns.
    #[pyo3(name = "serve")]
    fn py_serve(&self, py: Python<'_>) -> bool {
        self.serve(py) == Left::More
    }

    /// Takes the next message; `None`: given up until the next report; `False`: the end.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(match self.next(py)? {
            Next::Message(message) => message,
            Next::Nothing => py.None().into_bound(py),
            Next::End => {
                self.state.store(DONE, Release);
                PyBool::new(py, false).to_owned().into_any()
            }
        })
    }

    fn __repr__(&self) -> String {
        format!("<Handled {}>", self.id())
    }
}
