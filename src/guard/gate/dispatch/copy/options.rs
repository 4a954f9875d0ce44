//! Options of COPY FROM STDIN, as far as they say where rows and fields end, and what a field means.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, DefElem, Node};

use crate::base::{QualifiedName, Refusal, RefusalKind, SqlState};
use crate::guard::gate::dispatch::unsupported;
use crate::guard::{CopyFormat, CopyTarget, CopyTenant};

/// Reads the options, old and new syntax alike (the grammar makes the same of both).
///
/// # Errors
/// 0A000 for options under which the stream rewriter could not find the tenant column, 22023 for unknown values.
pub(super) fn read(options: &[Node], tenant_column: &str, tenant: CopyTenant) -> Result<CopyFormat, Refusal> {
    let mut read = Read::default();
    for option in options {
        let Some(NodeEnum::DefElem(elem)) = option.node.as_ref() else {
            return Err(unsupported("an unknown COPY option"));
        };
        read.option(elem, tenant_column, tenant)?;
    }
    read.format()
}

/// How rows are inserted where the server takes no COPY.
///
/// # Errors
/// 0A000 for options that only the server's own COPY can carry out, 42703 for a column that is not copied.
pub(super) fn target(
    options: &[Node],
    given: &[String],
    table: QualifiedName,
    columns: Vec<String>,
) -> Result<CopyTarget, Refusal> {
    let none = vec![false; columns.len()];
    let mut target =
        CopyTarget { table, columns, header_matches: false, force_null: none.clone(), force_not_null: none };
    for option in options {
        let Some(NodeEnum::DefElem(elem)) = option.node.as_ref() else {
            return Err(unsupported("an unknown COPY option"));
        };
        match elem.defname.as_str() {
            "header" => target.header_matches = text(elem).is_ok_and(|it| it.eq_ignore_ascii_case("match")),
            "force_null" => force(elem, given, &mut target.force_null)?,
            "force_not_null" => force(elem, given, &mut target.force_not_null)?,
            "on_error" if text(elem).is_ok_and(|it| it.eq_ignore_ascii_case("stop")) => {}
            name @ ("on_error" | "reject_limit") => {
                return Err(unsupported(format!(
                    "COPY option {} is not supported for tables with row-level security",
                    name.to_uppercase()
                )));
            }
            // They say how the stream is read ([`read`]), what no row depends on, or what goes without saying.
            "format" | "delimiter" | "null" | "quote" | "escape" | "encoding" | "freeze" | "log_verbosity" => {}
            name => return Err(unsupported(format!("COPY option {} is not supported here", name.to_uppercase()))),
        }
    }
    Ok(target)
}

/// Marks the columns of a list.
fn force(elem: &DefElem, given: &[String], flags: &mut [bool]) -> Result<(), Refusal> {
    let not_listed = || unsupported(format!("COPY option {} needs a list of columns", elem.defname.to_uppercase()));
    let Some(NodeEnum::List(names)) = elem.arg.as_deref().and_then(|a| a.node.as_ref()) else {
        return Err(not_listed());
    };
    for name in &names.items {
        let Some(NodeEnum::String(name)) = name.node.as_ref() else { return Err(not_listed()) };
        let at = given.iter().position(|it| *it == name.sval);
        match at.and_then(|at| flags.get_mut(at)) {
            Some(flag) => *flag = true,
            None => {
                return Err(Refusal::new(
                    RefusalKind::Undefined,
                    SqlState::UNDEFINED_COLUMN,
                    format!("{} column \"{}\" not referenced by COPY", elem.defname.to_uppercase(), name.sval),
                ));
            }
        }
    }
    Ok(())
}

/// Refuses what the printer cannot print: it follows arguments that are not there, and takes numbers for texts, which would
/// end the process.
///
/// # Errors
/// As Postgres's `ProcessCopyOptions` has it, 42601 or 22023; 0A000 for arguments that pgwarden does not take.
pub(super) fn check(option: &Node) -> Result<(), Refusal> {
    let Some(NodeEnum::DefElem(elem)) = option.node.as_ref() else {
        return Err(unsupported("an unknown COPY option"));
    };
    let given = elem.arg.as_deref().and_then(|a| a.node.as_ref());
    let fits = match elem.defname.as_str() {
        "format" => match text(elem)? {
            "text" | "csv" | "binary" => true,
            other => return Err(unknown_format(other)),
        },
        "delimiter" | "null" | "quote" | "escape" | "encoding" | "default" => text(elem).map(|_| true)?,
        "freeze" | "header" => match given {
            None | Some(NodeEnum::Boolean(_)) => true,
            Some(value) => {
                matches!(
                    crate::guard::gate::dispatch::switch_word(value).as_str(),
                    "true" | "false" | "on" | "off" | "match" | "1" | "0"
                )
            }
        },
        "force_quote" | "force_not_null" | "force_null" => {
            matches!(given, Some(NodeEnum::List(_) | NodeEnum::AStar(_)))
        }
        "on_error" | "log_verbosity" => matches!(given, Some(NodeEnum::String(_))),
        "reject_limit" => matches!(given, Some(NodeEnum::Integer(_) | NodeEnum::Float(_) | NodeEnum::String(_))),
        name => {
            return Err(Refusal::new(
                RefusalKind::Syntax,
                SqlState::SYNTAX_ERROR,
                format!("option \"{name}\" not recognized"),
            ));
        }
    };
    if fits { Ok(()) } else { Err(unsupported(format!("this value of COPY option {}", elem.defname.to_uppercase()))) }
}

