//! What came of it, for people and for machines.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value as Json, json};

use super::pretty;
use crate::lifecycle::{Home, Size, Summary, View};
use crate::sql::quote_qualified;

pub(super) fn tables(home: &Home) -> String {
    let own = home.tenants.iter().map(|(table, _)| table);
    own.chain([&home.operations]).map(quote_qualified).collect::<Vec<_>>().join(", ")
}

fn size(size: &Size) -> String {
    match size {
        Size::Bytes(bytes) => bytes.to_string(),
        Size::InSharedTables => "-".to_owned(),
        Size::Missing => "missing".to_owned(),
        Size::Unknown(_) => "?".to_owned(),
    }
}

/// Lines of cells; those of `numbers` stand to the right.
pub(in crate::cli) fn aligned(lines: Vec<Vec<String>>, numbers: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).add_rows(lines);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if at == 0 { 0 } else { 2 }, 0));
        column.set_cell_alignment(if numbers.contains(&at) { CellAlignment::Right } else { CellAlignment::Left });
    }
    format!("{table}\n")
}

pub(super) fn list(list: &[Summary], as_json: bool) -> String {
    if as_json {
        return pretty(&json!(list));
    }
    let head = ["name", "layout", "upstream", "database", "schema", "state", "bytes"].map(str::to_owned).to_vec();
    let lines = list.iter().map(|it| {
        let state = if it.suspended { "suspended" } else { "active" };
        vec![
            it.name.clone(),
            it.layout.to_owned(),
            it.upstream.clone(),
            it.database.clone(),
            it.schema.clone().unwrap_or_default(),
            state.to_owned(),
            size(&it.size),
        ]
    });
    let mut text = aligned(std::iter::once(head).chain(lines).collect(), &[6]);
    let mut unknown: Vec<_> =
        list.iter().filter_map(|it| if let Size::Unknown(why) = &it.size { Some(why) } else { None }).collect();
    unknown.dedup();
    unknown.into_iter().for_each(|why| {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "? {why}");
    });
    text
}

pub(super) fn view(view: &View, as_json: bool) -> String {
    if as_json {
        return pretty(&json!(view));
    }
    let it = &view.summary;
    let mut lines = vec![("tenant", it.name.clone()), ("layout", it.layout.to_owned())];
    lines.push(("upstream", it.upstream.clone()));
    lines.push(("database", it.database.clone()));
    lines.extend(it.schema.iter().map(|schema| ("schema", schema.clone())));
    lines.extend(view.role.iter().map(|role| ("role", role.clone())));
    lines.push(("state", if it.suspended { "suspended" } else { "active" }.to_owned()));
    lines.extend(
        view.keys
            .iter()
            .map(|(name, key)| ("key", if name == "key" { key.clone() } else { format!("{name} = {key}") })),
    );
    if it.size != Size::InSharedTables {
        lines.push(("bytes", size(&it.size)));
    }
    lines.extend(view.sessions.iter().map(|count| ("server sessions", count.to_string())));
    let mut text = aligned(lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect(), &[]);
    if !view.tables.is_empty() {
        let head = ["table", "rows", "bytes"].map(str::to_owned).to_vec();
        let lines = view.tables.iter().map(|it| vec![it.table.clone(), it.rows.to_string(), it.bytes.to_string()]);
        let _ = write!(text, "\n{}", aligned(std::iter::once(head).chain(lines).collect(), &[1, 2]));
    }
    if let Some(usage) = &view.usage {
        let lines = usage.iter().map(|(name, count)| vec![(*name).to_owned(), count.to_string()]).collect();
        let _ = write!(text, "\nused in this period\n{}", aligned(lines, &[1]));
    }
    if !view.operations.is_empty() {
        let lines = view.operations.iter().map(|it| {
            vec![
                it.id.to_string(),
                it.verb.clone(),
                it.state.clone(),
                it.started_at.clone(),
                it.by.clone(),
                it.error.clone().unwrap_or_default(),
            ]
        });
        let _ = write!(text, "\noperations\n{}", aligned(lines.collect(), &[0]));
    }
    view.notes.iter().for_each(|note| {
        let _ = writeln!(text, "? {note}");
    });
    text
}

/// The outcome of an operation: its values, one a line; what is left to do last.
pub(super) fn outcome(outcome: &Json, as_json: bool) -> String {
    if as_json {
        return pretty(outcome);
    }
    let mut text = String::new();
    for (name, value) in outcome.as_object().into_iter().flatten() {
        let _ = match value {
            Json::Null => Ok(()),
            Json::String(value) if name == "left_to_do" => writeln!(text, "left to do: {value}"),
            Json::String(value) => writeln!(text, "{name}: {value}"),
            other => writeln!(text, "{name}: {other}"),
        };
    }
    text
}
