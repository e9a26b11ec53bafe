//! Any bytes from the broker, taken as an envelope and as messages of other processes about their members.

#![no_main]

use std::time::{Duration, Instant};

use dwebsocket::hub::{
    is_envelope,
    presence::{Output, Presence},
};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

/// The most bytes of one message to the other processes.
const MAX_MESSAGE: usize = 250 * 1024;

fuzz_target!(|data: &[u8]| {
    let _ = is_envelope(data);
    let begun = Instant::now();
    let mut presence = Presence::new("me".into());
    // Several messages, each with its length in two bytes before it.
    let mut left = data;
    while let Some((length, rest)) = left.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (message, rest) = rest.split_at(length);
        left = rest;
        check(&presence.receive(message, begun));
    }
    check(&presence.tick(begun));
    // Without further messages, every member that has joined leaves.
    check(&presence.tick(begun + Duration::from_secs(60)));
    assert!(presence.counts("").is_empty());
});

/// Pages are told valid JSON; messages to other processes have a limited size.
fn check(outputs: &[Output]) {
    for output in outputs {
        match output {
            Output::Send(message) => assert!(message.len() <= MAX_MESSAGE),
            Output::Joined(_, member) | Output::Left(_, member) => {
                let info = serde_json::from_str::<IgnoredAny>(&member.info);
                assert!(info.is_ok(), "{:?}", member.info);
            }
        }
    }
}
