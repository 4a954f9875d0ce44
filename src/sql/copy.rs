//! COPY as text.

use pg_query::NodeEnum;

use super::parse::{deparse, parse};
use super::{Named, StatementLimits};

/// The table of a COPY TO STDOUT, and the COPY FROM STDIN that would take what it gives. `None` for everything else.
pub fn copy_back(sql: &str, limits: &StatementLimits, server_version: u32) -> Option<(Named, String)> {
    let mut statements = parse(sql, limits, server_version).ok()?;
    let (Some(statement), true) = (statements.pop(), statements.is_empty()) else { return None };
    let mut tree = statement.tree;
    let Some(NodeEnum::CopyStmt(copy)) = tree.node.as_mut() else { return None };
    if copy.is_from || copy.is_program || !copy.filename.is_empty() {
        return None;
    }
    let relation = copy.relation.as_ref()?;
    let schema = (!relation.schemaname.is_empty()).then(|| relation.schemaname.clone());
    let table = Named { schema, name: relation.relname.clone() };
    copy.is_from = true;
    deparse(&tree).ok().map(|text| (table, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_table_gives_it_would_take() {
        let back = |sql: &str| copy_back(sql, &StatementLimits::default(), 150_000).map(|(_, text)| text);
        assert_eq!(back("COPY t (a, b) TO STDOUT WITH (FORMAT csv)").unwrap(), "COPY t(a, b) FROM STDIN CSV");
        assert_eq!(back("copy s.\"T\" to stdout").unwrap(), "COPY s.\"T\" FROM STDIN");
        for none in [
            "COPY t FROM STDIN",
            "COPY (SELECT 1) TO STDOUT",
            "COPY t TO '/tmp/x'",
            "SELECT 1",
            "COPY t TO STDOUT; SELECT 1",
        ] {
            assert_eq!(back(none), None, "{none}");
        }
    }
}
