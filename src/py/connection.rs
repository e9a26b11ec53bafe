use std::{
    collections::HashMap,
    os::fd::RawFd,
    sync::Arc,
    time::{Duration, Instant},
};

use pyo3::{
    exceptions::{PyOSError, PyTypeError},
    prelude::*,
    types::{PyByteArray, PyBytes, PyMemoryView, PyString},
};

use super::{
    errors,
    handling::{Place, is_handling},
    parse::{Parsed, Policy},
    wait,
};
use crate::{
    engine::{About, Connection, Inbox, Overflow, Received, Sent, habit, running},
    protocol::{
        Message, OpCode,
        close::{MAX_REASON, is_sendable, reason_fits},
    },
};

/// Bytes from which on a message is sent with the interpreter detached. For a smaller message, releasing
/// the interpreter lock and taking it again costs more than the system call.
const DETACH: usize = 32 * 1024;

/// The same for a connection that compresses: at the lowest level that many bytes take some ten microseconds,
/// and at higher levels several times that.
const DETACH_COMPRESSING: usize = 4 * 1024;

/// An open WebSocket.
/// The words that monitoring has for views and transports. A connection keeps no copy of its own.
const VIEWS: [&str; 5] = ["thread", "greenlet", "task", "handler", "request"];
const TRANSPORTS: [&str; 2] = ["socket", "queue"];

/// The word of a list that is equal to a text; "" if there is none.
fn word(text: &str, words: &[&'static str]) -> &'static str {
    words
        .iter()
        .find(|word| **word == text)
        .copied()
        .unwrap_or_default()
}

#[pyclass(frozen, weakref, module = "dwebsocket._engine", name = "Connection")]
pub(super) struct PyConnection {
    pub(super) connection: Arc<Connection>,
    pub(super) inbox: Arc<Inbox>,
    text_as_bytes: bool,
}

impl PyConnection {
    pub(super) fn new(connection: Arc<Connection>, inbox: Arc<Inbox>, text_as_bytes: bool) -> Self {
        Self {
            connection,
            inbox,
            text_as_bytes,
        }
    }

    /// Calls `work`, which takes the lock of the outbox. While another thread compresses under that lock, this
    /// one waits detached from the interpreter.
    fn with_outbox<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Arc<Connection>) -> T + Send,
    ) -> T {
        if self.connection.is_busy() {
            wait::briefly(py, || work(&self.connection))
        } else {
            work(&self.connection)
        }
    }

    /// See [`Connection::ask_for_room`].
    pub(super) fn ask_for_room(&self, py: Python<'_>) -> bool {
        self.with_outbox(py, |connection| connection.ask_for_room())
    }

    /// Asks for a report of room in the outbox; false if there is room, or the end.
    pub(super) fn arm_writable(&self, py: Python<'_>) -> bool {
        // Arm first: room that appears between the two calls is then reported, at worst twice.
        self.inbox.arm_room();
        self.ask_for_room(py)
    }

    pub(super) fn to_python<'py>(&self, py: Python<'py>, message: &Message) -> Bound<'py, PyAny> {
        match message {
            // Python checks the UTF-8 while it decodes.
            Message::Text(data) if !self.text_as_bytes => match PyString::from_bytes(py, data) {
                Ok(text) => text.into_any(),
                // Validation is off. Bytes keep the data that replacement characters would lose.
                Err(_) => PyBytes::new(py, data).into_any(),
            },
            Message::Text(data) | Message::Binary(data) => PyBytes::new(py, data).into_any(),
        }
    }

    fn transmit(&self, py: Python<'_>, opcode: OpCode, payload: &[u8], overflow: Overflow) -> Sent {
        let detach = if self.connection.compresses() {
            DETACH_COMPRESSING
        } else {
            DETACH
        };
        if payload.len() < detach {
            self.with_outbox(py, |connection| connection.send(opcode, payload, overflow))
        } else {
            py.detach(|| self.connection.send(opcode, payload, overflow))
        }
    }

    /// Sends a message, and does not wait.
    pub(super) fn put(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        binary: Option<bool>,
        overflow: Overflow,
    ) -> PyResult<Sent> {
        let payload = Payload::from_python(data)?;
        let opcode = payload.opcode(binary)?;
        habit::note(self.connection.id());
        Ok(self.transmit(py, opcode, payload.as_bytes(), overflow))
    }

    /// Sends a message, and waits for room for at most `timeout` seconds. After that, the message is
    /// dropped; `closes`: the connection is closed with 1013.
    fn transmit_blocking(
        &self,
        py: Python<'_>,
        opcode: OpCode,
        payload: &[u8],
        timeout: Option<f64>,
        closes: bool,
    ) -> PyResult<bool> {
        let mut deadline = None;
        let mut place = None;
        loop {
            match self.transmit(py, opcode, payload, Overflow::Refuse) {
                Sent::Full => {}
                sent => return Ok(matches!(sent, Sent::Done)),
            }
            place = place.or_else(Place::take);
            if place.is_none() {
                break;
            }
            let until = *deadline.get_or_insert_with(|| wait::deadline(timeout));
            let connection = &self.connection;
            let wait = |deadline| {
                connection
                    .wait_for_room(payload.len(), deadline)
                    .then_some(())
            };
            let room = wait::detached(py, until, wait, drop)?;
            if room.is_none() {
                break;
            }
        }
        if closes {
            return Ok(self.transmit(py, opcode, payload, Overflow::Close) == Sent::Done);
        }
        self.connection.count_dropped();
        Ok(false)
    }
}

