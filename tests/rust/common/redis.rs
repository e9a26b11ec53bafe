//! A real Redis: `REDIS_SERVER` says where its program is.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::until;

/// A Redis server of a test's own, which keeps its data in memory.
pub struct Server {
    /// Of 127.0.0.1.
    pub port: u16,
    place: PathBuf,
    child: Child,
}

impl Server {
    /// `None` where there is no program; in CI there has to be one.
    pub fn start(name: &str) -> Option<Self> {
        let Ok(program) = std::env::var("REDIS_SERVER") else {
            assert!(std::env::var_os("CI").is_none(), "REDIS_SERVER is not set");
            println!("skipped: REDIS_SERVER is not set");
            return None;
        };
        let place = std::env::temp_dir().join(format!("dwebsocket-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--dir"])
            .arg(&place)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the server answers", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self { port, place, child })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.place);
    }
}
