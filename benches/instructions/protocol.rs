//! The protocol core.

use std::hint::black_box;

use dwebsocket::{
    config::{Compression, ProtocolConfig},
    protocol::{Broadcast, Decoder, DeflateParams, Encoder, Event, OpCode, Request, Role, accept},
};

use crate::{count, frame, json, text};

/// FIN, and the opcodes of frames; RSV1 marks a compressed message.
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;

fn params(takeover: bool) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    }
}

/// Decodes what a client has sent, in reads of `read` bytes, and checks the number of messages.
fn decode(mut wire: Vec<u8>, read: usize, deflate: Option<DeflateParams>, messages: usize) {
    let mut decoder = Decoder::new(Role::Server, &ProtocolConfig::default(), deflate);
    let mut decoded = 0;
    count(&mut || {
        for mut input in wire.chunks_mut(read) {
            while let Some(event) = decoder.next(&mut input).unwrap() {
                decoded += usize::from(matches!(black_box(event), Event::Message(_)));
            }
        }
    });
    assert_eq!(decoded, messages);
}

/// The size of a connection's reads is of this order.
const READ: usize = 16 * 1024;

pub(crate) fn decode_text_32() {
    decode(
        frame(FIN | TEXT, text(32).as_bytes()).repeat(1_000),
        READ,
        None,
        1_000,
    );
}

pub(crate) fn decode_binary_32() {
    decode(
        frame(FIN | BINARY, &[7; 32]).repeat(1_000),
        READ,
        None,
        1_000,
    );
}

pub(crate) fn decode_text_64k() {
    decode(
        frame(FIN | TEXT, text(65_536).as_bytes()).repeat(4),
        READ,
        None,
        4,
    );
}

pub(crate) fn decode_binary_64k() {
    decode(frame(FIN | BINARY, &[7; 65_536]).repeat(16), READ, None, 16);
}

/// Messages of 16 fragments, with a ping before each of them.
pub(crate) fn decode_fragments() {
    let mut message = Vec::new();
    for fragment in 0..16 {
        let opcode = if fragment == 0 { TEXT } else { 0 };
        let fin = if fragment == 15 { FIN } else { 0 };
        message.extend(frame(FIN | PING, b"12345678"));
        message.extend(frame(fin | opcode, text(256).as_bytes()));
    }
    decode(message.repeat(64), READ, None, 64);
}

/// Reads that end anywhere: in headers, masks and characters.
pub(crate) fn decode_pieces() {
    decode(
        frame(FIN | TEXT, text(200).as_bytes()).repeat(200),
        7,
        None,
        200,
    );
}

fn decode_compressed(takeover: bool) {
    let params = params(takeover);
    let mut encoder = Encoder::new(Role::Server, &ProtocolConfig::default(), Some(params));
    let mut wire = Vec::new();
    for number in 0..100 {
        let json = json(number);
        let compressed = encoder.message(OpCode::Text, json.as_bytes());
        wire.extend(frame(FIN | RSV1 | TEXT, &compressed.payload));
    }
    decode(wire, READ, Some(params), 100);
}

pub(crate) fn decode_deflate() {
    decode_compressed(false);
}

pub(crate) fn decode_takeover() {
    decode_compressed(true);
}

/// Encodes messages `rounds` times.
fn encode(messages: &[Vec<u8>], opcode: OpCode, rounds: usize, deflate: Option<DeflateParams>) {
    let mut encoder = Encoder::new(Role::Server, &ProtocolConfig::default(), deflate);
    count(&mut || {
        for _ in 0..rounds {
            for message in messages {
                black_box(encoder.message(opcode, black_box(message)));
            }
        }
    });
}

pub(crate) fn encode_text_32() {
    encode(&[text(32).into()], OpCode::Text, 1_000, None);
}

pub(crate) fn encode_binary_64k() {
    encode(&[vec![7; 65_536]], OpCode::Binary, 1_000, None);
}

pub(crate) fn encode_deflate() {
    let messages: Vec<_> = (0..100).map(|number| json(number).into()).collect();
    encode(&messages, OpCode::Text, 1, Some(params(false)));
}

pub(crate) fn encode_takeover() {
    let messages: Vec<_> = (0..100).map(|number| json(number).into()).collect();
    encode(&messages, OpCode::Text, 1, Some(params(true)));
}

pub(crate) fn encode_control() {
    let mut encoder = Encoder::new(Role::Server, &ProtocolConfig::default(), None);
    count(&mut || {
        for _ in 0..1_000 {
            black_box(encoder.control(OpCode::Pong, black_box(b"12345678")));
            black_box(encoder.close(Some(1000), black_box("bye")));
        }
    });
}

/// One message to many: encoded for connections without compression and for compressing ones.
pub(crate) fn encode_broadcast() {
    let config = ProtocolConfig::default();
    let mut plain = Encoder::new(Role::Server, &config, None);
    let mut deflating = Encoder::new(Role::Server, &config, Some(params(false)));
    let messages: Vec<_> = (0..20).map(json).collect();
    count(&mut || {
        for json in &messages {
            let message = Broadcast::new(OpCode::Text, json.clone().into());
            for _ in 0..10 {
                black_box(plain.broadcast(&message));
                black_box(deflating.broadcast(&message));
            }
        }
    });
}

/// Opening handshakes, with what browsers offer.
pub(crate) fn handshake() {
    let request = Request {
        method: "GET",
        connection: "keep-alive, Upgrade",
        upgrade: "websocket",
        key: Some("dGhlIHNhbXBsZSBub25jZQ=="),
        version: Some("13"),
        protocols: "chat.v2, chat.v1",
        extensions: "permessage-deflate; client_max_window_bits",
    };
    let config = ProtocolConfig {
        compression: Compression::Dedicated,
        ..ProtocolConfig::default()
    };
    let headers = [
        (
            "Set-Cookie",
            "sessionid=q3qf0c1bhg0xksj9n4k8; Path=/; HttpOnly",
        ),
        ("X-Frame-Options", "DENY"),
    ];
    count(&mut || {
        for _ in 0..200 {
            let handshake = accept(black_box(&request), &config).unwrap();
            black_box(handshake.response(Some("chat.v1"), &headers).unwrap());
        }
    });
}
