//! URLs of NATS servers.

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use url::Url;

use super::super::BrokerError;

/// Servers of one cluster, and who to be there.
#[derive(Debug)]
pub(super) struct Address {
    servers: Vec<ServerAddr>,
    who: Who,
}

enum Who {
    Nobody,
    Token(String),
    User(String, String),
}

impl std::fmt::Debug for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Who")
    }
}

impl Address {
    /// Reads `nats://user:password@host:port`, of which there may be several with commas between them.
    /// The first says who to be.
    pub(super) fn parse(text: &str) -> Result<Self, BrokerError> {
        let mut servers = Vec::new();
        let mut who = Who::Nobody;
        let scheme = text.split_once("://").map_or("nats", |(scheme, _)| scheme);
        for part in text.split(',') {
            let full = if part.contains("://") {
                part.to_owned()
            } else {
                format!("{scheme}://{part}")
            };
            let mut url = Url::parse(&full).map_err(|error| refused(&error.to_string()))?;
            if url.host_str().is_none_or(str::is_empty) {
                return Err(refused("it has no host"));
            }
            if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some()
            {
                return Err(refused("nothing may come after the host and the port"));
            }
            if servers.is_empty() {
                who = identity(&url)?;
            }
            // Given as options, which are not percent-encoded, and not logged.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            let server = ServerAddr::from_url(url).map_err(|error| refused(&error.to_string()))?;
            servers.push(server);
        }
        Ok(Self { servers, who })
    }

    pub(super) fn servers(&self) -> &[ServerAddr] {
        &self.servers
    }

    pub(super) fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new();
        match &self.who {
            Who::Nobody => options,
            Who::Token(token) => options.token(token.clone()),
            Who::User(name, password) => options.user_and_password(name.clone(), password.clone()),
        }
    }
}

/// A name alone is a token, as for other clients of NATS.
fn identity(url: &Url) -> Result<Who, BrokerError> {
    let decode = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded
            .map(String::from)
            .map_err(|_| refused("the name or the password is no UTF-8"))
    };
    Ok(match (url.username(), url.password()) {
        ("", None) => Who::Nobody,
        (token, None) => Who::Token(decode(token)?),
        (name, Some(password)) => Who::User(decode(name)?, decode(password)?),
    })
}

fn refused(why: &str) -> BrokerError {
    BrokerError::Url(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        let address = Address::parse(text).unwrap();
        let servers: Vec<_> = address.servers.iter().map(ServerAddr::as_url_str).collect();
        let who = match address.who {
            Who::Nobody => String::new(),
            Who::Token(token) => format!(" token {token}"),
            Who::User(name, password) => format!(" {name} {password}"),
        };
        servers.join(" ") + &who
    }

    #[test]
    fn a_url_says_where_and_who() {
        for (text, expected) in [
            ("nats://localhost", "nats://localhost"),
            ("nats://s3cret@h:1", "nats://h:1 token s3cret"),
            ("tls://me:p%40ss@h:1", "tls://h:1 me p@ss"),
            ("nats://me:x@a,b:5", "nats://a nats://b:5 me x"),
            ("nats://a,tls://b", "nats://a tls://b"),
        ] {
            assert_eq!(parsed(text), expected);
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "nats://",
            "nats://h:x",
            "nats://a,,b",
            "nats://h/path",
            "nats://a,redis://b",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
