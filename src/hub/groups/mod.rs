//! The groups of this process: their members, their histories, joining and leaving.

pub(super) mod archive;
pub(super) mod census;
pub(super) mod group;
pub(super) mod history;
pub(super) mod members;
pub(super) mod table;
