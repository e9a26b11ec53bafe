//! Removes histories that nobody needs any more: a server has no limit of its own for the time that
//! a stream may be empty.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::{Context, stream::Info};
use futures_util::StreamExt;
use tokio::task::AbortHandle;

/// An empty history is kept for so long: its position is still good, as with any broker.
const SILENCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How often a process looks. Several do no harm.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// Looks again and again, until it is dropped.
pub(super) struct Sweeper(AbortHandle);

impl Sweeper {
    pub(super) fn start(jetstream: Context, prefix: &str) -> Self {
        let stem = stem(prefix);
        let sweeping = async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                sweep(&jetstream, &stem).await;
            }
        };
        Self(tokio::spawn(sweeping).abort_handle())
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the names of all streams under a prefix begin with.
pub(super) fn stem(prefix: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut stem: String = prefix.chars().map(plain).take(100).collect();
    stem.push('-');
    stem
}

/// A failure is made good an hour later.
async fn sweep(jetstream: &Context, stem: &str) {
    let mut streams = jetstream.streams();
    while let Some(Ok(info)) = streams.next().await {
        let of_late = info.created.max(info.state.last_timestamp);
        if is_ours(&info, stem)
            && info.state.messages == 0
            && age(of_late.unix_timestamp_nanos()) >= SILENCE
        {
            let _ = jetstream.delete_stream(&info.config.name).await;
        }
    }
}

fn is_ours(info: &Info, stem: &str) -> bool {
    let hash = info.config.name.strip_prefix(stem);
    hash.is_some_and(|hash| hash.len() == 40 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// How long ago that was, in nanoseconds since 1970.
pub(super) fn age(then: i128) -> Duration {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(u64::try_from(then).unwrap_or(0)))
}
