//! Messages, and their assembly from frames that arrive in pieces (RFC 6455 section 5.4).

use bytes::Bytes;

use crate::{
    error::ProtocolError,
    protocol::{
        CloseFrame, OpCode,
        deflate::Inflater,
        utf8::{self, Utf8Validator},
    },
};

/// A whole data message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text. The bytes are UTF-8 unless `validate_utf8` is off.
    Text(Bytes),
    /// Bytes of any kind.
    Binary(Bytes),
}

/// An event that a frame of the peer causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A data message, reassembled and inflated.
    Message(Message),
    /// A ping. Answer it with a pong of the same payload (section 5.5.2).
    Ping(Bytes),
    /// A pong, asked for or not.
    Pong(Bytes),
    /// A Close frame, with its code and reason if it has a body. This is the last event.
    Close(Option<CloseFrame>),
}

/// Bytes of memory that a message may hold beyond four times the bytes that have arrived.
const HEADROOM: usize = 1024;

/// Compressed bytes between two checks of the size to which they inflate.
const STEP: usize = 4 * 1024;

/// The most compressed bytes for each inflated byte, beyond one step. A peer that flushes after each byte
/// sends 8. A peer that sends empty blocks could go on for ever without this limit.
const DEFLATE_RATIO: usize = 16;

/// The limits that all messages of a connection share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageRules {
    pub(crate) max_size: usize,
    pub(crate) max_fragments: u32,
    pub(crate) validate_utf8: bool,
}

/// A message under way.
#[derive(Debug)]
pub(crate) struct Assembly {
    data: Vec<u8>,
    frames: u64,
    /// Frames without a payload.
    empty: u32,
    /// Compressed bytes read so far; 0 if the message is not compressed.
    deflated: usize,
    utf8: Utf8Validator,
    /// Whether the message is text that must be UTF-8.
    checked: bool,
    text: bool,
    /// Whether the frames must be inflated.
    pub(crate) compressed: bool,
}

impl Assembly {
    pub(crate) fn new(opcode: OpCode, compressed: bool, rules: &MessageRules) -> Self {
        let text = opcode == OpCode::Text;
        Self {
            data: Vec::new(),
            frames: 0,
            empty: 0,
            deflated: 0,
            utf8: Utf8Validator::default(),
            checked: text && rules.validate_utf8,
            text,
            compressed,
        }
    }

    /// Checks the header of a further frame, before a byte of the frame is kept. The size of a
    /// compressed frame is checked while it is inflated.
    #[inline]
    pub(crate) fn begin_frame(
        &mut self,
        length: u64,
        rules: &MessageRules,
    ) -> Result<(), ProtocolError> {
        self.frames += 1;
        // Frames with a payload are not counted: `max_size` limits them.
        if length == 0 {
            if self.empty >= rules.max_fragments {
                return Err(ProtocolError::TooManyFragments {
                    limit: rules.max_fragments,
                });
            }
            self.empty += 1;
        }
        if !self.compressed && length > (rules.max_size - self.data.len()) as u64 {
            return Err(ProtocolError::MessageTooBig {
                limit: rules.max_size,
            });
        }
        Ok(())
    }

    /// Whether no byte of the message is kept, so that [`whole`](Self::whole) may take its only frame.
    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.frames == 1 && self.data.is_empty() && !self.compressed
    }

    /// Makes a message of a payload that is the whole message.
    #[inline]
    pub(crate) fn whole(self, payload: &[u8]) -> Result<Message, ProtocolError> {
        if self.checked && !utf8::is_valid(payload) {
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(self.into_message(Bytes::copy_from_slice(payload)))
    }

    /// Appends a piece of the message. `expected` more bytes of the same frame follow; further frames
    /// follow unless this is the last one.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        expected: u64,
        last_frame: bool,
        rules: &MessageRules,
    ) -> Result<(), ProtocolError> {
        if self.checked && !self.utf8.push(piece) {
            return Err(ProtocolError::InvalidUtf8);
        }
        // Doubling the capacity keeps a small fragment from moving all earlier bytes each time.
        let least = if last_frame {
            0
        } else {
            2 * self.data.capacity()
        };
        reserve(
            &mut self.data,
            piece.len(),
            expected,
            least.min(rules.max_size),
        );
        self.data.extend_from_slice(piece);
        Ok(())
    }

    /// Inflates and appends a piece of a compressed message. The `last` piece ends the message.
    pub(crate) fn inflate(
        &mut self,
        piece: &[u8],
        last: bool,
        inflater: &mut Inflater,
        rules: &MessageRules,
    ) -> Result<(), ProtocolError> {
        // The checks are at the same bytes of the message, however it is cut into pieces.
        let mut piece = piece;
        loop {
            let step = STEP - self.deflated % STEP;
            let (now, later) = piece.split_at(step.min(piece.len()));
            self.inflate_with(rules, |data| inflater.push(now, data, rules.max_size))?;
            self.deflated += now.len();
            if now.len() == step && self.deflated / DEFLATE_RATIO > STEP + self.data.len() {
                return Err(ProtocolError::EmptyDeflate);
            }
            piece = later;
            if piece.is_empty() {
                break;
            }
        }
        if last {
            self.inflate_with(rules, |data| inflater.finish(data, rules.max_size))?;
        }
        Ok(())
    }

    /// Inflates, and checks in the order of the bytes: first UTF-8 within the limit, then the limit, then
    /// the error of the inflater.
    fn inflate_with(
        &mut self,
        rules: &MessageRules,
        inflate: impl FnOnce(&mut Vec<u8>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        let before = self.data.len();
        let result = inflate(&mut self.data);
        let end = self.data.len().min(rules.max_size);
        if self.checked && !self.utf8.push(&self.data[before..end]) {
            return Err(ProtocolError::InvalidUtf8);
        }
        if self.data.len() > rules.max_size {
            return Err(ProtocolError::MessageTooBig {
                limit: rules.max_size,
            });
        }
        result
    }

    /// Ends the message.
    pub(crate) fn finish(mut self) -> Result<Message, ProtocolError> {
        if !self.utf8.is_complete() {
            return Err(ProtocolError::InvalidUtf8);
        }
        let data = std::mem::take(&mut self.data);
        Ok(self.into_message(into_bytes(data)))
    }

    /// Bytes of memory that the message holds.
    pub(crate) fn capacity(&self) -> usize {
        self.data.capacity()
    }

    fn into_message(self, data: Bytes) -> Message {
        if self.text {
            Message::Text(data)
        } else {
            Message::Binary(data)
        }
    }
}

/// Makes room for `arrived` bytes and for some of the `expected` bytes that the peer announces.
///
/// The room is about four times the bytes that the peer has sent, or `least`, and at most the bytes that it
/// announces. A frame is not moved again once a quarter of it has arrived.
fn reserve(data: &mut Vec<u8>, arrived: usize, expected: u64, least: usize) {
    if data.capacity() - data.len() >= arrived {
        return;
    }
    let known = data.len() + arrived;
    let expected = usize::try_from(expected).unwrap_or(usize::MAX);
    let capacity = known + expected.min(known.saturating_mul(3).saturating_add(HEADROOM));
    data.reserve_exact(capacity.max(least) - data.len());
}

/// Converts the data. Frees unused capacity if it is more than a quarter of the data.
fn into_bytes(mut data: Vec<u8>) -> Bytes {
    if data.capacity() - data.len() > data.len() / 4 {
        data.shrink_to_fit();
    }
    data.into()
}
