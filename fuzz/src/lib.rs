//! What the fuzz targets share.

use dwebsocket::{
    config::ProtocolConfig,
    error::ProtocolError,
    protocol::{Decoder, DeflateParams, Event, Message, Role},
};

/// A connection as the first bytes of an input choose it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who reads.
    pub role: Role,
    /// Small limits, so that inputs can go past them.
    pub config: ProtocolConfig,
    /// Whether compression is on, and how.
    pub params: Option<DeflateParams>,
}

impl Setup {
    /// Takes two bytes off the input.
    pub fn take(data: &[u8]) -> Option<(Self, &[u8])> {
        let (&[flags, limits], rest) = data.split_first_chunk()?;
        let role = if flags & 1 == 0 {
            Role::Server
        } else {
            Role::Client
        };
        let config = ProtocolConfig {
            max_message_size: 16 << (limits & 15),
            max_frame_size: if limits & 16 == 0 { usize::MAX } else { 4096 },
            max_fragments: if limits & 32 == 0 { 16_384 } else { 4 },
            validate_utf8: flags & 2 == 0,
            compression_level: 1 + (limits >> 6),
            compression_threshold: usize::from(flags & 4),
            ..ProtocolConfig::default()
        };
        let params = (flags & 8 == 0).then_some(DeflateParams {
            server_no_context_takeover: flags & 16 == 0,
            client_no_context_takeover: flags & 32 == 0,
            server_max_window_bits: if flags & 64 == 0 { 15 } else { 9 },
            client_max_window_bits: if flags & 128 == 0 { 15 } else { 9 },
        });
        Some((
            Self {
                role,
                config,
                params,
            },
            rest,
        ))
    }

    /// The decoder of this end.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.role, &self.config, self.params)
    }

    /// The role at the other end.
    pub fn peer(&self) -> Role {
        match self.role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        }
    }

    /// Checks what must be true of every event.
    pub fn check(&self, event: &Event) {
        match event {
            Event::Message(Message::Text(data)) => {
                assert!(data.len() <= self.config.max_message_size);
                assert!(!self.config.validate_utf8 || std::str::from_utf8(data).is_ok());
            }
            Event::Message(Message::Binary(data)) => {
                assert!(data.len() <= self.config.max_message_size);
            }
            Event::Ping(data) | Event::Pong(data) => assert!(data.len() <= 125),
            Event::Close(None) => {}
            Event::Close(Some(frame)) => {
                assert!(dwebsocket::protocol::close::is_receivable(frame.code));
                assert!(dwebsocket::protocol::close::reason_fits(&frame.reason));
            }
        }
    }

    /// Reads pieces to the end, and checks every event.
    pub fn decode<'a>(
        &self,
        decoder: &mut Decoder,
        pieces: impl Iterator<Item = &'a mut [u8]>,
    ) -> (Vec<Event>, Option<ProtocolError>) {
        let mut events = Vec::new();
        for piece in pieces {
            let mut rest = piece;
            loop {
                match decoder.next(&mut rest) {
                    Ok(Some(event)) => {
                        self.check(&event);
                        events.push(event);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        assert!((1002..=1009).contains(&error.close_code()));
                        assert!(decoder.is_idle());
                        return (events, Some(error));
                    }
                }
            }
            assert!(rest.is_empty());
        }
        (events, None)
    }
}
