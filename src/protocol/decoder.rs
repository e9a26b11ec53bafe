//! Bytes in, events out.

use bytes::Bytes;

use crate::{
    config::ProtocolConfig,
    error::ProtocolError,
    protocol::{
        DeflateParams, Event, OpCode, Role, close,
        deflate::Inflater,
        header::{self, Expected, FrameHeader, PartialHeader},
        mask,
        message::{Assembly, MessageRules},
    },
};

/// Payload bytes below which a fragment counts as small: little more than its header.
const SMALL_FRAGMENT: u64 = 16;

/// The frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    fin: bool,
    /// The masking key, rotated for the next byte of the payload.
    mask: [u8; 4],
    /// Payload bytes still to come.
    remaining: u64,
}

/// Reads the peer's bytes, checks the frames, and assembles messages.
///
/// Between messages a decoder holds no memory besides itself, unless the peer compresses with
/// context takeover: then, from the first compressed message on, it keeps a decompressor of 47 KiB,
/// which includes the window of the last 32 KiB.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    rules: MessageRules,
    max_frame_size: usize,
    inflater: Option<Inflater>,
    header: PartialHeader,
    frame: Option<Frame>,
    /// The payload of a control frame that has arrived in part.
    control: Vec<u8>,
    message: Option<Assembly>,
    /// Small fragments since the last [`Decoder::take_small_fragments`].
    small_fragments: u32,
    /// True after a Close frame or an error: further bytes are ignored.
    ended: bool,
}

impl Decoder {
    /// Makes the decoder of a new connection.
    #[must_use]
    pub fn new(role: Role, config: &ProtocolConfig, deflate: Option<DeflateParams>) -> Self {
        Self {
            role,
            rules: MessageRules {
                max_size: config.max_message_size,
                max_fragments: config.max_fragments,
                validate_utf8: config.validate_utf8,
            },
            max_frame_size: config.max_frame_size,
            inflater: deflate.map(|params| Inflater::new(params.peer_context(role))),
            header: PartialHeader::default(),
            frame: None,
            control: Vec::new(),
            message: None,
            small_fragments: 0,
            ended: false,
        }
    }

    /// Reads `input` up to the next event, unmasks the bytes in place, and advances `input` past them.
    ///
    /// `Some`: the rest of `input` is unread, and the caller may keep it until there is room for more
    /// events. `None`: all of `input` was read; the decoder keeps the beginning of an incomplete frame.
    /// After [`Event::Close`] or an error, all further bytes are read and ignored (RFC 6455 sections
    /// 1.4 and 7.1.7).
    ///
    /// # Errors
    ///
    /// A byte breaks the protocol or goes past a limit; see [`ProtocolError`].
    #[inline]
    pub fn next(&mut self, input: &mut &mut [u8]) -> Result<Option<Event>, ProtocolError> {
        if self.ended {
            *input = &mut [];
            return Ok(None);
        }
        let result = self.read(input);
        if matches!(result, Err(_) | Ok(Some(Event::Close(_)))) {
            self.end();
        }
        result
    }

