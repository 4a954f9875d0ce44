//! Questions on a terminal.

use std::io::{self, BufRead as _, Write as _};

use crate::checks::init::Question;

/// Whether somebody is there, and the answers.
pub(super) struct Questions {
    asks: bool,
}

impl Questions {
    pub fn new(asks: bool) -> Self {
        Self { asks }
    }

    /// Yes, no, or nothing for "leave it marked". The end of the input leaves all that follows marked.
    pub fn ask(&mut self, question: &Question<'_>) -> Option<bool> {
        if !self.asks {
            return None;
        }
        let rule = super::write::spoken(question.rule);
        eprint!("{}: {}.\n  {rule}? [y/n, Enter: decide later] ", question.name, question.why);
        let mut line = String::new();
        let read = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut line));
        if !matches!(read, Ok(1..)) {
            self.asks = false;
        }
        answer(&line)
    }
}

fn answer(line: &str) -> Option<bool> {
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn answers() {
        assert_eq!(
            [" Y\n", "yes", "n", "No\r\n", "", "\n", "perhaps"].map(answer),
            [Some(true), Some(true), Some(false), Some(false), None, None, None]
        );
    }
}
