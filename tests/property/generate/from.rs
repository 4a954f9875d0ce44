//! FROM: tables, joins, derived tables, functions, LATERAL.

use super::super::schema::{TABLES, Ty};
use super::{Col, Generator, columns, outputs};

/// Tables whose common columns are of the same types, with those columns.
const COMMON: [(&str, &str, &str); 5] = [
    ("orders", "payments", "id, tenant_id"),
    ("customers", "profiles", "tenant_id"),
    ("wallets", "docs", "id, tenant_id"),
    ("order_items", "payments", "order_id, tenant_id"),
    ("comments", "wallets", "id, tenant_id"),
];

impl Generator {
    /// A FROM clause and the columns that it offers.
    pub(super) fn from(&mut self, depth: usize, outer: &[Col]) -> (String, Vec<Col>) {
        let (mut sql, mut scope) = self.item(depth, outer);
        let joins = if depth == 0 { 0 } else { self.choices.below(3) };
        for _ in 0..joins {
            let kind = self.choices.below(11);
            if kind == 8 || kind == 9 {
                // A hint that the columns on the left are in reach.
                let reach = [scope.as_slice(), outer].concat();
                let (item, right) = self.lateral(depth, &reach);
                let join = *self.choices.pick(&["CROSS JOIN LATERAL", "LEFT JOIN LATERAL", ", LATERAL"]);
                let on = if join.starts_with("LEFT") { " ON true" } else { "" };
                sql = format!("{sql} {join} {item}{on}");
                scope.extend(right);
                if join.starts_with(',') {
                    break;
                }
                continue;
            }
            let (item, right) = self.item(depth - 1, outer);
            sql = match kind {
                1 => format!("{sql} LEFT JOIN {item} ON {}", self.join_condition(depth, &scope, &right)),
                2 => format!("{sql} RIGHT JOIN {item} ON {}", self.join_condition(depth, &scope, &right)),
                // Only conditions that can be merged or hashed are supported.
                3 => format!("{sql} FULL JOIN {item} ON {}", self.equality(&scope, &right)),
                4 => format!("{sql} CROSS JOIN {item}"),
                5 => format!("({sql} JOIN {item} ON {})", self.equality(&scope, &right)),
                6 => format!("{sql} LEFT JOIN ({item} CROSS JOIN countries) ON {}", self.equality(&scope, &right)),
                10 => format!("{sql}, {item}"),
                _ => format!("{sql} JOIN {item} ON {}", self.join_condition(depth, &scope, &right)),
            };
            scope.extend(right);
            // What is joined to the right of a comma does not see what is left of it.
            if kind == 10 {
                break;
            }
        }
        (sql, scope)
    }

    /// A derived table or a function over columns to its left.
    fn lateral(&mut self, depth: usize, reach: &[Col]) -> (String, Vec<Col>) {
        let alias = self.alias("l");
        let (call, ty) = match self.choices.below(8) {
            4 => (format!("unnest({})", self.expression(1, Ty::Texts, reach)), Ty::Text),
            5 => (format!("generate_series(1, {} % 3)", self.expression(1, Ty::Int, reach)), Ty::Int),
            6 => {
                let sql = format!("jsonb_each_text(jsonb_build_object('a', {}))", self.expression(1, Ty::Int, reach));
                return (format!("{sql} AS {alias}(c0, c1)"), outputs(&alias, &[Ty::Text, Ty::Text]));
            }
            7 => {
                let texts = self.expression(1, Ty::Texts, reach);
                let sql = format!("unnest({texts}) WITH ORDINALITY AS {alias}(c0, c1)");
                return (sql, outputs(&alias, &[Ty::Text, Ty::Int]));
            }
            _ => {
                let inner = self.query(depth - 1, None, reach);
                return (format!("({}) {alias}", inner.sql), outputs(&alias, &inner.types));
            }
        };
        (format!("{call} AS {alias}(c0)"), outputs(&alias, &[ty]))
    }

    pub(super) fn equality(&mut self, left: &[Col], right: &[Col]) -> String {
        let one = self.choices.pick(left).clone();
        match right.iter().find(|it| it.ty == one.ty) {
            Some(other) => format!("{} = {}", one.sql, other.sql),
            None => format!("{}::text = {}::text", one.sql, right[0].sql),
        }
    }

    fn join_condition(&mut self, depth: usize, left: &[Col], right: &[Col]) -> String {
        let equality = self.equality(left, right);
        if self.choices.chance(30) {
            let both = [left, right].concat();
            return format!("{equality} AND {}", self.condition(depth.min(2) - 1, &both));
        }
        equality
    }

