use std::{sync::Arc, time::Duration};

use pyo3::prelude::*;

use super::{
    errors::{seconds, value},
    parse::{Parsed, Policy, Word},
    repr,
};
use crate::config::{Compression, Config, Overflow, ProtocolConfig};

/// The limits of a connection.
#[pyclass(frozen, module = "dwebsocket._engine", name = "Options")]
pub(super) struct PyOptions {
    pub(super) config: Arc<Config>,
    pub(super) text_as_bytes: bool,
}

#[pymethods]
impl PyOptions {
    #[new]
    #[pyo3(signature = (
        *,
        max_message_size = 1 << 20,
        max_frame_size = None,
        max_fragments = 16_384,
        ping_interval = Some(20.0),
        ping_timeout = 20.0,
        handshake_timeout = 10.0,
        close_timeout = 10.0,
        idle_timeout = None,
        inbox_messages = 256,
        inbox_bytes = 1 << 20,
        outbox_messages = 4_096,
        outbox_bytes = 4 << 20,
        text_as_bytes = false,
        validate_utf8 = true,
        compression = Parsed(Compression::Shared),
        compression_threshold = 256,
        compression_level = 1,
        overflow = Parsed(Policy::Now(Overflow::Close)),
    ))]
    // The names and defaults are the interface of Python. A struct would only move the list.
    #[allow(clippy::too_many_arguments)]
    fn new(
        max_message_size: usize,
        max_frame_size: Option<usize>,
        max_fragments: u32,
        ping_interval: Option<f64>,
        ping_timeout: f64,
        handshake_timeout: f64,
        close_timeout: f64,
        idle_timeout: Option<f64>,
        inbox_messages: usize,
        inbox_bytes: usize,
        outbox_messages: usize,
        outbox_bytes: usize,
        text_as_bytes: bool,
        validate_utf8: bool,
        compression: Parsed<Compression>,
        compression_threshold: usize,
        compression_level: u8,
        overflow: Parsed<Policy>,
    ) -> PyResult<Self> {
        let protocol = ProtocolConfig {
            max_message_size: positive("max_message_size", max_message_size)?,
            max_frame_size: positive("max_frame_size", max_frame_size.unwrap_or(usize::MAX))?,
            max_fragments,
            validate_utf8,
            compression: compression.0,
            compression_threshold,
            compression_level: parse_level(compression_level)?,
        };
        positive("max_fragments", max_fragments as usize)?;
        let config = Config {
            protocol,
            ping_interval: ping_interval
                .map(|s| limit("ping_interval", s))
                .transpose()?,
            ping_timeout: limit("ping_timeout", ping_timeout)?,
            handshake_timeout: limit("handshake_timeout", handshake_timeout)?,
            close_timeout: limit("close_timeout", close_timeout)?,
            idle_timeout: idle_timeout.map(|s| limit("idle_timeout", s)).transpose()?,
            inbox_messages: positive("inbox_messages", inbox_messages)?,
            inbox_bytes: positive("inbox_bytes", inbox_bytes)?,
            outbox_messages: positive("outbox_messages", outbox_messages)?,
            outbox_bytes: positive("outbox_bytes", outbox_bytes)?,
            broadcast_overflow: overflow.0.of_groups()?,
        };
        Ok(Self {
            config: Arc::new(config),
            text_as_bytes,
        })
    }

    #[getter]
    fn close_timeout(&self) -> f64 {
        self.config.close_timeout.as_secs_f64()
    }

    fn __repr__(&self) -> String {
        let config = &self.config;
        let protocol = &config.protocol;
        let time = |limit: Option<Duration>| repr::optional(limit.map(|limit| limit.as_secs_f64()));
        let frame = protocol.max_frame_size;
        format!(
            "<Options max_message_size={} max_frame_size={} max_fragments={} ping_interval={} \
             ping_timeout={} handshake_timeout={} close_timeout={} idle_timeout={} \
             inbox_messages={} inbox_bytes={} outbox_messages={} outbox_bytes={} \
             text_as_bytes={} validate_utf8={} compression={} compression_threshold={} \
             compression_level={}>",
            protocol.max_message_size,
            repr::optional((frame != usize::MAX).then_some(frame)),
            protocol.max_fragments,
            time(config.ping_interval),
            time(Some(config.ping_timeout)),
            time(Some(config.handshake_timeout)),
            time(Some(config.close_timeout)),
            time(config.idle_timeout),
            config.inbox_messages,
            config.inbox_bytes,
            config.outbox_messages,
            config.outbox_bytes,
            repr::boolean(self.text_as_bytes),
            repr::boolean(protocol.validate_utf8),
            repr::text(protocol.compression.word()),
            protocol.compression_threshold,
            protocol.compression_level,
        )
    }
}

fn positive(name: &str, number: usize) -> PyResult<usize> {
    if number == 0 {
        Err(value(format!("{name} must be at least 1")))
    } else {
        Ok(number)
    }
}

/// A time limit: more than 0, and short enough that adding it to the present never overflows.
fn limit(name: &str, limit: f64) -> PyResult<Duration> {
    let limit = seconds(name, limit)?;
    if limit.is_zero() || limit > Duration::from_secs(60 * 60 * 24 * 365) {
        return Err(value(format!(
            "{name} must be more than 0 seconds and at most a year"
        )));
    }
    Ok(limit)
}

/// A level of DEFLATE (RFC 1951): 1 is the fastest, 9 compresses most.
fn parse_level(level: u8) -> PyResult<u8> {
    if (1..=9).contains(&level) {
        Ok(level)
    } else {
        Err(value("compression_level must be from 1 to 9"))
    }
}
