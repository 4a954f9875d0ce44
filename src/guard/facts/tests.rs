//! Every entry of the lists is tried on a real server: on columns with extreme and random values, against each other and against
//! operands that pass their trial. No error, no notice, whatever is compared; nor when the planner estimates a condition on what
//! ANALYZE kept. What must not be on the lists shows that these tests can fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::lists::{OPERATORS, OPERATORS_OF_EXTENSIONS};
use super::*;
use crate::guard::rewrite::trial_text;
use crate::test_cluster::Cluster;

/// Values of each type, as literals. `~` in an array stands for a text of 100,000 letters, `#` for a document nested 10,000 deep.
const VALUES: &[(&str, &[&str])] = &[
    (
        "jsonb",
        &[
            "null",
            "true",
            "0",
            "-1e400",
            "\"\"",
            "\"k\"",
            "\"\\u00e9\\ud83d\\ude00\"",
            "[]",
            "{}",
            "[null]",
            "[[]]",
            "{\"k\": \"v\"}",
            "{\"k\": {\"j\": [1, 2.50, \"x\"]}}",
            "{\"\": null, \"a\": [{\"b\": [[1]]}]}",
            "#",
        ],
    ),
    (
        "text",
        &[
            "",
            "a",
            "A%",
            "\\",
            "a\\",
            "\\\\",
            "%",
            "_",
            "e\u{301}",
            "\u{130}\u{df}\u{1f600}\u{fffd}\u{10ffff}",
            "k",
            "v",
            "~",
        ],
    ),
    ("bpchar", &["", "a  ", "\\", "\u{130}\u{df}", "~"]),
    ("varchar", &["", "a", "\\"]),
    ("bool", &["true", "false"]),
    ("\"char\"", &["", "a"]),
    ("int2", &["-32768", "0", "32767"]),
    ("int4", &["-2147483648", "0", "7", "2147483647"]),
    ("int8", &["-9223372036854775808", "0", "9223372036854775807"]),
    ("oid", &["0", "4294967295"]),
    ("float4", &["-3.4e38", "0", "-0", "1e-45", "NaN", "Infinity", "-Infinity"]),
    ("float8", &["-1.79e308", "0", "5e-324", "NaN", "Infinity", "-Infinity"]),
    ("numeric", &["0", "-1e131071", "1e131071", "1e-16383", "NaN"]),
    ("macaddr", &["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"]),
    ("inet", &["0.0.0.0/0", "10.1.2.3/8", "255.255.255.255", "::", "::/0", "ffff:ffff::1/128", "fe80::1/10"]),
    ("date", &["-infinity", "4713-01-01 BC", "2000-01-01", "5874897-12-31", "infinity"]),
    ("time", &["00:00", "24:00"]),
    ("timestamp", &["-infinity", "4713-01-01 00:00 BC", "2000-01-01", "294276-12-31 23:59:59", "infinity"]),
    (
        "timestamptz",
        &["-infinity", "4713-01-02 00:00+00 BC", "2000-01-01 00:00+00", "294276-12-30 00:00+00", "infinity"],
    ),
    ("interval", &["-178000000 years", "0", "178000000 years", "1 mon -30 days"]),
    ("uuid", &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ("point", &["(0,0)", "(1e308,-1e308)", "(NaN,Infinity)", "(-Infinity,1e-308)"]),
    ("box", &["(0,0),(1,1)", "(1e308,1e308),(-1e308,-1e308)", "(NaN,0),(Infinity,-Infinity)"]),
    ("tsvector", &["", "a", "'a':1A,2B 'b':3", "'a':16383 'b':16383", "'\\'\\\\':1"]),
    ("citext", &["", "A", "a", "\u{130}\u{df}\u{1f600}", "\\", "~"]),
    ("hstore", &["", "a=>1", "a=>NULL, \"\"=>\"\"", "k=>v"]),
    ("ltree", &["", "a", "a.b.c", "A_1.b"]),
    ("int4range", &["empty", "(,)", "[-2147483648,2147483647)", "[1,2)"]),
    ("int8range", &["empty", "(,)", "[-9223372036854775808,9223372036854775807)"]),
    (
        "daterange",
        &["empty", "(,)", "[-infinity,infinity]", "[2000-01-01,2001-01-01)", "[4713-01-01 BC,5874897-12-30]"],
    ),
    ("tsrange", &["empty", "(,)", "[-infinity,infinity]", "[4713-01-01 00:00 BC,294276-12-31 23:59:59]"]),
    ("tstzrange", &["empty", "(,)", "[-infinity,infinity]", "[4713-01-02 00:00+00 BC,294276-12-30 00:00+00]"]),
];

/// Operands that pass a trial, and some that do not.
const TRIED: &[(Trial, &[&str], &[&str])] = &[
    (Trial::Pattern, &["", "a%", "%\\\\", "\\%_", "%e%e%e", "\u{130}%"], &["a\\", "%\\\\\\", "\\", "(%e)*3000"]),
    (Trial::Query, &["a", "!a", "a & !b | c:*", "a <-> b", "a <16384> b", "'\\'':*A", "(a & )*400"], &["(a & )*2000"]),
    (Trial::Depth, &["{}", "[]", "null", "{\"k\": \"v\"}", "[[[[1]]]]", "([)*400"], &["([)*600", "([)*7500"]),
];

/// `(a)*n`: `a` n times, closed where it opens.
fn written(value: &str) -> String {
    let Some((part, count)) = value.strip_prefix('(').and_then(|rest| rest.rsplit_once(")*")) else {
        return match value {
            "~" => "e".repeat(100_000),
            "#" => "[".repeat(10_000) + &"]".repeat(10_000),
            _ => value.to_owned(),
        };
    };
    let count: usize = count.parse().unwrap();
    match part {
        "a & " => "a & (".repeat(count) + "a" + &")".repeat(count),
        "[" => "[".repeat(count) + &"]".repeat(count),
        _ => part.repeat(count),
    }
}

fn literal(value: &str) -> String {
    format!("'{}'", written(value).replace('\'', "''"))
}

struct Server {
    client: Client,
    notices: Arc<Mutex<Vec<String>>>,
    /// Types with a table of values.
    types: BTreeMap<String, Vec<String>>,
}

impl Server {
    async fn new(database: &str) -> Self {
        let cluster = Cluster::shared().unwrap();
        cluster.create_database(database, Some("template0")).await.unwrap();
        for extension in ["citext", "pg_trgm", "hstore", "ltree"] {
            cluster.run(database, &format!("CREATE EXTENSION {extension}")).await.unwrap();
        }
        let (client, mut connection) = tokio_postgres::connect(&cluster.url(database), NoTls).await.unwrap();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notices);
        tokio::spawn(async move {
            let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message {
                    heard.lock().push(notice.message().to_owned());
                }
            }
        });
        let mut server = Self { client, notices, types: BTreeMap::new() };
        for (name, values) in VALUES {
            server.values(name, &values.iter().map(|value| literal(value)).collect::<Vec<_>>()).await;
        }
        server
    }

    /// A table of values of a type, in which some are common and most are not.
    async fn values(&mut self, name: &str, literals: &[String]) {
        let table = format!("v{}", self.types.len());
        let rows: Vec<String> = literals.iter().map(|it| format!("({it}::{name})")).collect();
        let sql = format!(
            "CREATE TABLE {table} (v {name}); INSERT INTO {table} VALUES {rows};
             INSERT INTO {table} SELECT v FROM {table}; INSERT INTO {table} VALUES (NULL); ANALYZE {table}",
            rows = rows.join(", ")
        );
        self.client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        self.types.insert(name.to_owned(), vec![table]);
    }

    fn table(&self, name: &str) -> &str {
        &self.types.get(name).unwrap_or_else(|| panic!("no values of {name}"))[0]
    }

    /// What a statement tells: its error, or a notice.
    async fn tells(&self, sql: &str) -> Option<String> {
        self.notices.lock().clear();
        let error = self.client.batch_execute(sql).await.err().map(|error| format!("{error:?}"));
        error.or_else(|| self.notices.lock().first().cloned())
    }

    async fn name(&self, oid: Oid) -> String {
        let name: String = self.client.query_one("SELECT format_type($1, NULL)", &[&oid]).await.unwrap().get(0);
        match name.as_str() {
            "character" | "bpchar" => "bpchar".to_owned(),
            _ => {
                self.client.query_one("SELECT typname FROM pg_type WHERE oid = $1", &[&oid]).await.map_or(name, |row| {
                    let name: String = row.get(0);
                    if name == "char" { "\"char\"".to_owned() } else { name }
                })
            }
        }
    }

    /// All of one column against all of another, and against each single value, as the planner estimates it.
    async fn everything(&self, name: &str, left: &str, right: &str) -> Vec<String> {
        let (l, r) = (self.table(left), self.table(right));
        let mut told = Vec::new();
        let all = format!("SELECT count(a.v OPERATOR({name}) b.v) FROM {l} a, {r} b");
        told.extend(self.tells(&all).await.map(|it| format!("{all}: {it}")));
        let joined = format!("EXPLAIN SELECT FROM {l} a, {r} b WHERE a.v OPERATOR({name}) b.v");
        // `->` gives no condition
        let is_condition = !gives_value(name.rsplit('.').next().unwrap());
        if is_condition {
            told.extend(self.tells(&joined).await.map(|it| format!("{joined}: {it}")));
            for (column, other, form) in [(l, r, "v OPERATOR({}) {v}"), (r, l, "{v} OPERATOR({}) v")] {
                let each = format!("SELECT DISTINCT quote_literal(v::text) FROM {other} WHERE v IS NOT NULL");
                for row in self.client.query(&each, &[]).await.unwrap() {
                    let value: String = row.get(0);
                    let kind = if column == l { right } else { left };
                    let condition = form.replace("{}", name).replace("{v}", &format!("{value}::{kind}"));
                    let sql = format!("EXPLAIN SELECT FROM {column} WHERE {condition}");
                    told.extend(self.tells(&sql).await.map(|it| format!("{sql:.200}: {it}")));
                }
            }
        }
        told
    }

    /// A column against operands that pass their trial; of those that do not, the trial tells by itself.
    async fn tried(&self, name: &str, column: &str, operand: &str, kind: Trial, flipped: bool) -> Vec<String> {
        let (_, good, bad) = TRIED.iter().find(|it| it.0 == kind).unwrap();
        let table = self.table(column);
        let mut told = Vec::new();
        for value in *good {
            let value = format!("{}::{operand}", literal(value));
            let condition =
                if flipped { format!("{value} OPERATOR({name}) v") } else { format!("v OPERATOR({name}) {value}") };
            for sql in [
                format!("SELECT {}", trial_text(kind, &value)),
                format!("SELECT count({condition}) FROM {table}"),
                format!("EXPLAIN SELECT FROM {table} WHERE {condition}"),
            ] {
                told.extend(self.tells(&sql).await.map(|it| format!("{sql:.300}: {it}")));
            }
        }
        for value in *bad {
            let sql = format!("SELECT {}", trial_text(kind, &format!("{}::{operand}", literal(value))));
            if self.tells(&sql).await.is_none() {
                told.push(format!("{sql:.300} passes"));
            }
        }
        told
    }
}

