//! The statements.

use super::Definitions;
use super::read::{Found, Printed};
use super::tables::{Column, Relation};
use crate::sql::{quote_identifier, quote_literal};

/// Things, each with what the server printed of it.
pub(super) fn each<'a, T>(things: &'a [T], printed: &'a [String]) -> impl Iterator<Item = (&'a T, &'a str)> {
    things.iter().zip(printed.iter().map(String::as_str))
}

pub(super) fn definitions(found: &Found, printed: &Printed, schema: &str) -> Definitions {
    let mut made = Definitions { left_out: found.left_out.clone(), ..Definitions::default() };
    types(found, printed, &mut made);
    let (early, late): (Vec<_>, Vec<_>) =
        functions(found, printed, schema, &mut made).into_iter().partition(|(knows_tables, _)| !knows_tables);
    made.before.extend(early.into_iter().map(|(_, statement)| statement));
    for sequence in &found.sequences {
        made.before.push(format!("CREATE SEQUENCE {} {}", quote_identifier(&sequence.name), sequence.definition));
        // One that a column owns goes with its table.
        if sequence.owner.is_none() {
            made.owned.push(format!("SEQUENCE {}", quote_identifier(&sequence.name)));
        }
    }
    tables(found, printed, &mut made);
    made.before.extend(late.into_iter().map(|(_, statement)| statement));
    for sequence in &found.sequences {
        if let Some(owner) = &sequence.owner {
            made.before.push(format!("ALTER SEQUENCE {} OWNED BY {owner}", quote_identifier(&sequence.name)));
        }
    }
    after(found, printed, &mut made);
    let after = made.after.iter().chain(&made.last).chain(&made.policies);
    let statements = made.before.iter().chain(after).chain(&made.owned);
    let fixed = statements.filter(|it| !it.starts_with("COMMENT ON ") && names_schema(it, schema));
    // One line of each tells which it is.
    let fixed: Vec<String> = fixed.map(|it| it.chars().take_while(|c| *c != '\n').take(80).collect()).collect();
    made.fixed.extend(fixed);
    made
}

/// Whether a text has the schema's name before a dot. What shares its name with something of Postgres's own is printed so: bare, it
/// would mean that.
fn names_schema(text: &str, schema: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let quoted = format!("{}.", quote_identifier(schema));
    let bare = format!("{schema}.");
    let stands_alone = |at: usize| !text.get(..at).and_then(|it| it.chars().next_back()).is_some_and(is_word);
    text.contains(&quoted) || text.match_indices(&bare).any(|(at, _)| stands_alone(at))
}

fn types(found: &Found, printed: &Printed, made: &mut Definitions) {
    for (it, base) in each(&found.types, &printed.bases) {
        let name = quote_identifier(&it.name);
        let (statement, word) = match it.kind.as_str() {
            "e" => {
                let labels: Vec<_> = it.labels.iter().map(|label| quote_literal(label)).collect();
                (format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", ")), "TYPE")
            }
            "d" => {
                let mut statement = format!("CREATE DOMAIN {name} AS {base}");
                // A literal, or an expression of Postgres's own: as the catalog has it.
                if let Some(default) = &it.default {
                    statement.push_str(&format!(" DEFAULT {default}"));
                }
                let checks = printed.domain_checks.iter().filter(|(domain, _)| *domain == it.oid);
                checks.for_each(|(_, check)| {
                    statement.push(' ');
                    statement.push_str(check);
                });
                let already = statement.contains(" NOT NULL");
                if it.not_null && !already {
                    statement.push_str(" NOT NULL");
                }
                (statement, "DOMAIN")
            }
            _ => {
                let relation = found.relations.iter().find(|relation| relation.type_oid == it.oid);
                let columns = relation.map(|relation| columns(found, printed, relation)).unwrap_or_default();
                (format!("CREATE TYPE {name} AS ({})", columns.join(", ")), "TYPE")
            }
        };
        made.before.push(statement);
        made.owned.push(format!("{word} {name}"));
    }
}

