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
    /// Text: UTF-8 unless `validate_utf8` is off.
    Text(Bytes),
    /// Bytes of any kind.
    Binary(Bytes),
}

/// An event on the connection that the peer caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A data message, reassembled and inflated.
    Message(Message),
    /// A ping; it is to be answered with a pong of the same payload (section 5.5.2).
    Ping(Bytes),
    /// A pong, asked for or not.
    Pong(Bytes),
    /// The last event: a Close frame, with what it says.
    Close(Option<CloseFrame>),
}

/// Memory that a message may hold beyond four times what has arrived of it.
const HEADROOM: usize = 1024;

/// Compressed bytes between two checks of what they inflate to.
const STEP: usize = 4 * 1024;

/// The most compressed bytes for each byte that they inflate to, beyond one step. A peer that flushes after
/// each byte has 8; empty blocks could go on for ever.
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
    /// Bytes on the wire, where they have to be inflated.
    deflated: usize,
    utf8: Utf8Validator,
    /// Text, and it has to be UTF-8.
    checked: bool,
    text: bool,
    /// The frames have to be inflated.
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

    /// Judges a further frame by its header, before a byte of it is kept. What a compressed one
    /// comes to is seen when it is inflated.
    #[inline]
    pub(crate) fn begin_frame(
        &mut self,
        length: u64,
        rules: &MessageRules,
    ) -> Result<(), ProtocolError> {
        self.frames += 1;
        // Frames with a payload may be as small, and so as many, as the peer likes: the size limits them.
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

    /// Whether nothing of the message has been kept, so that [`whole`](Self::whole) may take it.
    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.frames == 1 && self.data.is_empty() && !self.compressed
    }

    /// Makes a message of a payload that is all there is.
    #[inline]
    pub(crate) fn whole(self, payload: &[u8]) -> Result<Message, ProtocolError> {
        if self.checked && !utf8::is_valid(payload) {
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(self.into_message(Bytes::copy_from_slice(payload)))
    }

    /// Takes a piece; `expected` more bytes of the same frame are to come, and maybe more frames.
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
        // Many small fragments must not each move all that came before.
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

    /// Takes a piece of a compressed message, and the tail that ends it where it is the `last`.
    pub(crate) fn inflate(
        &mut self,
        piece: &[u8],
        last: bool,
        inflater: &mut Inflater,
        rules: &MessageRules,
    ) -> Result<(), ProtocolError> {
        // Judged at the same bytes of the message, however it is cut into pieces.
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

    /// Judges what was inflated in the order of its bytes: those within the limit, then the limit,
    /// then why no more came.
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

    /// Bytes of memory held.
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

/// Makes room for `arrived` bytes and for some of the `expected` ones that the peer announces.
///
/// A peer can make this allocate about four times what it has sent, or `least`, and no more than it
/// announces; a message of which a quarter has arrived is not moved again.
fn reserve(data: &mut Vec<u8>, arrived: usize, expected: u64, least: usize) {
    if data.capacity() - data.len() >= arrived {
        return;
    }
    let known = data.len() + arrived;
    let expected = usize::try_from(expected).unwrap_or(usize::MAX);
    let capacity = known + expected.min(known.saturating_mul(3).saturating_add(HEADROOM));
    data.reserve_exact(capacity.max(least) - data.len());
}

/// Hands the data on, without the room that it did not use where that is much.
fn into_bytes(mut data: Vec<u8>) -> Bytes {
    if data.capacity() - data.len() > data.len() / 4 {
        data.shrink_to_fit();
    }
    data.into()
}
