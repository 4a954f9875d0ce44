//! What is wrong with a configuration: everything at once, each with file, line, column, reason and hint.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The configuration file.
    pub file: PathBuf,
    /// Line, from 1; 0 if the file could not be read at all.
    pub line: usize,
    /// Column in characters, from 1; 0 if the file could not be read at all.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

/// Why a configuration was not accepted: all errors, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// At least one.
    pub errors: Vec<Diagnostic>,
    /// What was found on the way and would not have kept it from being accepted.
    pub warnings: Vec<Diagnostic>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Bytes in the configuration's text.
pub(super) type Span = Range<usize>;

/// Collects findings while the configuration is read.
pub(super) struct Findings<'a> {
    file: &'a Path,
    text: &'a str,
    errors: RefCell<Vec<(usize, Diagnostic)>>,
    warnings: RefCell<Vec<(usize, Diagnostic)>>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, errors: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn error(&self, at: &Span, message: impl Into<String>) {
        self.push(&self.errors, at, message.into(), None);
    }

    pub(super) fn error_hint(&self, at: &Span, message: impl Into<String>, hint: impl Into<String>) {
        self.push(&self.errors, at, message.into(), Some(hint.into()));
    }

    pub(super) fn warning(&self, at: &Span, message: impl Into<String>, hint: impl Into<String>) {
        self.push(&self.warnings, at, message.into(), Some(hint.into()));
    }

    fn push(&self, list: &RefCell<Vec<(usize, Diagnostic)>>, at: &Span, message: String, hint: Option<String>) {
        let (line, column) = self.position(at.start);
        let diagnostic = Diagnostic { file: self.file.to_owned(), line, column, message, hint };
        list.borrow_mut().push((at.start, diagnostic));
    }

    /// Line and column, both from 1, the column in characters.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        (line, last_line.chars().count() + 1)
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    /// Errors and warnings, each in the order of the file.
    pub(super) fn finish(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let sorted = |list: RefCell<Vec<(usize, Diagnostic)>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|(offset, _)| *offset);
            list.into_iter().map(|(_, d)| d).collect()
        };
        (sorted(self.errors), sorted(self.warnings))
    }
}

/// `did you mean "x"?`, if one of the known names is close enough.
pub(super) fn did_you_mean<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(given, k), k))
        .filter(|(distance, k)| *distance <= 1 + k.len().min(given.len()) / 4)
        .min()
        .map(|(_, k)| format!("did you mean \"{k}\"?"))
}