fn unknown_format(format: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Syntax,
        SqlState::INVALID_PARAMETER_VALUE,
        format!("COPY format \"{format}\" not recognized"),
    )
}

/// The old syntax (`CSV HEADER`) makes booleans of what the new one, which is printed, leaves out or makes strings of.
pub(super) fn normalise(option: &mut Node) {
    let Some(NodeEnum::DefElem(elem)) = option.node.as_mut() else { return };
    let Some(NodeEnum::Boolean(value)) = elem.arg.as_deref().and_then(|a| a.node.as_ref()) else { return };
    elem.arg = if value.boolval {
        None
    } else {
        Some(Box::new(Node { node: Some(NodeEnum::String(protobuf::String { sval: "false".to_owned() })) }))
    };
}

#[derive(Default)]
struct Read {
    format: Option<String>,
    delimiter: Option<u8>,
    quote: Option<u8>,
    escape: Option<u8>,
    null: Option<String>,
    header: bool,
}

impl Read {
    fn option(&mut self, elem: &DefElem, tenant_column: &str, tenant: CopyTenant) -> Result<(), Refusal> {
        match elem.defname.as_str() {
            "format" => self.format = Some(text(elem)?.to_owned()),
            "delimiter" => self.delimiter = Some(one_byte(elem)?),
            "quote" => self.quote = Some(one_byte(elem)?),
            "escape" => self.escape = Some(one_byte(elem)?),
            "null" => self.null = Some(text(elem)?.to_owned()),
            "header" => self.header = header(elem, tenant)?,
            "encoding" if is_utf8(text(elem)?) => {}
            "encoding" => return Err(unsupported("COPY is supported in UTF8 only")),
            "freeze" if is_false(elem) => {}
            "freeze" => return Err(unsupported("COPY FREEZE is not supported for tenant tables")),
            "force_null" | "force_not_null" => not_the_tenant_column(elem, tenant_column)?,
            "on_error" | "log_verbosity" | "reject_limit" => {}
            name => return Err(unsupported(format!("COPY option {} is not supported here", name.to_uppercase()))),
        }
        Ok(())
    }

    fn format(self) -> Result<CopyFormat, Refusal> {
        let header = self.header;
        match self.format.as_deref() {
            None | Some("text") => Ok(CopyFormat::Text {
                delimiter: self.delimiter.unwrap_or(b'\t'),
                null: self.null.unwrap_or_else(|| "\\N".to_owned()),
                header,
            }),
            Some("csv") => {
                let quote = self.quote.unwrap_or(b'"');
                Ok(CopyFormat::Csv {
                    delimiter: self.delimiter.unwrap_or(b','),
                    quote,
                    escape: self.escape.unwrap_or(quote),
                    null: self.null.unwrap_or_default(),
                    header,
                })
            }
            Some("binary") => Ok(CopyFormat::Binary),
            Some(other) => Err(unknown_format(other)),
        }
    }
}

fn text(elem: &DefElem) -> Result<&str, Refusal> {
    let Some(NodeEnum::String(s)) = elem.arg.as_deref().and_then(|a| a.node.as_ref()) else {
        return Err(unsupported(format!("COPY option {} needs a string", elem.defname.to_uppercase())));
    };
    Ok(&s.sval)
}

fn one_byte(elem: &DefElem) -> Result<u8, Refusal> {
    match text(elem)?.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(unsupported(format!("COPY {} must be a single one-byte character", elem.defname.to_lowercase()))),
    }
}

/// `defGetCopyHeaderChoice`. MATCH compares the line with the column list, to which the guard adds.
fn header(elem: &DefElem, tenant: CopyTenant) -> Result<bool, Refusal> {
    let Some(given) = elem.arg.as_deref().and_then(|a| a.node.as_ref()) else { return Ok(true) };
    match crate::guard::gate::dispatch::switch_word(given).as_str() {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        "match" if matches!(tenant, CopyTenant::Check(_)) => Ok(true),
        "match" => Err(unsupported("COPY with HEADER MATCH needs the tenant column in its column list here")),
        _ => Err(unsupported("this COPY HEADER is not supported")),
    }
}

fn is_false(elem: &DefElem) -> bool {
    let given = elem.arg.as_deref().and_then(|a| a.node.as_ref());
    given.is_some_and(|given| matches!(crate::guard::gate::dispatch::switch_word(given).as_str(), "false" | "off"))
}

fn is_utf8(encoding: &str) -> bool {
    matches!(encoding.to_ascii_lowercase().replace(['-', '_'], "").as_str(), "utf8" | "unicode")
}

/// FORCE_NULL and FORCE_NOT_NULL change what a field means: never the tenant's.
fn not_the_tenant_column(elem: &DefElem, tenant_column: &str) -> Result<(), Refusal> {
    let refused = || unsupported("COPY FORCE_NULL and FORCE_NOT_NULL need a column list without the tenant column");
    let Some(NodeEnum::List(names)) = elem.arg.as_deref().and_then(|a| a.node.as_ref()) else {
        return Err(refused());
    };
    let other = |n: &Node| matches!(n.node.as_ref(), Some(NodeEnum::String(s)) if s.sval != tenant_column);
    if names.items.iter().all(other) { Ok(()) } else { Err(refused()) }
}
