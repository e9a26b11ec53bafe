//! Bytes in, events out.

use bytes::Bytes;

use crate::{
    config::ProtocolConfig,
    error::ProtocolError,
    protocol::{
        DeflateParams, Event, OpCode, Role, close,
        header::{self, Expected, FrameHeader, PartialHeader},
        mask,
        message::{Assembly, MessageRules},
    },
};

/// The frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    fin: bool,
    /// The masking key, turned to where the next byte needs it.
    mask: [u8; 4],
    /// Payload bytes still to come.
    remaining: u64,
}

/// Reads what the peer sends, judges it, and assembles messages.
///
/// Between messages it holds no memory besides itself.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    rules: MessageRules,
    max_frame_size: usize,
    deflate: Option<DeflateParams>,
    header: PartialHeader,
    frame: Option<Frame>,
    /// The payload of a control frame of which a part has arrived.
    control: Vec<u8>,
    message: Option<Assembly>,
    /// A Close frame or an error was the last thing to be said.
    ended: bool,
}

impl Decoder {
    /// Makes the decoder of a new connection.
    #[must_use]
    pub fn new(role: Role, config: &ProtocolConfig, deflate: Option<DeflateParams>) -> Self {
        Self {
            role,
            rules: MessageRules {
                max_size: config.max_message_size,
                max_fragments: config.max_fragments,
                validate_utf8: config.validate_utf8,
            },
            max_frame_size: config.max_frame_size,
            deflate,
            header: PartialHeader::default(),
            frame: None,
            control: Vec::new(),
            message: None,
            ended: false,
        }
    }

    /// Reads on in `input` and advances it past what was read, which is unmasked in place.
    ///
    /// `Some`: the rest of `input` is unread, and may be kept until there is room for more events.
    /// `None`: all of `input` was read; the beginning of a frame is kept inside. After
    /// [`Event::Close`] or an error everything is read and ignored (RFC 6455 sections 1.4 and
    /// 7.1.7).
    ///
    /// # Errors
    ///
    /// The first byte that breaks the protocol or a limit; see [`ProtocolError`].
    #[inline]
    pub fn next(&mut self, input: &mut &mut [u8]) -> Result<Option<Event>, ProtocolError> {
        if self.ended {
            *input = &mut [];
            return Ok(None);
        }
        let result = self.read(input);
        if matches!(result, Err(_) | Ok(Some(Event::Close(_)))) {
            self.end();
        }
        result
    }

    /// Whether it is between messages: nothing is half read, and no buffer is held.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.header.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    fn read(&mut self, input: &mut &mut [u8]) -> Result<Option<Event>, ProtocolError> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.header.read(input, self.expected())? {
                    Some(header) => self.begin(header)?,
                    None => return Ok(None),
                },
            };
            let step = if frame.opcode.is_control() {
                self.read_control(frame, input)?
            } else {
                self.read_data(frame, input)?
            };
            if let Some(event) = step {
                return Ok(Some(event));
            }
            if self.frame.is_some() {
                return Ok(None);
            }
        }
    }

    #[inline]
    fn expected(&self) -> Expected {
        Expected {
            role: self.role,
            continuation: self.message.is_some(),
            deflate: self.deflate.is_some(),
        }
    }

    /// Judges a frame by its header.
    #[inline]
    fn begin(&mut self, header: FrameHeader) -> Result<Frame, ProtocolError> {
        let FrameHeader {
            fin,
            opcode,
            mask,
            length,
            ..
        } = header;
        if !opcode.is_control() {
            if length > self.max_frame_size as u64 {
                return Err(ProtocolError::FrameTooBig {
                    limit: self.max_frame_size,
                });
            }
            let rules = &self.rules;
            let message = self
                .message
                .get_or_insert_with(|| Assembly::new(opcode, rules));
            message.begin_frame(length, rules)?;
        }
        Ok(Frame {
            opcode,
            fin,
            mask,
            remaining: length,
        })
    }

    /// Reads what is there of a data frame; keeps the frame where more is to come.
    #[inline]
    fn read_data(
        &mut self,
        mut frame: Frame,
        input: &mut &mut [u8],
    ) -> Result<Option<Event>, ProtocolError> {
        let piece = take_payload(&mut frame, input);
        let Some(mut message) = self.message.take() else {
            return Ok(None);
        };
        let last = frame.remaining == 0;
        if last && frame.fin && message.is_fresh() {
            return message
                .whole(piece)
                .map(|message| Some(Event::Message(message)));
        }
        message.push(piece, frame.remaining, frame.fin, &self.rules)?;
        if last && frame.fin {
            return message
                .finish()
                .map(|message| Some(Event::Message(message)));
        }
        self.message = Some(message);
        if !last {
            self.frame = Some(frame);
        }
        Ok(None)
    }

    /// Reads what is there of a control frame; keeps the frame where more is to come.
    fn read_control(
        &mut self,
        mut frame: Frame,
        input: &mut &mut [u8],
    ) -> Result<Option<Event>, ProtocolError> {
        let piece = take_payload(&mut frame, input);
        if frame.remaining > 0 {
            self.control
                .reserve_exact(piece.len() + frame.remaining as usize);
            self.control.extend_from_slice(piece);
            self.frame = Some(frame);
            return Ok(None);
        }
        let payload = if self.control.is_empty() {
            Bytes::copy_from_slice(piece)
        } else {
            let mut kept = std::mem::take(&mut self.control);
            kept.extend_from_slice(piece);
            kept.into()
        };
        let event = match frame.opcode {
            OpCode::Ping => Event::Ping(payload),
            OpCode::Pong => Event::Pong(payload),
            OpCode::Close | OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                Event::Close(close::parse(&payload)?)
            }
        };
        Ok(Some(event))
    }

    /// Reads nothing any more, and gives all memory back.
    fn end(&mut self) {
        self.ended = true;
        self.header = PartialHeader::default();
        self.frame = None;
        self.control = Vec::new();
        self.message = None;
    }
}

