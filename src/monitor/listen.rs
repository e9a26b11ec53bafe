//! Takes questions over a Unix socket in the directory of the site, which only its user may enter.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{answer::answer, name};
use crate::{
    engine::engine,
    runtime::{figures::figures, fork},
};

/// The most bytes of a question.
const MOST: u64 = 256 * 1024;

/// The most questions that are answered at the same time; the next ones wait.
const AT_ONCE: usize = 8;

/// The time within which a question must come, and its answer be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// The process that listens, as its generation plus one.
static LISTENING: AtomicU32 = AtomicU32::new(0);

/// Listens, if the process has a file of figures and does not listen yet.
pub(super) fn begin() -> io::Result<()> {
    let Some(own) = figures() else {
        return Ok(());
    };
    let Some(directory) = own.directory() else {
        return Ok(());
    };
    let mine = fork::generation() + 1;
    if LISTENING.swap(mine, Ordering::AcqRel) == mine {
        return Ok(());
    }
    let engine = engine()?;
    let path = directory.join(format!("{}.socket", name(own.number())));
    let _ = fs::remove_file(&path);
    let _context = engine.handle().enter();
    let listener =
        UnixListener::bind(&path).inspect_err(|_| LISTENING.store(0, Ordering::Release))?;
    engine.handle().spawn(accept(listener));
    Ok(())
}

async fn accept(listener: UnixListener) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    let _ = timeout(PATIENCE, converse(stream)).await;
                    drop(place);
                });
            }
            // The process may be out of descriptors.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Reads a question up to the end of the stream, and writes the answer.
async fn converse(mut stream: UnixStream) -> io::Result<()> {
    let mut question = Vec::new();
    (&mut stream).take(MOST).read_to_end(&mut question).await?;
    let answer = answer(&question).await.to_string();
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
