//! Reports the bytes of one queue to the process.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{fork::generation, process::running, trim};

/// A queue reports its size from this number of bytes on, and in steps of it.
const STEP: usize = 64 * 1024;

/// The delay before memory is given back, in which more queues may empty.
const MOMENT: Duration = Duration::from_secs(1);

/// The shortest time between two calls of `malloc_trim`.
const PAUSE: Duration = Duration::from_secs(10);

/// The bytes that one queue has reported, and the fork generation in which it did: a forked child's
/// [`trim::Held`] does not include them.
#[derive(Debug, Default)]
pub(crate) struct Weight(usize, u32);

impl Weight {
    /// The queue has grown to `bytes`.
    pub(crate) fn grown(&mut self, bytes: usize) {
        if bytes >= self.0 + STEP
            && let Some(runtime) = running()
        {
            runtime.held.add(bytes - self.0);
            // The fields are set one by one: to replace `self` would drop the old value, which withdraws
            // the bytes that it has reported.
            (self.0, self.1) = (bytes, generation());
        }
    }

    /// The queue is empty.
    pub(crate) fn gone(&mut self) {
        if self.0 == 0 {
            return;
        }
        let bytes = std::mem::take(&mut self.0);
        if let Some(runtime) = running()
            && self.1 == generation()
            && runtime.held.remove(bytes)
        {
            runtime.handle().spawn(give_back());
        }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.gone();
    }
}

/// Gives memory back after [`MOMENT`], and again after each [`PAUSE`] in which more was freed.
async fn give_back() {
    let Some(runtime) = running() else {
        return;
    };
    tokio::time::sleep(MOMENT).await;
    while runtime.held.take() {
        // `trim` runs on a thread of its own, because connections wait for the runtime's threads. If the
        // system has no thread left, nothing is given back this time.
        let trimming = std::thread::Builder::new().name("dwebsocket-trim".into());
        let _ = trimming.stack_size(64 * 1024).spawn(trim::trim);
        tokio::time::sleep(PAUSE).await;
    }
    runtime.held.due.store(false, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_tells_what_it_holds_in_steps_and_that_it_has_gone() {
        let runtime = crate::runtime::runtime().unwrap();
        let mut weight = Weight::default();
        weight.grown(STEP - 1);
        assert_eq!(weight.0, 0);
        weight.grown(STEP);
        weight.grown(STEP + 1);
        assert_eq!(weight.0, STEP);
        weight.grown(3 * STEP);
        assert_eq!(weight.0, 3 * STEP);
        assert!(runtime.held.now.load(Relaxed) >= 3 * STEP);
        weight.gone();
        assert_eq!(weight.0, 0);
    }
}
