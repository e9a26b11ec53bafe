//! A second client of a Redis server, beside the hub.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use crate::server::Server;

pub fn client(server: &Server) -> redis::Connection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_connection().unwrap()
}

pub fn command(client: &mut redis::Connection, words: &[&str]) -> redis::Value {
    redis::cmd(words[0]).arg(&words[1..]).query(client).unwrap()
}