/// Polymorphic operators on every type that they are taken for.
async fn pairs(server: &mut Server, left: Oid, right: Oid) -> Vec<(String, String)> {
    let [any_array, any_range, any_element] = POLYMORPHIC;
    let mut pairs = Vec::new();
    if left == any_array {
        for (name, values) in VALUES {
            let oid: Oid = server.client.query_one("SELECT $1::text::regtype::oid", &[name]).await.unwrap().get(0);
            if !is_harmless_element(oid) {
                continue;
            }
            let array = format!("{name}[]");
            if !server.types.contains_key(&array) {
                let all: Vec<String> = values.iter().map(|value| format!("{}::{name}", literal(value))).collect();
                let all = all.join(", ");
                let literals = [
                    "'{}'".to_owned(),
                    "'{NULL}'".to_owned(),
                    format!("ARRAY[{all}, NULL]"),
                    format!("ARRAY[ARRAY[{all}], ARRAY[{all}]]"),
                    format!("(ARRAY[{all}])[1:1]"),
                ];
                server.values(&array, &literals).await;
            }
            pairs.push((array.clone(), array));
        }
        return pairs;
    }
    for range in [3904, 3926, 3908, 3910, 3912] {
        let (range_name, element) = (server.name(range).await, range_element(range).unwrap());
        let of = async |oid: Oid| if oid == any_element { server.name(element).await } else { range_name.clone() };
        if left == any_range || right == any_range {
            pairs.push((of(left).await, of(right).await));
        }
    }
    if pairs.is_empty() {
        let name = async |oid: Oid| if oid == 1009 { "text[]".to_owned() } else { server.name(oid).await };
        pairs.push((name(left).await, name(right).await));
    }
    pairs
}

