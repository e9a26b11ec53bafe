//! What one queue holds, as the process counts it.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{fork::generation, process::running, trim};

/// Queues tell what they hold from this size on, and in steps of it.
const STEP: usize = 64 * 1024;

/// A moment for more to go.
const MOMENT: Duration = Duration::from_secs(1);

/// The shortest time between two requests.
const PAUSE: Duration = Duration::from_secs(10);

/// What one queue has told of what it holds, and in which process: a forked child does not know of it.
#[derive(Debug, Default)]
pub(crate) struct Weight(usize, u32);

impl Weight {
    /// The queue has grown to so many bytes.
    pub(crate) fn grown(&mut self, bytes: usize) {
        if bytes >= self.0 + STEP
            && let Some(runtime) = running()
        {
            runtime.held.add(bytes - self.0);
            // Not replaced as a whole: that would drop the old one, and take back what it has told.
            (self.0, self.1) = (bytes, generation());
        }
    }

    /// The queue has come to nothing.
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

/// Gives memory back in a moment, and again for as long as more has gone meanwhile.
async fn give_back() {
    let Some(runtime) = running() else {
        return;
    };
    tokio::time::sleep(MOMENT).await;
    while runtime.held.take() {
        // Not on a thread of the runtime, where connections would wait. Without a thread to be had, memory
        // is short for other reasons.
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
