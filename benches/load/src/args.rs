//! `--name value` arguments, and nothing cleverer.

use std::collections::HashMap;
use std::str::FromStr;

use crate::Result;

/// The arguments of one command, each taken at most once.
pub struct Args(HashMap<String, String>);

impl Args {
    /// Reads `--name value` pairs.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut map = HashMap::new();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                return Err(format!("expected --name, got {word:?}").into());
            };
            let Some(value) = words.next() else {
                return Err(format!("--{name} lacks its value").into());
            };
            map.insert(name.to_owned(), value);
        }
        Ok(Self(map))
    }

    /// Takes `--name` out, or the default where it is absent.
    pub fn take<T: FromStr>(&mut self, name: &str, default: T) -> Result<T> {
        match self.0.remove(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("--{name}: cannot read {text:?}").into()),
        }
    }

    /// Takes `--name` out, which must be there.
    pub fn need<T: FromStr>(&mut self, name: &str) -> Result<T> {
        let text = self
            .0
            .remove(name)
            .ok_or_else(|| format!("--{name} is needed"))?;
        text.parse()
            .map_err(|_| format!("--{name}: cannot read {text:?}").into())
    }

    /// Refuses whatever nobody has taken.
    pub fn finish(self) -> Result<()> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("unknown argument --{name}").into()),
        }
    }
}