/// Functions, and whether tables must be there first.
fn functions(found: &Found, printed: &Printed, schema: &str, made: &mut Definitions) -> Vec<(bool, String)> {
    let mut statements = Vec::new();
    for ((function, text), signature) in each(&found.functions, &printed.functions).zip(&printed.signatures) {
        let word = if function.kind == "p" { "PROCEDURE" } else { "FUNCTION" };
        // Their own name is printed with its schema, whatever the search path.
        let moved = [quote_identifier(schema), schema.to_owned()].into_iter().find_map(|schema| {
            let head = format!("CREATE OR REPLACE {word} ");
            Some(format!("{head}{}", text.strip_prefix(&head)?.strip_prefix(&schema)?.strip_prefix('.')?))
        });
        let mut words = function.source.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if moved.is_none() || words.any(|it| it == schema) {
            made.fixed.push(signature.clone());
        }
        statements.push((function.knows_tables, moved.unwrap_or_else(|| text.to_owned())));
        made.owned.push(format!("{word} {signature}"));
    }
    statements
}

/// The columns of a relation, as CREATE has them.
fn columns(found: &Found, printed: &Printed, relation: &Relation) -> Vec<String> {
    columns_of(found, printed, relation).into_iter().map(|(_, line)| line).collect()
}

/// The same, each with its name.
pub(super) fn columns_of<'f>(found: &'f Found, printed: &'f Printed, relation: &Relation) -> Vec<(&'f str, String)> {
    let mut defaults = printed.defaults.iter();
    let mut lines = Vec::new();
    for (column, type_name) in each(&found.columns, &printed.types) {
        let default = column.default.and_then(|_| defaults.next());
        if column.relation == relation.oid {
            lines.push((column.name.as_str(), column_line(column, type_name, default)));
        }
    }
    lines
}

fn column_line(column: &Column, type_name: &str, default: Option<&String>) -> String {
    let mut line = format!("{} {type_name}", quote_identifier(&column.name));
    if let Some(collation) = &column.collation {
        line.push_str(&format!(" COLLATE {collation}"));
    }
    match (column.generated.as_str(), default) {
        ("s", Some(expression)) => line.push_str(&format!(" GENERATED ALWAYS AS ({expression}) STORED")),
        ("v", Some(expression)) => line.push_str(&format!(" GENERATED ALWAYS AS ({expression}) VIRTUAL")),
        (_, Some(expression)) => line.push_str(&format!(" DEFAULT {expression}")),
        (_, None) => {}
    }
    let options = column.sequence.as_deref().unwrap_or_default();
    match column.identity.as_str() {
        "a" => line.push_str(&format!(" GENERATED ALWAYS AS IDENTITY ({options})")),
        "d" => line.push_str(&format!(" GENERATED BY DEFAULT AS IDENTITY ({options})")),
        _ => {}
    }
    if column.not_null {
        line.push_str(" NOT NULL");
    }
    line
}

fn tables(found: &Found, printed: &Printed, made: &mut Definitions) {
    let (mut keys, mut bounds) = (printed.partition_keys.iter(), printed.bounds.iter());
    for relation in found.relations.iter().filter(|it| matches!(it.kind.as_str(), "r" | "p")) {
        let name = quote_identifier(&relation.name);
        let unlogged = if relation.unlogged { "UNLOGGED " } else { "" };
        let mut statement =
            format!("CREATE {unlogged}TABLE {name} (\n    {}\n)", columns(found, printed, relation).join(",\n    "));
        if let Some(parents) = &relation.heir_of {
            statement.push_str(&format!(" INHERITS ({parents})"));
        }
        if relation.kind == "p" {
            statement.extend([" PARTITION BY ", keys.next().map(String::as_str).unwrap_or_default()]);
        }
        if let Some(options) = &relation.options {
            statement.push_str(&format!(" WITH ({options})"));
        }
        made.before.push(statement);
        if let (Some(parent), Some(bound)) = (&relation.parent, relation.parent.as_ref().and_then(|_| bounds.next())) {
            made.before.push(format!("ALTER TABLE {parent} ATTACH PARTITION {name} {bound}"));
        }
        made.owned.push(format!("TABLE {name}"));
    }
}

