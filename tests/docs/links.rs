//! Links between the pages lead somewhere, and every page can be found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

use super::{docs, root};

/// The pages, by their paths from the root.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(PathBuf::from).into();
    pages.extend(docs());
    pages
}

fn text(page: &Path) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// The lines of a page outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Targets of the links that stay in the repository.
fn links(text: &str) -> Vec<String> {
    let link = Regex::new(r"\]\(([^()\s]+)\)").unwrap();
    let targets = prose(text).flat_map(|line| link.captures_iter(line).map(|it| it[1].to_owned()).collect::<Vec<_>>());
    targets.filter(|target| !target.starts_with("https://")).collect()
}

/// The anchors of a page's headings, as GitHub makes them: of those that are alike, later ones are numbered.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
        let anchor: String = kept.map(|it| if it == ' ' { '-' } else { it }).collect();
        let mut numbered = anchor.clone();
        for number in 1.. {
            if anchors.insert(numbered) {
                break;
            }
            numbered = format!("{anchor}-{number}");
        }
    }
    anchors
}

/// The file that a link on a page leads to, by its path from the root, and the anchor in it.
fn target<'l>(page: &Path, link: &'l str) -> (PathBuf, Option<&'l str>) {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    if path.is_empty() {
        return (page.to_owned(), anchor);
    }
    let mut file = page.parent().unwrap().to_owned();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => assert!(file.pop(), "{link} on {} leaves the repository", page.display()),
            Component::CurDir => {}
            other => file.push(other),
        }
    }
    (file, anchor)
}

/// What is wrong with the links of a page.
fn broken(page: &Path, text: &str) -> Vec<String> {
    let wrong = |link: &String| {
        let (file, anchor) = target(page, link);
        let there = match anchor {
            None => root().join(&file).exists(),
            Some(anchor) => {
                let found = fs::read_to_string(root().join(&file)).unwrap_or_default();
                anchors(if file == page { text } else { &found }).contains(anchor)
            }
        };
        (!there).then(|| format!("{}: {link}", page.display()))
    };
    links(text).iter().filter_map(wrong).collect()
}

#[test]
fn links_lead_somewhere() {
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages() {
        let text = text(&page);
        count += links(&text).len();
        wrong.extend(broken(&page, &text));
    }
    assert!(count > 80, "{count}");
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn broken_links_are_found() {
    let page = Path::new("docs/made-up.md");
    let text = "# A title, *twice*\n## A title, twice\n[a](#a-title-twice) [b](#a-title-twice-1) [c](#a-title-twice-2)\n\
                [d](../README.md#two-commands) [e](../README.md#three-commands) [f](README.md) [g](../src) [h](../nonesuch)\n\
                ```\n# no heading\n[i](nonesuch)\n```\n[j](#no-heading) [k](https://example.com/nonesuch)";
    let found = broken(page, text);
    let links: Vec<&str> = found.iter().map(|it| it.rsplit(' ').next().unwrap()).collect();
    assert_eq!(links, ["#a-title-twice-2", "../README.md#three-commands", "README.md", "../nonesuch", "#no-heading"]);
}

#[test]
fn every_page_can_be_reached_from_the_readme() {
    let mut reached = BTreeSet::new();
    let mut next = vec![PathBuf::from("README.md")];
    while let Some(page) = next.pop() {
        let is_page = page.extension().is_some_and(|it| it == "md") && root().join(&page).exists();
        if is_page && reached.insert(page.clone()) {
            let text = text(&page);
            next.extend(links(&text).iter().map(|link| target(&page, link).0));
        }
    }
    let lost: Vec<PathBuf> = pages().into_iter().filter(|page| !reached.contains(page)).collect();
    assert!(lost.is_empty(), "no link leads from README.md to {lost:?}");
    assert!(docs().len() > 10, "{:?}", docs());
}
