//! Any bytes as frames: no panic, every event keeps the limits, and survives being encoded and decoded.

#![no_main]

use dwebsocket::protocol::{Encoder, Event, Message, OpCode};
use dwebsocket_fuzz::Setup;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((setup, stream)) = Setup::take(data) else {
        return;
    };
    let mut stream = stream.to_vec();
    let (events, _) = setup.decode(&mut setup.decoder(), [&mut stream[..]].into_iter());
    let mut encoder = Encoder::new(setup.peer(), &setup.config, setup.params);
    let mut decoder = setup.decoder();
    for event in events {
        let mut wire = encode(&mut encoder, &event);
        let (echo, error) = setup.decode(&mut decoder, [&mut wire[..]].into_iter());
        assert_eq!((echo, error), (vec![event], None));
    }
});

fn encode(encoder: &mut Encoder, event: &Event) -> Vec<u8> {
    let (opcode, data) = match event {
        Event::Message(Message::Text(data)) => (OpCode::Text, data),
        Event::Message(Message::Binary(data)) => (OpCode::Binary, data),
        Event::Ping(data) => return encoder.control(OpCode::Ping, data).as_ref().to_vec(),
        Event::Pong(data) => return encoder.control(OpCode::Pong, data).as_ref().to_vec(),
        Event::Close(None) => return encoder.close(None, "").as_ref().to_vec(),
        Event::Close(Some(frame)) => {
            return encoder
                .close(Some(frame.code), &frame.reason)
                .as_ref()
                .to_vec();
        }
    };
    let frame = encoder.message(opcode, data);
    [frame.header.as_ref(), &frame.payload].concat()
}
