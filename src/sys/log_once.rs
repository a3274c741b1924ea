//! Decides when a lasting problem is logged: when it begins, when its text changes, and when it is
//! over.
//!
//! Guarantees: pure; a problem that stays the same is reported once, however often it is set again.
//!
//! Out of scope: writing to the log. The caller logs a line when a method returns true.

/// The current problem, if any, as it was last logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOnce {
    problem: Option<String>,
}

impl LogOnce {
    /// Starts without a problem.
    pub const fn new() -> LogOnce {
        LogOnce { problem: None }
    }

    /// Returns the current problem.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Records a problem. Returns whether it is new and should be logged.
    pub fn set(&mut self, problem: &str) -> bool {
        let is_new = self.problem() != Some(problem);
        if is_new {
            self.problem = Some(problem.to_string());
        }
        is_new
    }

    /// Records that the problem is over. Returns whether there was one, so that its end should be
    /// logged.
    pub fn clear(&mut self) -> bool {
        self.problem.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_the_problem_is_reported_once() {
        let mut log = LogOnce::new();
        assert!(!log.clear(), "there was no problem");
        assert!(log.set("no space left"));
        assert!(!log.set("no space left"));
        assert!(log.set("read-only"), "this is another problem");
        assert_eq!(log.problem(), Some("read-only"));
        assert!(log.clear());
        assert!(!log.clear());
        assert!(log.set("read-only"), "the problem is back");
    }
}
