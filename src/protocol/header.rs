//! Frame headers (RFC 6455 section 5.2).
//!
//! tungstenite has the opcodes and writes the headers. This module reads them, because tungstenite's
//! parser accepts lengths that are not minimal or have the 64th bit set, and checks only whole headers.

use tungstenite::protocol::frame::{
    FrameHeader as Written,
    coding::{Control, Data, OpCode as Coded},
};

use crate::{error::ProtocolError, protocol::Role};

/// The longest header: two bytes, a 64-bit length, a masking key.
const LONGEST: usize = 14;
/// The longest payload whose length the second byte of the header can hold; also the longest payload
/// of a control frame.
pub(crate) const SHORT: u64 = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const MASK: u8 = 0x80;

/// The opcode of a frame (RFC 6455 section 5.2).
///
/// tungstenite's type has the reserved opcodes, too. This one has none, because a frame that has one is
/// refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// A further fragment of a message.
    Continuation,
    /// A text message, or its first fragment.
    Text,
    /// A binary message, or its first fragment.
    Binary,
    /// The end of the connection.
    Close,
    /// A request for a pong.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl OpCode {
    /// Whether the frame is a control frame (section 5.5).
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    /// Reads the opcode in the low four bits of a header's first byte.
    #[inline]
    fn read(first: u8) -> Result<Self, ProtocolError> {
        match Coded::from(first & 0x0f) {
            Coded::Data(Data::Continue) => Ok(Self::Continuation),
            Coded::Data(Data::Text) => Ok(Self::Text),
            Coded::Data(Data::Binary) => Ok(Self::Binary),
            Coded::Control(Control::Close) => Ok(Self::Close),
            Coded::Control(Control::Ping) => Ok(Self::Ping),
            Coded::Control(Control::Pong) => Ok(Self::Pong),
            Coded::Data(Data::Reserved(code)) | Coded::Control(Control::Reserved(code)) => {
                Err(ProtocolError::ReservedOpcode(code))
            }
        }
    }
}

impl From<OpCode> for Coded {
    #[inline]
    fn from(opcode: OpCode) -> Self {
        match opcode {
            OpCode::Continuation => Self::Data(Data::Continue),
            OpCode::Text => Self::Data(Data::Text),
            OpCode::Binary => Self::Data(Data::Binary),
            OpCode::Close => Self::Control(Control::Close),
            OpCode::Ping => Self::Control(Control::Ping),
            OpCode::Pong => Self::Control(Control::Pong),
        }
    }
}

/// The state of a connection that decides which frames are allowed next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// The role of the reader.
    pub(crate) role: Role,
    /// Whether a fragmented message is under way.
    pub(crate) continuation: bool,
    /// Whether permessage-deflate is in use: then the first frame of a message may have RSV1 set.
    pub(crate) deflate: bool,
}

/// A frame's header that has passed the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) fin: bool,
    /// RSV1: whether the message is compressed (RFC 7692 section 6).
    pub(crate) compressed: bool,
    pub(crate) opcode: OpCode,
    /// The masking key; all zero if the frame is not masked.
    pub(crate) mask: [u8; 4],
    pub(crate) length: u64,
}

impl FrameHeader {
    /// Reads a header from the beginning of `bytes`, and returns it with its length; `None` if more bytes
    /// are needed. A wrong byte is refused at once, before the rest of the header has arrived.
    #[inline]
    pub(crate) fn parse(
        bytes: &[u8],
        expected: Expected,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let opcode = check_first(first, expected)?;
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        check_second(second, opcode, expected.role)?;
        let Some((length, mut size)) = read_length(second & !MASK, &bytes[2..])? else {
            return Ok(None);
        };
        size += 2;
        let mut mask = [0; 4];
        if expected.role == Role::Server {
            let Some(key) = bytes.get(size..).and_then(<[u8]>::first_chunk::<4>) else {
                return Ok(None);
            };
            mask = *key;
            size += 4;
        }
        let header = Self {
            fin: first & FIN != 0,
            compressed: first & RSV1 != 0,
            opcode,
            mask,
            length,
        };
        Ok(Some((header, size)))
    }
}

