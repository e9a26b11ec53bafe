//! One message for many connections, encoded once.

use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use super::{FrameHeaderBytes, OpCode, deflate::Deflater, pool::Kind};

/// A message and the frames that it goes out in, each made when the first connection needs it.
#[derive(Debug)]
pub struct Broadcast {
    opcode: OpCode,
    payload: Bytes,
    plain: OnceLock<Bytes>,
    /// One for each set of parameters; `None` where compression does not make it smaller. A handful
    /// at most: window sizes times levels that are in use.
    deflated: Mutex<Vec<(Kind, Option<Bytes>)>>,
}

impl Broadcast {
    /// A message; the caller knows the payload of [`OpCode::Text`] to be UTF-8.
    #[must_use]
    pub fn new(opcode: OpCode, payload: Bytes) -> Self {
        Self {
            opcode,
            payload,
            plain: OnceLock::new(),
            deflated: Mutex::default(),
        }
    }

    /// Bytes of the payload, before compression.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The payload, before compression.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The frame of a server without compression.
    pub(super) fn plain(&self) -> Bytes {
        self.plain
            .get_or_init(|| frame(self.opcode, false, &self.payload))
            .clone()
    }

    /// The frame of a server with compression, which stands alone: it refers to no message before it.
    pub(super) fn deflated(&self, kind: Kind) -> Option<Bytes> {
        let mut deflated = self.deflated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, frame)) = deflated.iter().find(|(known, _)| *known == kind) {
            return frame.clone();
        }
        // Compressed under the lock: the others that need it wait, instead of doing it again.
        let made = Deflater::new(kind.window_bits, kind.level, false)
            .and_then(|mut deflater| deflater.compress(&self.payload))
            .map(|payload| frame(self.opcode, true, &payload));
        deflated.push((kind, made.clone()));
        made
    }
}

fn frame(opcode: OpCode, compressed: bool, payload: &[u8]) -> Bytes {
    let header = FrameHeaderBytes::new(opcode, compressed, None, payload.len());
    [header.as_ref(), payload].concat().into()
}
