use super::*;

/// The example of RFC 6455 section 1.3.
const REQUEST: Request<'static> = Request {
    method: "GET",
    connection: "Upgrade",
    upgrade: "websocket",
    key: Some("dGhlIHNhbXBsZSBub25jZQ=="),
    version: Some("13"),
    protocols: "",
    extensions: "",
};

fn handshake(request: &Request<'_>) -> Result<Handshake, HandshakeError> {
    accept(request, &ProtocolConfig::default())
}

#[test]
fn the_example_of_section_1_3() {
    let request = Request {
        protocols: "chat, superchat",
        ..REQUEST
    };
    let handshake = handshake(&request).unwrap();
    assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(handshake.protocols, ["chat", "superchat"]);
    assert_eq!(
        handshake.response(Some("chat"), &[]).unwrap(),
        b"HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: chat\r\n\r\n"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn requests_are_judged_as_section_4_2_1_has_it() {
    use HandshakeError as E;
    let table = [
        (REQUEST, None),
        (
            Request {
                connection: "keep-alive, Upgrade",
                ..REQUEST
            },
            None,
        ),
        (
            Request {
                connection: "keep-alive,\tupgrade ",
                ..REQUEST
            },
            None,
        ),
        (
            Request {
                upgrade: "WebSocket",
                ..REQUEST
            },
            None,
        ),
        (
            Request {
                version: Some(" 13 "),
                ..REQUEST
            },
            None,
        ),
        (
            Request {
                method: "POST",
                ..REQUEST
            },
            Some(E::Method),
        ),
        (
            Request {
                method: "get",
                ..REQUEST
            },
            Some(E::Method),
        ),
        (
            Request {
                connection: "",
                ..REQUEST
            },
            Some(E::Connection),
        ),
        (
            Request {
                connection: "close",
                ..REQUEST
            },
            Some(E::Connection),
        ),
        (
            Request {
                connection: "upgrades",
                ..REQUEST
            },
            Some(E::Connection),
        ),
        (
            Request {
                upgrade: "",
                ..REQUEST
            },
            Some(E::Upgrade),
        ),
        (
            Request {
                upgrade: "h2c",
                ..REQUEST
            },
            Some(E::Upgrade),
        ),
        (
            Request {
                version: None,
                ..REQUEST
            },
            Some(E::MissingVersion),
        ),
        (
            Request {
                version: Some("8"),
                ..REQUEST
            },
            Some(E::Version),
        ),
        (
            Request {
                version: Some("13, 8"),
                ..REQUEST
            },
            Some(E::Version),
        ),
        (
            Request {
                version: Some("013"),
                ..REQUEST
            },
            Some(E::Version),
        ),
        (
            Request {
                key: None,
                ..REQUEST
            },
            Some(E::MissingKey),
        ),
        (
            Request {
                key: Some(""),
                ..REQUEST
            },
            Some(E::Key),
        ),
        (
            Request {
                key: Some("dGhlIHNhbXBsZSBub25jZQ"),
                ..REQUEST
            },
            Some(E::Key),
        ),
        (
            Request {
                key: Some("dGhlIHNhbXBsZSBub25j"),
                ..REQUEST
            },
            Some(E::Key),
        ),
        (
            Request {
                key: Some("dGhlIHNhbXBs*SBub25jZQ=="),
                ..REQUEST
            },
            Some(E::Key),
        ),
        (
            Request {
                key: Some("dGhlIHNhbXBsZSBub25jZQ==,x"),
                ..REQUEST
            },
            Some(E::Key),
        ),
        (
            Request {
                protocols: "chat, a b",
                ..REQUEST
            },
            Some(E::Protocols),
        ),
        (
            Request {
                protocols: "chat\r\nX: y",
                ..REQUEST
            },
            Some(E::Protocols),
        ),
        (
            Request {
                protocols: "ch\u{e4}t",
                ..REQUEST
            },
            Some(E::Protocols),
        ),
    ];
    for (request, error) in table {
        assert_eq!(handshake(&request).err(), error, "{request:?}");
    }
}

#[test]
fn subprotocols_keep_the_clients_order_and_count_once() {
    let request = Request {
        protocols: " b,a ,, b,B",
        ..REQUEST
    };
    assert_eq!(handshake(&request).unwrap().protocols, ["b", "a", "B"]);
}

#[test]
fn headers_that_the_protocol_decides_are_left_out() {
    let handshake = handshake(&REQUEST).unwrap();
    let headers = [
        ("Set-Cookie", "a=\u{e4}"),
        ("connection", "close"),
        ("Upgrade", "h2c"),
        ("SEC-WebSocket-Accept", "x"),
        ("sec-websocket-", "x"),
        ("Content-Length", "0"),
        ("Content-Type", "text/html"),
        ("Transfer-Encoding", "chunked"),
        ("Keep-Alive", "x"),
        ("Sec-Web", "kept"),
    ];
    let head = handshake.response(None, &headers).unwrap();
    assert!(head.ends_with(b"=\r\nSet-Cookie: a=\xe4\r\nSec-Web: kept\r\n\r\n"));
}

#[test]
fn nothing_can_be_smuggled_into_the_response() {
    let handshake = handshake(&Request {
        protocols: "chat",
        ..REQUEST
    })
    .unwrap();
    let name = |text: &str| ResponseError::HeaderName(text.to_owned());
    let value = |text: &str| ResponseError::HeaderValue(text.to_owned());
    let table = [
        (("", "x"), name("")),
        (("X Y", "x"), name("X Y")),
        (("X:", "x"), name("X:")),
        (("X\r\nY", "x"), name("X\r\nY")),
        (("Upgrade\r\nY", "x"), name("Upgrade\r\nY")),
        (("X\u{e4}", "x"), name("X\u{e4}")),
        (("X", "a\r\nY: b"), value("X")),
        (("X", "a\nY: b"), value("X")),
        (("X", "a\rb"), value("X")),
        (("X", "a\0b"), value("X")),
        (("X", "a\x7fb"), value("X")),
        // The low byte of the character is a line feed.
        (("X", "a\u{10a}b"), value("X")),
    ];
    for (header, error) in table {
        assert_eq!(
            handshake.response(None, &[header]),
            Err(error),
            "{header:?}"
        );
    }
    for subprotocol in ["", "other", "Chat", "chat\r\nX: y"] {
        assert_eq!(
            handshake.response(Some(subprotocol), &[]),
            Err(ResponseError::Subprotocol(subprotocol.to_owned()))
        );
    }
    assert!(handshake.response(None, &[("X", "tab\tis fine")]).is_ok());
}
