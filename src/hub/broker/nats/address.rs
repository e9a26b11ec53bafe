//! URLs of NATS servers.

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use url::Url;

use super::super::contract::{BrokerError, check_quoting};

/// Copies that JetStream can keep of a stream.
const REPLICAS: std::ops::RangeInclusive<usize> = 1..=5;

/// The servers of one cluster, the identity to use there, and the number of replicas of a history.
#[derive(Debug)]
pub(super) struct Address {
    servers: Vec<ServerAddr>,
    who: Who,
    replicas: usize,
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

impl std::fmt::Display for Address {
    /// The URLs of the servers, without the identity.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let servers = self.servers.iter().map(ServerAddr::as_url_str);
        f.write_str(&servers.collect::<Vec<_>>().join(","))
    }
}

impl Address {
    /// Reads `nats://user:password@host:port?replicas=3`. There may be several servers with commas
    /// between them. The first one has the user name and the password; the options after `?` come once,
    /// at the end.
    pub(super) fn parse(text: &str) -> Result<Self, BrokerError> {
        check_quoting(text)?;
        let (text, options) = text.split_once('?').unwrap_or((text, ""));
        let replicas = replicas(options)?;
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
            if url.port() == Some(0) {
                return Err(refused("nothing can listen on port 0"));
            }
            if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
                return Err(refused(
                    "nothing but ?replicas=... may come after the host and the port",
                ));
            }
            if servers.is_empty() {
                who = identity(&url)?;
            } else if matches!(who, Who::Nobody) && !matches!(identity(&url)?, Who::Nobody) {
                return Err(refused(
                    "the first server says who to be; a comma in a password is written %2C",
                ));
            }
            // The identity is given as options of the client, which are not percent-encoded, and not
            // logged.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            let server = ServerAddr::from_url(url).map_err(|error| refused(&error.to_string()))?;
            servers.push(server);
        }
        Ok(Self {
            servers,
            who,
            replicas,
        })
    }

    pub(super) fn servers(&self) -> &[ServerAddr] {
        &self.servers
    }

    /// How many servers of the cluster are to keep each history.
    pub(super) fn replicas(&self) -> usize {
        self.replicas
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

/// Reads the options after `?`.
fn replicas(options: &str) -> Result<usize, BrokerError> {
    let mut replicas = 1;
    for (name, value) in url::form_urlencoded::parse(options.as_bytes()) {
        if name != "replicas" {
            // The error does not show the name: if a ? in a password was not quoted, the name is a part
            // of the password.
            return Err(refused(
                "nothing but replicas=... may come after the ?, and a ? in a password is written %3F",
            ));
        }
        let number = value.parse().ok().filter(|n| REPLICAS.contains(n));
        replicas = number.ok_or_else(|| refused("replicas has to be a number from 1 to 5"))?;
    }
    Ok(replicas)
}

/// Reads the identity. A name without a password is a token, as for other clients of NATS.
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
            assert_eq!(parsed(&format!("{text}?replicas=3")), expected);
        }
    }

    #[test]
    fn nothing_shows_who_to_be() {
        for text in [
            "nats://me:s3cret@h:1",
            "nats://s3cret@h,i",
            "tls://s3cret:@h",
        ] {
            let address = Address::parse(text).unwrap();
            let shown = format!("{address} {address:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn a_url_says_how_many_servers_keep_a_history() {
        for (text, expected) in [
            ("nats://a", 1),
            ("nats://a?", 1),
            ("nats://a/?replicas=1", 1),
            ("nats://a,b,c?replicas=3", 3),
        ] {
            assert_eq!(Address::parse(text).unwrap().replicas(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "nats://",
            "nats://h:x",
            "nats://h:0",
            "nats://a,,b",
            "nats://h/path",
            "nats://a,redis://b",
            "nats://a?replicas=0",
            "nats://a?replicas=6",
            "nats://a?replicas=many",
            "nats://a?replica=3",
            "nats://a?replicas=3,b",
            "nats://me:12,34@h",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
