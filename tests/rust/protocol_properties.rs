//! Properties of the decoder and the encoder that hold for any stream of bytes and any message.

use bytes::Bytes;
use dwebsocket::{
    config::ProtocolConfig,
    error::ProtocolError,
    protocol::{Decoder, DeflateParams, Encoder, Event, Message, OpCode, Role},
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// The result of decoding a stream: the events, and the error that ended it.
type Outcome = (Vec<Event>, Option<ProtocolError>);

/// Decodes `stream`, cut at the given places.
fn decode(decoder: &mut Decoder, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut stream = stream.to_vec();
    let mut events = Vec::new();
    let mut rest = &mut stream[..];
    let mut position = 0;
    for &cut in cuts.iter().chain([&usize::MAX]) {
        let (mut piece, later) = rest.split_at_mut((cut - position).min(rest.len()));
        rest = later;
        position = cut;
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(piece.is_empty(), "None means that everything was read");
    }
    (events, None)
}

/// A frame as a client may send it, well-formed or not.
#[derive(Clone, Debug)]
struct RawFrame {
    first: u8,
    masked: bool,
    key: [u8; 4],
    payload: Vec<u8>,
}

impl RawFrame {
    fn write(&self, stream: &mut Vec<u8>) {
        let mask = if self.masked { 0x80 } else { 0 };
        stream.push(self.first);
        match self.payload.len() {
            length @ ..126 => stream.push(mask | length as u8),
            length => {
                stream.push(mask | 126);
                stream.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        let key = if self.masked { self.key } else { [0; 4] };
        if self.masked {
            stream.extend_from_slice(&key);
        }
        stream.extend(
            self.payload
                .iter()
                .enumerate()
                .map(|(i, byte)| byte ^ key[i % 4]),
        );
    }
}

fn compress(data: &[u8]) -> Vec<u8> {
    let config = ProtocolConfig {
        compression_threshold: 0,
        ..ProtocolConfig::default()
    };
    let mut encoder = Encoder::new(Role::Server, &config, Some(TAKEOVER));
    encoder.message(OpCode::Binary, data).payload.into_owned()
}

const TAKEOVER: DeflateParams = DeflateParams {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "\\PC{0,40}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..300),
        3 => "[a-c\u{e4}\u{20ac}]{0,200}".prop_map(|text| compress(text.as_bytes())),
        1 => vec(any::<u8>(), 0..100).prop_map(|data| compress(&data)),
        1 => vec(any::<u8>(), 0..6).prop_map(|reason| [&[3, 0xe8], &reason[..]].concat()),
    ]
}

/// Mostly a frame that a client may send, now and then any frame.
fn raw_frame() -> impl Strategy<Value = RawFrame> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8a]),
        4 => prop::sample::select(vec![0xc1, 0xc2, 0x41, 0x00, 0x80]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    (
        first,
        prop::bool::weighted(0.98),
        any::<[u8; 4]>(),
        payload(),
    )
        .prop_map(|(first, masked, key, payload)| RawFrame {
            first,
            masked,
            key,
            payload,
        })
}

/// A stream of frames. Now and then a byte is wrong or the end is missing.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::option::weighted(0.2, (any::<Index>(), any::<u8>()));
    let end = prop::option::weighted(0.2, any::<Index>());
    (vec(raw_frame(), 1..8), damage, end).prop_map(|(frames, damage, end)| {
        let mut stream = Vec::new();
        for frame in &frames {
            frame.write(&mut stream);
        }
        if let Some((index, byte)) = damage {
            let position = index.index(stream.len());
            stream[position] = byte;
        }
        if let Some(index) = end {
            stream.truncate(index.index(stream.len()));
        }
        stream
    })
}

fn config() -> impl Strategy<Value = ProtocolConfig> {
    let size = prop_oneof![Just(1 << 20), 0..300_usize];
    let frame = prop_oneof![Just(usize::MAX), 0..300_usize];
    (size, frame, 1..6_u32, any::<bool>()).prop_map(|(size, frame, fragments, utf8)| {
        ProtocolConfig {
            max_message_size: size,
            max_frame_size: frame,
            max_fragments: fragments,
            validate_utf8: utf8,
            ..ProtocolConfig::default()
        }
    })
}