    pub(super) fn item(&mut self, depth: usize, outer: &[Col]) -> (String, Vec<Col>) {
        let form = if depth == 0 { self.choices.below(7) } else { self.choices.below(18) };
        match form {
            5 if !self.ctes.is_empty() => {
                let (name, types) = self.choices.pick(&self.ctes.clone()).clone();
                let alias = self.alias("q");
                let scope = outputs(&alias, &types);
                (format!("{name} AS {alias}"), scope)
            }
            6 => self.series(),
            7 => {
                let alias = self.alias("v");
                let scope = outputs(&alias, &[Ty::Int, Ty::Text]);
                (format!("(VALUES (1, 'new'), (2, 'paid'), (NULL, 'ALPHA_name_3')) {alias}(c0, c1)"), scope)
            }
            8..=10 => {
                let inner = self.query(depth - 1, None, outer);
                let alias = self.alias("s");
                let scope = outputs(&alias, &inner.types);
                (format!("({}) {alias}", inner.sql), scope)
            }
            11 => {
                let (table, alias) = (*self.choices.pick(TABLES), self.alias("t"));
                (format!("ONLY {} AS {alias}", table.name), columns(&table, &alias))
            }
            12 | 13 => self.common_columns(),
            14 => self.renamed(),
            15 => {
                let (table, alias) = (*self.choices.pick(TABLES), self.alias("t"));
                let mut scope = columns(&table, &alias);
                // The whole row.
                scope.push(Col { sql: format!("{alias}::text"), ty: Ty::Text });
                scope.push(Col { sql: format!("to_jsonb({alias})"), ty: Ty::Json });
                (format!("public.{} {alias}", table.name), scope)
            }
            16 => {
                let alias = self.alias("t");
                let parent = *self.choices.pick(&["events", "invoices"]);
                let sql = format!("(SELECT x.id AS c0, x.tableoid::regclass::text AS c1 FROM {parent} * x) {alias}");
                (sql, outputs(&alias, &[Ty::Int, Ty::Text]))
            }
            17 => {
                let (table, alias) = (*self.choices.pick(&TABLES[..9]), self.alias("t"));
                (format!("{} {alias} TABLESAMPLE BERNOULLI (100) REPEATABLE (1)", table.name), columns(&table, &alias))
            }
            _ => {
                let (table, alias) = (*self.choices.pick(TABLES), self.alias("t"));
                (format!("{} {alias}", table.name), columns(&table, &alias))
            }
        }
    }

    fn series(&mut self) -> (String, Vec<Col>) {
        let alias = self.alias("g");
        let plain = |ty| vec![Col { sql: format!("{alias}.c0"), ty }];
        match self.choices.below(5) {
            1 => {
                let sql = "generate_series(timestamp '2024-01-05', timestamp '2024-02-20', interval '9 days')";
                (format!("{sql} AS {alias}(c0)"), vec![Col { sql: format!("{alias}.c0::date"), ty: Ty::Date }])
            }
            2 => (format!("unnest(ARRAY['vip', 'paid', NULL, 'it''s']) AS {alias}(c0)"), plain(Ty::Text)),
            3 => (format!("jsonb_array_elements('[1, \"two\", {{\"n\": 3}}]') AS {alias}(c0)"), plain(Ty::Json)),
            4 => {
                let sql = format!("ROWS FROM (generate_series(1, 3), unnest('{{a,b}}'::text[])) AS {alias}(c0, c1)");
                (sql, outputs(&alias, &[Ty::Int, Ty::Text]))
            }
            _ => (format!("generate_series(1, {}) AS {alias}(c0)", 1 + self.choices.below(5)), plain(Ty::Int)),
        }
    }

    /// JOIN USING and NATURAL JOIN, with the merged columns shown.
    fn common_columns(&mut self) -> (String, Vec<Col>) {
        let (left, right, using) = *self.choices.pick(&COMMON);
        let kind = *self.choices.pick(&["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"]);
        let alias = self.alias("s");
        let filter = self.choices.pick(&["", " WHERE y.tenant_id IS NULL", " WHERE x.tenant_id = 1"]);
        let key = using.split(", ").next().unwrap_or(using);
        let join = match self.choices.below(3) {
            1 if using.contains(',') => format!("{left} x NATURAL {kind} {right} y"),
            _ => format!("{left} x {kind} {right} y USING ({using})"),
        };
        let sql = format!("(SELECT {key} AS c0, x.{key}::text AS c1, y.{key}::text AS c2 FROM {join}{filter}) {alias}");
        (sql, outputs(&alias, &[Ty::Int, Ty::Text, Ty::Text]))
    }

    /// Columns under other names: of a table, of a join.
    fn renamed(&mut self) -> (String, Vec<Col>) {
        let alias = self.alias("a");
        match self.choices.below(3) {
            1 => {
                let sql = format!("(settings CROSS JOIN wallets) AS {alias} (a, c1, b, c0, d, e, f)");
                (sql, outputs(&alias, &[Ty::Int, Ty::Text]))
            }
            2 => {
                let sql = format!(
                    "(note x LEFT JOIN settings y ON y.k = 'k' || x.note_id) AS {alias} (c0, a, c1, b, c2, c3)"
                );
                (sql, outputs(&alias, &[Ty::Int, Ty::Text, Ty::Text, Ty::Text]))
            }
            _ => (format!("settings AS {alias} (c0, c1)"), outputs(&alias, &[Ty::Int, Ty::Text])),
        }
    }
}
