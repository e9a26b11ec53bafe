//! The messages to send: a few dozen different ones, encoded once, so that the program uses little CPU.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::Result;
use crate::wire;

/// The number of different messages.
pub const VARIETY: usize = 64;

/// The content of the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
    /// A text message of JSON, as an application sends it.
    Json,
}

impl std::str::FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "binary" => Ok(Self::Binary),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// The messages of a run, and their frames in a row.
pub struct Pool {
    messages: Vec<Vec<u8>>,
    frames: Vec<u8>,
    /// The start of each frame. All frames are stored twice, so that any sequence is one slice.
    starts: Vec<usize>,
}

impl Pool {
    /// Makes messages of `size` bytes; with `compressed`, each is deflated on its own.
    pub fn new(kind: Kind, size: usize, compressed: bool) -> Result<Self> {
        let messages: Vec<_> = (0..VARIETY)
            .map(|number| message(kind, size, number))
            .collect();
        let opcode = if kind == Kind::Binary {
            wire::BINARY
        } else {
            wire::TEXT
        };
        let mut frames = Vec::new();
        let mut starts = Vec::new();
        for (number, message) in messages.iter().chain(&messages).enumerate() {
            starts.push(frames.len());
            let mask = (number as u32 + 1).wrapping_mul(0x9e37_79b9).to_be_bytes();
            if compressed {
                wire::encode(&mut frames, opcode, true, mask, &deflate(message)?);
            } else {
                wire::encode(&mut frames, opcode, false, mask, message);
            }
        }
        starts.push(frames.len());
        Ok(Self {
            messages,
            frames,
            starts,
        })
    }

    /// The bytes of `count` frames (at most [`VARIETY`]), starting with the one of this number.
    pub fn frames(&self, number: usize, count: usize) -> &[u8] {
        let first = number % VARIETY;
        &self.frames[self.starts[first]..self.starts[first + count.min(VARIETY)]]
    }

    /// The message with this number.
    pub fn message(&self, number: usize) -> &[u8] {
        &self.messages[number % VARIETY]
    }
}

fn message(kind: Kind, size: usize, number: usize) -> Vec<u8> {
    let mut random = number as u64 + 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    match kind {
        Kind::Binary => (0..size).map(|_| (next() >> 32) as u8).collect(),
        Kind::Text => (0..size).map(|_| b'a' + (next() % 26) as u8).collect(),
        Kind::Json => {
            let mut text = format!(
                "{{\"type\":\"quotes\",\"sequence\":{},\"items\":[",
                next() % 1_000_000
            );
            while text.len() + 100 < size {
                text += &format!(
                    "{{\"id\":{},\"symbol\":\"S{:03}\",\"price\":{}.{:02},\"volume\":{},\"up\":{}}},",
                    next() % 100_000,
                    next() % 500,
                    next() % 1000,
                    next() % 100,
                    next() % 50_000,
                    next() % 2 == 0,
                );
            }
            text += "{}],\"pad\":\"";
            while text.len() + 2 < size {
                text.push(char::from(b'a' + (next() % 26) as u8));
            }
            (text + "\"}").into_bytes()
        }
    }
}

/// Deflates one message (RFC 7692 section 7.2.1), without the context of another.
fn deflate(message: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len() + 64);
    Compress::new(Compression::default(), false).compress_vec(
        message,
        &mut out,
        FlushCompress::Sync,
    )?;
    match out.strip_suffix(&[0, 0, 0xff, 0xff]) {
        Some(stripped) => Ok(stripped.to_vec()),
        None => Err("deflate did not end in an empty block".into()),
    }
}

/// Inflates one message (RFC 7692 section 7.2.2) of roughly `size` bytes into `out`.
pub fn inflate(
    inflater: &mut Decompress,
    payload: &[u8],
    size: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    out.reserve(size + 64);
    inflater.decompress_vec(payload, out, FlushDecompress::None)?;
    inflater.decompress_vec(&[0, 0, 0xff, 0xff], out, FlushDecompress::Sync)?;
    Ok(())
}
