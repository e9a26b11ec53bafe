//! Any request gets a handshake or a refusal; the response consists of its status line and headers only.

#![no_main]

use dwebsocket::{
    config::ProtocolConfig,
    protocol::{Request, accept},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Latin-1, like header values in WSGI; one field per line.
    let text: String = data.iter().map(|&byte| char::from(byte)).collect();
    let mut fields = text.split('\n');
    let mut next = || fields.next();
    let request = Request {
        method: next().unwrap_or("GET"),
        connection: next().unwrap_or("Upgrade"),
        upgrade: next().unwrap_or("websocket"),
        key: next(),
        version: next(),
        protocols: next().unwrap_or(""),
        extensions: next().unwrap_or(""),
    };
    let handshake = match accept(&request, &ProtocolConfig::default()) {
        Ok(handshake) => handshake,
        Err(error) => {
            assert!([400, 405, 426].contains(&error.status()));
            return;
        }
    };
    let rest: Vec<&str> = fields.collect();
    let headers: Vec<(&str, &str)> = rest
        .iter()
        .map(|line| line.split_once(':').unwrap_or((line, "\r\n")))
        .collect();
    let chosen = handshake.protocols.last().map(String::as_str);
    check(
        &handshake
            .response(chosen, &[])
            .expect("its own headers are right"),
        6,
    );
    if let Ok(head) = handshake.response(chosen, &headers) {
        check(&head, 6 + headers.len());
    }
});

/// Checks for one status line and at most `most` headers, each of which has a token as its name.
fn check(head: &[u8], most: usize) {
    let head: String = head.iter().map(|&byte| char::from(byte)).collect();
    let lines = head
        .strip_suffix("\r\n\r\n")
        .expect("it ends with an empty line");
    let mut lines = lines.split("\r\n");
    assert_eq!(lines.next(), Some("HTTP/1.1 101 Switching Protocols"));
    let mut count = 0;
    for line in lines {
        count += 1;
        assert!(!line.contains(['\r', '\n', '\0']));
        let (name, _) = line.split_once(": ").expect("a name and a value");
        assert!(
            name.chars()
                .all(|c| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c))
        );
    }
    assert!(count <= most);
}
