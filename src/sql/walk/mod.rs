//! Every field of every struct of Postgres's grammar, once: walks over typed trees that can miss nothing.
//!
//! A walk that knows some places of a tree and forgets another is what lets a relation through unseen. So there is one list of
//! all fields ([`fields`]), which does not compile when a field or a kind of node is missing in it, is new, or is named otherwise
//! in another libpg_query; and what walks trees says what it does with a [`Part`], not where parts may stand.

mod fields;

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeVar, SelectStmt, a_const};

pub(crate) use fields::kind;

/// What a walk comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'v> {
    /// A node.
    Node(&'v NodeEnum),
    /// The arm of a set operation, which stands there without a node around it.
    Select(&'v SelectStmt),
    /// A relation without a node around it: the target of a statement.
    RangeVar(&'v RangeVar),
}

/// What is done with a part; true ends the walk.
pub(crate) type Visit<'a, 'v> = &'a mut dyn FnMut(Part<'v>) -> bool;

/// What has fields, or is one.
pub(crate) trait Walk {
    /// Visits the parts that stand in the fields, in structs that are no parts themselves too, but not the parts in those
    /// parts. Whether the visitor ended the walk.
    fn fields<'v>(&'v self, visit: Visit<'_, 'v>) -> bool;

    /// Visits this where it is met in a field: as a part, if it is one.
    fn met<'v>(&'v self, visit: Visit<'_, 'v>) -> bool {
        self.fields(visit)
    }
}

impl<'v> Part<'v> {
    /// The relation, if it is one.
    pub(crate) fn range_var(self) -> Option<&'v RangeVar> {
        match self {
            Self::RangeVar(relation) => Some(relation),
            Self::Node(NodeEnum::RangeVar(relation)) => Some(relation),
            Self::Node(_) | Self::Select(_) => None,
        }
    }

    /// Visits the parts in this one.
    pub(crate) fn fields(self, visit: Visit<'_, 'v>) -> bool {
        match self {
            Self::Node(node) => node.fields(visit),
            Self::Select(select) => select.fields(visit),
            Self::RangeVar(relation) => relation.fields(visit),
        }
    }
}

impl Walk for Node {
    fn fields<'v>(&'v self, visit: Visit<'_, 'v>) -> bool {
        self.node.as_ref().is_some_and(|node| visit(Part::Node(node)))
    }
}

impl Walk for a_const::Val {
    fn fields<'v>(&'v self, visit: Visit<'_, 'v>) -> bool {
        match self {
            Self::Ival(value) => value.fields(visit),
            Self::Fval(value) => value.fields(visit),
            Self::Boolval(value) => value.fields(visit),
            Self::Sval(value) => value.fields(visit),
            Self::Bsval(value) => value.fields(visit),
        }
    }
}

impl<T: Walk> Walk for Box<T> {
    fn fields<'v>(&'v self, visit: Visit<'_, 'v>) -> bool {
        (**self).fields(visit)
    }

    fn met<'v>(&'v self, visit: Visit<'_, 'v>) -> bool {
        (**self).met(visit)
    }
}

impl<T: Walk> Walk for Option<T> {
    fn fields<'v>(&'v self, visit: Visit<'_, 'v>) -> bool {
        self.as_ref().is_some_and(|value| value.met(visit))
    }
}

impl<T: Walk> Walk for Vec<T> {
    fn fields<'v>(&'v self, visit: Visit<'_, 'v>) -> bool {
        self.iter().any(|value| value.met(visit))
    }
}

/// Values without fields.
macro_rules! scalars {
    ($($kind:ty)*) => { $(
        impl Walk for $kind {
            fn fields<'v>(&'v self, _: Visit<'_, 'v>) -> bool {
                false
            }
        }
    )* };
}