#[pymethods]
impl PyConnection {
    fn __repr__(&self) -> String {
        let id = self.connection.id();
        match self.connection.end() {
            None => format!("<Connection {id} open>"),
            Some(end) => format!("<Connection {id} closed with {}>", end.code),
        }
    }

    #[getter]
    fn id(&self) -> u64 {
        self.connection.id()
    }

    #[getter]
    fn ended(&self) -> bool {
        self.connection.is_foreign() || self.connection.has_ended()
    }

    #[getter]
    fn close_code(&self) -> Option<u16> {
        self.connection.end().map(|end| end.code)
    }

    #[getter]
    fn close_reason(&self) -> String {
        self.connection
            .end()
            .map(|end| end.reason)
            .unwrap_or_default()
    }

    #[getter]
    fn latency(&self) -> Option<f64> {
        self.connection
            .latency()
            .map(|latency| Duration::as_secs_f64(&latency))
    }

    #[pyo3(signature = (path, address, view = "", transport = ""))]
    fn describe(&self, path: &str, address: &str, view: &str, transport: &str) {
        self.connection.describe(About {
            path: path.into(),
            address: address.into(),
            view: word(view, &VIEWS),
            transport: word(transport, &TRANSPORTS),
        });
    }

    fn watch_site(&self) {
        self.connection.watch_site();
    }

    #[getter]
    fn gone(&self, py: Python<'_>) -> bool {
        let id = self.connection.id();
        self.connection.is_foreign() || py.detach(|| running().is_none_or(|engine| !engine.has(id)))
    }

    #[getter]
    fn pending(&self) -> usize {
        if self.connection.is_foreign() {
            0
        } else {
            self.inbox.pending()
        }
    }

    #[getter]
    fn stats(&self, py: Python<'_>) -> HashMap<&'static str, u64> {
        let stats = self.with_outbox(py, |connection| connection.stats());
        HashMap::from([
            ("received_messages", stats.received_messages),
            ("received_bytes", stats.received_bytes),
            ("sent_messages", stats.sent_messages),
            ("sent_bytes", stats.sent_bytes),
            ("dropped_messages", stats.dropped_messages),
            ("inbox_messages", self.pending() as u64),
            ("outbox_messages", stats.outbox_messages),
            ("outbox_bytes", stats.outbox_bytes),
        ])
    }

    #[pyo3(signature = (timeout=None))]
    pub(super) fn receive<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.connection.is_foreign() {
            return Ok(None);
        }
        let (connection, inbox) = (&self.connection, &self.inbox);
        let received = if timeout == Some(0.0) {
            inbox.poll(connection)
        } else {
            match inbox.take(connection) {
                Received::Nothing => {
                    let wait = |deadline: Option<Instant>| match inbox.wait(connection, deadline) {
                        Received::Nothing => None,
                        received => Some(received),
                    };
                    let deadline = wait::deadline(timeout);
                    let give_back = |received| inbox.give_back(connection, received);
                    wait::detached(py, deadline, wait, give_back)?.unwrap_or(Received::Nothing)
                }
                received => received,
            }
        };
        if received == Received::End {
            connection.acknowledge_end();
        }
        Ok(match received {
            Received::Message(message) => Some(self.to_python(py, &message)),
            Received::End | Received::Nothing => None,
        })
    }

