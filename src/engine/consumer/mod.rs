//! The ways in which a view takes messages out of its inbox.

mod turnstile;

pub use self::turnstile::Turnstile;
pub(super) use self::turnstile::{Turn, Wake};
