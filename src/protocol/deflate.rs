//! Compressed payloads (RFC 7692 section 7.2).
//!
//! Memory, per direction: a compressor takes 371 KiB with a window of 15 bits and 245 KiB with
//! 9 bits, a decompressor 47 KiB. With context takeover, a connection keeps its own decompressor
//! from its first compressed message on, and its own compressor until [`Deflater::release`].
//! Without context takeover, it holds either of them only while a message is under way.

use flate2::{
    Compress, CompressError, Compression, Decompress, FlushCompress, FlushDecompress, Status,
};

use crate::{
    error::ProtocolError,
    protocol::pool::{COMPRESSORS, DECOMPRESSORS, Kind},
};

/// The last bytes of a flush, which are left off on the wire (sections 7.2.1 and 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// An empty block with the bit that marks the last block. A stream reads it as a block only if the data
/// before it ends with a whole block.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];
/// The smallest window that zlib compresses with. If 8 bits are asked for, zlib silently uses 9.
pub(crate) const LEAST_WINDOW_BITS: u8 = 9;

/// Compresses messages.
#[derive(Debug)]
pub(crate) struct Deflater {
    kind: Kind,
    takeover: bool,
    /// The connection's own compressor; with context takeover only.
    kept: Option<Box<Compress>>,
}

impl Deflater {
    /// `None` if zlib cannot compress with the window.
    pub(crate) fn new(window_bits: u8, level: u8, takeover: bool) -> Option<Self> {
        let kind = Kind { window_bits, level };
        (window_bits >= LEAST_WINDOW_BITS).then_some(Self {
            kind,
            takeover,
            kept: None,
        })
    }

    /// Compresses a message; `None` if it must be sent uncompressed, because zlib failed or the result is
    /// not smaller.
    pub(crate) fn compress(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut compressor = self
            .kept
            .take()
            .or_else(|| self.take_shared())
            .unwrap_or_else(|| {
                let Kind { window_bits, level } = self.kind;
                let level = Compression::new(u32::from(level));
                Box::new(Compress::new_with_window_bits(level, false, window_bits))
            });
        // A payload that does not compress grows by an eighth at most, so this capacity is nearly always
        // enough.
        let mut output = Vec::with_capacity(payload.len() + payload.len() / 8 + 64);
        // A compressor that fails or does not finish is dropped, because zlib-rs does not reset all of
        // it. A fresh compressor refers to no earlier message, so it may follow at any time.
        flush(&mut compressor, payload, &mut output).ok()?;
        if self.takeover {
            self.kept = Some(compressor);
        } else {
            compressor.reset();
            COMPRESSORS.give(self.kind, compressor);
        }
        output.truncate(output.len().saturating_sub(TAIL.len()));
        if output.is_empty() {
            // Section 7.2.3.6: the payload of an empty message, for which zlib has no output.
            output.push(0);
        }
        if !self.takeover && output.len() >= payload.len() {
            // Without takeover the peer's window is empty in any case. With takeover the message must be
            // sent compressed, because this side's window has it already.
            return None;
        }
        output.shrink_to_fit();
        Some(output)
    }

    /// The parameters with which a broadcast for this connection must be compressed.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Drops the compressor. The next message starts with an empty window, which is always allowed.
    pub(crate) fn release(&mut self) {
        self.kept = None;
    }

    fn take_shared(&self) -> Option<Box<Compress>> {
        if self.takeover {
            None
        } else {
            COMPRESSORS.take(self.kind)
        }
    }
}

/// Compresses all of `payload`, up to a byte boundary.
fn flush(stream: &mut Compress, payload: &[u8], output: &mut Vec<u8>) -> Result<(), CompressError> {
    let start = stream.total_in();
    loop {
        let taken = (stream.total_in() - start) as usize;
        stream.compress_vec(&payload[taken..], output, FlushCompress::Sync)?;
        // By zlib's rule, a flush is complete when it leaves room in the output.
        if output.len() < output.capacity() {
            return Ok(());
        }
        output.reserve(output.len() / 4 + 64);
    }
}

/// Inflates messages.
#[derive(Debug)]
pub(crate) struct Inflater {
    takeover: bool,
    /// Whether a byte of the message under way was read.
    begun: bool,
    /// Whether the bytes read so far end with a block marked as the last.
    ended: bool,
    stream: Option<Box<Decompress>>,
}

/// The kind of all decompressors: a window of 15 bits reads the output of any smaller window.
const INFLATE: Kind = Kind {
    window_bits: 15,
    level: 0,
};

impl Inflater {
    pub(crate) fn new(takeover: bool) -> Self {
        Self {
            takeover,
            begun: false,
            ended: false,
            stream: None,
        }
    }

    /// Inflates a piece of a message and appends the result to `output`; stops once `output` has more
    /// than `limit` bytes. On an error, `output` has the bytes that were inflated before it.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        output: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ProtocolError> {
        let stream = self.stream.get_or_insert_with(|| {
            DECOMPRESSORS
                .take(INFLATE)
                .unwrap_or_else(|| Box::new(Decompress::new(false)))
        });
        let mut rest = piece;
        self.begun |= !piece.is_empty();
        loop {
            if self.ended {
                if rest.is_empty() {
                    return Ok(());
                }
                // Section 7.2.3.5: further blocks may follow a block marked as the last. Its sender
                // has ended one stream and started another, which does not refer to the first.
                stream.reset(false);
                self.ended = false;
            }
            reserve(output, rest.len(), limit);
            let before = stream.total_in();
            let status = stream
                .decompress_vec(rest, output, FlushDecompress::Sync)
                .map_err(|_| ProtocolError::CorruptDeflate)?;
            rest = &rest[(stream.total_in() - before) as usize..];
            self.ended = status == Status::StreamEnd;
            if output.len() > limit {
                return Ok(());
            }
            // If the output has room left, all input was read, unless a stream has ended.
            if output.len() < output.capacity() && !self.ended {
                return Ok(());
            }
        }
    }

    /// Ends a message: inflates the tail that the sender has left off (section 7.2.2).
    pub(crate) fn finish(
        &mut self,
        output: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ProtocolError> {
        // An empty message should have been sent as a single zero (section 7.2.3.6). A payload of no bytes
        // is taken for one, too; the tail alone would not be a block.
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        if !self.ended {
            self.push(&TAIL, output, limit)?;
            self.begun = false;
        }
        if !self.takeover && output.len() <= limit {
            self.check_end(output, limit)?;
            if let Some(mut stream) = self.stream.take() {
                stream.reset(false);
                DECOMPRESSORS.give(INFLATE, stream);
            }
            self.ended = false;
        }
        Ok(())
    }

    /// Refuses a message that stops within a block. With context takeover this check is not possible: the
    /// extra block would become part of the stream that the next message continues.
    fn check_end(&mut self, output: &mut Vec<u8>, limit: usize) -> Result<(), ProtocolError> {
        let length = output.len();
        if !self.ended {
            self.push(&LAST_BLOCK, output, limit)?;
        }
        if !self.ended || output.len() != length {
            return Err(ProtocolError::CorruptDeflate);
        }
        Ok(())
    }
}

/// Makes room for the bytes to which `count` bytes are likely to inflate. The room ends one byte past
/// `limit`: that byte tells a message that is too long from one that just fits.
fn reserve(output: &mut Vec<u8>, count: usize, limit: usize) {
    let length = output.len();
    if length < output.capacity() {
        return;
    }
    let likely = count.saturating_mul(4).max(length).max(256);
    let most = limit.saturating_add(1) - length;
    output.reserve_exact(likely.min(most));
}

#[cfg(test)]
mod tests;
