//! The hub over NATS: the promises are the same.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/server.rs"]
mod server;
mod suite;

mod broker {
    use dwebsocket::hub::Fate;

    use crate::server::{Kind, Server};

    pub(crate) const FATE: Fate = Fate::Sent;

    /// A server for all tests; it ends with this process.
    pub(crate) fn url() -> Option<String> {
        let mut server = Server::prepare(Kind::Nats)?;
        server.up_until_the_end();
        let url = server.url();
        std::mem::forget(server);
        Some(url)
    }
}

#[test]
fn what_the_server_never_takes_holds_up_nobody() {
    use dwebsocket::{
        engine::engine,
        hub::{Fate, Outgoing, Target},
    };

    use crate::suite::{LIMITS, hub, keep, outgoing};

    common::limited(|| {
        let first = keep("large", "1");
        let large = Outgoing {
            targets: vec![Target::Kept("large".into(), LIMITS.unwrap())],
            timeout: common::LIMIT,
            // The server accepts at most 1 MiB.
            ..outgoing(&[], &"x".repeat(2 << 20))
        };
        let lost = || hub().stats(engine().unwrap()).lost;
        let before = lost();
        let published = hub().publish(&large).unwrap();
        assert_eq!(
            (published.fate, published.position),
            (Fate::Unavailable, None)
        );
        assert_eq!(lost(), before + 1);
        assert_eq!(keep("large", "2").offset, first.offset + 1);
    });
}
