//! Messages to many connections: the targets of a call, the frames of a message, the way into the
//! outboxes.

pub(super) mod fanout;
pub(super) mod group_message;
pub(super) mod publish;
pub(super) mod target;
