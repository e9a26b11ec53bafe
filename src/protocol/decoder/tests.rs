use super::*;
use crate::{
    config::Compression,
    protocol::{CloseFrame, DeflateParams, Encoder, Message, extensions},
};

/// The decoder of a client: the frames in the tables need no mask.
fn client(config: &ProtocolConfig) -> Decoder {
    Decoder::new(Role::Client, config, None)
}

/// The events and the error of `stream` when it arrives in pieces of `size` bytes.
fn decode(
    config: &ProtocolConfig,
    stream: &[u8],
    size: usize,
) -> (Vec<Event>, Option<ProtocolError>) {
    decode_with(&mut client(config), stream, size)
}

fn decode_with(
    decoder: &mut Decoder,
    stream: &[u8],
    size: usize,
) -> (Vec<Event>, Option<ProtocolError>) {
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
        // A character may be split across fragments.
        (
            b"\x01\x01\xe2\0\x01\x82\x80\x01\xac",
            vec![text(b"\xe2\x82\xac")],
            None,
        ),
        // Section 5.5.1: Close frames. Bytes after a Close frame are ignored.
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
        // The limit counts empty frames only, and starts anew with each message.
        (
            b"\x01\x01a\0\x01b\0\x01c\0\x01d\0\x01e\x80\x01f",
            vec![text(b"abcdef")],
            None,
        ),
        (
            b"\x01\0\0\0\0\x01a\0\0\x80\0\x01\0\0\0\0\0\x80\x01b",
            vec![text(b"a"), text(b"b")],
            None,
        ),
        (
            b"\x01\x01a\0\0\0\x01b\0\0\0\0\0\x01c\0\0\x80\0",
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
    // Autobahn 6.4: the frame announces more bytes than have arrived.
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

/// The parameters that a server agrees on with a client that offers the name only.
fn params(compression: Compression) -> DeflateParams {
    let offers = extensions::parse("permessage-deflate").unwrap();
    extensions::negotiate(&offers, compression).unwrap().0
}

#[test]
fn compressed_messages_are_judged_the_same_in_pieces_of_any_size() {
    let config = ProtocolConfig {
        max_message_size: 5,
        ..ProtocolConfig::default()
    };
    let hello = [text(b"Hello")];
    let table: [(&[u8], &[Event], Option<ProtocolError>); 8] = [
        // RFC 7692 section 7.2.3.1: a message of one frame, and of two.
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\0", &hello, None),
        (b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\0", &hello, None),
        (
            b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\0\x81\x01a",
            &[text(b"Hello"), text(b"a")],
            None,
        ),
        // A continuation frame must not have RSV1 set (section 6.1).
        (
            b"\x41\x03\xf2\x48\xcd\xc0\x04\xc9",
            &[],
            Some(ProtocolError::ReservedBits),
        ),
        // "HelloHello": the limit counts inflated bytes, and is checked before the corrupt bytes that follow.
        (
            b"\xc1\x0e\xf2\x48\xcd\xc9\xc9\x07\0\0\0\xff\xff\xf2\x48\xcd",
            &[],
            Some(ProtocolError::MessageTooBig { limit: 5 }),
        ),
        (b"\xc1\x02\x06\0", &[], Some(ProtocolError::CorruptDeflate)),
        // "a\xff" in a stored block, then corrupt bytes: the error is that of the byte that is not UTF-8.
        (
            b"\xc1\x08\0\x02\0\xfd\xffa\xff\x06",
            &[],
            Some(ProtocolError::InvalidUtf8),
        ),
        (
            b"\xc1\x08\0\x02\0\xfd\xffa\xc3\0",
            &[],
            Some(ProtocolError::InvalidUtf8),
        ),
    ];
    for (stream, events, error) in table {
        for compression in [Compression::Shared, Compression::Dedicated] {
            for size in 1..=stream.len() {
                let mut decoder = Decoder::new(Role::Client, &config, Some(params(compression)));
                let decoded = decode_with(&mut decoder, stream, size);
                assert_eq!(decoded, (events.to_vec(), error), "{stream:x?} by {size}");
            }
        }
    }
}

#[test]
fn a_bomb_is_refused_while_it_is_inflated() {
    let config = ProtocolConfig {
        compression_level: 9,
        ..ProtocolConfig::default()
    };
    let params = Some(params(Compression::Shared));
    let mut encoder = Encoder::new(Role::Server, &config, params);
    let zeros = vec![0; 16 << 20];
    let frame = encoder.message(OpCode::Binary, &zeros);
    let mut stream = [frame.header.as_ref(), &frame.payload].concat();
    assert!(stream.len() < 20_000);
    let mut decoder = Decoder::new(Role::Client, &config, params);
    let (half, _) = stream.split_at_mut(10_000);
    let error = ProtocolError::MessageTooBig { limit: 1 << 20 };
    assert_eq!(decoder.next(&mut &mut *half), Err(error));
}

/// A message, fragmented into frames of `size` bytes.
fn cut(payload: &[u8], size: usize, first: u8) -> Vec<u8> {
    let mut stream = Vec::new();
    let parts = payload.chunks(size);
    let last = parts.len() - 1;
    for (number, part) in parts.enumerate() {
        let opcode = if number == 0 { first } else { 0 };
        let fin = if number == last { 0x80 } else { 0 };
        stream.extend_from_slice(&[fin | opcode, u8::try_from(part.len()).unwrap()]);
        stream.extend_from_slice(part);
    }
    stream
}

#[test]
fn how_a_peer_cuts_a_message_is_not_limited() {
    let config = ProtocolConfig {
        max_message_size: 256 << 10,
        ..ProtocolConfig::default()
    };
    let payload = vec![b'x'; 256 << 10];
    for size in [1, 2, 64, 125] {
        let stream = cut(&payload, size, 2);
        let (events, error) = decode(&config, &stream, 65_536);
        assert_eq!(error, None, "{size}");
        assert!(events == [binary(&payload)], "{size}");
        let stream = cut(&[&payload[..], b"x"].concat(), size, 2);
        let (_, error) = decode(&config, &stream, 65_536);
        let limit = config.max_message_size;
        assert_eq!(
            error,
            Some(ProtocolError::MessageTooBig { limit }),
            "{size}"
        );
    }
}

#[test]
fn compressed_blocks_that_are_empty_do_not_go_on_for_ever() {
    let config = ProtocolConfig::default();
    let read = |stream: &[u8]| {
        let params = DeflateParams {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        };
        let outcomes = [1_000, 64 * 1024, usize::MAX].map(|size| {
            let mut decoder = Decoder::new(Role::Client, &config, Some(params));
            decode_with(&mut decoder, stream, size)
        });
        assert!(outcomes[0] == outcomes[1] && outcomes[1] == outcomes[2]);
        let [(mut events, error), ..] = outcomes;
        error.map_or_else(|| Ok(events.pop()), Err)
    };
    // Empty stored blocks (RFC 1951 section 3.2.4), in many small frames and in one large frame.
    let empty = b"\0\0\0\xff\xff".repeat(20_000);
    let mut large = vec![0x42, 127, 0, 0, 0, 0, 0, 0, 0, 0];
    large[2..].copy_from_slice(&(empty.len() as u64).to_be_bytes());
    large.extend_from_slice(&empty);
    for stream in [cut(&empty, 100, 0x42), cut(&empty, 1, 0x42), large] {
        assert_eq!(read(&stream), Err(ProtocolError::EmptyDeflate));
    }
    // A sender may flush after every byte of the payload, in frames of any size.
    let mut flushed = Vec::new();
    let mut compressor = flate2::Compress::new(flate2::Compression::new(1), false);
    for _ in 0..20_000 {
        flushed.reserve(64);
        compressor
            .compress_vec(b"x", &mut flushed, flate2::FlushCompress::Sync)
            .unwrap();
    }
    flushed.truncate(flushed.len() - 4);
    assert!(flushed.len() > 100_000, "{}", flushed.len());
    for size in [1, 100] {
        let event = read(&cut(&flushed, size, 0x42)).unwrap().unwrap();
        assert!(event == binary(&[b'x'; 20_000]));
    }
}