    /// Whether the decoder is between messages: no frame is half read, and no buffer is held.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.header.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// Bytes of memory that the message under way holds.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.message.as_ref().map_or(0, Assembly::capacity)
    }

    /// The number of small fragments since the last call. Each costs the reader time without becoming an
    /// event.
    pub fn take_small_fragments(&mut self) -> u32 {
        std::mem::take(&mut self.small_fragments)
    }

    /// Whether messages may be compressed, so that a few bytes can cost much processor time.
    #[must_use]
    pub fn inflates(&self) -> bool {
        self.inflater.is_some()
    }

    fn read(&mut self, input: &mut &mut [u8]) -> Result<Option<Event>, ProtocolError> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.header.read(input, self.expected())? {
                    Some(header) => self.begin(header)?,
                    None => return Ok(None),
                },
            };
            let step = if frame.opcode.is_control() {
                self.read_control(frame, input)?
            } else {
                self.read_data(frame, input)?
            };
            if let Some(event) = step {
                return Ok(Some(event));
            }
            if self.frame.is_some() {
                return Ok(None);
            }
        }
    }

    #[inline]
    fn expected(&self) -> Expected {
        Expected {
            role: self.role,
            continuation: self.message.is_some(),
            deflate: self.inflater.is_some(),
        }
    }

    /// Checks a frame by its header.
    #[inline]
    fn begin(&mut self, header: FrameHeader) -> Result<Frame, ProtocolError> {
        let FrameHeader {
            fin,
            compressed,
            opcode,
            mask,
            length,
        } = header;
        if !opcode.is_control() {
            if length > self.max_frame_size as u64 {
                return Err(ProtocolError::FrameTooBig {
                    limit: self.max_frame_size,
                });
            }
            let rules = &self.rules;
            let part = !fin || opcode == OpCode::Continuation;
            if part && length < SMALL_FRAGMENT {
                self.small_fragments = self.small_fragments.saturating_add(1);
            }
            let message = self
                .message
                .get_or_insert_with(|| Assembly::new(opcode, compressed, rules));
            message.begin_frame(length, rules)?;
        }
        Ok(Frame {
            opcode,
            fin,
            mask,
            remaining: length,
        })
    }

    /// Reads the part of a data frame that has arrived; keeps the frame if bytes are missing.
    #[inline]
    fn read_data(
        &mut self,
        mut frame: Frame,
        input: &mut &mut [u8],
    ) -> Result<Option<Event>, ProtocolError> {
        let piece = take_payload(&mut frame, input);
        let Some(mut message) = self.message.take() else {
            return Ok(None);
        };
        let last = frame.remaining == 0;
        if last && frame.fin && message.is_fresh() {
            return message
                .whole(piece)
                .map(|message| Some(Event::Message(message)));
        }
        match &mut self.inflater {
            Some(inflater) if message.compressed => {
                message.inflate(piece, last && frame.fin, inflater, &self.rules)?;
            }
            _ => message.push(piece, frame.remaining, frame.fin, &self.rules)?,
        }
        if last && frame.fin {
            return message
                .finish()
                .map(|message| Some(Event::Message(message)));
        }
        self.message = Some(message);
        if !last {
            self.frame = Some(frame);
        }
        Ok(None)
    }

    /// Reads the part of a control frame that has arrived; keeps the frame if bytes are missing.
    fn read_control(
        &mut self,
        mut frame: Frame,
        input: &mut &mut [u8],
    ) -> Result<Option<Event>, ProtocolError> {
        let piece = take_payload(&mut frame, input);
        if frame.remaining > 0 {
            self.control
                .reserve_exact(piece.len() + frame.remaining as usize);
            self.control.extend_from_slice(piece);
            self.frame = Some(frame);
            return Ok(None);
        }
        let payload = if self.control.is_empty() {
            Bytes::copy_from_slice(piece)
        } else {
            let mut kept = std::mem::take(&mut self.control);
            kept.extend_from_slice(piece);
            kept.into()
        };
        let event = match frame.opcode {
            OpCode::Ping => Event::Ping(payload),
            OpCode::Pong => Event::Pong(payload),
            OpCode::Close | OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                Event::Close(close::parse(&payload)?)
            }
        };
        Ok(Some(event))
    }

    /// Ends the decoder: it ignores further bytes, and frees all memory.
    fn end(&mut self) {
        self.ended = true;
        self.header = PartialHeader::default();
        self.frame = None;
        self.control = Vec::new();
        self.message = None;
        self.inflater = None;
    }
}

/// Takes the frame's payload, or the part of it that `input` has, and unmasks it.
#[inline]
fn take_payload<'a>(frame: &mut Frame, input: &mut &'a mut [u8]) -> &'a mut [u8] {
    let there = usize::try_from(frame.remaining)
        .unwrap_or(usize::MAX)
        .min(input.len());
    let piece = header::take(input, there);
    frame.mask = mask::apply(piece, frame.mask);
    frame.remaining -= there as u64;
    piece
}

#[cfg(test)]
mod tests;