scalars! { bool i32 i64 u32 u64 f64 String }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::reparse;

    /// All that is met, by its kind.
    fn met(sql: &str) -> Vec<&'static str> {
        fn collect(part: Part<'_>, kinds: &mut Vec<&'static str>) -> bool {
            kinds.push(match part {
                Part::Node(node) => kind(node),
                Part::Select(_) => "bare SELECT",
                Part::RangeVar(_) => "bare RangeVar",
            });
            part.fields(&mut |part| collect(part, kinds))
        }
        let mut kinds = Vec::new();
        reparse(sql).unwrap().fields(&mut |part| collect(part, &mut kinds));
        kinds
    }

    /// Against the serialised tree, which has every field: as many nodes of each kind, and as many relations.
    #[test]
    fn a_walk_meets_what_serialising_meets() {
        fn nodes(value: &serde_json::Value, kinds: &mut Vec<String>, relations: &mut usize) {
            match value {
                serde_json::Value::Object(fields) => {
                    // (SortBy has a field of that name among others.)
                    let node = fields.get("node").and_then(|n| n.as_object()).filter(|_| fields.len() == 1);
                    if let Some(node) = node {
                        kinds.extend(node.keys().cloned());
                    }
                    *relations += usize::from(fields.contains_key("relname"));
                    fields.values().for_each(|field| nodes(field, kinds, relations));
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| nodes(item, kinds, relations)),
                _scalar => {}
            }
        }
        for sql in [
            "WITH RECURSIVE w(a) AS (SELECT 1 UNION ALL TABLE w) SEARCH DEPTH FIRST BY a SET o SELECT DISTINCT ON (a) a, \
             sum(b) FILTER (WHERE c) OVER (PARTITION BY d ORDER BY e ROWS f PRECEDING) FROM t TABLESAMPLE s (1) REPEATABLE (2), \
             ROWS FROM (f(1) AS (x int)), XMLTABLE('p' PASSING d COLUMNS c int PATH 'q' DEFAULT 1), JSON_TABLE(j, '$' COLUMNS (a int)), \
             LATERAL (SELECT 1) l(a) NATURAL JOIN u FULL JOIN v USING (x) AS y WHERE (a, b) IN (SELECT $1, CASE WHEN x[1:2] THEN 1 END) \
             GROUP BY ROLLUP (a) HAVING max(b) > 0x1F ORDER BY 1 USING < LIMIT (SELECT 1) FOR UPDATE OF t",
            "MERGE INTO a USING (VALUES (1, B'1')) b ON true WHEN MATCHED AND x THEN UPDATE SET (a, b) = (SELECT 1, 2) \
             WHEN NOT MATCHED THEN INSERT (a) VALUES (DEFAULT) RETURNING merge_action(), *",
            "INSERT INTO a.b AS c (d) VALUES ('x'::text COLLATE \"C\") ON CONFLICT (lower(e)) WHERE f DO UPDATE SET g = 1.5 WHERE h",
            "CREATE TABLE a.t (LIKE b, c serial REFERENCES d.e, CHECK (f(c)), EXCLUDE USING gist (c WITH =)) PARTITION BY RANGE (c)",
            "CREATE TABLE p PARTITION OF q FOR VALUES FROM (1) TO (MAXVALUE)",
            "ALTER TABLE a ADD CONSTRAINT b CHECK (c > 0), ALTER d TYPE e.f USING g::h",
            "COPY (SELECT JSON_OBJECT('a': b)) TO STDOUT WITH (FORMAT csv, FORCE_QUOTE (a))",
            "CREATE FUNCTION f(a int DEFAULT 1) RETURNS TABLE (b text) LANGUAGE sql AS 'SELECT 1'",
            "GRANT SELECT (a) ON TABLE b TO c",
            "CREATE POLICY p ON a.t USING (EXISTS (SELECT FROM b))",
        ] {
            let (mut serialised, mut relations) = (Vec::new(), 0);
            nodes(&serde_json::to_value(reparse(sql).unwrap()).unwrap(), &mut serialised, &mut relations);
            let mut walked = met(sql);
            assert_eq!(walked.iter().filter(|kind| kind.ends_with("RangeVar")).count(), relations, "{sql}");
            walked.retain(|kind| !kind.starts_with("bare"));
            walked.sort_unstable();
            serialised.sort_unstable();
            assert_eq!(walked, serialised, "{sql}");
        }
    }
}
