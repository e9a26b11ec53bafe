//! Starts the engine, before the handshake: then the request can still be refused.

use pyo3::{exceptions::PyOSError, prelude::*};

use super::errors;
use crate::{
    engine::{self, Engine, Permit, running},
    runtime,
};

/// The engine of this process, for a call that holds the interpreter lock. Starting an engine takes
/// time, so the call releases the lock meanwhile.
pub(super) fn ready() -> std::io::Result<&'static Engine> {
    match running() {
        Some(engine) => Ok(engine),
        None => Python::attach(|py| py.detach(engine::engine)),
    }
}

#[pyfunction]
pub(super) fn start() -> PyResult<()> {
    let engine = ready().map_err(errors::os)?;
    if engine.is_stopping() {
        return Err(PyOSError::new_err("the process is shutting down"));
    }
    Ok(())
}

#[pyfunction]
pub(super) fn settle_thread() {
    runtime::settle();
    runtime::make_room(Permit::taken());
}

/// The greatest depth of arrays and objects in a JSON text. For text that is not JSON: the depth that a
/// parser may reach before it finds the error.
#[pyfunction]
pub(super) fn json_depth(py: Python<'_>, text: &[u8]) -> usize {
    py.detach(|| depth(text))
}

fn depth(text: &[u8]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                now += 1;
                most = most.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            b'"' => {
                // Skip to the end of the string. An escaped quotation mark does not end it.
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn depth_counts_what_is_open_at_once() {
        for (text, expected) in [
            ("", 0),
            ("7", 0),
            ("[]", 1),
            ("[[],{},[]]", 2),
            (r#"{"a":[{"b":1}]}"#, 3),
            (r#"["[[[[", "\"[[", "\\", [1]]"#, 2),
            (r#""[[[["#, 0),
            (r#"["\"#, 1),
            ("]]]][[", 2),
        ] {
            assert_eq!(depth(text.as_bytes()), expected, "{text}");
        }
    }
}
