//! Postgres's own regression tests, read as statements. `scripts/regress-source` says where they come from.

use std::path::{Path, PathBuf};

use regex::Regex;

/// What other files expect to be there.
pub const PREPARATIONS: [&str; 2] = ["test_setup.sql", "create_misc.sql"];

/// One statement of a script.
pub struct Statement {
    pub sql: String,
    /// What COPY FROM STDIN is sent.
    pub data: Vec<u8>,
}

/// The scripts of a source tree of Postgres.
pub fn scripts(tree: &Path) -> Vec<PathBuf> {
    let folder = tree.join("src/test/regress/sql");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "sql"));
    paths.sort();
    paths
}

/// The statements of a psql script, without psql's own commands.
pub fn statements(path: &Path) -> Vec<Statement> {
    let script = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let copy = Regex::new(r"(?i)^\s*copy\b.*\bfrom\s+stdin\b").unwrap();
    let command = Regex::new(r"\s*\\(g\w*|crosstabview|watch|bind)\b.*$").unwrap();
    let mut lines = script.lines();
    let (mut kept, mut data) = (String::new(), Vec::new());
    while let Some(line) = lines.next() {
        if line.starts_with('\\') {
            continue;
        }
        kept.push_str(&command.replace(line, ";"));
        kept.push('\n');
        if copy.is_match(line) && line.trim_end().ends_with(';') {
            let rows = lines.by_ref().take_while(|line| *line != "\\.").map(|line| format!("{line}\n"));
            data.push(rows.collect::<String>().into_bytes());
        }
    }
    let texts: Vec<String> = match pg_query::split_with_scanner(&kept) {
        Ok(statements) => statements.into_iter().map(|it| bare(it).to_owned()).collect(),
        // Something in it is no SQL at all.
        Err(_) => kept.split(";\n").map(|it| bare(it).to_owned()).collect(),
    };
    let mut data = data.into_iter();
    let with_data = |sql: String| {
        let data = if copy.is_match(&sql) { data.next().unwrap_or_default() } else { Vec::new() };
        Statement { sql, data }
    };
    texts.into_iter().filter(|sql| !sql.is_empty()).map(with_data).collect()
}

/// Without the comments before it.
fn bare(statement: &str) -> &str {
    let statement = statement.trim();
    let comment = statement.strip_prefix("--").map(|it| it.split_once('\n'));
    match comment.or_else(|| statement.strip_prefix("/*").map(|it| it.split_once("*/"))) {
        None => statement,
        Some(rest) => rest.map_or("", |(_, rest)| bare(rest)),
    }
}
