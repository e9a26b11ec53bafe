//! Bytes that were read and not decoded, because the handler wants no more messages.

/// Bytes that wait to be decoded.
#[derive(Debug, Default)]
pub(super) struct Stash {
    bytes: Vec<u8>,
    /// Where the rest begins.
    at: usize,
}

impl Stash {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The front, to be decoded.
    pub(super) fn front(&mut self, most: usize) -> &mut [u8] {
        let end = self.bytes.len().min(self.at + most);
        &mut self.bytes[self.at..end]
    }

    /// The stash without what has been read of its front; the last of it gives the memory back.
    pub(super) fn without(mut self, read: usize) -> Self {
        self.at += read;
        if self.at < self.bytes.len() {
            self
        } else {
            Self::default()
        }
    }
}
