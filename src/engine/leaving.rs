//! How far the stop of a process has come. See `goodbye` for what the engine does then.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// How far the stop of a process has come.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// One of the `Stage`s.
    stage: AtomicU8,
    /// Whether the task that says goodbye was started.
    pub(super) started: AtomicBool,
    /// Whether all connections of before the end of the spread have been closed.
    pub(super) said: AtomicBool,
}

/// The stages of a stop; a stage never goes back.
#[derive(Clone, Copy)]
pub(super) enum Stage {
    /// `Engine::leave` was called.
    Leaving = 1,
    /// `Engine::refuse` was called.
    Refusing = 2,
}

impl Leaving {
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    pub(super) fn has_entered(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Acquire) >= stage as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stage_holds() {
        let leaving = Leaving::default();
        assert!(!leaving.has_entered(Stage::Leaving));
        leaving.enter(Stage::Refusing);
        leaving.enter(Stage::Leaving);
        assert!(leaving.has_entered(Stage::Leaving) && leaving.has_entered(Stage::Refusing));
    }
}
