//! Fixed work for `benches/instructions.py`, which counts the instructions of each part with callgrind.
//!
//! `instructions` lists the parts: each line has a name and the function whose instructions count.
//! `instructions NAME` does the work once.
//!
//! An example of the package rather than a package of its own: it is built with the lock file of the wheel,
//! so a new version of a dependency shows in the figures.
#![allow(clippy::unwrap_used, clippy::panic)]

mod allocator;
mod connections;
mod hub;
mod outbox;
mod pause;
mod protocol;

/// A part of the work.
struct Part {
    name: &'static str,
    /// The function whose instructions count, as a pattern of callgrind.
    counted: &'static str,
    run: fn(),
}

/// The pattern of [`count`]. No function that it calls may match, because callgrind would stop there.
const COUNT: &str = "instructions::count";

/// The pattern of the method with which a courier writes an outbox. It is called through a vtable, so the
/// compiler cannot inline it away.
const WRITE_POSTED: &str = "*Flush*>::write_posted";

const fn part(name: &'static str, run: fn()) -> Part {
    Part {
        name,
        counted: COUNT,
        run,
    }
}

const PARTS: &[Part] = &[
    part("protocol/decode-text-32", protocol::decode_text_32),
    part("protocol/decode-binary-32", protocol::decode_binary_32),
    part("protocol/decode-text-64k", protocol::decode_text_64k),
    part("protocol/decode-binary-64k", protocol::decode_binary_64k),
    part("protocol/decode-fragments", protocol::decode_fragments),
    part("protocol/decode-pieces", protocol::decode_pieces),
    part("protocol/decode-deflate", protocol::decode_deflate),
    part("protocol/decode-takeover", protocol::decode_takeover),
    part("protocol/encode-text-32", protocol::encode_text_32),
    part("protocol/encode-binary-64k", protocol::encode_binary_64k),
    part("protocol/encode-deflate", protocol::encode_deflate),
    part("protocol/encode-takeover", protocol::encode_takeover),
    part("protocol/encode-control", protocol::encode_control),
    part("protocol/encode-broadcast", protocol::encode_broadcast),
    part("protocol/handshake", protocol::handshake),
    part("outbox/send-32", outbox::send_32),
    part("outbox/send-64k", outbox::send_64k),
    part("outbox/send-deflate", outbox::send_deflate),
    part("outbox/queue-32", outbox::queue_32),
    part("outbox/flush-32", outbox::flush_32),
    part("outbox/flush-64k", outbox::flush_64k),
    Part {
        name: "outbox/courier",
        counted: WRITE_POSTED,
        run: outbox::courier,
    },
    part("outbox/full", outbox::full),
    part("outbox/far-end", outbox::far_end),
    part("hub/join-leave", hub::join_leave),
    part("hub/publish", hub::publish),
    part("hub/publish-json", hub::publish_json),
    part("hub/publish-kept", hub::publish_kept),
    part("hub/recover", hub::recover),
    part("hub/presence", hub::presence),
    part("hub/members", hub::members),
];

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        for part in PARTS {
            println!("{} {}", part.name, part.counted);
        }
        return;
    };
    let part = PARTS.iter().find(|part| part.name == name);
    (part.unwrap_or_else(|| panic!("no part {name}")).run)();
    // Skips the end of the engine, which would wait for its threads.
    std::process::exit(0);
}

/// Runs work whose instructions count. Callgrind counts those of the calling thread only, from the first
/// instruction of this function to the last.
#[inline(never)]
fn count(work: &mut dyn FnMut()) {
    work();
}

/// The same text again and again, in two scripts: half of its bytes are not ASCII.
fn text(len: usize) -> String {
    let mut text = "what they say, что они говорят. ".repeat(len / 32);
    while text.len() > len {
        text.pop();
    }
    text.extend(std::iter::repeat_n('-', len - text.len()));
    text
}

/// JSON of about 1 KiB, in which every number differs.
fn json(number: usize) -> String {
    let items: Vec<_> = (0..16)
        .map(|item| {
            let value = number * 7919 + item * 104_729;
            format!(
                r#"{{"id":{value},"name":"user {item}","state":"{}"}}"#,
                value % 97
            )
        })
        .collect();
    format!("[{}]", items.join(","))
}

/// A masked frame, as a client writes it. `first` has the opcode and the flags.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}
