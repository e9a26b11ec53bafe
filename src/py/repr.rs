//! The parts of a `repr()`, in the way of Python's own.

/// A string within a repr.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.escape_default())
}

/// A value, or `None`.
pub(super) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "None".into(), |value| value.to_string())
}

/// A boolean as Python writes it.
pub(super) fn boolean(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
