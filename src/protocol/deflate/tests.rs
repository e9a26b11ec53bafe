use super::*;

const LIMIT: usize = 1 << 20;

fn inflate(inflater: &mut Inflater, payload: &[u8], size: usize) -> Result<Vec<u8>, ProtocolError> {
    let mut output = Vec::new();
    for piece in payload.chunks(size) {
        inflater.push(piece, &mut output, LIMIT)?;
    }
    inflater.finish(&mut output, LIMIT)?;
    Ok(output)
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3() {
    let table: [(&str, &[u8], &[u8]); 6] = [
        (
            "7.2.3.1",
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            b"Hello",
        ),
        (
            "7.2.3.3, stored",
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
            b"Hello",
        ),
        (
            "7.2.3.4, the last block",
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            b"Hello",
        ),
        (
            "7.2.3.5, two blocks",
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
            b"Hello",
        ),
        ("7.2.3.6, empty", &[0x00], b""),
        ("no byte at all", &[], b""),
    ];
    for (section, payload, expected) in table {
        for takeover in [false, true] {
            let mut inflater = Inflater::new(takeover);
            for size in 1..=payload.len().max(1) {
                // The same inflater reads the message again: no message affects the next one.
                let inflated = inflate(&mut inflater, payload, size);
                assert_eq!(inflated.as_deref(), Ok(expected), "{section} by {size}");
            }
        }
    }
}

#[test]
fn the_window_is_taken_over_as_section_7_2_3_2_has_it() {
    let mut inflater = Inflater::new(true);
    let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
    assert_eq!(
        inflate(&mut inflater, &first, 99).as_deref(),
        Ok(&b"Hello"[..])
    );
    assert_eq!(
        inflate(&mut inflater, &second, 99).as_deref(),
        Ok(&b"Hello"[..])
    );
    // Without takeover the second message refers to data that the window does not have.
    let mut inflater = Inflater::new(false);
    assert_eq!(
        inflate(&mut inflater, &first, 99).as_deref(),
        Ok(&b"Hello"[..])
    );
    assert_eq!(
        inflate(&mut inflater, &second, 99),
        Err(ProtocolError::CorruptDeflate)
    );
}

#[test]
fn blocks_may_follow_one_that_says_it_is_the_last() {
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let twice = [last, last].concat();
    for takeover in [false, true] {
        for size in 1..=twice.len() {
            let mut inflater = Inflater::new(takeover);
            // The message without the byte of the flush, and with it.
            assert_eq!(
                inflate(&mut inflater, &twice, size).as_deref(),
                Ok(&b"HelloHello"[..])
            );
            let flushed = [&twice[..], &[0]].concat();
            assert_eq!(
                inflate(&mut inflater, &flushed, size).as_deref(),
                Ok(&b"HelloHello"[..])
            );
        }
    }
}

#[test]
fn corrupt_payloads_are_refused() {
    let table: [(&str, &[u8]); 4] = [
        ("a block of the reserved type", &[0x06]),
        (
            "a stored block whose lengths differ",
            &[0x00, 0x05, 0x00, 0xfa, 0xfe, 0x48],
        ),
        (
            "a distance past the beginning",
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
        ),
        (
            "a message that stops within a block",
            &[0xf2, 0x48, 0xcd, 0xc9],
        ),
    ];
    for (what, payload) in table {
        for size in 1..=payload.len() {
            let mut inflater = Inflater::new(false);
            let inflated = inflate(&mut inflater, payload, size);
            assert_eq!(inflated, Err(ProtocolError::CorruptDeflate), "{what}");
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let mut deflater = Deflater::new(15, 9, false).unwrap();
    let bomb = deflater.compress(&vec![0; 8 << 20]).unwrap();
    assert!(bomb.len() < 10_000);
    for limit in [0, 1, 1000, 100_000] {
        let mut output = Vec::new();
        Inflater::new(false)
            .push(&bomb, &mut output, limit)
            .unwrap();
        assert_eq!(
            output.len(),
            limit + 1,
            "one byte more, to tell that it is too long"
        );
        assert!(output.capacity() <= limit + 1);
    }
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    for length in [1, 255, 256, 257, 100_000] {
        // A fresh deflater each time. With takeover it compresses even if the result is longer.
        let mut deflater = Deflater::new(15, 1, true).unwrap();
        let payload = deflater.compress(&vec![b'x'; length]).unwrap();
        for limit in [length, length - 1] {
            let mut output = Vec::new();
            let mut inflater = Inflater::new(false);
            inflater.push(&payload, &mut output, limit).unwrap();
            if output.len() <= limit {
                inflater.finish(&mut output, limit).unwrap();
            }
            assert_eq!(output.len(), length, "limit {limit}");
        }
    }
}

#[test]
fn what_does_not_compress_is_sent_as_it_is_or_grows_a_little() {
    let data = noise(100_000);
    assert_eq!(Deflater::new(15, 1, false).unwrap().compress(&data), None);
    assert_eq!(Deflater::new(15, 1, false).unwrap().compress(b""), None);
    let mut deflater = Deflater::new(15, 1, true).unwrap();
    let mut inflater = Inflater::new(true);
    for payload in [&data[..], b"", b"", b"x", &data[..1000], b""] {
        let compressed = deflater.compress(payload).unwrap();
        assert!(compressed.len() <= payload.len() + payload.len() / 8 + 16);
        assert_eq!(
            inflate(&mut inflater, &compressed, 77).as_deref(),
            Ok(payload)
        );
    }
}

#[test]
fn a_compressor_that_was_given_back_starts_afresh() {
    let mut deflater = Deflater::new(15, 1, true).unwrap();
    let mut inflater = Inflater::new(true);
    let text = b"a sentence that the window remembers, and that is long enough";
    let mut sizes = Vec::new();
    for release in [false, false, true, false] {
        if release {
            deflater.release();
        }
        let compressed = deflater.compress(text).unwrap();
        sizes.push(compressed.len());
        assert_eq!(
            inflate(&mut inflater, &compressed, 99).as_deref(),
            Ok(&text[..])
        );
    }
    assert!(
        sizes[1] < sizes[0] && sizes[2] == sizes[0] && sizes[3] == sizes[1],
        "{sizes:?}"
    );
}

#[test]
fn without_takeover_nothing_is_held_between_messages() {
    let mut deflater = Deflater::new(15, 1, false).unwrap();
    let mut inflater = Inflater::new(false);
    let first = deflater.compress(&[b'x'; 1000]).unwrap();
    let second = deflater.compress(&[b'x'; 1000]).unwrap();
    assert_eq!(first, second);
    inflate(&mut inflater, &first, 99).unwrap();
    assert!(deflater.kept.is_none() && inflater.stream.is_none());
}

#[test]
fn a_window_of_8_bits_is_not_compressed_with() {
    assert!(Deflater::new(8, 1, false).is_none());
    assert!(Deflater::new(9, 1, false).is_some());
}
