//! The parts of a `repr()`, formatted as Python formats its own.

/// A string in a `repr()`.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.escape_default())
}

/// A value in a `repr()`, or `None`.
pub(super) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "None".into(), |value| value.to_string())
}

/// A boolean in a `repr()`.
pub(super) fn boolean(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
