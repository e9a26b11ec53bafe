//! A connection whose bytes come in pieces of any size has the same events and the same error as one
//! whose bytes come in one piece.

#![no_main]

use dwebsocket_fuzz::Setup;
use libfuzzer_sys::fuzz_target;

/// Bytes of an input that give the lengths of the pieces, used again and again.
const SIZES: usize = 4;

fuzz_target!(|data: &[u8]| {
    let Some((setup, rest)) = Setup::take(data) else {
        return;
    };
    let Some((sizes, stream)) = rest.split_first_chunk::<SIZES>() else {
        return;
    };
    let mut whole = stream.to_vec();
    let expected = setup.decode(&mut setup.decoder(), [&mut whole[..]].into_iter());
    let mut stream = stream.to_vec();
    let mut pieces = Vec::new();
    let mut rest = &mut stream[..];
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at_mut((usize::from(*size) + 1).min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    let outcome = setup.decode(&mut setup.decoder(), pieces.into_iter());
    assert_eq!(outcome, expected);
});
