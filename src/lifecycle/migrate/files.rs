//! The files of a directory of migrations: read and checked as a whole before any place is touched.

use std::fmt;
use std::path::{Path, PathBuf};

use pg_query::NodeEnum;
use sha2::{Digest as _, Sha256};

use crate::base::hex;
use crate::lifecycle::error::LifecycleError;
use crate::sql::StatementLimits;
use crate::sql::parse::{Statement, parse};

/// The first line of a file that is not run in a transaction.
const NO_TRANSACTION: &str = "-- pgwarden: no-transaction";
/// One file, and all together: they stay in memory.
const MAX_FILE: u64 = 16 << 20;
const MAX_FILES: u64 = 128 << 20;
/// Numbers of fewer digits count up; longer ones are dates.
const DATE_DIGITS: u64 = 10_000_000;
/// libpg_query's own grammar, whatever the server's.
const GRAMMAR: u32 = 180_000;

/// What orders migrations: `V1_2__x.sql` is 1.2, `0007_x.sql` is 7.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(Vec<u64>);

impl Version {
    /// Of its text; `0007` and `7` are the same, and so are `1.0` and `1`.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Option<Vec<u64>> = text
            .split(['.', '_'])
            .map(|part| part.parse().ok().filter(|_| part.bytes().all(|it| it.is_ascii_digit()) && part.len() <= 18))
            .collect();
        let mut parts = parts?;
        while parts.len() > 1 && parts.last() == Some(&0) {
            parts.pop();
        }
        Some(Self(parts))
    }

    /// A number that counts up.
    fn count(&self) -> Option<u64> {
        match self.0.as_slice() {
            [number] if *number < DATE_DIGITS => Some(*number),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{part}")?;
        }
        Ok(())
    }
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Migration {
    pub version: Version,
    /// The file's name.
    pub file: String,
    /// SHA-256 of the text, whatever its line ends.
    pub checksum: String,
    pub text: String,
    /// Statements that are run one by one, each for itself. `None`: all of it in one transaction.
    pub statements: Option<Vec<String>>,
}

impl Migration {
    /// SHA-256 of the first statements.
    pub fn checksum_of(&self, count: usize) -> String {
        let mut digest = Sha256::new();
        for statement in self.statements.iter().flatten().take(count) {
            digest.update(statement.as_bytes());
            digest.update([0]);
        }
        hex(digest.finalize().as_slice())
    }
}

fn refused(file: &str, message: impl fmt::Display, hint: &str) -> LifecycleError {
    LifecycleError::refused(format!("{file}: {message}"), hint)
}

/// Reads a directory: in the order of their versions.
pub(super) fn read(directory: &Path, gaps: bool) -> Result<Vec<Migration>, LifecycleError> {
    let mut found = names(directory)?;
    found.sort_by(|one, other| one.0.cmp(&other.0).then_with(|| one.1.cmp(&other.1)));
    refuse_doubles(&found)?;
    if !gaps {
        refuse_gaps(&found)?;
    }
    if found.is_empty() {
        return Err(LifecycleError::refused(
            format!("there are no migrations in {}", directory.display()),
            "they are called V1__name.sql, 0001_name.sql or 20260101120000_name.sql",
        ));
    }
    let mut total = 0;
    let mut migrations = Vec::new();
    for (version, file) in found {
        let path = directory.join(&file);
        let size = std::fs::metadata(&path).map_err(LifecycleError::file(&path))?.len();
        total += size;
        if size > MAX_FILE || total > MAX_FILES {
            let what =
                format!("the files are larger than {} MiB each, or {} MiB together", MAX_FILE >> 20, MAX_FILES >> 20);
            return Err(refused(&file, what, "load rows by COPY from a command: pgwarden migrate -- psql -f ..."));
        }
        migrations.push(one(version, file, &path)?);
    }
    Ok(migrations)
}

/// Versions and names of the files.
fn names(directory: &Path) -> Result<Vec<(Version, String)>, LifecycleError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(LifecycleError::file(directory))? {
        let entry = entry.map_err(LifecycleError::file(directory))?;
        let name = PathBuf::from(entry.file_name());
        let Some(name) = name.to_str().filter(|name| name.to_ascii_lowercase().ends_with(".sql")) else { continue };
        // Ways back stand beside ways forward in some projects; they are not run here.
        if name.ends_with(".down.sql") {
            continue;
        }
        match version_of(name) {
            Some(version) => found.push((version, name.to_owned())),
            None => {
                return Err(refused(
                    name,
                    "the name has no version, so that nobody could say when it is to be run",
                    "call it V1__name.sql, 0001_name.sql or 20260101120000_name.sql, or move it elsewhere",
                ));
            }
        }
    }
    Ok(found)
}

