//! RFC 6455 and RFC 7692 without I/O: bytes in, events and bytes out.
//!
//! Nothing here names a socket, a task, a clock or Python.