fn params() -> impl Strategy<Value = DeflateParams> {
    (any::<bool>(), any::<bool>(), 9..=15_u8, 8..=15_u8).prop_map(|(server, client, s, c)| {
        DeflateParams {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: s,
            client_max_window_bits: c,
        }
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(0..2000_usize, 0..20).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

fn check_splits(
    role: Role,
    config: &ProtocolConfig,
    params: Option<DeflateParams>,
    stream: &[u8],
    cuts: &[usize],
) -> Result<(), TestCaseError> {
    let whole = decode(&mut Decoder::new(role, config, params), stream, &[]);
    let each: Vec<usize> = (1..stream.len()).collect();
    for cuts in [cuts, &each] {
        let mut decoder = Decoder::new(role, config, params);
        prop_assert_eq!(&decode(&mut decoder, stream, cuts), &whole);
        let ended = whole.1.is_some() || matches!(whole.0.last(), Some(Event::Close(_)));
        if ended {
            prop_assert!(decoder.is_idle());
            prop_assert_eq!(decode(&mut decoder, b"\x81\0", &[]), (vec![], None));
        }
    }
    Ok(())
}

/// Encodes a message as fragments that end at the given places, with pings between them.
fn fragment(encoder: &mut Encoder, opcode: OpCode, data: &[u8], ends: &[Index]) -> Vec<u8> {
    let encoded = encoder.message(opcode, data);
    let header = encoded.header.as_ref();
    let masked = header[1] & 0x80 != 0;
    let mut payload = encoded.payload.to_vec();
    if masked {
        let key = &header[header.len() - 4..];
        payload
            .iter_mut()
            .enumerate()
            .for_each(|(i, byte)| *byte ^= key[i % 4]);
    }
    let mut ends: Vec<usize> = ends
        .iter()
        .map(|end| end.index(payload.len() + 1))
        .collect();
    ends.sort_unstable();
    ends.push(payload.len());
    let mut stream = Vec::new();
    let mut start = 0;
    for (number, &end) in ends.iter().enumerate() {
        let fin = if number + 1 == ends.len() { 0x80 } else { 0 };
        let rest = if number == 0 { header[0] & 0x7f } else { 0 };
        let payload = payload[start..end].to_vec();
        RawFrame {
            first: fin | rest,
            masked,
            key: [1, 2, 3, 4],
            payload,
        }
        .write(&mut stream);
        if fin == 0 {
            stream.extend_from_slice(encoder.control(OpCode::Ping, b"between").as_ref());
        }
        start = end;
    }
    stream
}

/// A message of up to some 60 KiB, compressible or not.
fn message() -> impl Strategy<Value = Message> {
    let text = prop_oneof![
        "\\PC{0,300}",
        ("[a-d ]{1,60}", 1..1000_usize).prop_map(|(word, times)| word.repeat(times)),
    ];
    let binary = prop_oneof![
        vec(any::<u8>(), 0..3000),
        (vec(any::<u8>(), 1..600), 1..100_usize).prop_map(|(data, times)| data.repeat(times)),
    ];
    prop_oneof![
        text.prop_map(|text| Message::Text(Bytes::from(text))),
        binary.prop_map(|data| Message::Binary(Bytes::from(data))),
    ]
}

fn check_round_trip(
    sender: Role,
    config: &ProtocolConfig,
    params: Option<DeflateParams>,
    messages: &[(Message, Vec<Index>, bool)],
    cuts: &[usize],
) -> Result<(), TestCaseError> {
    let receiver = if sender == Role::Server {
        Role::Client
    } else {
        Role::Server
    };
    let mut encoder = Encoder::new(sender, config, params);
    let mut decoder = Decoder::new(receiver, config, params);
    for (message, ends, release) in messages {
        let (opcode, data) = match message {
            Message::Text(data) => (OpCode::Text, data),
            Message::Binary(data) => (OpCode::Binary, data),
        };
        let stream = fragment(&mut encoder, opcode, data, ends);
        let (mut events, error) = decode(&mut decoder, &stream, cuts);
        prop_assert_eq!(error, None);
        prop_assert!(decoder.is_idle());
        prop_assert_eq!(events.pop(), Some(Event::Message(message.clone())));
        prop_assert_eq!(
            events,
            vec![Event::Ping(Bytes::from("between")); ends.len()]
        );
        if *release {
            encoder.release();
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_a_stream_gives_the_same_events(
        stream in stream(),
        config in config(),
        params in prop::option::weighted(0.7, params()),
        cuts in cuts(),
    ) {
        check_splits(Role::Server, &config, params, &stream, &cuts)?;
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(
        stream in vec(any::<u8>(), 0..400),
        client in any::<bool>(),
        params in prop::option::of(params()),
        cuts in cuts(),
    ) {
        let role = if client { Role::Client } else { Role::Server };
        check_splits(role, &ProtocolConfig::default(), params, &stream, &cuts)?;
    }

    #[test]
    fn every_message_comes_back_under_every_parameter_set(
        messages in vec((message(), vec(any::<Index>(), 0..4), prop::bool::weighted(0.2)), 1..5),
        client in any::<bool>(),
        params in prop::option::weighted(0.9, params()),
        level in 1..=9_u8,
        threshold in prop::sample::select(vec![0, 1, 256]),
        cuts in cuts(),
    ) {
        let config = ProtocolConfig {
            compression_level: level,
            compression_threshold: threshold,
            ..ProtocolConfig::default()
        };
        let sender = if client { Role::Client } else { Role::Server };
        check_round_trip(sender, &config, params, &messages, &cuts)?;
    }
}
