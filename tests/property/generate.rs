//! Statements over the fixture, as ordinary apps and reports send them. Every one has one right answer: ties are broken or
//! do not show, no clock, no sequence, no error that depends on the order in which conditions are looked at.

use super::choices::Choices;
use super::schema::{EDGES, TABLES, Table, Ty, table};

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub text: String,
    /// Parameters, as text; empty for the simple protocol.
    pub values: Vec<String>,
    pub extended: bool,
    /// The table that it writes, which is read after it, before the rollback.
    pub writes: Option<&'static str>,
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
}

/// The statement that follows from these draws, and the draws that it took.
pub fn statement(choices: Choices, server_version: u32) -> (Statement, Vec<u32>) {
    let mut g = Generator { choices, aliases: 0, ctes: Vec::new(), extended: false, values: Vec::new() };
    g.extended = g.choices.chance(50);
    let (text, writes) = if g.choices.chance(30) {
        let (text, table) = g.write(server_version);
        (text, Some(table))
    } else {
        (g.read(), None)
    };
    let statement = Statement { text, values: g.values, extended: g.extended, writes };
    (statement, g.choices.drawn())
}

/// How deep queries and expressions nest.
const DEPTH: usize = 3;

impl Generator {
    fn alias(&mut self, prefix: &str) -> String {
        self.aliases += 1;
        format!("{prefix}{}", self.aliases)
    }

    fn read(&mut self) -> String {
        match self.choices.below(12) {
            10 => format!("TABLE {}", self.choices.pick(TABLES).name),
            11 => self.locking(),
            _ => self.query(DEPTH, None, &[]).sql,
        }
    }

    /// A query. `want`: the types that it must return; `outer`: the columns that it may refer to.
    fn query(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let form = if depth == 0 { 0 } else { self.choices.below(14) };
        match form {
            8 | 9 => self.set_operation(depth, want, outer),
            10 | 11 => self.with(depth, want, outer),
            12 if want.is_none() => self.grouped(depth, outer),
            13 if want.is_none() => self.windowed(depth, outer),
            5 => self.limited(depth, want, outer),
            6 => self.distinct_on(depth, want, outer),
            _ => self.plain(depth, want, outer),
        }
    }

    fn types(&mut self) -> Vec<Ty> {
        let count = 1 + self.choices.below(3);
        (0..count).map(|_| *self.choices.pick(&[Ty::Int, Ty::Text, Ty::Date])).collect()
    }

    fn list(&mut self, depth: usize, types: &[Ty], scope: &[Col]) -> String {
        let items: Vec<_> = types
            .iter()
            .enumerate()
            .map(|(at, ty)| format!("{} AS c{at}", self.expression(depth, *ty, scope)))
            .collect();
        items.join(", ")
    }

    fn plain(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let types = want.map_or_else(|| self.types(), <[Ty]>::to_vec);
        let (from, own) = self.from(depth, outer);
        let scope = [own.as_slice(), outer].concat();
        let distinct = if self.choices.chance(15) { "DISTINCT " } else { "" };
        let list = self.list(depth, &types, &scope);
        let filter = self.filter(depth, &scope);
        Query { sql: format!("SELECT {distinct}{list} FROM {from}{filter}"), types }
    }

    fn filter(&mut self, depth: usize, scope: &[Col]) -> String {
        if self.choices.chance(70) { format!(" WHERE {}", self.condition(depth, scope)) } else { String::new() }
    }

    /// `1, 2, 3`: an order by everything that shows.
    fn positions(types: &[Ty]) -> String {
        (1..=types.len()).map(|it| it.to_string()).collect::<Vec<_>>().join(", ")
    }

    fn limited(&mut self, depth: usize, want: Option<&[Ty]>, outer: &[Col]) -> Query {
        let Query { sql, types } = self.plain(depth, want, outer);
        let (limit, offset) = (1 + self.choices.below(6), self.choices.below(4));
        let limit = self.number(limit);
        Query { sql: format!("{sql} ORDER BY {} LIMIT {limit} OFFSET {offset}", Self::positions(&types)), types }
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
        let operator = self.choices.pick(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]);
        Query { sql: format!("({}) {operator} ({})", left.sql, right.sql), types: left.types }
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

