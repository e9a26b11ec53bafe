//! What the URL of a NATS broker says.

use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr, jetstream::stream::StorageType};
use percent_encoding::percent_decode_str;

use super::super::{BrokerError, PATIENCE};

/// How often the server is asked whether it is there; the third question in a row without an
/// answer is one too many.
const PING: Duration = Duration::from_millis(1_500);

/// Where the servers are, who asks, and how they keep histories.
///
/// `nats://user:password@one:4222,two:4222?replicas=3&storage=memory`
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) servers: Vec<ServerAddr>,
    /// A user and a password, or a token.
    login: Option<(String, Option<String>)>,
    /// Servers of a cluster that keep a history.
    pub(super) replicas: usize,
    pub(super) storage: StorageType,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, BrokerError> {
        let wrong = |why: &dyn std::fmt::Display| BrokerError::Url(why.to_string());
        let (hosts, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, hosts) = hosts.split_once("://").unwrap_or(("nats", hosts));
        let mut address = Self {
            servers: Vec::new(),
            login: None,
            replicas: 1,
            storage: StorageType::File,
        };
        for host in hosts.split(',') {
            let server = format!("{scheme}://{host}");
            let server: ServerAddr = server.parse().map_err(|error| wrong(&error))?;
            if address.login.is_none() {
                address.login = login(&server);
            }
            address.servers.push(server);
        }
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("replicas", number)) => {
                    address.replicas = number
                        .parse()
                        .ok()
                        .filter(|replicas| (1..=5).contains(replicas))
                        .ok_or_else(|| wrong(&"replicas is a number from 1 to 5"))?;
                }
                Some(("storage", "file")) => address.storage = StorageType::File,
                Some(("storage", "memory")) => address.storage = StorageType::Memory,
                _ => {
                    return Err(wrong(&format!(
                        "\"{option}\" is not an option; replicas=1..5 and storage=file|memory are"
                    )));
                }
            }
        }
        Ok(address)
    }

    pub(super) fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new()
            .name("dwebsocket")
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(PING)
            .ignore_discovered_servers()
            // Who connects again is the loop that knows the subscriptions.
            .max_reconnects(self.servers.len())
            .reconnect_delay_callback(|_| Duration::ZERO);
        match self.login.clone() {
            None => options,
            Some((token, None)) => options.token(token),
            Some((user, Some(password))) => options.user_and_password(user, password),
        }
    }
}

fn login(server: &ServerAddr) -> Option<(String, Option<String>)> {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    server
        .username()
        .map(|user| (plain(user), server.password().map(plain)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_servers_and_options() {
        let address =
            Address::parse("nats://me:p%40ss@one,two:4223?replicas=3&storage=memory").unwrap();
        let ports: Vec<_> = address.servers.iter().map(ServerAddr::port).collect();
        assert_eq!(ports, [4222, 4223]);
        assert_eq!(address.login, Some(("me".into(), Some("p@ss".into()))));
        assert_eq!(
            (address.replicas, address.storage),
            (3, StorageType::Memory)
        );
        let token = Address::parse("nats://secret@one").unwrap();
        assert_eq!(token.login, Some(("secret".into(), None)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for url in [
            "nats://[::bad",
            "nats://x?replicas=0",
            "nats://x?storage=tape",
            "nats://x?x",
        ] {
            assert!(
                matches!(Address::parse(url), Err(BrokerError::Url(_))),
                "{url}"
            );
        }
    }
}
