use std::path::Path;
use std::time::Instant;

use super::*;
use crate::config::{Config, Share, Tenant, parse};

const CONFIG: &str = r#"
[listen]
address = "127.0.0.1:6432"
[upstream.main]
url = "postgres://app@127.0.0.1:5432/app"
[upstream.eu]
url = "postgres://app@127.0.0.1:5433/app"
[tenancy]
upstream = "main"
column = "tenant_id"
[tenants_from]
query = "SELECT name FROM tenants"
[[login]]
name = "app"
password = "SCRAM-SHA-256$4096:cGd3YXJkZW4tZGVtby0xNg==$vvfduhBriwiTJaThiOvr4ohOZftwjs6wwj4ZL/1Tmug=:DIeG2Uu8SZoxAUfu2UncYBm2r+109uREXmnOkZW3Mro="
tenants = ["acme", "comes-from-the-table"]
[[tenant]]
name = "acme"
key = 1
[[tenant]]
name = "lone"
layout = "database"
upstream = { url = "postgres://app@127.0.0.1:5432/lone" }
"#;

fn config() -> Config {
    parse(CONFIG, Path::new("test.toml"), &|_| None).map_err(|found| found.errors).unwrap().config
}

/// A row from `column=value` words.
fn row(text: &str) -> Row {
    let pairs: Vec<_> = text.split(' ').map(|pair| pair.split_once('=').unwrap()).collect();
    let shape = Shape::new(pairs.iter().map(|(column, _)| *column)).unwrap();
    shape.row(|i| Some(pairs[i].1))
}

/// Names of the tenants that come of rows, and why the others do not.
fn outcome(rows: &[&str]) -> (Vec<String>, Vec<String>) {
    let rows: Vec<_> = rows.iter().map(|text| row(text)).collect();
    let merged = merge(&config(), &rows);
    let names = merged.tenants.iter().skip(2).map(|tenant| tenant.name.to_string()).collect();
    (names, merged.rejected.into_iter().map(|it| format!("{}: {}", it.name, it.why)).collect())
}

