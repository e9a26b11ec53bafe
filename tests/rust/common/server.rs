//! Real brokers that the tests start: `REDIS_SERVER` and `NATS_SERVER` are the paths of the programs.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

pub const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Redis,
    Nats,
}

impl Kind {
    fn variable(self) -> &'static str {
        match self {
            Self::Redis => "REDIS_SERVER",
            Self::Nats => "NATS_SERVER",
        }
    }

    pub fn url(self, port: u16) -> String {
        match self {
            Self::Redis => format!("redis://127.0.0.1:{port}/"),
            Self::Nats => format!("nats://127.0.0.1:{port}"),
        }
    }
}

/// A server with a data directory of its own. It keeps every message that it has confirmed.
pub struct Server {
    pub kind: Kind,
    program: String,
    pub port: u16,
    pub place: PathBuf,
    /// Replaces the usual configuration: the text of NATS's file, or arguments of Redis.
    pub configuration: Option<String>,
    child: Option<Child>,
}

/// A port below the range from which the system takes the ports of clients. A client could take a port of
/// that range while the server is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    (0..12_000)
        .map(|_| {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            20_000 + ((std::process::id() * 31 + n) % 12_000) as u16
        })
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

impl Server {
    /// `None` if the program is missing; in CI, that is an error.
    pub fn start(kind: Kind) -> Option<Self> {
        let mut server = Self::prepare(kind)?;
        server.up();
        Some(server)
    }

    /// A Redis that keeps its data in memory.
    pub fn in_memory() -> Option<Self> {
        let mut server = Self::prepare(Kind::Redis)?;
        server.configuration = Some("--appendonly no".into());
        server.up();
        Some(server)
    }

    /// A server that is not running yet.
    pub fn prepare(kind: Kind) -> Option<Self> {
        let variable = kind.variable();
        let Ok(program) = std::env::var(variable) else {
            assert!(std::env::var_os("CI").is_none(), "{variable} is not set");
            println!("skipped: {variable} is not set");
            return None;
        };
        let port = free_port();
        let place = format!("dwebsocket-{}-{port}", std::process::id());
        let place = std::env::temp_dir().join(place);
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        Some(Self {
            kind,
            program,
            port,
            place,
            configuration: None,
            child: None,
        })
    }

    fn arguments(&self) -> Vec<String> {
        let place = self.place.to_str().unwrap();
        let words = match self.kind {
            Kind::Redis => {
                let usual = "--appendonly yes --appendfsync always";
                let rest = self.configuration.as_deref().unwrap_or(usual);
                format!(
                    "--port {} --bind 127.0.0.1 --save  {rest} --dir {place}",
                    self.port
                )
            }
            Kind::Nats => {
                let usual =
                    format!("jetstream {{ store_dir: \"{place}/data\", sync_interval: always }}");
                let rest = self.configuration.as_ref().unwrap_or(&usual);
                let text = format!("listen: \"127.0.0.1:{}\"\n{rest}\n", self.port);
                let file = self.place.join("nats.conf");
                fs::write(&file, text).unwrap();
                format!("-c {}", file.display())
            }
        };
        words.split(' ').map(String::from).collect()
    }

    pub fn up(&mut self) {
        let program = Command::new(&self.program)
            .args(self.arguments())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(program);
        self.wait();
    }

    /// Starts a server that is never dropped, so that it ends with this process.
    pub fn up_until_the_end(&mut self) {
        let shell = Command::new("sh")
            .args([
                "-c",
                "place=$1; shift; \"$@\" & read _; kill -9 $!; rm -r $place",
                "sh",
            ])
            .args([self.place.as_os_str(), self.program.as_ref()])
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The shell reads from a pipe. The leaked value keeps the pipe open until this process ends.
        std::mem::forget(shell);
        self.wait();
    }

    fn wait(&self) {
        let until = Instant::now() + LIMIT;
        while !self.answers() {
            assert!(Instant::now() < until, "the server does not start");
            thread::yield_now();
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut client) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        client.set_read_timeout(Some(LIMIT)).unwrap();
        let _ = client.write_all(b"PING\r\n");
        // NATS sends INFO first. Redis answers with an error while it is loading.
        let mut word = [0; 5];
        client.read_exact(&mut word).is_ok() && matches!(&word, b"+PONG" | b"INFO ")
    }

    /// Kills the server.
    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn lose_everything(&self) {
        fs::remove_dir_all(&self.place).unwrap();
        fs::create_dir_all(&self.place).unwrap();
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(status.success());
    }

    pub fn url(&self) -> String {
        self.kind.url(self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
        let _ = fs::remove_dir_all(&self.place);
    }
}