fn after(found: &Found, printed: &Printed, made: &mut Definitions) {
    let (foreign, own): (Vec<_>, Vec<_>) =
        each(&found.constraints, &printed.constraints).partition(|(it, _)| it.kind == "f");
    let constraint = |(it, text): (&super::read::Part, &str)| {
        format!("ALTER TABLE {} ADD CONSTRAINT {} {text}", quote_identifier(&it.relation), quote_identifier(&it.name))
    };
    made.after.extend(own.into_iter().map(constraint));
    let mut views = printed.views.iter();
    for relation in found.relations.iter().filter(|it| matches!(it.kind.as_str(), "v" | "m")) {
        let (name, text) = (quote_identifier(&relation.name), views.next().map(String::as_str).unwrap_or_default());
        let options = relation.options.as_ref().map(|it| format!(" WITH ({it})")).unwrap_or_default();
        let text = text.trim_end().trim_end_matches(';');
        // Nothing is run here that the schema's owner wrote: who needs the rows refreshes it.
        let (word, empty) = if relation.kind == "m" { ("MATERIALIZED VIEW", " WITH NO DATA") } else { ("VIEW", "") };
        made.after.push(format!("CREATE {word} {name}{options} AS {text}{empty}"));
        made.owned.push(format!("{word} {name}"));
    }
    for (index, text) in each(&found.indexes, &printed.indexes) {
        // Of a partitioned table: on its partitions too.
        let only = format!("INDEX {} ON ONLY ", bare(&index.name));
        made.after.push(text.replacen(&only, &only.replace(" ON ONLY ", " ON "), 1));
    }
    made.last.extend(foreign.into_iter().map(constraint));
    for (trigger, text) in each(&found.triggers, &printed.triggers) {
        made.last.push(text.to_owned());
        let state = match trigger.kind.as_str() {
            "D" => "DISABLE TRIGGER",
            "A" => "ENABLE ALWAYS TRIGGER",
            "R" => "ENABLE REPLICA TRIGGER",
            _ => continue,
        };
        let (table, name) = (quote_identifier(&trigger.relation), quote_identifier(&trigger.name));
        made.last.push(format!("ALTER TABLE {table} {state} {name}"));
    }
    policies(found, printed, made);
    made.last.extend(found.comments.iter().cloned());
}

/// A name as `quote_ident` has it.
fn bare(name: &str) -> String {
    let plain = name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
    // A keyword is quoted by the server: then the text is not what is looked for, and stays as it is.
    if plain { name.to_owned() } else { quote_identifier(name) }
}

fn policies(found: &Found, printed: &Printed, made: &mut Definitions) {
    for ((policy, using), check) in each(&found.policies, &printed.using).zip(&printed.checks) {
        let permissive = if policy.permissive { "PERMISSIVE" } else { "RESTRICTIVE" };
        let command = match policy.command.as_str() {
            "r" => "SELECT",
            "a" => "INSERT",
            "w" => "UPDATE",
            "d" => "DELETE",
            _ => "ALL",
        };
        let mut statement = format!(
            "CREATE POLICY {} ON {} AS {permissive} FOR {command} TO {}",
            quote_identifier(&policy.name),
            quote_identifier(&policy.relation),
            policy.roles
        );
        for (word, expression) in [("USING", using), ("WITH CHECK", check.as_str())] {
            if !expression.is_empty() {
                statement.push_str(&format!(" {word} ({expression})"));
            }
        }
        made.policies.push(statement);
    }
    for relation in &found.relations {
        let name = quote_identifier(&relation.name);
        for (is_on, word) in [(relation.row_security, "ENABLE"), (relation.force_row_security, "FORCE")] {
            if is_on {
                made.policies.push(format!("ALTER TABLE {name} {word} ROW LEVEL SECURITY"));
            }
        }
    }
}
