//! Statements with a condition that tells what it is evaluated on, over every kind of FROM item.

use crate::property::choices::Choices;

/// What is sent.
#[derive(Debug)]
pub struct Statement {
    pub text: String,
    /// `$1` is bound to this.
    pub value: Option<&'static str>,
}

/// Tenant tables, and the text column of each that the probe looks at.
const TABLES: &[(&str, &str)] = &[
    ("customers", "email"),
    ("customers", "secret_note"),
    ("orders", "note"),
    ("profiles", "bio"),
    ("invoices", "memo"),
    ("comments", "body"),
    ("tickets", "title"),
    ("note", "note"),
    ("wallets", "owner_name"),
    ("invoices_2024_01", "memo"),
    ("events", "account"),
];

/// A probing statement for a server that has MERGE or has not, and its draws.
pub fn statement(choices: Choices, has_merge: bool) -> (Statement, Vec<u32>) {
    let mut writer = Writer { choices, with: Vec::new(), names: 0, value: None, has_merge };
    let body = writer.body();
    let with = if writer.with.is_empty() { String::new() } else { format!("WITH {} ", writer.with.join(", ")) };
    let text = match body {
        Body::Query(query) => match writer.choices.below(6) {
            1 => format!("EXPLAIN {with}{query}"),
            2 => format!("INSERT INTO settings (k, v) {with}SELECT 'k' || q::text, 'v' FROM ({query}) q LIMIT 1"),
            3 => format!("DECLARE c CURSOR FOR {with}{query}"),
            4 if writer.value.is_none() => format!("COPY ({with}{query}) TO STDOUT"),
            _ => format!("{with}{query}"),
        },
        Body::Write(statement) => format!("{with}{statement}"),
    };
    (Statement { text, value: writer.value }, writer.choices.drawn())
}

enum Body {
    Query(String),
    Write(String),
}

struct Writer {
    choices: Choices,
    with: Vec<String>,
    names: usize,
    value: Option<&'static str>,
    has_merge: bool,
}