#[tokio::test]
async fn nothing_on_the_lists_tells_by_a_value() {
    let mut server = Server::new("facts").await;
    server.values("text[]", &["'{}'", "'{NULL}'", "'{a,k,NULL}'", "'{{a,b},{c,d}}'"].map(str::to_owned)).await;
    let mut told = Vec::new();
    for &(name, left, right, trial) in OPERATORS {
        let full = format!("pg_catalog.{name}");
        for (l, r) in pairs(&mut server, left, right).await {
            match trial {
                None => told.extend(server.everything(&full, &l, &r).await),
                Some(kind) if l == "tsquery" => told.extend(server.tried(&full, &r, &l, kind, true).await),
                Some(kind) => told.extend(server.tried(&full, &l, &r, kind, false).await),
            }
        }
    }
    for &(_, names, left, right, trial) in OPERATORS_OF_EXTENSIONS {
        for name in names {
            let full = format!("public.{name}");
            match trial {
                None => told.extend(server.everything(&full, left, right).await),
                Some(kind) => told.extend(server.tried(&full, left, right, kind, false).await),
            }
        }
    }
    for (name, argument) in VALUE_FUNCTIONS {
        let kind = server.name(*argument).await;
        let collations = "SELECT quote_ident(collname) FROM pg_collation WHERE collname IN ('C', 'POSIX', 'und-x-icu', 'tr-x-icu', 'lt-x-icu', 'ucs_basic', 'pg_unicode_fast')";
        for row in server.client.query(collations, &[]).await.unwrap() {
            let collation: String = row.get(0);
            let sql = format!("SELECT count({name}(v COLLATE {collation})) FROM {}", server.table(&kind));
            told.extend(server.tells(&sql).await.map(|it| format!("{sql}: {it}")));
        }
    }
    assert!(told.is_empty(), "{} tell:\n{}", told.len(), told.join("\n"));
}

