//! Data of a history from the broker: a message with its position, and the entries of an answer.

#![no_main]

use std::time::Duration;

use bytes::Bytes;
use dwebsocket::hub::{
    Position,
    broker::{Fetched, Stored, positioned},
};
use libfuzzer_sys::fuzz_target;

/// The most entries of one answer. Between two entries, up to a thousand holes may be filled.
const MAX_ENTRIES: usize = 64;

/// The message that fills a hole.
const HOLE: &[u8] = b"";

fuzz_target!(|data: &[u8]| {
    split(data);
    answer(data);
});

/// Splitting a message into position and envelope neither loses nor adds anything.
fn split(data: &[u8]) {
    let announced = Bytes::copy_from_slice(data);
    let Some((position, envelope)) = positioned(&announced) else {
        return;
    };
    let end = format!("|{}|", position.epoch);
    let head = &data[..data.len() - envelope.len()];
    assert!(data.ends_with(&envelope));
    assert!(head.ends_with(end.as_bytes()));
    let digits = std::str::from_utf8(&head[..head.len() - end.len()]).ok();
    let offset = digits.and_then(|digits| digits.parse().ok());
    assert_eq!(offset, Some(position.offset));
}

/// For any answer, the entries are a run without a gap that ends at the top, and found entries keep
/// their offsets.
fn answer(data: &[u8]) {
    let Some((&[flags, base, high, low], rest)) = data.split_first_chunk() else {
        return;
    };
    // Offsets that are close together, and in some inputs far from 0.
    let base = if flags & 1 == 0 {
        0
    } else {
        1_u64 << (base % 53)
    };
    let at = |bytes: [u8; 2]| base.saturating_add(u16::from_be_bytes(bytes).into());
    let top = Position {
        offset: at([high, low]),
        epoch: "e".into(),
    };
    let after = rest.first_chunk().map(|bytes| Position {
        offset: at(*bytes),
        epoch: if flags & 2 == 0 { "e" } else { "f" }.into(),
    });
    let after = after.filter(|_| flags & 4 == 0);
    let found: Vec<Stored> = rest
        .chunks_exact(2)
        .take(MAX_ENTRIES)
        .map(|bytes| Stored {
            offset: at([bytes[0], bytes[1]]),
            envelope: Bytes::copy_from_slice(bytes),
            age: Duration::ZERO,
        })
        .collect();
    let fetched = Fetched::new(found.clone(), top.clone(), after.as_ref());
    assert_eq!(fetched.top, top);
    let floor = top.offset - fetched.entries.len() as u64;
    for (entry, offset) in fetched.entries.iter().zip(floor + 1..) {
        assert_eq!(entry.offset, offset);
        assert!(entry.envelope == HOLE || found.contains(entry));
    }
    let joins = after.is_none_or(|after| after.epoch == top.epoch && after.offset == floor);
    assert_eq!(fetched.complete, joins);
}