impl Writer {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("x{}", self.names)
    }

    fn body(&mut self) -> Body {
        let (item, x) = self.item(2);
        let write = |text| Body::Write(text);
        match self.choices.below(14) {
            0 | 1 => Body::Query(format!("SELECT 1 FROM {item} WHERE {}", self.condition(&x, None))),
            2 => {
                let (other, y) = self.item(1);
                let kind = *self.choices.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
                let more = if kind == "FULL JOIN" { format!("{x}.v = {y}.v AND ") } else { String::new() };
                let on = self.condition(&x, Some(&y));
                Body::Query(format!("SELECT 1 FROM {item} {kind} {other} ON {more}({on})"))
            }
            3 => {
                let (other, y) = self.item(1);
                Body::Query(format!("SELECT 1 FROM {item}, {other} WHERE {}", self.condition(&x, Some(&y))))
            }
            4 => {
                let (other, y) = self.item(1);
                let test = *self.choices.pick(&["EXISTS", "NOT EXISTS"]);
                let inner = self.condition(&y, Some(&x));
                Body::Query(format!("SELECT 1 FROM {item} WHERE {test} (SELECT 1 FROM {other} WHERE {inner})"))
            }
            5 => {
                let (other, y) = self.item(1);
                let test = *self.choices.pick(&["IN", "= ANY", "NOT IN", "<> ALL"]);
                let inner = self.condition(&y, Some(&x));
                Body::Query(format!(
                    "SELECT 1 FROM {item} WHERE {x}.v {test} (SELECT {y}.v FROM {other} WHERE {inner})"
                ))
            }
            6 => {
                let held = self.condition(&x, None);
                Body::Query(format!("SELECT 1 FROM {item} GROUP BY {x}.v HAVING {held} OR count(*) > 1000000"))
            }
            7 => {
                let inner = self.condition(&x, None);
                Body::Query(format!("SELECT (SELECT count(*) FROM {item} WHERE {inner})"))
            }
            8 => {
                let (other, y) = self.item(0);
                let inner = self.condition(&x, Some(&y));
                Body::Query(format!(
                    "SELECT 1 FROM {other}, LATERAL (SELECT {x}.v FROM {item} WHERE {inner}) l(w) WHERE {}",
                    self.over("l.w")
                ))
            }
            9 => write(format!(
                "UPDATE customers t SET phone = phone FROM {item} WHERE {}",
                self.condition(&x, Some("t@email"))
            )),
            10 => write(format!("DELETE FROM comments t USING {item} WHERE {}", self.condition(&x, Some("t@body")))),
            11 if self.with.is_empty() && self.has_merge => write(format!(
                "MERGE INTO wallets t USING {item} ON {} WHEN MATCHED THEN DO NOTHING",
                self.condition(&x, Some("t@owner_name"))
            )),
            12 => {
                let (other, y) = self.item(1);
                let inner = self.condition(&x, None);
                Body::Query(format!(
                    "SELECT 1 FROM {item} WHERE {inner} UNION ALL SELECT 1 FROM {other} WHERE {}",
                    self.condition(&y, None)
                ))
            }
            _ => {
                let (other, y) = self.item(1);
                let on = self.condition(&x, Some(&y));
                let both = format!("({item} JOIN {other} ON {on}) AS j");
                // Both sides give a column `v`: the alias renames them.
                Body::Query(format!("SELECT 1 FROM {both}(a, b) WHERE {}", self.over("j.a")))
            }
        }
    }

    /// A FROM item with an alias, whose columns are `v` (a text) and `n`, and that alias.
    fn item(&mut self, depth: usize) -> (String, String) {
        let x = self.name();
        let (table, column) = *self.choices.pick(TABLES);
        let kind = if depth == 0 { self.choices.below(3) } else { self.choices.below(16) };
        let plain = format!("SELECT {column} AS v, 1 AS n FROM {table}");
        let item = match kind {
            0 => format!("(SELECT {column} AS v, 1 AS n FROM {table}) {x}"),
            1 => format!("(SELECT * FROM (SELECT t.{column} FROM {table} t) y) AS {x}(v)"),
            2 => format!("(SELECT t.{column} AS v, 1 AS n FROM {table} t WHERE t.{column} IS NOT NULL) {x}"),
            3 => {
                let form = *self.choices.pick(&["", "MATERIALIZED ", "NOT MATERIALIZED "]);
                self.with.push(format!("w{x} AS {form}({plain})"));
                format!("w{x} {x}")
            }
            4 => {
                self.with.push(format!("w{x}(v, n) AS (SELECT {column}, 1 FROM {table})"));
                format!("(SELECT * FROM w{x}) {x}")
            }
            5 => format!("({plain} UNION ALL SELECT email, 2 FROM customers) {x}"),
            6 => format!("({plain} UNION ALL SELECT 'ALPHA', 2 WHERE false) {x}"),
            7 => format!("({plain} UNION SELECT email, 2 FROM customers) {x}"),
            8 => format!("(SELECT {column} AS v, count(*) AS n FROM {table} GROUP BY {column}) {x}"),
            9 => format!("(SELECT DISTINCT {column} AS v, 1 AS n FROM {table}) {x}"),
            10 => format!("(SELECT {column} AS v, row_number() OVER (ORDER BY {column}) AS n FROM {table}) {x}"),
            11 => format!("(SELECT t.{column} AS v, 1 AS n FROM {table} t, countries k) {x}"),
            12 => format!("(SELECT t.{column} AS v, k.code AS n FROM countries k LEFT JOIN {table} t ON true) {x}"),
            13 => "(SELECT tablename::text AS v, 1 AS n FROM pg_tables) ".to_owned() + &x,
            14 => "(SELECT relname::text AS v, 1 AS n FROM pg_class) ".to_owned() + &x,
            _ => {
                let (inner, y) = self.item(depth - 1);
                let condition = self.condition(&y, None);
                format!("(SELECT {y}.v, 1 AS n FROM {inner} WHERE {condition}) {x}")
            }
        };
        (item, x)
    }

    /// A condition on the `v` of an item, perhaps compared with another's (`alias`, or `alias@column`).
    fn condition(&mut self, x: &str, other: Option<&str>) -> String {
        let mine = format!("{x}.v");
        let Some(other) = other.filter(|_| self.choices.chance(60)) else { return self.over(&mine) };
        let theirs = match other.split_once('@') {
            Some((alias, column)) => format!("{alias}.{column}"),
            None => format!("{other}.v"),
        };
        match self.choices.below(4) {
            0 => format!("{mine} <%%> {theirs}"),
            1 => format!("{mine} = {theirs} AND {}", self.over(&theirs)),
            2 => format!("({theirs} <%%> {mine}) IS TRUE"),
            _ => format!("{mine} = {theirs} || 'x' OR {}", self.over(&theirs)),
        }
    }

    /// A condition on a text.
    fn over(&mut self, v: &str) -> String {
        match self.choices.below(20) {
            0 => format!("{v} <%%> 'x'"),
            1 => format!("'x' <%%> {v}"),
            2 => format!("NOT ({v} <%%> 'x')"),
            3 => format!("NOT (NOT ({v} <%%> 'x'))"),
            4 => format!("({v} <%%> 'x' OR {v} = 'y')"),
            5 => format!("({v} <%%> 'x') IS TRUE"),
            6 => format!("({v} <%%> 'x') IS NOT FALSE"),
            7 => format!("({v} <%%> 'x') = true"),
            8 => format!("{v} <%%> ANY (ARRAY['x', 'y'])"),
            9 => format!("{v} <%%> ALL ('{{x,y}}'::text[])"),
            10 => format!("{v} LIKE 'CANARY\\_B%\\'"),
            11 => format!("{v} NOT LIKE 'CANARY\\_B%\\'"),
            12 => format!("({v} LIKE 'CANARY\\_C%\\') IS NOT TRUE"),
            13 => format!("{v} <%%> {}", self.parameter("x")),
            14 => format!("{v} LIKE {}", self.parameter("CANARY\\_B%\\")),
            15 => format!("({v} <%%> 'x') IS DISTINCT FROM ({v} = 'y')"),
            16 => format!("{v} = 'z' AND {v} <%%> 'x'"),
            17 => {
                format!("({v}, 1) <%%> ('x', 1)").replace("<%%> ('x', 1)", "= ('x', 1)") + &format!(" OR {v} <%%> 'q'")
            }
            18 => format!("coalesce({v} <%%> 'x', true)"),
            _ => format!("CASE WHEN {v} <%%> 'x' THEN true ELSE {v} <%%> 'y' END"),
        }
    }
    /// The statement's parameter with that value; a literal where it has another already.
    fn parameter(&mut self, value: &'static str) -> String {
        if *self.value.get_or_insert(value) == value { "$1".to_owned() } else { format!("'{value}'") }
    }
}
