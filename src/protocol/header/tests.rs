use super::*;

const SERVER: Expected = Expected {
    role: Role::Server,
    continuation: false,
    deflate: false,
};
const CLIENT: Expected = Expected {
    role: Role::Client,
    ..SERVER
};

#[test]
fn a_wrong_byte_is_refused_as_soon_as_it_is_there() {
    let deflate = Expected {
        deflate: true,
        ..CLIENT
    };
    let fragmented = Expected {
        continuation: true,
        deflate: true,
        ..CLIENT
    };
    let table: [(&[u8], Expected, ProtocolError); 20] = [
        // Section 5.2: reserved bits and opcodes.
        (&[0xc1], CLIENT, ProtocolError::ReservedBits),
        (&[0xa1], deflate, ProtocolError::ReservedBits),
        (&[0x91], deflate, ProtocolError::ReservedBits),
        (&[0x83], CLIENT, ProtocolError::ReservedOpcode(3)),
        (&[0x8b], CLIENT, ProtocolError::ReservedOpcode(11)),
        (&[0x8f], CLIENT, ProtocolError::ReservedOpcode(15)),
        // RFC 7692 section 6: RSV1 is for the first frame of a data message.
        (&[0xc0], fragmented, ProtocolError::ReservedBits),
        (&[0xc9], deflate, ProtocolError::ReservedBits),
        // Section 5.4.
        (&[0x80], CLIENT, ProtocolError::UnexpectedContinuation),
        (&[0x00], CLIENT, ProtocolError::UnexpectedContinuation),
        (&[0x81], fragmented, ProtocolError::ExpectedContinuation),
        (&[0x02], fragmented, ProtocolError::ExpectedContinuation),
        // Section 5.5.
        (&[0x08], CLIENT, ProtocolError::FragmentedControl),
        (&[0x09], CLIENT, ProtocolError::FragmentedControl),
        (&[0x89, 126], CLIENT, ProtocolError::ControlTooLong),
        // Section 5.1.
        (&[0x81, 0x05], SERVER, ProtocolError::Unmasked),
        (&[0x81, 0x85], CLIENT, ProtocolError::Masked),
        // Section 5.2: lengths.
        (
            &[0x82, 126, 0, 125],
            CLIENT,
            ProtocolError::LengthNotMinimal,
        ),
        (
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            CLIENT,
            ProtocolError::LengthNotMinimal,
        ),
        (&[0x82, 127, 0x80], CLIENT, ProtocolError::LengthOverflow),
    ];
    for (bytes, expected, error) in table {
        assert_eq!(
            FrameHeader::parse(bytes, expected),
            Err(error),
            "{bytes:x?}"
        );
        let before = FrameHeader::parse(&bytes[..bytes.len() - 1], expected);
        assert_eq!(
            before,
            Ok(None),
            "{bytes:x?} is refused before its last byte"
        );
    }
}

#[test]
fn every_length_survives_and_is_written_in_its_shortest_form() {
    let table = [
        (0, 2),
        (1, 2),
        (125, 2),
        (126, 4),
        (0xffff, 4),
        (0x1_0000, 10),
        (u32::MAX as usize, 10),
        (usize::MAX >> 1, 10),
    ];
    for (length, size) in table {
        for mask in [None, Some([1, 2, 3, 4])] {
            let written = FrameHeaderBytes::new(OpCode::Binary, false, mask, length);
            let written = written.as_ref();
            let size = size + if mask.is_some() { 4 } else { 0 };
            assert_eq!(written.len(), size);
            let expected = if mask.is_some() { SERVER } else { CLIENT };
            let header = FrameHeader {
                fin: true,
                compressed: false,
                opcode: OpCode::Binary,
                mask: mask.unwrap_or_default(),
                length: length as u64,
            };
            assert_eq!(
                FrameHeader::parse(written, expected),
                Ok(Some((header, size)))
            );
            for end in 0..size {
                assert_eq!(FrameHeader::parse(&written[..end], expected), Ok(None));
            }
        }
    }
}

#[test]
fn a_header_in_pieces_leaves_what_follows_it_unread() {
    let written = FrameHeaderBytes::new(OpCode::Text, false, Some([9, 8, 7, 6]), 70_000);
    let mut stream = written.as_ref().to_vec();
    stream.extend_from_slice(b"payload");
    for split in 0..written.as_ref().len() {
        let mut partial = PartialHeader::default();
        let (mut first, mut second) = stream.split_at_mut(split);
        assert_eq!(partial.read(&mut first, SERVER), Ok(None));
        assert!(first.is_empty());
        assert_eq!(partial.is_empty(), split == 0);
        let header = partial.read(&mut second, SERVER).unwrap().unwrap();
        assert_eq!((header.length, header.mask), (70_000, [9, 8, 7, 6]));
        assert_eq!(second, b"payload");
        assert!(partial.is_empty());
    }
}