    fn grouped(&mut self, depth: usize, outer: &[Col]) -> Query {
        let (from, own) = self.from(depth, outer);
        let scope = [own.as_slice(), outer].concat();
        let keys: Vec<Col> = (0..1 + self.choices.below(2)).map(|_| self.choices.pick(&own).clone()).collect();
        let (aggregate, ty) = self.aggregate(depth, &scope);
        let (second, second_ty) = self.aggregate(depth, &scope);
        let names: Vec<_> = keys.iter().map(|it| it.sql.as_str()).collect();
        let all = names.join(", ");
        let grouping = match self.choices.below(6) {
            3 => format!("ROLLUP ({all})"),
            4 => format!("CUBE ({all})"),
            5 => format!("GROUPING SETS (({all}), ({}), ())", names[0]),
            _ => all.clone(),
        };
        let filter = self.filter(depth, &scope);
        let having = match self.choices.below(4) {
            2 => " HAVING count(*) > 1".to_owned(),
            3 => format!(" HAVING {} IS NOT NULL", self.aggregate(0, &scope).0),
            _ => String::new(),
        };
        let mut types: Vec<Ty> = keys.iter().map(|it| it.ty).collect();
        types.extend([ty, second_ty]);
        let mut items: Vec<String> = keys.iter().map(|it| it.sql.clone()).collect();
        items.extend([aggregate, second]);
        let list: Vec<_> = items.iter().enumerate().map(|(at, it)| format!("{it} AS c{at}")).collect();
        Query { sql: format!("SELECT {} FROM {from}{filter} GROUP BY {grouping}{having}", list.join(", ")), types }
    }

    fn aggregate(&mut self, depth: usize, scope: &[Col]) -> (String, Ty) {
        let depth = depth.saturating_sub(2);
        let (sql, ty) = match self.choices.below(8) {
            1 => (format!("sum({})::int", self.expression(depth, Ty::Int, scope)), Ty::Int),
            2 => (format!("max({})", self.expression(depth, Ty::Int, scope)), Ty::Int),
            3 => (format!("min({})", self.expression(depth, Ty::Text, scope)), Ty::Text),
            4 => (format!("count(DISTINCT {})::int", self.expression(depth, Ty::Text, scope)), Ty::Int),
            5 => {
                let item = self.expression(depth, Ty::Text, scope);
                return (format!("string_agg({item}, ',' ORDER BY {item})"), Ty::Text);
            }
            6 => (format!("min({})", self.expression(depth, Ty::Date, scope)), Ty::Date),
            7 => (format!("count({})", self.expression(depth, Ty::Int, scope)), Ty::Int),
            _ => return ("count(*)".to_owned(), Ty::Int),
        };
        // A cast binds tighter than FILTER would read.
        if sql.ends_with(')') && self.choices.chance(20) {
            return (format!("{sql} FILTER (WHERE {})", self.condition(depth, scope)), ty);
        }
        (sql, ty)
    }

    fn windowed(&mut self, depth: usize, outer: &[Col]) -> Query {
        let (from, own) = self.from(depth, outer);
        let scope = [own.as_slice(), outer].concat();
        let (partition, order) = (self.choices.pick(&own).sql.clone(), self.choices.pick(&own).sql.clone());
        let definition = match self.choices.below(3) {
            1 => format!("ORDER BY {order}"),
            2 => format!("PARTITION BY {partition}"),
            _ => format!("PARTITION BY {partition} ORDER BY {order}"),
        };
        let ordered = definition.contains("ORDER");
        let mut frames = vec![""];
        if ordered {
            frames.extend([
                " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
                " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                " GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP",
            ]);
        }
        let frame = *self.choices.pick(&frames);
        let item = self.expression(1, Ty::Int, &scope);
        let function = match self.choices.below(5) {
            1 => format!("sum({item})"),
            2 => "rank()".to_owned(),
            3 => "dense_rank()".to_owned(),
            4 => format!("max({item})"),
            _ => "count(*)".to_owned(),
        };
        let plain = self.choices.pick(&own).clone();
        let filter = self.filter(depth, &scope);
        let sql = if self.choices.chance(40) {
            format!(
                "SELECT {} AS c0, ({function} OVER win)::int AS c1 FROM {from}{filter} WINDOW win AS ({definition}{frame})",
                plain.sql
            )
        } else {
            format!(
                "SELECT {} AS c0, ({function} OVER ({definition}{frame}))::int AS c1 FROM {from}{filter}",
                plain.sql
            )
        };
        Query { sql, types: vec![plain.ty, Ty::Int] }
    }

