//! The hub without a broker.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod suite;

mod broker {
    use dwebsocket::hub::Fate;

    pub(crate) const FATE: Fate = Fate::Alone;

    pub(crate) fn url() -> Option<String> {
        None
    }
}