/// `V1_2__name.sql`, `0001_name.sql`, `20260101120000-name.up.sql`
fn version_of(file: &str) -> Option<Version> {
    let stem = file.get(..file.len().checked_sub(4)?)?;
    let (version, name) = match stem.strip_prefix(['V', 'v']) {
        Some(rest) => rest.split_once("__")?,
        None => stem.split_once(['_', '-']).filter(|(version, _)| !version.contains('.'))?,
    };
    Version::parse(version).filter(|_| !name.is_empty())
}

fn refuse_doubles(found: &[(Version, String)]) -> Result<(), LifecycleError> {
    for pair in found.windows(2) {
        if let [(one, first), (other, second)] = pair
            && one == other
        {
            return Err(LifecycleError::refused(
                format!("{first} and {second} are both version {one}"),
                "give one of them another number: which is to be run first?",
            ));
        }
    }
    Ok(())
}

/// Where versions count up, a missing number is a file that somebody forgot.
fn refuse_gaps(found: &[(Version, String)]) -> Result<(), LifecycleError> {
    let Some(counts) = found.iter().map(|(version, _)| version.count()).collect::<Option<Vec<_>>>() else {
        return Ok(());
    };
    for (pair, files) in counts.windows(2).zip(found.windows(2)) {
        if let ([one, other], [(_, first), (_, second)]) = (pair, files)
            && one + 1 != *other
        {
            return Err(LifecycleError::refused(
                format!("between {first} and {second} version {} is missing", one + 1),
                "add the file, or say --gaps if there is none",
            ));
        }
    }
    Ok(())
}

/// Reads a file, and what it is made of.
fn one(version: Version, file: String, path: &Path) -> Result<Migration, LifecycleError> {
    let bytes = std::fs::read(path).map_err(LifecycleError::file(path))?;
    let text = String::from_utf8(bytes).map_err(|_| refused(&file, "it is no UTF-8", "save it as UTF-8"))?;
    // As psql does.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
    let in_transaction = text.lines().next().map(str::trim_end) != Some(NO_TRANSACTION);
    let limits = StatementLimits { max_bytes: usize::MAX, max_tokens: usize::MAX, ..StatementLimits::default() };
    let parsed = parse(&text, &limits, GRAMMAR).map_err(|refusal| {
        let line = refusal.error.position.map(|at| line_at(&text, at)).map(|line| format!("line {line}: "));
        let what = format!("{}{}", line.unwrap_or_default(), refusal.error.message);
        refused(&file, what, "psql's own commands (\\i, \\copy) are for psql: pgwarden migrate -- psql -f ...")
    })?;
    let mut rest = 0;
    for statement in &parsed {
        let at = text.get(rest..).and_then(|text| text.find(statement.text)).map_or(rest, |at| rest + at);
        rest = at + statement.text.len();
        let blank = statement.text.len() - statement.text.trim_start().len();
        let line = text.get(..at + blank).map_or(1, |before| before.matches('\n').count() + 1);
        refuse_statement(&file, line, statement)?;
    }
    let statements =
        (!in_transaction).then(|| parsed.iter().map(|statement| statement.text.trim().to_owned()).collect());
    let checksum = hex(Sha256::digest(text.as_bytes()).as_slice());
    Ok(Migration { version, file, checksum, text, statements })
}

/// The line in which a character stands, as Postgres counts these.
pub(super) fn line_at(text: &str, position: u32) -> usize {
    let before = usize::try_from(position).unwrap_or_default().saturating_sub(1);
    text.chars().take(before).filter(|it| *it == '\n').count() + 1
}

