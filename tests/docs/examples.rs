//! Commands and configurations in the documentation are those that there are.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use regex::Regex;

use super::{docs, root};
use crate::support::proxy::program;

const VERIFIER: &str = "SCRAM-SHA-256$4096:cGd3YXJkZW4tZGVtby0xNg==$vvfduhBriwiTJaThiOvr4ohOZftwjs6wwj4ZL/1Tmug=:DIeG2Uu8SZoxAUfu2UncYBm2r+109uREXmnOkZW3Mro=";

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The text of every page.
fn pages() -> String {
    let docs = docs().into_iter().map(|path| fs::read_to_string(root().join(path)).unwrap());
    ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(read).into_iter().chain(docs).collect()
}

fn all(pattern: &str, text: &str) -> BTreeSet<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|it| it[1].to_owned()).collect()
}

/// Blocks of TOML, also those within lists.
fn blocks(text: &str) -> Vec<String> {
    let block = Regex::new(r"(?ms)^( *)```toml\n(.*?)^ *```").unwrap();
    let without_indent = |text: &str, indent: &str| {
        text.lines().map(|line| format!("{}\n", line.strip_prefix(indent).unwrap_or(line))).collect()
    };
    block.captures_iter(text).map(|it| without_indent(&it[2], &it[1])).collect()
}

/// The quick start's configuration is whole: with passwords in it, pgwarden takes it.
#[test]
fn the_quick_start_is_a_configuration() {
    let blocks = blocks(&read("README.md"));
    let [quick_start] = blocks.as_slice() else { panic!("{blocks:?}") };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgwarden.toml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        Command::new(program()).args(["check", "--config"]).arg(&path).env("APP_DB_PASSWORD", "x").output().unwrap()
    };
    let whole = quick_start.replace("SCRAM-SHA-256$4096:...", VERIFIER);
    let output = check(&whole);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!check(&whole.replace("shared_tables", "shared_tabels")).status.success());
}

/// Sections and keys of the examples are those of config/full.toml, which a test keeps complete.
#[test]
fn examples_have_keys_that_there_are() {
    let full = read("config/full.toml");
    let mut count = 0;
    for block in blocks(&pages()) {
        for key in all(r"(?m)(?:^|[{,] )([a-z_]+) = ", &block) {
            count += 1;
            assert!(Regex::new(&format!(r"\b{key} = ")).unwrap().is_match(&full), "{key} is no key:\n{block}");
        }
        for section in all(r"(?m)^(\[.*?\]+)", &block) {
            let known = full.contains(&section) || section.starts_with("[upstream.");
            assert!(known, "{section} is no section:\n{block}");
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn every_section_stands_in_the_page_of_the_configuration() {
    let page = read("docs/configuration.md");
    let sections = all(r"(?m)^(?:# )?(\[\[?[a-z_.]+\]\]?)", &read("config/full.toml"));
    assert!(sections.len() > 15, "{sections:?}");
    let upstream = Regex::new(r"\[upstream\.[a-z]+").unwrap();
    for section in sections {
        let section = upstream.replace(&section, "[upstream.<name>");
        assert!(page.contains(&format!("`{section}`")), "{section}");
    }
}

#[test]
fn commands_are_those_that_there_are() {
    let help = Command::new(program()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = all(r"(?m)^  ([a-z-]+)  ", help.split("Options:").next().unwrap());
    assert!(commands.contains("serve") && commands.contains("help"), "{commands:?}");
    // The one sentence in code that begins like a command.
    let pages = pages().replace("`pgwarden is ready`", "");
    let named = all(r"(?m)(?:`|^ {4,}|run: )pgwarden ([a-z][a-z-]+)", &pages);
    assert!(named.contains("check") && named.len() > 8, "{named:?}");
    assert!(named.is_subset(&commands), "not commands: {:?}", named.difference(&commands));
    let operations = read("docs/operations.md");
    for command in &commands {
        assert!(operations.contains(&format!("`pgwarden {command}")), "{command} is not in docs/operations.md");
    }
}

#[test]
fn targets_of_make_are_those_that_there_are() {
    let targets = all(r"(?m)^([a-z-]+):", &read("Makefile"));
    let named = all(r"(?m)(?:`|^ {4,})make ([a-z-]+)", &pages());
    assert!(named.contains("demo") && named.contains("test"), "{named:?}");
    assert!(named.is_subset(&targets), "no targets: {:?}", named.difference(&targets));
    assert!(read(".ci/run").contains("\nmake test\n"), "the README's command for tests");
}
