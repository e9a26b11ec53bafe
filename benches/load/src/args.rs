//! Arguments of the form `--name value`.

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

    /// Takes the value of `--name`, or the default if it is absent.
    pub fn take<T: FromStr>(&mut self, name: &str, default: T) -> Result<T> {
        match self.0.remove(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("--{name}: cannot read {text:?}").into()),
        }
    }

    /// Takes the value of `--name`; an error if it is absent.
    pub fn need<T: FromStr>(&mut self, name: &str) -> Result<T> {
        let text = self
            .0
            .remove(name)
            .ok_or_else(|| format!("--{name} is needed"))?;
        text.parse()
            .map_err(|_| format!("--{name}: cannot read {text:?}").into())
    }

    /// Returns an error for an argument that was not taken.
    pub fn finish(self) -> Result<()> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("unknown argument --{name}").into()),
        }
    }
}
