//! The bytes that leave this process: envelopes for the broker, JSON for the clients.

pub(super) mod envelope;
pub(super) mod frames;
pub(super) mod json;
pub(super) mod payload;
