//! Properties of the opening handshake that hold for any headers.

#![expect(clippy::expect_used, reason = "tests")]

use dwebsocket::{
    config::{Compression, ProtocolConfig},
    protocol::{
        Handshake, Request, accept,
        extensions::{self, Offer},
    },
};
use proptest::{collection::vec, prelude::*};

const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}";

/// Any string, with the characters and words of HTTP more often than by chance.
fn header() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => TOKEN,
        4 => prop::sample::select(vec![
            ",", ";", "=", "\"", "\\", " ", "\t", "\r\n", "\0", ":",
            "websocket", "Upgrade", "chat", "permessage-deflate", "server_no_context_takeover",
            "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits",
            "8", "9", "15", "16",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn offer() -> impl Strategy<Value = Offer> {
    let parameter = (TOKEN, prop::option::of(TOKEN));
    (TOKEN, vec(parameter, 0..4)).prop_map(|(name, parameters)| Offer { name, parameters })
}

/// An offer, mostly of permessage-deflate with parameters that the server can meet.
fn deflate_offer() -> impl Strategy<Value = Offer> {
    let name = prop::sample::select(vec!["permessage-deflate", "permessage-deflate", "foo"]);
    let parameter = prop::sample::select(vec![
        ("server_no_context_takeover", None),
        ("client_no_context_takeover", None),
        ("server_max_window_bits", Some("10")),
        ("server_max_window_bits", Some("8")),
        ("client_max_window_bits", None),
        ("client_max_window_bits", Some("8")),
        ("unknown", None),
    ]);
    let parameter = parameter.prop_map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
    (name, vec(parameter, 0..4)).prop_map(|(name, parameters)| Offer {
        name: name.to_owned(),
        parameters,
    })
}

/// Writes offers, with quotation marks and white space where the grammar allows them.
fn write(offers: &[Offer], quoted: bool, space: &str) -> String {
    let value = |value: &String| match quoted {
        true => format!(
            "\"{}\"",
            value.chars().flat_map(|c| ['\\', c]).collect::<String>()
        ),
        false => value.clone(),
    };
    let parameter = |(name, text): &(String, Option<String>)| match text {
        Some(text) => format!("{space};{space}{name}{space}={space}{}", value(text)),
        None => format!("{space};{space}{name}"),
    };
    let offers: Vec<String> = offers
        .iter()
        .map(|Offer { name, parameters }| {
            format!(
                "{name}{}",
                parameters.iter().map(parameter).collect::<String>()
            )
        })
        .collect();
    offers.join(&format!("{space},{space}"))
}

fn handshake() -> Handshake {
    let request = Request {
        method: "GET",
        connection: "Upgrade",
        upgrade: "websocket",
        key: Some("dGhlIHNhbXBsZSBub25jZQ=="),
        version: Some("13"),
        protocols: "chat",
        extensions: "permessage-deflate",
    };
    accept(&request, &ProtocolConfig::default()).expect("a right request")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_as_the_grammar_has_it_is_read_back(
        offers in vec(offer(), 0..4),
        quoted in any::<bool>(),
        space in "[ \t]{0,2}",
    ) {
        let header = write(&offers, quoted, &space);
        prop_assert_eq!(extensions::parse(&header), Ok(offers));
    }

    #[test]
    fn an_answer_is_always_one_that_the_offer_allows(offers in vec(deflate_offer(), 0..4)) {
        for compression in [Compression::Shared, Compression::Dedicated] {
            let Some((params, answer)) = extensions::negotiate(&offers, compression) else {
                continue;
            };
            let answer = extensions::parse(&answer).unwrap().remove(0);
            let allowed = offers.iter().any(|offer| {
                answer.name == offer.name && answer.parameters.iter().all(|(name, _)| {
                    name.ends_with("_no_context_takeover")
                        || offer.parameters.iter().any(|(offered, _)| offered == name)
                })
            });
            prop_assert!(allowed, "{:?}", answer);
            prop_assert!((9..=15).contains(&params.server_max_window_bits));
            prop_assert!((8..=15).contains(&params.client_max_window_bits));
        }
    }

    #[test]
    fn no_request_makes_the_handshake_panic(
        method in prop_oneof![Just("GET".to_owned()), header()],
        connection in prop_oneof![Just("Upgrade".to_owned()), header()],
        upgrade in prop_oneof![Just("websocket".to_owned()), header()],
        key in prop_oneof![Just(Some("dGhlIHNhbXBsZSBub25jZQ==".to_owned())), prop::option::of(header())],
        version in prop_oneof![Just(Some("13".to_owned())), prop::option::of(header())],
        protocols in header(),
        extensions in header(),
    ) {
        let request = Request {
            method: &method,
            connection: &connection,
            upgrade: &upgrade,
            key: key.as_deref(),
            version: version.as_deref(),
            protocols: &protocols,
            extensions: &extensions,
        };
        match accept(&request, &ProtocolConfig::default()) {
            Ok(handshake) => {
                let first = handshake.protocols.first().map(String::as_str);
                let head = handshake.response(first, &[]).unwrap();
                prop_assert!(head.ends_with(b"\r\n\r\n"));
            }
            Err(error) => prop_assert!([400, 405, 426].contains(&error.status())),
        }
    }

    #[test]
    fn a_response_has_the_headers_it_was_given_and_no_others(
        headers in vec((header(), header()), 0..4),
        subprotocol in prop::option::of(prop_oneof![Just("chat".to_owned()), header()]),
    ) {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let Ok(head) = handshake().response(subprotocol.as_deref(), &headers) else {
            return Ok(());
        };
        // One character per byte, as on the wire.
        let head: String = head.into_iter().map(char::from).collect();
        let lines: Vec<&str> = head.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
        prop_assert_eq!(lines[0], "HTTP/1.1 101 Switching Protocols");
        let fixed = 5 + usize::from(subprotocol.is_some());
        let own: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let mut own = own.iter();
        for line in &lines[fixed..] {
            prop_assert!(own.any(|header| header == line), "{:?}", line);
            prop_assert!(!line.contains(['\r', '\n', '\0']));
        }
    }
}