fn refuse_statement(file: &str, line: usize, statement: &Statement<'_>) -> Result<(), LifecycleError> {
    let (what, hint) = match statement.tree.node.as_ref() {
        Some(NodeEnum::TransactionStmt(_)) => (
            "a statement that begins or ends a transaction",
            "each file is one transaction already; one without begins with the line -- pgwarden: no-transaction",
        ),
        Some(NodeEnum::CopyStmt(copy)) if copy.filename.is_empty() => (
            "COPY with the client, which sends no rows here",
            "write INSERT, or run it by psql: pgwarden migrate -- psql -f ...",
        ),
        _ => return Ok(()),
    };
    Err(refused(file, format!("line {line}: {what}"), hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn names_of(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let directory = directory(files);
        let read = read(directory.path(), false).map_err(|error| error.to_string())?;
        Ok(read.into_iter().map(|it| format!("{} {}", it.version, it.file)).collect())
    }

    #[test]
    fn files_come_in_the_order_of_their_numbers() {
        let flyway = [("V10__c.sql", ""), ("V9__b.sql", "SELECT 1"), ("V8__a.sql", ""), ("README.md", "")];
        assert_eq!(names_of(&flyway).unwrap(), ["8 V8__a.sql", "9 V9__b.sql", "10 V10__c.sql"]);
        let dotted = [("V1_10__b.sql", ""), ("V1.9__a.sql", ""), ("V2__c.sql", "")];
        assert_eq!(names_of(&dotted).unwrap(), ["1.9 V1.9__a.sql", "1.10 V1_10__b.sql", "2 V2__c.sql"]);
        let dates = [("20260201120000_b.up.sql", ""), ("20260101120000_a.sql", ""), ("20260201120000_b.down.sql", "")];
        assert_eq!(
            names_of(&dates).unwrap(),
            ["20260101120000 20260101120000_a.sql", "20260201120000 20260201120000_b.up.sql"]
        );
        assert_eq!(names_of(&[("0001_a.sql", ""), ("002-b.sql", "")]).unwrap(), ["1 0001_a.sql", "2 002-b.sql"]);
    }

    #[test]
    fn what_cannot_be_in_order_is_refused() {
        let error = |files: &[(&str, &str)]| names_of(files).unwrap_err();
        assert!(error(&[("V1__a.sql", ""), ("0001_b.sql", "")]).contains("are both version 1"));
        assert!(error(&[("V1__a.sql", ""), ("V1.0__b.sql", "")]).contains("are both version 1"));
        assert!(error(&[("V1__a.sql", ""), ("V3__b.sql", "")]).contains("version 2 is missing"));
        for name in ["x.sql", "R__views.sql", "V__x.sql", "V1_x.sql", "1_.sql", "1.sql", "-1_x.sql", "Vx__y.SQL"] {
            assert!(error(&[("V1__a.sql", ""), (name, "")]).contains("no version"), "{name}");
        }
        assert!(error(&[]).contains("no migrations"));
        assert!(read(Path::new("/nonesuch"), false).is_err());
        let gap = directory(&[("V1__a.sql", ""), ("V3__b.sql", "")]);
        assert_eq!(read(gap.path(), true).unwrap().len(), 2);
    }

    #[test]
    fn what_is_in_them_is_read_before() {
        let error = |text: &str| names_of(&[("V1__a.sql", text)]).unwrap_err();
        assert_eq!(error("SELECT 1;\nSELEC 2"), "V1__a.sql: line 2: syntax error at or near \"SELEC\"");
        assert!(error("SELECT 1;\n\nCOMMIT;").contains("line 3: a statement that begins or ends a transaction"));
        assert!(error("BEGIN; SELECT 1").contains("line 1: a statement"));
        assert!(error("SELECT 1;\nCOPY t FROM stdin;").contains("line 2: COPY with the client"));
        assert!(error("\\i other.sql").contains("line 1: syntax error"));
        // In a body it is no statement of the file.
        names_of(&[("V1__a.sql", "DO $$ BEGIN COMMIT; END $$; COPY t FROM '/x'")]).unwrap();
        let bytes = directory(&[]);
        std::fs::write(bytes.path().join("V1__a.sql"), [0xff]).unwrap();
        assert!(read(bytes.path(), false).unwrap_err().to_string().contains("no UTF-8"));
    }

    #[test]
    fn a_file_without_a_transaction_is_split() {
        let text = "-- pgwarden: no-transaction\nCREATE INDEX CONCURRENTLY a ON t (x);\nVACUUM t;\n";
        let files = directory(&[("V1__a.sql", text), ("V2__b.sql", &format!("\n{text}"))]);
        let read = read(files.path(), false).unwrap();
        let statements = read[0].statements.as_deref().unwrap();
        assert!(statements.len() == 2 && statements[1] == "VACUUM t", "{statements:?}");
        assert!(read[1].statements.is_none(), "not the first line");
        assert_ne!(read[0].checksum_of(1), read[0].checksum_of(2));
    }
}
