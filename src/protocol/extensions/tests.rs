use super::*;

fn agree(header: &str, compression: Compression) -> Option<(DeflateParams, String)> {
    negotiate(&parse(header).unwrap(), compression)
}

#[test]
fn headers_are_read_as_rfc_6455_section_9_1_has_them() {
    type Parsed = &'static [(
        &'static str,
        &'static [(&'static str, Option<&'static str>)],
    )];
    let table: [(&str, Parsed); 9] = [
        ("", &[]),
        (" , ,\t", &[]),
        ("foo", &[("foo", &[])]),
        (
            "foo, bar; baz=2",
            &[("foo", &[]), ("bar", &[("baz", Some("2"))])],
        ),
        (
            "bar; baz=2, foo",
            &[("bar", &[("baz", Some("2"))]), ("foo", &[])],
        ),
        (
            "foo;a ; b = \t1\t,,bar",
            &[("foo", &[("a", None), ("b", Some("1"))]), ("bar", &[])],
        ),
        (r#"foo; a="10""#, &[("foo", &[("a", Some("10"))])]),
        (
            r#"foo; a="1\0" ;b"#,
            &[("foo", &[("a", Some("10")), ("b", None)])],
        ),
        ("x;a;a", &[("x", &[("a", None), ("a", None)])]),
    ];
    for (header, expected) in table {
        let offers = parse(header).unwrap();
        let read: Vec<_> = offers
            .iter()
            .map(|offer| {
                let parameters: Vec<_> = offer
                    .parameters
                    .iter()
                    .map(|(k, v)| (k.as_str(), v.as_deref()))
                    .collect();
                (offer.name.as_str(), parameters)
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, parameters)| (*name, parameters.to_vec()))
            .collect();
        assert_eq!(read, expected, "{header}");
    }
}

#[test]
fn malformed_headers_are_refused() {
    for header in [
        ";",
        "foo;",
        "foo; ",
        "foo;;a",
        "foo; =1",
        "foo; a=",
        "foo; a=,bar",
        "foo bar",
        "foo; a b",
        "foo; a=1 2",
        r#"foo; a=""#,
        r#"foo; a="""#,
        r#"foo; a="1"#,
        r#"foo; a="1\"#,
        r#"foo; a="1 2""#,
        r#"foo; a="1,2""#,
        r#"foo; a="\"""#,
        r#"foo; a="1"2"#,
        r#""foo""#,
        "foo=1",
        "fo\u{f6}",
        "foo; a=\u{e9}",
        "foo; a=\"\u{e9}\"",
        "foo\r\nbar",
        "foo\0",
        "(foo)",
    ] {
        assert_eq!(parse(header), Err(HandshakeError::Extensions), "{header:?}");
    }
}

/// RFC 7692 section 7.1: the offers, and the windows that the answer names; `None`: no answer.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn offers_are_answered_as_rfc_7692_section_7_1_has_it() {
    const PLAIN: Option<&str> = Some("");
    let table = [
        ("permessage-deflate", PLAIN),
        ("permessage-deflate; client_max_window_bits", PLAIN),
        (
            "permessage-deflate; client_max_window_bits=10",
            Some("; client_max_window_bits=10"),
        ),
        (
            "permessage-deflate; client_max_window_bits=8",
            Some("; client_max_window_bits=8"),
        ),
        (
            "permessage-deflate; server_max_window_bits=15",
            Some("; server_max_window_bits=15"),
        ),
        (
            r#"permessage-deflate; server_max_window_bits="10""#,
            Some("; server_max_window_bits=10"),
        ),
        // Several offers: the first that the server can meet is accepted (section 5.1).
        (
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            Some("; server_max_window_bits=10"),
        ),
        ("foo, x-webkit-deflate-frame, permessage-deflate", PLAIN),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            PLAIN,
        ),
        (
            "permessage-deflate; new_thing, permessage-deflate; client_max_window_bits",
            PLAIN,
        ),
        // Declined offers (section 7): unknown names, wrong values, duplicates, a window of 8 bits.
        ("", None),
        ("foo", None),
        ("Permessage-Deflate", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=010", None),
        ("permessage-deflate; server_max_window_bits=+9", None),
        ("permessage-deflate; server_max_window_bits=ten", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=265", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover=true", None),
        (
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            None,
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            None,
        ),
    ];
    let shared = "; server_no_context_takeover; client_no_context_takeover";
    for (header, windows) in table {
        let answer = |compression| agree(header, compression).map(|(_, answer)| answer);
        let expected = windows.map(|windows| format!("permessage-deflate{windows}"));
        assert_eq!(answer(Compression::Dedicated), expected, "{header}");
        let expected = windows.map(|windows| format!("permessage-deflate{shared}{windows}"));
        assert_eq!(answer(Compression::Shared), expected, "{header}");
        assert_eq!(answer(Compression::Off), None, "{header}");
    }
}

#[test]
fn context_takeover_is_given_up_where_the_client_asks_for_it() {
    let table = [
        ("", false, false),
        ("; server_no_context_takeover", true, false),
        ("; client_no_context_takeover", false, true),
        (
            "; server_no_context_takeover; client_no_context_takeover",
            true,
            true,
        ),
    ];
    for (parameters, server, client) in table {
        let header = format!("permessage-deflate{parameters}");
        let (params, answer) = agree(&header, Compression::Dedicated).unwrap();
        assert_eq!(answer, header);
        assert_eq!(params.server_no_context_takeover, server);
        assert_eq!(params.client_no_context_takeover, client);
        assert_eq!(params.own_context(Role::Server), !server);
        assert_eq!(params.peer_context(Role::Server), !client);
        assert_eq!(params.own_context(Role::Client), !client);
        assert_eq!(params.peer_context(Role::Client), !server);
    }
}

#[test]
fn both_windows_are_remembered() {
    let header = "permessage-deflate; client_max_window_bits=12; server_max_window_bits=9";
    let (params, _) = agree(header, Compression::Shared).unwrap();
    assert_eq!(params.own_window_bits(Role::Server), 9);
    assert_eq!(params.own_window_bits(Role::Client), 12);
    let (params, _) = agree("permessage-deflate", Compression::Shared).unwrap();
    assert_eq!(
        (params.server_max_window_bits, params.client_max_window_bits),
        (15, 15)
    );
}