    fn locking(&mut self) -> String {
        let alias = self.alias("t");
        let table = *self.choices.pick(&TABLES[..TABLES.len() - 1]);
        let scope = columns(&table, &alias);
        let strength = self.choices.pick(&["UPDATE", "SHARE", "NO KEY UPDATE", "KEY SHARE"]);
        let list = self.list(1, &[Ty::Int, Ty::Text], &scope);
        let filter = self.filter(2, &scope);
        format!("SELECT {list} FROM {} {alias}{filter} FOR {strength} OF {alias}", table.name)
    }

    /// A FROM clause and the columns that it offers.
    fn from(&mut self, depth: usize, outer: &[Col]) -> (String, Vec<Col>) {
        let (mut sql, mut scope) = self.item(depth, outer);
        let joins = if depth == 0 { 0 } else { self.choices.below(3) };
        for _ in 0..joins {
            let kind = self.choices.below(9);
            if kind == 8 {
                // A hint that the columns on the left are in reach.
                let reach = [scope.as_slice(), outer].concat();
                let inner = self.query(depth - 1, None, &reach);
                let alias = self.alias("l");
                let join = *self.choices.pick(&["CROSS JOIN LATERAL", "LEFT JOIN LATERAL"]);
                let on = if join.starts_with("LEFT") { " ON true" } else { "" };
                sql = format!("{sql} {join} ({}) {alias}{on}", inner.sql);
                scope.extend(outputs(&alias, &inner.types));
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
                _ => format!("{sql} JOIN {item} ON {}", self.join_condition(depth, &scope, &right)),
            };
            scope.extend(right);
        }
        (sql, scope)
    }

