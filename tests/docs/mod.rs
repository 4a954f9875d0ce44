//! What the documentation says is so.

mod examples;
mod links;
mod rooms;

use std::fs;
use std::path::PathBuf;

use regex::Regex;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every page below docs/, by its path from the root.
fn docs() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            match path.extension() {
                Some(it) if it == "md" => found.push(path),
                Some(_) => {}
                None => folders.push(path),
            }
        }
    }
    found
}

fn page() -> String {
    fs::read_to_string(root().join("docs/threat-model.md")).unwrap()
}

/// Everything on the page that looks like the path of a test.
fn named(page: &str) -> Vec<String> {
    let path = Regex::new(r"`([a-z_0-9]+(?:::[a-z_0-9]+)+)`").unwrap();
    path.captures_iter(page).map(|it| it[1].to_owned()).collect()
}

/// Families of the corpus, which are tests by a macro.
fn families() -> Vec<String> {
    let corpus = fs::read_dir(root().join("tests/isolation/corpus")).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    corpus.map(|entry| stem(entry.unwrap().path())).collect()
}

/// Whether a file has a test of that name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    lines.iter().enumerate().any(|(at, line)| {
        line.trim_start().starts_with(&format!("fn {name}("))
            && lines[at.saturating_sub(4)..at].iter().any(|before| before.trim() == "#[test]")
    })
}

/// Why there is no such test.
fn missing(test: &str, families: &[String]) -> Option<String> {
    let mut modules: Vec<&str> = test.split("::").collect();
    let name = modules.pop().unwrap();
    if modules == ["isolation"] && families.iter().any(|it| it == name) {
        return None;
    }
    // A module may be a file, a folder, or stand within the file of the one around it.
    let within = modules.split_last().filter(|(last, _)| **last == "tests").map(|(_, around)| around.join("/"));
    let files: Vec<PathBuf> = [Some(modules.join("/")), within]
        .into_iter()
        .flatten()
        .flat_map(|path| ["src", "tests"].map(|under| root().join(under).join(&path)))
        .flat_map(|path| [path.with_extension("rs"), path.join("mod.rs")])
        .filter(|path| path.exists())
        .collect();
    let found = files.iter().any(|path| has_test(&fs::read_to_string(path).unwrap(), name));
    (!found).then(|| format!("{test}: not in {files:?}"))
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let (page, families) = (page(), families());
    let tests = named(&page);
    assert!(tests.len() > 80, "{}", tests.len());
    let gone: Vec<String> = tests.iter().filter_map(|test| missing(test, &families)).collect();
    assert!(gone.is_empty(), "the threat model names tests that are not there:\n{}", gone.join("\n"));
    for nonesuch in ["isolation::nonesuch", "guard::bind::tests::nonesuch", "nonesuch::tests::literals_cannot_be_left"]
    {
        assert!(missing(nonesuch, &families).is_some(), "{nonesuch}");
    }
}

#[test]
fn every_family_of_attacks_stands_in_the_threat_model() {
    let tests = named(&page());
    let absent: Vec<String> =
        families().into_iter().filter(|family| !tests.contains(&format!("isolation::{family}"))).collect();
    assert!(absent.is_empty(), "not in docs/threat-model.md: {absent:?}");
}

#[test]
fn every_vector_has_a_defence_and_a_test() {
    let page = page();
    let vectors = page.split("## Vectors").nth(1).unwrap().split("## Known").next().unwrap();
    let rows: Vec<&str> = vectors.lines().filter(|line| line.starts_with("| ")).collect();
    let rows: Vec<&str> =
        rows.into_iter().filter(|line| !line.starts_with("| ---") && !line.starts_with("| vector")).collect();
    assert!(rows.len() > 25, "{}", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        assert!(!named(cells[2]).is_empty(), "no test holds: {row}");
    }
}
