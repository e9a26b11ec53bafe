//! Any `Sec-WebSocket-Extensions` header: parsed offers survive being written and parsed again, and an
//! answer names only offered extensions and parameters.

#![no_main]

use dwebsocket::{
    config::Compression,
    protocol::extensions::{Offer, negotiate, parse},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let header: String = data.iter().map(|&byte| char::from(byte)).collect();
    let Ok(offers) = parse(&header) else {
        return;
    };
    let written: Vec<String> = offers.iter().map(write).collect();
    assert_eq!(parse(&written.join(", ")).as_ref(), Ok(&offers));
    for compression in [
        Compression::Off,
        Compression::Shared,
        Compression::Dedicated,
    ] {
        let Some((params, answer)) = negotiate(&offers, compression) else {
            continue;
        };
        assert_ne!(compression, Compression::Off);
        assert!((9..=15).contains(&params.server_max_window_bits));
        assert!((8..=15).contains(&params.client_max_window_bits));
        let answer = parse(&answer).expect("the answer keeps to the grammar");
        assert!(offers.iter().any(|offer| allows(offer, &answer[0])));
        assert_eq!(answer.len(), 1);
    }
});

fn write(offer: &Offer) -> String {
    let mut text = offer.name.clone();
    for (name, value) in &offer.parameters {
        text.push_str("; ");
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

/// Whether the offer permits the answer. RFC 7692 section 7.1: a window only if the offer names it.
fn allows(offer: &Offer, answer: &Offer) -> bool {
    offer.name == answer.name
        && answer.parameters.iter().all(|(name, _)| {
            name.ends_with("_no_context_takeover")
                || offer.parameters.iter().any(|(offered, _)| offered == name)
        })
}
