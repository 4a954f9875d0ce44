//! Whether a statement writes, for quotas of which only writing is refused. What a function does inside is not seen.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt, WithClause};

use crate::guard::nodes::{self, Writes};

/// Whether the statement writes, or may for all that its text tells.
pub(super) fn writes(node: &NodeEnum) -> bool {
    match nodes::statement_of(node).map(|statement| statement.writes) {
        Some(Writes::Never) => false,
        Some(Writes::Always) | None => true,
        Some(Writes::Inside) => match node {
            NodeEnum::SelectStmt(select) => select_writes(select),
            NodeEnum::CopyStmt(copy) => copy.is_from || inner_writes(copy.query.as_deref()),
            NodeEnum::ExplainStmt(explain) => runs(&explain.options) && inner_writes(explain.query.as_deref()),
            _ => true,
        },
    }
}

/// WITH may hold INSERT, UPDATE, DELETE or MERGE at the top of a statement only.
fn select_writes(select: &SelectStmt) -> bool {
    select.into_clause.is_some() || select.with_clause.as_ref().is_some_and(with_writes)
}

fn with_writes(with: &WithClause) -> bool {
    with.ctes.iter().any(|cte| match cte.node.as_ref() {
        Some(NodeEnum::CommonTableExpr(cte)) => inner_writes(cte.ctequery.as_deref()),
        Some(_) | None => true,
    })
}

fn inner_writes(query: Option<&Node>) -> bool {
    query.and_then(|query| query.node.as_ref()).is_some_and(writes)
}

/// EXPLAIN ANALYZE runs what it explains.
fn runs(options: &[Node]) -> bool {
    options.iter().any(|option| match option.node.as_ref() {
        Some(NodeEnum::DefElem(elem)) => elem.defname == "analyze",
        Some(_) | None => true,
    })
}

#[cfg(test)]
mod tests {
    use crate::sql::parse;

    fn writes(sql: &str) -> bool {
        let statements = parse::parse(sql, &crate::sql::StatementLimits::default(), 170_000).unwrap();
        let [statement] = statements.as_slice() else { panic!("{sql}") };
        super::writes(statement.tree.node.as_ref().unwrap())
    }

    #[test]
    fn what_writes() {
        for sql in [
            "INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
            "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
            "WITH a AS (SELECT 1), x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT 1 UNION SELECT 2",
            "SELECT 1 INTO t",
            "CREATE TABLE t AS SELECT 1",
            "COPY t FROM STDIN",
            "COPY (DELETE FROM t RETURNING *) TO STDOUT",
            "EXPLAIN ANALYZE DELETE FROM t",
            "EXPLAIN (ANALYZE, VERBOSE) WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
            "EXECUTE s",
            "DO 'begin end'",
            "CALL f()",
            "TRUNCATE t",
            "CREATE TABLE t (a int)",
            "REFRESH MATERIALIZED VIEW v",
        ] {
            assert!(writes(sql), "{sql}");
        }
        for sql in [
            "SELECT * FROM t FOR UPDATE",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "VALUES (1)",
            "TABLE t",
            "COPY t TO STDOUT",
            "COPY (SELECT 1) TO STDOUT",
            "EXPLAIN DELETE FROM t",
            "EXPLAIN ANALYZE SELECT 1",
            "PREPARE s AS DELETE FROM t",
            "DECLARE c CURSOR FOR SELECT 1",
            "FETCH 1 FROM c",
            "BEGIN",
            "COMMIT",
            "SET work_mem = '1MB'",
            "SHOW work_mem",
            "DISCARD ALL",
        ] {
            assert!(!writes(sql), "{sql}");
        }
    }
}
