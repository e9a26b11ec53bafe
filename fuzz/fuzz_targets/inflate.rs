//! Any bytes as compressed payloads; and any bytes that are compressed and inflated again.

#![no_main]

use dwebsocket::protocol::{Encoder, Event, Message, OpCode, Role};
use dwebsocket_fuzz::Setup;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mut setup, payload)) = Setup::take(data) else {
        return;
    };
    // A client reads frames without a mask: the payload is exactly the input.
    setup.role = Role::Client;
    corrupt(&setup, payload);
    round_trip(&setup, payload);
});

/// Payloads that no compressor has made are refused, or read within the limit; byte by byte as in one piece.
fn corrupt(setup: &Setup, data: &[u8]) {
    let mut stream = Vec::new();
    for payload in data.chunks(data.len() / 2 + 1) {
        stream.extend([0xc1, 126]);
        if let Ok(short @ 126..) = u16::try_from(payload.len()) {
            stream.extend(short.to_be_bytes());
        } else {
            stream.truncate(stream.len() - 1);
            stream.push(payload.len().min(125) as u8);
        }
        stream.extend_from_slice(payload);
    }
    let mut pieces = stream.clone();
    let whole = setup.decode(&mut setup.decoder(), [&mut stream[..]].into_iter());
    let by_one = setup.decode(&mut setup.decoder(), pieces.chunks_mut(1));
    assert_eq!(by_one, whole);
}

/// Compressed data comes back unchanged: repeatedly, and after the compressor was released.
fn round_trip(setup: &Setup, data: &[u8]) {
    if data.len()
        > setup
            .config
            .max_message_size
            .min(setup.config.max_frame_size / 2)
    {
        return;
    }
    let mut encoder = Encoder::new(Role::Server, &setup.config, setup.params);
    let mut decoder = setup.decoder();
    for _ in 0..3 {
        let frame = encoder.message(OpCode::Binary, data);
        let mut wire = [frame.header.as_ref(), &frame.payload].concat();
        let (events, error) = setup.decode(&mut decoder, wire.chunks_mut(100));
        let expected = Event::Message(Message::Binary(data.to_vec().into()));
        assert_eq!((events, error), (vec![expected], None));
        if data.len().is_multiple_of(3) {
            encoder.release();
        }
    }
}
