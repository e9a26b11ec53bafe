//! RFC 6455 frames for a client: it sends masked frames and receives unmasked ones.

use crate::Result;

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// Appends a whole masked message to `out`.
pub fn encode(out: &mut Vec<u8>, opcode: u8, compressed: bool, mask: [u8; 4], payload: &[u8]) {
    out.push(FIN | if compressed { RSV1 } else { 0 } | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}

/// An unmasked frame at the beginning of a buffer.
pub struct Frame<'a> {
    pub opcode: u8,
    pub compressed: bool,
    pub payload: &'a [u8],
    /// The length of the frame in bytes, including its header.
    pub length: usize,
}

/// Reads the frame at the beginning of `bytes`; `None`: the frame is incomplete.
pub fn decode(bytes: &[u8]) -> Result<Option<Frame<'_>>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & FIN == 0 || first & 0xf == 0 {
        return Err("the server fragments, which this program does not expect".into());
    }
    if second & 0x80 != 0 {
        return Err("the server masks its frames".into());
    }
    let (length, header) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => (
            usize::try_from(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))?,
            10,
        ),
        (126 | 127, _) => return Ok(None),
        (short, _) => (usize::from(short), 2),
    };
    Ok(bytes.get(header..header + length).map(|payload| Frame {
        opcode: first & 0xf,
        compressed: first & RSV1 != 0,
        payload,
        length: header + length,
    }))
}
