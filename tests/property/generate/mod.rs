//! Statements over the fixture, as ordinary apps and reports send them. Every one has one right answer: ties are broken or
//! do not show, no clock, no sequence, no error that depends on the order in which conditions are looked at.

mod aggregate;
mod expression;
mod from;
mod query;
mod write;

use super::choices::Choices;
use super::schema::{TABLES, Table, Ty};

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub text: String,
    /// Parameters, as text; empty for the simple protocol.
    pub values: Vec<String>,
    pub extended: bool,
    /// The tables that it writes, which are read after it, before the rollback.
    pub writes: Vec<&'static str>,
    /// Further statements after it, in the same transaction: the ways of a cursor.
    pub then: Vec<String>,
}

/// A column that an expression may use: as SQL.
#[derive(Clone, Debug)]
struct Col {
    sql: String,
    ty: Ty,
}

/// A query in the making: what it returns is named c0, c1, ...
struct Query {
    sql: String,
    types: Vec<Ty>,
}

struct Generator {
    choices: Choices,
    aliases: usize,
    /// CTEs that may be read here.
    ctes: Vec<(String, Vec<Ty>)>,
    extended: bool,
    values: Vec<String>,
    server_version: u32,
}

/// How deep queries and expressions nest.
const DEPTH: usize = 3;

/// The statement that follows from these draws, and the draws that it took.
pub fn statement(choices: Choices, server_version: u32) -> (Statement, Vec<u32>) {
    let mut g =
        Generator { choices, aliases: 0, ctes: Vec::new(), extended: false, values: Vec::new(), server_version };
    g.extended = g.choices.chance(50);
    let mut then = Vec::new();
    let (text, writes) = if g.choices.chance(35) {
        g.write()
    } else {
        let text = g.read();
        (g.carried(text, &mut then), Vec::new())
    };
    let (text, values) = used(&text, &g.values);
    let statement = Statement { text, values, extended: g.extended, writes, then };
    (statement, g.choices.drawn())
}

/// Of the parameters that were drawn, those that have come into the text.
fn used(text: &str, drawn: &[String]) -> (String, Vec<String>) {
    let (mut renumbered, mut values, mut numbers) = (String::new(), Vec::new(), Vec::new());
    let mut parts = text.split('$');
    renumbered.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.find(|it: char| !it.is_ascii_digit()).unwrap_or(part.len());
        let Ok(number) = part[..digits].parse::<usize>() else {
            renumbered.push('$');
            renumbered.push_str(part);
            continue;
        };
        let place = numbers.iter().position(|it| *it == number).unwrap_or_else(|| {
            numbers.push(number);
            values.push(drawn[number - 1].clone());
            numbers.len() - 1
        });
        renumbered.push_str(&format!("${}{}", place + 1, &part[digits..]));
    }
    (renumbered, values)
}

#[test]
fn parameters_are_numbered_as_they_are_used() {
    let drawn = ["a", "b", "c"].map(str::to_owned);
    let expected = ("$1 '$.x' $2 $1".to_owned(), vec!["c".to_owned(), "a".to_owned()]);
    assert_eq!(used("$3 '$.x' $1 $3", &drawn), expected);
}

impl Generator {
    fn alias(&mut self, prefix: &str) -> String {
        self.aliases += 1;
        format!("{prefix}{}", self.aliases)
    }

    fn read(&mut self) -> String {
        match self.choices.below(14) {
            10 => format!("TABLE {}", self.choices.pick(TABLES).name),
            11 => self.locking(),
            12 => self.values_list(),
            13 => format!("SELECT {}", self.list(DEPTH, &[Ty::Int, Ty::Text, Ty::Json], &[])),
            _ => self.query(DEPTH, None, &[]).sql,
        }
    }

    /// A query by way of a cursor, COPY, or a statement prepared in SQL, now and then.
    fn carried(&mut self, query: String, then: &mut Vec<String>) -> String {
        if self.extended {
            return query;
        }
        match self.choices.below(16) {
            12 if !query.contains("FOR ") && !query.starts_with("TABLE") => format!("COPY ({query}) TO STDOUT"),
            13 => {
                then.extend(["FETCH ALL FROM cur", "FETCH BACKWARD ALL FROM cur", "CLOSE cur"].map(str::to_owned));
                format!("DECLARE cur SCROLL CURSOR FOR {query}")
            }
            14 => {
                then.extend(["EXECUTE prepared", "EXECUTE prepared", "DEALLOCATE prepared"].map(str::to_owned));
                format!("PREPARE prepared AS {query}")
            }
            15 => format!("SELECT 1; {query}; SELECT count(*) FROM orders"),
            _ => query,
        }
    }

    /// A constant, in the extended protocol now and then a parameter.
    fn number(&mut self, value: usize) -> String {
        self.constant(&value.to_string(), "int8", value.to_string())
    }

    fn constant(&mut self, value: &str, ty: &str, literal: String) -> String {
        if self.extended && self.choices.chance(40) {
            self.values.push(value.to_owned());
            return format!("${}::{ty}", self.values.len());
        }
        literal
    }

    fn word(&mut self) -> String {
        let word = *self.choices.pick(&[
            "ALPHA_name_3",
            "paid",
            "acme",
            "ALPHA_ordernote_7",
            "generic",
            "DE",
            "k2",
            "it''s",
            "",
            "CANARY_B_name_3",
        ]);
        self.constant(&word.replace("''", "'"), "text", format!("'{word}'"))
    }

    fn some_type(&mut self) -> Ty {
        const TYPES: [Ty; 8] = [Ty::Int, Ty::Text, Ty::Date, Ty::Int, Ty::Text, Ty::Text, Ty::Json, Ty::Texts];
        *self.choices.pick(&TYPES)
    }
}

/// The columns of a table under an alias.
fn columns(table: &Table, alias: &str) -> Vec<Col> {
    let reference = |name: &str| match name.strip_prefix('(') {
        Some(rest) => format!("({alias}.{rest}"),
        None => format!("{alias}.{name}"),
    };
    table.columns.iter().map(|(name, ty)| Col { sql: reference(name), ty: *ty }).collect()
}

/// The columns c0, c1, ... of a subquery.
fn outputs(alias: &str, types: &[Ty]) -> Vec<Col> {
    types.iter().enumerate().map(|(at, ty)| Col { sql: format!("{alias}.c{at}"), ty: *ty }).collect()
}
