//! Queries: SELECT in its forms, set operations, WITH.

use super::super::schema::{TABLES, Ty, table};
use super::{Col, Generator, Query, columns};

const SET_OPERATORS: [&str; 6] = ["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"];

impl Generator {
    /// A query. `want`: the types that it must return; `outer`: the columns that it may refer to.
    pub(super) fn query(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let form = if depth == 0 { 0 } else { self.choices.below(20) };
        match form {
            8 | 9 => self.set_operation(depth, want, outer),
            10 | 11 => self.with(depth, want, outer),
            12 | 14 if want.is_none() => self.grouped(depth, outer),
            13 | 15 | 16 if want.is_none() => self.windowed(depth, outer),
            17 if want.is_none() => self.aggregated(depth, outer),
            18 => self.chain(depth, want, outer),
            19 if want.is_none() => self.set_returning(depth, outer),
            5 => self.limited(depth, want, outer),
            6 => self.distinct_on(depth, want, outer),
            _ => self.plain(depth, want, outer),
        }
    }

    fn types(&mut self) -> Vec<Ty> {
        let count = 1 + self.choices.below(3);
        (0..count).map(|_| self.some_type()).collect()
    }

    pub(super) fn list(&mut self, depth: usize, types: &[Ty], scope: &[Col]) -> String {
        let items: Vec<_> = types
            .iter()
            .enumerate()
            .map(|(at, ty)| format!("{} AS c{at}", self.expression(depth, *ty, scope)))
            .collect();
        items.join(", ")
    }

    pub(super) fn plain(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let types = want.map_or_else(|| self.types(), <[Ty]>::to_vec);
        let (from, own) = self.from(depth, outer);
        let scope = [own.as_slice(), outer].concat();
        let distinct = if self.choices.chance(15) { "DISTINCT " } else { "" };
        let list = self.list(depth, &types, &scope);
        let filter = self.filter(depth, &scope);
        Query { sql: format!("SELECT {distinct}{list} FROM {from}{filter}"), types }
    }

    pub(super) fn filter(&mut self, depth: usize, scope: &[Col]) -> String {
        if self.choices.chance(70) { format!(" WHERE {}", self.condition(depth, scope)) } else { String::new() }
    }

    /// `1, 2, 3`: an order by everything that shows.
    pub(super) fn positions(types: &[Ty]) -> String {
        (1..=types.len()).map(|it| it.to_string()).collect::<Vec<_>>().join(", ")
    }

    fn limited(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let Query { sql, types } = self.plain(depth, want, outer);
        let (limit, offset) = (1 + self.choices.below(6), self.choices.below(4));
        let limit = self.number(limit);
        let order = Self::positions(&types);
        let cut = match self.choices.below(5) {
            3 => format!("ORDER BY {order} DESC NULLS LAST OFFSET {offset} ROWS FETCH NEXT ({limit}) ROWS ONLY"),
            4 => format!("ORDER BY 1 FETCH FIRST ({limit}) ROWS WITH TIES"),
            _ => format!("ORDER BY {order} LIMIT {limit} OFFSET {offset}"),
        };
        Query { sql: format!("{sql} {cut}"), types }
    }

    fn distinct_on(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let Query { sql, types } = self.plain(depth, want, outer);
        let order = Self::positions(&types);
        let sql = sql.strip_prefix("SELECT ").map(|it| it.strip_prefix("DISTINCT ").unwrap_or(it)).unwrap_or_default();
        Query { sql: format!("SELECT DISTINCT ON (1) {sql} ORDER BY {order}"), types }
    }

    fn set_operation(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let left = self.query(depth - 1, want, outer);
        let right = self.query(depth - 1, Some(&left.types), outer);
        let operator = self.choices.pick(&SET_OPERATORS);
        let mut sql = format!("({}) {operator} ({})", left.sql, right.sql);
        if self.choices.chance(20) {
            sql = format!("{sql} ORDER BY {} LIMIT {}", Self::positions(&left.types), 1 + self.choices.below(9));
        }
        Query { sql, types: left.types }
    }