    fn leave_turn(&self) {
        if !self.connection.is_foreign() {
            self.inbox.leave_turn();
        }
    }

    // `text_signature` shows 'close'. PyO3 would show "...", because the default is not a literal.
    #[pyo3(
        signature = (data, binary=None, overflow=Parsed(Policy::Now(Overflow::Close)), timeout=None),
        text_signature = "($self, data, binary=None, overflow='close', timeout=None)"
    )]
    pub(super) fn send(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        binary: Option<bool>,
        overflow: Parsed<Policy>,
        timeout: Option<f64>,
    ) -> PyResult<bool> {
        let overflow = match overflow.0 {
            Policy::Now(overflow) => overflow,
            Policy::Auto | Policy::Block => {
                let payload = Payload::from_python(data)?;
                let opcode = payload.opcode(binary)?;
                habit::note(self.connection.id());
                let closes = overflow.0 == Policy::Auto;
                return self.transmit_blocking(py, opcode, payload.as_bytes(), timeout, closes);
            }
        };
        let sent = self.put(py, data, binary, overflow)?;
        Ok(matches!(sent, Sent::Done | Sent::DroppedOldest(_)))
    }

    fn is_served(&self) -> bool {
        // A handler waits for its own peer only: its thread serves other connections as well.
        !is_handling() && habit::serves(self.connection.id())
    }

    #[pyo3(signature = (payload=None))]
    fn ping(&self, py: Python<'_>, payload: Option<&[u8]>) -> PyResult<bool> {
        let payload = payload.unwrap_or_default();
        if payload.len() > 125 {
            return Err(errors::value(
                "a ping carries at most 125 bytes (RFC 6455 section 5.5)",
            ));
        }
        Ok(self.with_outbox(py, |connection| connection.ping(payload)))
    }

    #[pyo3(signature = (code=1000, reason=""))]
    fn close(&self, py: Python<'_>, code: u16, reason: &str) -> PyResult<bool> {
        if !is_sendable(code) {
            return Err(errors::value(format!(
                "{code} is not a close code that may be sent (RFC 6455 section 7.4)"
            )));
        }
        if !reason_fits(reason) {
            return Err(errors::value(format!(
                "a close reason is at most {MAX_REASON} bytes of UTF-8 (RFC 6455 section 5.5)"
            )));
        }
        Ok(self.with_outbox(py, |connection| connection.close(code, reason)))
    }

    fn abort(&self) {
        self.connection.abort();
    }

    fn fileno(&self) -> PyResult<RawFd> {
        if self.connection.is_foreign() {
            let text = "the connection belongs to another process, which has forked this one";
            return Err(PyOSError::new_err((libc::EBADF, text)));
        }
        self.inbox.fileno().map_err(errors::os)
    }
}

/// A message as Python passed it: borrowed if its memory cannot change, else copied.
enum Payload<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Owned(Vec<u8>),
}

impl<'a> Payload<'a> {
    fn from_python(data: &'a Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = data.cast::<PyString>() {
            return Ok(Self::Text(text.to_str()?));
        }
        if let Ok(bytes) = data.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.as_bytes()));
        }
        if let Ok(array) = data.cast::<PyByteArray>() {
            return Ok(Self::Owned(array.to_vec()));
        }
        if data.cast::<PyMemoryView>().is_ok() {
            // The stable ABI has the buffer protocol only from Python 3.11 on.
            let bytes = data.call_method0("tobytes")?;
            return Ok(Self::Owned(bytes.cast::<PyBytes>()?.as_bytes().to_vec()));
        }
        Err(PyTypeError::new_err(format!(
            "a message is str, bytes, bytearray or memoryview, not {}; \
             send_json() sends anything that JSON can express",
            data.get_type().name()?
        )))
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    fn opcode(&self, binary: Option<bool>) -> PyResult<OpCode> {
        let is_text = match (binary, self) {
            (Some(true), _) => false,
            (_, Self::Text(_)) => true,
            (None, _) => simdutf8::basic::from_utf8(self.as_bytes()).is_ok(),
            (Some(false), _) => {
                if simdutf8::basic::from_utf8(self.as_bytes()).is_err() {
                    return Err(errors::value("a text message must be valid UTF-8"));
                }
                true
            }
        };
        Ok(if is_text {
            OpCode::Text
        } else {
            OpCode::Binary
        })
    }
}
