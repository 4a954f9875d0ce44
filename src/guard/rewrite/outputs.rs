//! Which columns a query gives; columns of relations; names of constructs for messages.

use pg_query::NodeEnum;
use pg_query::protobuf::{AStar, Alias, ColumnRef, Node, ResTarget};

use super::scope::{self, Level, Output};
use super::tree::as_string;

/// The columns of a target list, if `*` in it can be told.
pub(super) fn of_targets(levels: &[Level<'_>], targets: &[Node]) -> Option<Vec<Output>> {
    let mut outputs = Vec::with_capacity(targets.len());
    for target in targets {
        let NodeEnum::ResTarget(target) = target.node.as_ref()? else { return None };
        let ResTarget { name, indirection: _, val, location: _ } = target.as_ref();
        let value = val.as_deref()?.node.as_ref()?;
        if let NodeEnum::ColumnRef(column) = value {
            outputs.extend(of_column(levels, name, column)?);
        } else if value_gives_many(value) {
            // `(composite).*`
            return None;
        } else {
            outputs.push(computed(name));
        }
    }
    Some(outputs)
}

fn computed(alias: &str) -> Output {
    Output { name: (!alias.is_empty()).then(|| alias.to_owned()), passed_on: None }
}

fn of_column(levels: &[Level<'_>], alias: &str, column: &ColumnRef) -> Option<Vec<Output>> {
    let names: Vec<&str> = column.fields.iter().filter_map(as_string).collect();
    if column.fields.last().is_some_and(is_star) {
        return scope::star(levels, names.last().copied());
    }
    let innermost = levels.len().checked_sub(1)?;
    let meaning = match names.as_slice() {
        [name] => scope::bare_name(levels, name),
        [qualifier, name] => scope::qualified_name(levels, None, qualifier, Some(name)),
        [schema, qualifier, name] => scope::qualified_name(levels, Some(schema), qualifier, Some(name)),
        _ => return None,
    };
    let own = meaning.refs.items.iter().all(|(level, _)| *level == innermost);
    let name = if alias.is_empty() { names.last().copied()? } else { alias };
    Some(vec![Output { name: Some(name.to_owned()), passed_on: meaning.column.filter(|_| own) }])
}

pub(super) fn is_star(part: &Node) -> bool {
    matches!(part.node, Some(NodeEnum::AStar(AStar {})))
}

/// `*`, `t.*`, `(x).*`: an item of a target list, a VALUES or a ROW that becomes several. Where it stands, the items after it
/// are not in their places.
pub(super) fn gives_many(item: &Node) -> bool {
    item.node.as_ref().is_some_and(value_gives_many)
}

fn value_gives_many(value: &NodeEnum) -> bool {
    if let NodeEnum::ColumnRef(column) = value {
        return column.fields.last().is_some_and(is_star);
    }
    matches!(value, NodeEnum::AIndirection(i) if i.indirection.last().is_some_and(is_star))
}

/// Columns as an alias with a column list names them.
pub(super) fn renamed(outputs: Option<Vec<Output>>, names: &[String]) -> Option<Vec<Output>> {
    let mut outputs = outputs?;
    for (output, name) in outputs.iter_mut().zip(names) {
        output.name = Some(name.clone());
    }
    Some(outputs)
}

/// The column names of an alias.
pub(super) fn alias_columns(alias: Option<&Alias>) -> Vec<String> {
    alias.map(|a| a.colnames.iter().filter_map(as_string).map(str::to_owned).collect()).unwrap_or_default()
}

/// The name of a construct, for the client: `RangeTableSample` becomes `range table sample`.
pub(super) fn construct(inner: &NodeEnum) -> String {
    let debug = serde_json::to_value(inner).ok();
    let name = debug.as_ref().and_then(|v| v.as_object()).and_then(|o| o.keys().next()).map_or("this", |k| k.as_str());
    let mut words = String::with_capacity(name.len() + 4);
    for (i, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}
