//! A lower room never imports a higher one; `docs/architecture.md` has their order.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::root;

/// The rooms from the lowest to the highest.
fn order() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let line = Regex::new(r"(?m)^\d+\. `([a-z_]+)` - ").unwrap();
    line.captures_iter(&page).map(|it| it[1].to_owned()).collect()
}

/// Production code below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match name {
            "tests" | "tests.rs" | "fixture.rs" => {}
            _ if path.is_dir() => sources(&path, found),
            _ if name.ends_with(".rs") => found.push(path),
            _ => {}
        }
    }
}

#[test]
fn every_folder_is_a_room() {
    let mut folders: Vec<String> = Vec::new();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match name.as_str() {
            "main" | "lib" => {}
            _ => folders.push(name),
        }
    }
    let mut order = order();
    order.sort();
    folders.sort();
    assert_eq!(folders, order);
}

#[test]
fn no_room_imports_a_higher_one() {
    let (order, import) = (order(), Regex::new(r"\bcrate::(\{|[a-z_]+)").unwrap());
    let mut upward = Vec::new();
    for (at, room) in order.iter().enumerate() {
        let mut files = Vec::new();
        sources(&root().join("src").join(room), &mut files);
        assert!(!files.is_empty(), "{room} is empty");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            // Unit tests stand at the end of a file, and may use a cluster.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for (n, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                for found in import.captures_iter(line) {
                    let target = order.iter().position(|it| *it == found[1]);
                    if target.is_none_or(|target| target > at) {
                        upward.push(format!("{}:{}: {}", file.display(), n + 1, line.trim()));
                    }
                }
            }
        }
    }
    assert!(upward.is_empty(), "upward imports, or of no room:\n{}", upward.join("\n"));
}

/// The longest that a file may be.
const LONGEST: usize = 400;

/// Those that are longer still: each is one subject, and to be made shorter when it is worked on.
const LONG: [&str; 14] = [
    "src/catalog/load/queries.rs",
    "src/catalog/model.rs",
    "src/config/load/tenancy.rs",
    "src/guard/plan.rs",
    "src/guard/rewrite/from/mod.rs",
    "src/guard/rewrite/insert.rs",
    "src/guard/rewrite/plain/mod.rs",
    "src/guard/rewrite/select.rs",
    "src/session/registry.rs",
    "src/sql/parse/mod.rs",
    "src/tenant/identify/mod.rs",
    "src/wire/startup.rs",
    "tests/identity/query.rs",
    "tests/tenants/elsewhere.rs",
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn files_are_short() {
    let mut files = Vec::new();
    ["src", "tests", "benches"].iter().for_each(|folder| rust_files(&root().join(folder), &mut files));
    let is_long = |file: &&PathBuf| fs::read_to_string(file).unwrap().lines().count() > LONGEST;
    let name = |file: &PathBuf| file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let mut long: Vec<_> = files.iter().filter(is_long).map(name).collect();
    long.sort();
    assert_eq!(
        long, LONG,
        "a file of more than {LONGEST} lines is split by subject; one that is shorter now is no exception"
    );
}