    fn equality(&mut self, left: &[Col], right: &[Col]) -> String {
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

    fn item(&mut self, depth: usize, outer: &[Col]) -> (String, Vec<Col>) {
        let form = if depth == 0 { self.choices.below(7) } else { self.choices.below(12) };
        match form {
            5 if !self.ctes.is_empty() => {
                let (name, types) = self.choices.pick(&self.ctes.clone()).clone();
                let alias = self.alias("q");
                let scope = outputs(&alias, &types);
                (format!("{name} AS {alias}"), scope)
            }
            6 => {
                let alias = self.alias("g");
                let scope = vec![Col { sql: format!("{alias}.c0"), ty: Ty::Int }];
                (format!("generate_series(1, {}) AS {alias}(c0)", 1 + self.choices.below(5)), scope)
            }
            7 => {
                let alias = self.alias("v");
                let scope = outputs(&alias, &[Ty::Int, Ty::Text]);
                (format!("(VALUES (1, 'new'), (2, 'paid'), (NULL, 'ALPHA_name_3')) {alias}(c0, c1)"), scope)
            }
            8..=10 => {
                let inner = self.query(depth - 1, None, outer_of(outer));
                let alias = self.alias("s");
                let scope = outputs(&alias, &inner.types);
                (format!("({}) {alias}", inner.sql), scope)
            }
            11 => {
                let alias = self.alias("t");
                let table = *self.choices.pick(TABLES);
                (format!("ONLY {} AS {alias}", table.name), columns(&table, &alias))
            }
            _ => {
                let alias = self.alias("t");
                let table = *self.choices.pick(TABLES);
                (format!("{} {alias}", table.name), columns(&table, &alias))
            }
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

    fn expression(&mut self, depth: usize, ty: Ty, scope: &[Col]) -> String {
        let fitting: Vec<&Col> = scope.iter().filter(|it| it.ty == ty).collect();
        let form = if depth == 0 { self.choices.below(4) } else { self.choices.below(12) };
        if form < 6 && !fitting.is_empty() {
            return self.choices.pick(&fitting).sql.clone();
        }
        let below = depth.saturating_sub(1);
        match (ty, form) {
            (_, 6) if depth > 0 => self.scalar(below, ty, scope),
            (_, 7) => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.condition(below, scope),
                self.expression(below, ty, scope),
                self.expression(below, ty, scope)
            ),
            (_, 8) => {
                format!("coalesce({}, {})", self.expression(below, ty, scope), self.expression(below, ty, scope))
            }
            (Ty::Int, 9) => format!("({} + {})", self.expression(below, ty, scope), self.choices.below(9)),
            (Ty::Int, 10) => format!("length({})", self.expression(below, Ty::Text, scope)),
            (Ty::Int, 11) => format!("extract(day FROM {})::int", self.expression(below, Ty::Date, scope)),
            (Ty::Text, 9) => {
                format!("({} || {})", self.expression(below, ty, scope), self.expression(below, ty, scope))
            }
            (Ty::Text, 10) => format!("upper({})", self.expression(below, ty, scope)),
            (Ty::Text, 11) => format!("{}::text", self.expression(below, Ty::Int, scope)),
            (Ty::Date, 9..) => format!("({} + {})", self.expression(below, ty, scope), self.choices.below(40)),
            (Ty::Int, _) => {
                let value = self.choices.below(20);
                self.number(value)
            }
            (Ty::Text, _) => self.word(),
            (Ty::Date, _) => format!("date '2024-02-{:02}'", 1 + self.choices.below(28)),
        }
    }

    /// A subquery that returns one row.
    fn scalar(&mut self, depth: usize, ty: Ty, outer: &[Col]) -> String {
        let (from, own) = self.from(depth, outer);
        let scope = [own.as_slice(), outer].concat();
        // An aggregate over nothing of its own level would belong to the outer query.
        let filter = self.filter(depth, &scope);
        match own.iter().find(|it| it.ty == ty) {
            Some(own) => format!("(SELECT max({}) FROM {from}{filter})", own.sql),
            None => {
                let value = self.expression(0, ty, &[]);
                format!("(SELECT {value} FROM {from}{filter} LIMIT 1)")
            }
        }
    }

    fn condition(&mut self, depth: usize, scope: &[Col]) -> String {
        let below = depth.saturating_sub(1);
        let form = if depth == 0 { self.choices.below(8) } else { self.choices.below(20) };
        let ty = *self.choices.pick(&[Ty::Int, Ty::Text, Ty::Date]);
        let one = |g: &mut Self| g.expression(below, ty, scope);
        let left = one(self);
        match form {
            1 => format!("{left} <> {}", one(self)),
            2 => format!("{left} < {}", one(self)),
            3 => format!("{left} IS NOT NULL"),
            4 => format!("{left} BETWEEN {} AND {}", one(self), one(self)),
            5 => format!("{left} IS DISTINCT FROM {}", one(self)),
            6 => format!("{left} IN ({}, {})", one(self), one(self)),
            7 => format!("{left}::text LIKE '%{}%'", self.choices.pick(&["1", "ALPHA", "_2", "a"])),
            8 | 9 => format!("({} AND {})", self.condition(below, scope), self.condition(below, scope)),
            10 => format!("({} OR {})", self.condition(below, scope), self.condition(below, scope)),
            11 => format!("NOT ({})", self.condition(below, scope)),
            12 | 13 => {
                let inner = self.plain(below, Some(&[ty]), scope);
                let not = self.choices.pick(&["", "", "NOT "]);
                format!("{not}EXISTS ({})", inner.sql)
            }
            14 | 15 => {
                let inner = self.query(below, Some(&[ty]), scope);
                let not = self.choices.pick(&["IN", "IN", "NOT IN"]);
                format!("{left} {not} ({})", inner.sql)
            }
            16 => {
                let inner = self.query(below, Some(&[ty]), scope);
                let operator = self.choices.pick(&["= ANY", "< ALL", ">= ANY", "<> ALL"]);
                format!("{left} {operator} ({})", inner.sql)
            }
            17 => format!("{left} = ANY (ARRAY[{}, {}])", one(self), one(self)),
            18 => {
                let inner = self.plain(below, Some(&[ty, Ty::Int]), scope);
                format!("({left}, {}) IN ({})", self.expression(0, Ty::Int, scope), inner.sql)
            }
            19 => format!("({left}, {}) = ({}, 1)", self.expression(0, Ty::Int, scope), one(self)),
            _ => format!("{left} = {}", one(self)),
        }
    }
}

impl Generator {
    /// A statement that writes, and the table that it writes.
    fn write(&mut self, server_version: u32) -> (String, &'static str) {
        let forms = if server_version >= 150_000 { 8 } else { 7 };
        match self.choices.below(forms) {
            0 => self.delete(),
            1 | 2 => self.update(),
            3 => self.update_along_an_edge(),
            4 => self.insert_select(),
            5 => self.written_and_read(),
            7 => self.merge(),
            _ => self.insert(),
        }
    }

    fn written(&mut self, fits: impl Fn(&Table) -> bool) -> Table {
        let fitting: Vec<Table> = TABLES.iter().filter(|it| fits(it)).copied().collect();
        *self.choices.pick(&fitting)
    }

    fn returning(&mut self, scope: &[Col]) -> String {
        match self.choices.below(3) {
            0 => String::new(),
            1 => format!(" RETURNING {}", self.list(1, &[Ty::Int, Ty::Text], scope)),
            _ => {
                let columns: Vec<_> = scope.iter().map(|it| it.sql.clone()).collect();
                format!(" RETURNING {}", columns.join(", "))
            }
        }
    }

    fn delete(&mut self) -> (String, &'static str) {
        let table = self.written(|it| it.insert.is_some());
        let alias = self.alias("t");
        let scope = columns(&table, &alias);
        let using = if self.choices.chance(30) {
            let (item, right) = self.item(1, &[]);
            let equality = self.equality(&scope, &right);
            format!(" USING {item} WHERE {equality} AND {}", self.condition(1, &[scope.as_slice(), &right].concat()))
        } else {
            self.filter(DEPTH - 1, &scope)
        };
        let returning = self.returning(&scope);
        (format!("DELETE FROM {} {alias}{using}{returning}", table.name), table.name)
    }

    fn assignments(&mut self, table: &Table, scope: &[Col]) -> String {
        let (texts, numbers) = table.update;
        let mut parts: Vec<String> = Vec::new();
        for column in texts.iter().take(1 + self.choices.below(2)) {
            parts.push(format!("{column} = {}", self.expression(2, Ty::Text, scope)));
        }
        for column in numbers {
            if parts.is_empty() || self.choices.chance(50) {
                parts.push(format!("{column} = {}", self.expression(1, Ty::Int, scope)));
            }
        }
        parts.join(", ")
    }

    fn update(&mut self) -> (String, &'static str) {
        let table = self.written(|it| !it.tenant.0.is_empty() && it.name != "measurements");
        let alias = self.alias("t");
        let scope = columns(&table, &alias);
        let set = self.assignments(&table, &scope);
        let filter = self.filter(DEPTH - 1, &scope);
        let returning = self.returning(&scope);
        (format!("UPDATE {} AS {alias} SET {set}{filter}{returning}", table.name), table.name)
    }

    fn update_along_an_edge(&mut self) -> (String, &'static str) {
        let (from, column, to, key) = *self.choices.pick(EDGES);
        let (one, other) = (table(from), table(to));
        let (alias, partner) = (self.alias("t"), self.alias("p"));
        let scope = [columns(one, &alias), columns(other, &partner)].concat();
        let set = self.assignments(one, &scope);
        let condition = self.condition(1, &scope);
        let returning = self.returning(&scope);
        let sql = format!(
            "UPDATE {from} {alias} SET {set} FROM {to} {partner} WHERE {alias}.{column} = {partner}.{key} AND {condition}{returning}"
        );
        (sql, one.name)
    }

    fn insert_head(&mut self, table: &Table) -> (String, String) {
        let (names, values) = table.insert.expect("a table that takes rows");
        let (tenant, value) = table.tenant;
        let n = *self.choices.pick(&[90_001, 90_002, 3, 7, 90_011, 1]);
        let values = values.replace("{n}", &n.to_string());
        (format!("INSERT INTO {} AS it ({names}, {tenant})", table.name), format!("{values}, {value}"))
    }

    fn insert(&mut self) -> (String, &'static str) {
        let table = self.written(|it| it.insert.is_some());
        let (head, first) = self.insert_head(&table);
        let mut rows = vec![format!("({first})")];
        for _ in 0..self.choices.below(3) {
            let (_, row) = self.insert_head(&table);
            rows.push(format!("({row})"));
        }
        let conflict = self.conflict(&table);
        let returning = self.returning(&columns(&table, "it"));
        (format!("{head} VALUES {}{conflict}{returning}", rows.join(", ")), table.name)
    }

    fn conflict(&mut self, table: &Table) -> String {
        let Some((target, column)) = table.conflict else { return String::new() };
        match self.choices.below(4) {
            1 => " ON CONFLICT DO NOTHING".to_owned(),
            2 => format!(" ON CONFLICT ({target}) DO UPDATE SET {column} = excluded.{column}"),
            3 => {
                let condition = self.condition(1, &columns(table, "it"));
                format!(" ON CONFLICT ({target}) DO UPDATE SET {column} = excluded.{column} WHERE {condition}")
            }
            _ => String::new(),
        }
    }

    fn insert_select(&mut self) -> (String, &'static str) {
        let table = self.written(|it| it.insert.is_some());
        let (names, values) = table.insert.expect("a table that takes rows");
        let (tenant, value) = table.tenant;
        let source = self.written(|it| it.columns.iter().any(|(name, _)| *name == "id"));
        let scope = columns(&source, "src");
        let values = values.replace("{n}", "(src.id + 90000)");
        let filter = self.filter(2, &scope);
        let conflict = self.conflict(&table);
        let cast = if tenant == "org_id" { "::uuid" } else { "" };
        let returning = self.returning(&columns(&table, "it"));
        let sql = format!(
            "INSERT INTO {} AS it ({names}, {tenant}) SELECT {values}, {value}{cast} FROM {} src{filter}{conflict}{returning}",
            table.name, source.name
        );
        (sql, table.name)
    }

    /// WITH ... AS (UPDATE ... RETURNING) SELECT: the snapshot is the one before.
    fn written_and_read(&mut self) -> (String, &'static str) {
        let name = self.alias("w");
        let table = self.written(|it| it.insert.is_some() && it.name != "measurements");
        let alias = self.alias("t");
        let scope = columns(&table, &alias);
        let action = if self.choices.chance(40) {
            let condition = self.condition(1, &scope);
            format!("DELETE FROM {} {alias} WHERE {condition}", table.name)
        } else {
            let set = self.assignments(&table, &scope);
            let condition = self.condition(1, &scope);
            format!("UPDATE {} {alias} SET {set} WHERE {condition}", table.name)
        };
        let list = self.list(0, &[Ty::Int, Ty::Text], &scope);
        self.ctes.push((name.clone(), vec![Ty::Int, Ty::Text]));
        let body = self.query(1, None, &[]);
        self.ctes.pop();
        (format!("WITH {name} AS ({action} RETURNING {list}) {}", body.sql), table.name)
    }

    fn merge(&mut self) -> (String, &'static str) {
        let table = self.written(|it| it.insert.is_some() && it.columns.iter().any(|(name, _)| *name == "id"));
        let (names, values) = table.insert.expect("a table that takes rows");
        let (tenant, value) = table.tenant;
        let scope = columns(&table, "it");
        let keys =
            self.choices.pick(&["(VALUES (3), (7), (90021)) src(id)", "(SELECT id FROM orders WHERE id < 9) src"]);
        let keys = (*keys).to_owned();
        let set = self.assignments(&table, &scope);
        let condition = self.condition(1, &scope);
        let matched = match self.choices.below(3) {
            1 => "DELETE".to_owned(),
            2 => "DO NOTHING".to_owned(),
            _ => format!("UPDATE SET {set}"),
        };
        let values = values.replace("{n}", "(src.id + 90000)");
        let cast = if tenant == "org_id" { "::uuid" } else { "" };
        let sql = format!(
            "MERGE INTO {} AS it USING {keys} ON it.id = src.id WHEN MATCHED AND {condition} THEN {matched} \
             WHEN NOT MATCHED THEN INSERT ({names}, {tenant}) VALUES ({values}, {value}{cast})",
            table.name
        );
        (sql, table.name)
    }
}

/// A derived table without LATERAL sees nothing of its surroundings' FROM; what is further out stays in reach.
fn outer_of(outer: &[Col]) -> &[Col] {
    outer
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
