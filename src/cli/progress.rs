//! How far a long command has come: on standard error, and only while that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// One line, written over as the command goes on, and gone when this is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Says nothing yet.
    pub fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        // A line longer than the terminal would not be written over.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self(bar)
    }

    /// Whether anybody is shown it.
    pub fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// What is done now.
    pub fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// Prints something that stays, beside the line.
    pub fn beside(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }

    /// What is done now, and where it is counted, how much of it is done: as a bar.
    pub fn counted(&self, what: &str, done: Option<(usize, usize)>) {
        let template = match done {
            Some((at, all)) => {
                self.0.set_length(all as u64);
                self.0.set_position(at as u64);
                "{spinner} [{bar:24}] {wide_msg}"
            }
            None => "{spinner} {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        self.0.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