/// Takes what `input` has of the frame's payload, unmasked.
#[inline]
fn take_payload<'a>(frame: &mut Frame, input: &mut &'a mut [u8]) -> &'a mut [u8] {
    let there = usize::try_from(frame.remaining)
        .unwrap_or(usize::MAX)
        .min(input.len());
    let piece = header::take(input, there);
    frame.mask = mask::apply(piece, frame.mask);
    frame.remaining -= there as u64;
    piece
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CloseFrame, Message};

    /// A client's decoder, so that the frames of a table need no mask.
    fn client(config: &ProtocolConfig) -> Decoder {
        Decoder::new(Role::Client, config, None)
    }

    /// Everything that `stream` gives when it comes in pieces of `size`.
    fn decode(
        config: &ProtocolConfig,
        stream: &[u8],
        size: usize,
    ) -> (Vec<Event>, Option<ProtocolError>) {
        let mut decoder = client(config);
        let mut events = Vec::new();
        for piece in stream.to_vec().chunks_mut(size) {
            let mut input = piece;
            loop {
                match decoder.next(&mut input) {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => return (events, Some(error)),
                }
            }
            assert!(input.is_empty(), "None leaves nothing unread");
        }
        (events, None)
    }

    fn text(data: &[u8]) -> Event {
        Event::Message(Message::Text(Bytes::copy_from_slice(data)))
    }

    fn binary(data: &[u8]) -> Event {
        Event::Message(Message::Binary(Bytes::copy_from_slice(data)))
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn streams_are_judged_the_same_in_pieces_of_any_size() {
        let config = ProtocolConfig {
            max_fragments: 4,
            ..ProtocolConfig::default()
        };
        let ping = |data: &'static [u8]| Event::Ping(Bytes::from_static(data));
        let close = CloseFrame {
            code: 1000,
            reason: "bye".to_owned(),
        };
        let table: Vec<(&[u8], Vec<Event>, Option<ProtocolError>)> = vec![
            (b"", vec![], None),
            // Section 5.7: an unmasked text message, a fragmented one, a ping.
            (b"\x81\x05Hello", vec![text(b"Hello")], None),
            (b"\x01\x03Hel\x80\x02lo", vec![text(b"Hello")], None),
            (b"\x89\x05Hello", vec![ping(b"Hello")], None),
            (b"\x81\0\x82\0", vec![text(b""), binary(b"")], None),
            (b"\x02\0\0\0\0\x01\xff\x80\0", vec![binary(b"\xff")], None),
            // Section 5.4: control frames may come between fragments.
            (
                b"\x01\x01a\x89\x01p\x8a\0\x80\x01b",
                vec![ping(b"p"), Event::Pong(Bytes::new()), text(b"ab")],
                None,
            ),
            // A character across fragments.
            (
                b"\x01\x01\xe2\0\x01\x82\x80\x01\xac",
                vec![text(b"\xe2\x82\xac")],
                None,
            ),
            // Section 5.5.1, and nothing is read after a Close frame.
            (b"\x88\0\x81\x01a", vec![Event::Close(None)], None),
            (
                b"\x88\x05\x03\xe8bye\xff\xff",
                vec![Event::Close(Some(close))],
                None,
            ),
            (b"\x88\x01\x03", vec![], Some(ProtocolError::CloseBody)),
            (
                b"\x88\x02\x03\xed",
                vec![],
                Some(ProtocolError::CloseCode(1005)),
            ),
            (
                b"\x88\x03\x03\xe8\xff",
                vec![],
                Some(ProtocolError::CloseReason),
            ),
            // Section 5.4: broken fragmentation.
            (
                b"\x81\x01a\x80\0",
                vec![text(b"a")],
                Some(ProtocolError::UnexpectedContinuation),
            ),
            (
                b"\x01\x01a\x81\0",
                vec![],
                Some(ProtocolError::ExpectedContinuation),
            ),
            // Section 8.1: a wrong byte, a cut character at the end.
            (b"\x81\x02a\xff", vec![], Some(ProtocolError::InvalidUtf8)),
            (b"\x81\x02a\xc3", vec![], Some(ProtocolError::InvalidUtf8)),
            (
                b"\x01\x02a\xc3\x80\0",
                vec![],
                Some(ProtocolError::InvalidUtf8),
            ),
            (
                b"\x01\x01a\0\x01\xff",
                vec![],
                Some(ProtocolError::InvalidUtf8),
            ),
            (b"\x82\x02a\xc3", vec![binary(b"a\xc3")], None),
            // Limits.
            (b"\x01\0\0\0\0\0\x80\0", vec![text(b"")], None),
            (
                b"\x01\0\0\0\0\0\0\0\x80\0",
                vec![],
                Some(ProtocolError::TooManyFragments { limit: 4 }),
            ),
        ];
        for (stream, events, error) in table {
            for size in 1..=stream.len().max(1) {
                let decoded = decode(&config, stream, size);
                assert_eq!(decoded, (events.clone(), error), "{stream:x?} by {size}");
            }
        }
    }

    #[test]
    fn sizes_are_limited_before_the_payload_arrives() {
        let message = ProtocolConfig {
            max_message_size: 200,
            ..ProtocolConfig::default()
        };
        let frame = ProtocolConfig {
            max_frame_size: 200,
            ..ProtocolConfig::default()
        };
        let too_big = Some(ProtocolError::MessageTooBig { limit: 200 });
        let table: [(&ProtocolConfig, &[u8], _); 6] = [
            (&message, &[0x82, 126, 0, 200], None),
            (&message, &[0x82, 126, 0, 201], too_big),
            (
                &message,
                &[0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255],
                too_big,
            ),
            (&message, &[0x02, 1, b'a', 0x80, 126, 0, 200], too_big),
            (&frame, &[0x02, 126, 0, 200], None),
            (
                &frame,
                &[0x02, 126, 0, 201],
                Some(ProtocolError::FrameTooBig { limit: 200 }),
            ),
        ];
        for (config, stream, error) in table {
            assert_eq!(
                decode(config, stream, stream.len()),
                (vec![], error),
                "{stream:x?}"
            );
            assert_eq!(decode(config, stream, 1), (vec![], error), "{stream:x?}");
        }
    }

    #[test]
    fn text_is_delivered_as_it_is_where_utf_8_is_not_asked_for() {
        let config = ProtocolConfig {
            validate_utf8: false,
            ..ProtocolConfig::default()
        };
        for size in 1..6 {
            let decoded = decode(&config, b"\x01\x01\xff\x80\x01\xc3", size);
            assert_eq!(decoded, (vec![text(b"\xff\xc3")], None));
        }
    }

    #[test]
    fn a_wrong_byte_of_a_long_frame_is_refused_when_it_arrives() {
        // Autobahn 6.4: the frame announces more than has come.
        let mut decoder = client(&ProtocolConfig::default());
        let mut stream = *b"\x81\x7e\x10\0\xce\xba\xe1\xbd\xb9\xf4\x90";
        let mut input = &mut stream[..];
        assert_eq!(decoder.next(&mut input), Err(ProtocolError::InvalidUtf8));
        let mut rest = *b"\x81\x01a";
        assert_eq!(
            decoder.next(&mut &mut rest[..]),
            Ok(None),
            "nothing is read after an error"
        );
        assert!(decoder.is_idle());
    }

    #[test]
    fn masks_are_taken_off_across_reads() {
        // Section 5.7: a masked text message.
        let stream = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        for split in 0..stream.len() {
            let mut bytes = stream.to_vec();
            let (mut first, mut second) = bytes.split_at_mut(split);
            let mut decoder = Decoder::new(Role::Server, &ProtocolConfig::default(), None);
            assert_eq!(decoder.next(&mut first), Ok(None));
            assert_eq!(decoder.is_idle(), split == 0);
            assert_eq!(decoder.next(&mut second), Ok(Some(text(b"Hello"))));
            assert!(decoder.is_idle());
        }
    }

    #[test]
    fn a_peer_that_announces_much_and_sends_little_gets_little_memory() {
        let mut decoder = client(&ProtocolConfig::default());
        let mut stream = *b"\x82\x7f\0\0\0\0\0\x10\0\0a";
        assert_eq!(decoder.next(&mut &mut stream[..]), Ok(None));
        let held = decoder.message.as_ref().map(Assembly::capacity);
        assert!(held.is_some_and(|held| held < 2048), "{held:?}");
        for arrived in (1..1 << 20).step_by(1000) {
            let mut more = [0; 1000];
            let event = decoder.next(&mut &mut more[..]).unwrap();
            assert_eq!(event.is_some(), arrived + 1000 >= 1 << 20);
            if let Some(message) = &decoder.message {
                let held = message.capacity();
                assert!(held <= 4 * (arrived + 1000) + 1024, "{held} for {arrived}");
                assert!(held <= 1 << 20);
            }
        }
        assert!(decoder.is_idle());
    }

    #[test]
    fn an_idle_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 200, "{}", size_of::<Decoder>());
    }
}