#[tokio::test]
async fn what_is_not_on_the_lists_tells() {
    let server = Server::new("facts_bite").await;
    for (name, left, right) in [
        ("pg_catalog.@>", "jsonb", "jsonb"),
        ("pg_catalog.~~", "text", "text"),
        ("pg_catalog.<->", "point", "point"),
        ("pg_catalog.~", "text", "text"),
        ("pg_catalog.%", "int4", "int4"),
    ] {
        assert!(!server.everything(name, left, right).await.is_empty(), "{name}");
    }
    for sql in [
        "SELECT count(to_tsvector('simple', v)) FROM {text}",
        "SELECT count(v::int) FROM {text}",
        "SELECT count(v::json -> 'k') FROM {text}",
    ] {
        assert!(server.tells(&sql.replace("{text}", server.table("text"))).await.is_some(), "{sql}");
    }
    // What the list has, with an operand that does not pass its trial.
    for sql in [
        "SELECT count(v LIKE 'a\\') FROM {text}".to_owned(),
        format!("SELECT count(v LIKE '{}') FROM {{text}}", "%e".repeat(60_000)),
    ] {
        assert!(server.tells(&sql.replace("{text}", server.table("text"))).await.is_some(), "{sql:.100}");
    }
}

#[test]
fn names_on_the_list_are_those_of_operators() {
    assert!(is_listed("@>") && is_listed("%") && !is_listed("+") && !is_listed("~"));
    assert_eq!(trial_by_name("~~"), Some(Trial::Pattern));
    assert_eq!(trial_by_name("@>"), Some(Trial::Depth));
    assert_eq!(of_system("->", 3802, 25), Some(None));
    assert_eq!(of_system("->", 114, 25), None);
    assert_eq!(of_extension("citext", "=", "citext", "citext"), Some(None));
}