#[test]
fn good_rows_become_tenants() {
    let (names, rejected) = outcome(&[
        "name=a key=7",
        "name=b key=8 suspended=t layout=shared upstream=eu",
        "name=c layout=schema schema=c role=c_role",
        "name=d layout=database database=tenant_d",
        "name=e layout=database url=postgres://u:p@127.0.0.1:6000/e",
        r#"name=f key=9 keys={"uuid":"6f1c0f5e-93a4-4f0e-9f0a-0d8a3f5b7c11","n":5}"#,
    ]);
    assert_eq!(rejected, Vec::<String>::new());
    assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn the_database_that_holds_the_table_is_no_tenants() {
    let text = CONFIG.replace("[tenants_from]", "[upstream.registry]\nurl = \"postgres://app@127.0.0.1:5432/registry\"\n[tenants_from]\nupstream = \"registry\"");
    let config = parse(&text, Path::new("test.toml"), &|_| None).unwrap().config;
    let rows = [
        row("name=a layout=database database=registry"),
        row("name=b layout=database url=postgres://u@127.0.0.1:5432/registry"),
        row("name=c layout=schema schema=c upstream=registry"),
    ];
    let merged = merge(&config, &rows);
    let why: Vec<_> = merged.rejected.iter().map(|it| it.why.as_str()).collect();
    assert_eq!(why, ["its database is the one that holds the table of tenants"; 2]);
    assert_eq!(merged.tenants.last().unwrap().name.as_str(), "c");
}

#[test]
fn rows_say_what_tenants_may_take() {
    let text = CONFIG
        .replace("[tenants_from]", "[limits]\nconnections = 9\n[quota]\nstatements = { hard = 70 }\n[tenants_from]");
    let config = parse(&text, Path::new("test.toml"), &|_| None).unwrap().config;
    let rows = [
        row(r#"name=a key=7 weight=3 pool={"min":2,"max":5} allow_from=["10.0.0.0/8"]"#),
        row(
            r#"name=b key=8 limits={"result_rows":5,"statement_timeout":"2s","burst":null} quota={"statements":{"hard":5}}"#,
        ),
        row("name=c key=9 allow_from=192.168.1.1 limits=null"),
        row("name=d key=10"),
    ];
    let merged = merge(&config, &rows);
    assert_eq!(merged.rejected, []);
    let [a, b, c, d] = &merged.tenants[2..] else { panic!("{:?}", merged.tenants) };
    assert_eq!((a.share.weight, a.share.min, a.share.max), (3, 2, Some(5)));
    let from = |tenant: &Tenant, address: &str| {
        tenant.allow_from.as_ref().is_none_or(|it| it.contains(address.parse().unwrap()))
    };
    assert!(from(a, "10.1.2.3") && !from(a, "11.0.0.1") && from(c, "192.168.1.1") && !from(c, "192.168.1.2"));
    // What a row does not say is as for all tenants.
    assert_eq!((b.limits.connections, b.limits.result_rows), (Some(9), Some(5)));
    assert_eq!(b.limits.statement_timeout, Some(std::time::Duration::from_secs(2)));
    assert_eq!(b.quota.as_ref().unwrap().bounds[1].hard, Some(5));
    assert_eq!((d.limits.connections, d.share, &d.quota), (Some(9), Share::default(), &None));
}

#[test]
fn bad_terms_put_a_row_out() {
    for (bad, why) in [
        ("limits={", "is no JSON"),
        ("limits=7", "must be a table"),
        (r#"limits={"conections":5}"#, "did you mean \"connections\"?"),
        (r#"limits={"connections":-1}"#, "must be from 0"),
        (r#"limits={"on_limit":"drop"}"#, "cannot be \"drop\""),
        (r#"limits={"statement_timeout":5}"#, "a duration like"),
        ("weight=0", "must be from 1"),
        ("weight=1.5", "a whole number"),
        (r#"pool={"min":3,"max":2}"#, "smaller than"),
        (r#"pool={"min":21}"#, "promised already"),
        (r#"quota={"statements":{"hard":5}}"#, "without a section [quota]"),
        ("allow_from=[]", "nobody could connect"),
        ("allow_from=everywhere", "is no network"),
    ] {
        let (names, rejected) = outcome(&[&format!("name=x key=7 {bad}"), "name=good key=8"]);
        assert_eq!(names, ["good"], "{bad}");
        assert!(rejected.len() == 1 && rejected[0].contains(why), "{bad}: {rejected:?}");
    }
    // What the pool has can be promised once.
    let (names, _) = outcome(&[r#"name=x key=7 pool={"min":15}"#, r#"name=y key=8 pool={"min":15}"#]);
    assert_eq!(names, ["x"]);
}

#[test]
fn a_bad_row_is_out_and_no_other() {
    for bad in [
        "name=a.b key=7",
        "name=pgwarden key=7",
        "name=x",
        "name=x key=",
        "name=x layout=nonesuch key=7",
        "name=x layout=schema",
        "name=x layout=schema schema=pg_catalog",
        "name=x key=7 schema=x",
        "name=x key=7 database=x",
        "name=x layout=database",
        "name=x layout=database database=a url=postgres://u@h/a",
        "name=x layout=database url=mysql://x",
        "name=x key=7 upstream=nonesuch",
        "name=x key=7 suspended=perhaps",
        "name=x key=7 keys=[1]",
        r#"name=x key=7 keys={"a":1.5}"#,
        // The file stands
        "name=acme key=7",
        "name=x key=1",
        "name=x key=01",
        "name=x layout=database database=app",
        "name=x key=7 upstream=main layout=database database=lone",
    ] {
        let (names, rejected) = outcome(&["name=good key=100", bad]);
        assert_eq!((names, rejected.len()), (vec!["good".to_owned()], 1), "{bad}: {rejected:?}");
    }
}

#[test]
fn of_two_that_would_share_a_place_both_are_out() {
    for pair in [
        ["name=x key=7", "name=y key=007"],
        ["name=x key=7", "name=x key=8"],
        ["name=x layout=schema schema=s", "name=y layout=schema schema=s"],
        ["name=x layout=database database=s", "name=y layout=database database=s"],
    ] {
        let (names, rejected) = outcome(&[pair[0], "name=good key=100", pair[1]]);
        assert_eq!((names, rejected.len()), (vec!["good".to_owned()], 2), "{pair:?}: {rejected:?}");
    }
    // On another upstream a key is another's.
    assert_eq!(outcome(&["name=x key=7", "name=y key=7 upstream=eu"]).0.len(), 2);
}

#[test]
fn shapes_are_checked() {
    assert!(matches!(Shape::new(["name", "colour"]), Err(ShapeError::Unknown(_))));
    assert!(matches!(Shape::new(["name", "name"]), Err(ShapeError::Twice("name"))));
    assert!(matches!(Shape::new(["key"]), Err(ShapeError::NoName)));
}

#[test]
fn a_hundred_thousand_rows_take_no_minute() {
    let rows: Vec<_> = (0..100_000).map(|i| row(&format!("name=t{i} key={}", i + 2))).collect();
    let config = config();
    let started = Instant::now();
    let merged = merge(&config, &rows);
    assert_eq!((merged.tenants.len(), merged.rejected.len()), (100_002, 0));
    println!("{:?}", started.elapsed());
}
