//! Frame headers (RFC 6455 section 5.2).
//!
//! Not tungstenite's `FrameHeader`: it accepts lengths that are longer than need be or have the
//! 64th bit set, judges a header only when all of it is there, and goes through `io::Cursor`.

use crate::{error::ProtocolError, protocol::Role};

/// The longest header: two bytes, a 64-bit length, a masking key.
const LONGEST: usize = 14;
/// The longest payload that the second byte itself can give, and that a control frame may have.
pub(crate) const SHORT: u64 = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const MASK: u8 = 0x80;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpCode {
    /// A further fragment of a message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The end.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl OpCode {
    /// Whether it is one of the frames of section 5.5.
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

impl TryFrom<u8> for OpCode {
    type Error = ProtocolError;

    fn try_from(value: u8) -> Result<Self, ProtocolError> {
        match value {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            _ => Err(ProtocolError::ReservedOpcode(value)),
        }
    }
}

/// What a frame may be at this point of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// Who is reading.
    pub(crate) role: Role,
    /// A fragmented message is under way.
    pub(crate) continuation: bool,
    /// permessage-deflate is in use, so the first frame of a message may have RSV1 set.
    pub(crate) deflate: bool,
}

/// A frame's header, judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) fin: bool,
    /// RSV1: the message is compressed (RFC 7692 section 6).
    pub(crate) compressed: bool,
    pub(crate) opcode: OpCode,
    /// All zero where the frame is not masked.
    pub(crate) mask: [u8; 4],
    pub(crate) length: u64,
}

impl FrameHeader {
    /// Reads a header from the beginning of `bytes` and says how long it was; `None` where more
    /// bytes are needed. A wrong byte is refused at once, whatever is still to come.
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

/// Judges FIN, the reserved bits and the opcode.
#[inline]
fn check_first(first: u8, expected: Expected) -> Result<OpCode, ProtocolError> {
    let opcode = OpCode::try_from(first & 0x0f);
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

/// Judges the mask bit and a control frame's length.
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

/// Reads the payload length and says how many bytes its extended form took.
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

/// A header that is to be written, without an allocation.
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
        let mut bytes = [0; LONGEST];
        bytes[0] = FIN | if compressed { RSV1 } else { 0 } | opcode as u8;
        let mut length = 2;
        if payload <= SHORT as usize {
            bytes[1] = payload as u8;
        } else if let Ok(short) = u16::try_from(payload) {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&short.to_be_bytes());
            length = 4;
        } else {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            length = 10;
        }
        if let Some(key) = mask {
            bytes[1] |= MASK;
            bytes[length..length + 4].copy_from_slice(&key);
            length += 4;
        }
        Self {
            bytes,
            length: length as u8,
        }
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
    /// Whether a header is under way.
    pub(crate) fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Reads a header from what is kept and `input`, and advances `input` past it. `None`: all of
    /// `input` was taken.
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
            // Fewer than LONGEST bytes, or it would have been a whole header: all were taken.
            self.length = (kept + added) as u8;
            *input = &mut [];
            return Ok(None);
        };
        self.length = 0;
        take(input, size - kept);
        Ok(Some(header))
    }
}

/// Takes the first `count` bytes off `input`, which has them.
#[inline]
pub(crate) fn take<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (taken, rest) = std::mem::take(input).split_at_mut(count);
    *input = rest;
    taken
}

#[cfg(test)]
mod tests;