/// Checks FIN, the reserved bits and the opcode.
#[inline]
fn check_first(first: u8, expected: Expected) -> Result<OpCode, ProtocolError> {
    let opcode = OpCode::read(first);
    // RFC 7692 section 6: RSV1 only on the first fragment of a data message.
    let rsv1_allowed = expected.deflate && matches!(opcode, Ok(OpCode::Text | OpCode::Binary));
    if first & RSV2_AND_3 != 0 || (first & RSV1 != 0 && !rsv1_allowed) {
        return Err(ProtocolError::ReservedBits);
    }
    let opcode = opcode?;
    if opcode.is_control() {
        if first & FIN == 0 {
            return Err(ProtocolError::FragmentedControl);
        }
    } else if opcode == OpCode::Continuation {
        if !expected.continuation {
            return Err(ProtocolError::UnexpectedContinuation);
        }
    } else if expected.continuation {
        return Err(ProtocolError::ExpectedContinuation);
    }
    Ok(opcode)
}

/// Checks the mask bit and a control frame's length.
#[inline]
fn check_second(second: u8, opcode: OpCode, role: Role) -> Result<(), ProtocolError> {
    match (role, second & MASK != 0) {
        (Role::Server, false) => return Err(ProtocolError::Unmasked),
        (Role::Client, true) => return Err(ProtocolError::Masked),
        (Role::Server, true) | (Role::Client, false) => {}
    }
    if opcode.is_control() && u64::from(second & !MASK) > SHORT {
        return Err(ProtocolError::ControlTooLong);
    }
    Ok(())
}

/// Reads the payload length. Returns it with the number of bytes of the extended length; `None` if more
/// bytes are needed.
#[inline]
fn read_length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    let (length, size, least) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2, SHORT + 1),
            None => return Ok(None),
        },
        127 => {
            // Section 5.2: "the most significant bit MUST be 0".
            if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
                return Err(ProtocolError::LengthOverflow);
            }
            match rest.first_chunk::<8>() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 8, 0x1_0000),
                None => return Ok(None),
            }
        }
        short => return Ok(Some((u64::from(short), 0))),
    };
    // Section 5.2: "the minimal number of bytes MUST be used to encode the length".
    if length < least {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(Some((length, size)))
}

/// An encoded header, stored without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeaderBytes {
    bytes: [u8; LONGEST],
    length: u8,
}

impl FrameHeaderBytes {
    /// Writes the header of an unfragmented frame.
    #[inline]
    pub(crate) fn new(
        opcode: OpCode,
        compressed: bool,
        mask: Option<[u8; 4]>,
        payload: usize,
    ) -> Self {
        let header = Written {
            is_final: true,
            rsv1: compressed,
            opcode: opcode.into(),
            mask,
            ..Written::default()
        };
        let mut bytes = [0; LONGEST];
        let mut rest = &mut bytes[..];
        // Writing cannot fail: the array has room for the longest header.
        let _ = header.format(payload as u64, &mut rest);
        let length = (LONGEST - rest.len()) as u8;
        Self { bytes, length }
    }
}

impl AsRef<[u8]> for FrameHeaderBytes {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The beginning of a header whose rest has not arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartialHeader {
    bytes: [u8; LONGEST],
    length: u8,
}

impl PartialHeader {
    /// Whether no part of a header is kept.
    pub(crate) fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Reads a header from the kept bytes and `input`, and advances `input` past it. `None`: the header
    /// is incomplete, and all of `input` was taken.
    #[inline]
    pub(crate) fn read(
        &mut self,
        input: &mut &mut [u8],
        expected: Expected,
    ) -> Result<Option<FrameHeader>, ProtocolError> {
        if self.length == 0
            && let Some((header, size)) = FrameHeader::parse(input, expected)?
        {
            take(input, size);
            return Ok(Some(header));
        }
        self.read_on(input, expected)
    }

    fn read_on(
        &mut self,
        input: &mut &mut [u8],
        expected: Expected,
    ) -> Result<Option<FrameHeader>, ProtocolError> {
        let kept = usize::from(self.length);
        let added = input.len().min(LONGEST - kept);
        self.bytes[kept..kept + added].copy_from_slice(&input[..added]);
        let parsed = FrameHeader::parse(&self.bytes[..kept + added], expected)?;
        let Some((header, size)) = parsed else {
            // LONGEST bytes would be a whole header, so there are fewer, and all were taken.
            self.length = (kept + added) as u8;
            *input = &mut [];
            return Ok(None);
        };
        self.length = 0;
        take(input, size - kept);
        Ok(Some(header))
    }
}

/// Takes the first `count` bytes off `input`, which has at least as many.
#[inline]
pub(crate) fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (taken, rest) = std::mem::take(input).split_at_mut(count);
    *input = rest;
    taken
}

#[cfg(test)]
mod tests;
