//! The hub over Redis: the promises are the same.
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
        let mut server = Server::prepare(Kind::Redis)?;
        server.up_until_the_end();
        let url = server.url();
        std::mem::forget(server);
        Some(url)
    }
}
