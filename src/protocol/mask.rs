//! Masking (RFC 6455 section 5.3).

/// Bytes per step of the main loop: a multiple of the vector registers of every target.
const BLOCK: usize = 64;

/// Masks or unmasks `data` in place and returns the key for the bytes that follow it.
///
/// The loop works on fixed-size blocks, for which the compiler emits vector instructions. tungstenite's
/// own routine is private to its crate and works on 32-bit words.
#[inline]
pub(crate) fn apply(data: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    let word = u64::from_ne_bytes([
        key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3],
    ]);
    let rotated = rotate(key, data.len());
    let (blocks, rest) = data.as_chunks_mut::<BLOCK>();
    for block in blocks {
        let (words, _) = block.as_chunks_mut::<8>();
        for bytes in words {
            *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
    }
    let (words, tail) = rest.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= mask;
    }
    rotated
}

/// The key for the byte after the next `count` bytes.
#[inline]
fn rotate(mut key: [u8; 4], count: usize) -> [u8; 4] {
    key.rotate_left(count % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn the_example_of_rfc_6455_section_5_7() {
        let mut data = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let next = apply(&mut data, KEY);
        assert_eq!(&data, b"Hello");
        assert_eq!(next, [0xfa, 0x21, 0x3d, 0x37]);
    }

    #[test]
    fn every_length_and_every_split_gives_the_octet_formula_of_section_5_3() {
        for length in 0..200 {
            let plain: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let expected: Vec<u8> = plain
                .iter()
                .enumerate()
                .map(|(i, byte)| byte ^ KEY[i % 4])
                .collect();
            for split in [0, 1, 2, 3, 5, 8, 63, 64, 65] {
                let mut data = plain.clone();
                let (first, second) = data.split_at_mut(split.min(length));
                let key = apply(first, KEY);
                apply(second, key);
                assert_eq!(data, expected, "length {length}, split {split}");
            }
        }
    }
}