    /// Set operations in a row without parentheses: INTERSECT binds tighter.
    fn chain(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let first = self.plain(depth - 1, want, outer);
        let mut sql = first.sql;
        for _ in 0..=self.choices.below(2) {
            let next = if self.choices.chance(25) {
                let row: Vec<_> = first.types.iter().map(|ty| self.typed(0, *ty, outer)).collect();
                format!("VALUES ({})", row.join(", "))
            } else {
                self.plain(depth - 1, Some(&first.types), outer).sql
            };
            sql = format!("{sql} {} {next}", self.choices.pick(&SET_OPERATORS));
        }
        Query { sql, types: first.types }
    }

    fn with(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let before = self.ctes.len();
        let mut parts = Vec::new();
        let recursive = self.choices.chance(25);
        if recursive {
            parts.push(self.hierarchy());
        }
        for _ in 0..=self.choices.below(2) {
            let inner = self.query(depth - 1, None, outer);
            let name = self.alias("w");
            let fence = self.choices.pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            parts.push(format!("{name} AS {fence}({})", inner.sql));
            self.ctes.push((name, inner.types));
        }
        let body = self.query(depth - 1, want, outer);
        self.ctes.truncate(before);
        let keyword = if recursive { "RECURSIVE " } else { "" };
        // A WITH below a WITH stands in parentheses.
        Query { sql: format!("WITH {keyword}{} ({})", parts.join(", "), body.sql), types: body.types }
    }

    /// A walk down the tickets or the comments.
    fn hierarchy(&mut self) -> String {
        let name = self.alias("r");
        let (tree, text) = *self.choices.pick(&[("tickets", "title"), ("comments", "body")]);
        let start = self.condition(0, &columns(table(tree), "t"));
        let union = self.choices.pick(&["UNION ALL", "UNION"]);
        self.ctes.push((name.clone(), vec![Ty::Int, Ty::Text, Ty::Int]));
        format!(
            "{name} (c0, c1, c2) AS (SELECT t.id, t.{text}, 1 FROM {tree} t WHERE {start} {union} \
             SELECT x.id, x.{text}, {name}.c2 + 1 FROM {tree} x JOIN {name} ON x.parent_id = {name}.c0 WHERE {name}.c2 < 6)"
        )
    }

    /// Set-returning functions in the list.
    fn set_returning(&mut self, depth: usize, outer: &[Col]) -> Query {
        let (from, own) = self.from(depth - 1, outer);
        let scope = [own.as_slice(), outer].concat();
        let (call, ty) = match self.choices.below(4) {
            1 => (format!("unnest({})", self.expression(1, Ty::Texts, &scope)), Ty::Text),
            2 => (format!("regexp_split_to_table({}, '_')", self.expression(1, Ty::Text, &scope)), Ty::Text),
            3 => (format!("jsonb_path_query({}, '$.*')", self.expression(1, Ty::Json, &scope)), Ty::Json),
            _ => (format!("generate_series(1, {} % 4)", self.expression(1, Ty::Int, &scope)), Ty::Int),
        };
        let shown = self.expression(1, Ty::Text, &scope);
        let filter = self.filter(depth, &scope);
        Query { sql: format!("SELECT {shown} AS c0, {call} AS c1 FROM {from}{filter}"), types: vec![Ty::Text, ty] }
    }

    pub(super) fn values_list(&mut self) -> String {
        let rows: Vec<String> = (0..1 + self.choices.below(3))
            .map(|_| format!("({}, {})", self.typed(2, Ty::Int, &[]), self.typed(2, Ty::Text, &[])))
            .collect();
        format!("VALUES {}", rows.join(", "))
    }

    pub(super) fn locking(&mut self) -> String {
        let alias = self.alias("t");
        let table = *self.choices.pick(&TABLES[..TABLES.len() - 1]);
        let scope = columns(&table, &alias);
        let strength = self.choices.pick(&["UPDATE", "SHARE", "NO KEY UPDATE", "KEY SHARE"]);
        let list = self.list(1, &[Ty::Int, Ty::Text], &scope);
        let filter = self.filter(2, &scope);
        let of = self.choices.pick(&["", " NOWAIT"]);
        format!("SELECT {list} FROM {} {alias}{filter} FOR {strength} OF {alias}{of}", table.name)
    }
}
