//! A problem that is logged when it begins, when it becomes another one, and when it is over.
//!
//! Promises: pure; a problem that stays is reported once, however often it is found again.
//! Leaves out: the log. The caller writes a line where it is told that the situation changed.

/// The problem of now, if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOnce {
    problem: Option<String>,
}

impl LogOnce {
    /// There is no problem.
    pub const fn new() -> LogOnce {
        LogOnce { problem: None }
    }

    /// The problem of now.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// There is this problem. Returns whether it is new, and so worth a line in the log.
    pub fn set(&mut self, problem: &str) -> bool {
        let is_new = self.problem() != Some(problem);
        if is_new {
            self.problem = Some(problem.to_string());
        }
        is_new
    }

    /// There is no problem. Returns whether there was one, and its end is worth a line in the log.
    pub fn clear(&mut self) -> bool {
        self.problem.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_the_situation_is_reported_once() {
        let mut log = LogOnce::new();
        assert!(!log.clear(), "nothing was wrong");
        assert!(log.set("no space left"));
        assert!(!log.set("no space left"));
        assert!(log.set("read-only"), "it is another problem");
        assert_eq!(log.problem(), Some("read-only"));
        assert!(log.clear());
        assert!(!log.clear());
        assert!(log.set("read-only"), "it has come back");
    }
}
