//! Bytes that were read and not decoded, because the handler accepts no more messages.

/// Bytes that wait to be decoded.
#[derive(Debug, Default)]
pub(in crate::engine::connection) struct Stash {
    bytes: Vec<u8>,
    /// The index of the first byte that waits.
    at: usize,
}

impl Stash {
    pub(in crate::engine::connection) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    pub(in crate::engine::connection) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The first bytes that wait, `most` at most.
    pub(in crate::engine::connection) fn front(&mut self, most: usize) -> &mut [u8] {
        let end = self.bytes.len().min(self.at + most);
        &mut self.bytes[self.at..end]
    }

    /// The stash without the first `read` bytes. An empty stash holds no memory.
    pub(in crate::engine::connection) fn without(mut self, read: usize) -> Self {
        self.at += read;
        if self.at < self.bytes.len() {
            self
        } else {
            Self::default()
        }
    }
}
