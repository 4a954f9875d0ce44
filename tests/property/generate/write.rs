//! Statements that write, and the tables that they write.

use super::super::schema::{EDGES, TABLES, Table, Ty, table};
use super::{Col, DEPTH, Generator, columns, outputs};

type Written = (String, Vec<&'static str>);

impl Generator {
    /// A statement that writes, and the tables that it writes.
    pub(super) fn write(&mut self) -> Written {
        let forms = if self.server_version >= 150_000 { 15 } else { 12 };
        match self.choices.below(forms) {
            0 => self.delete(),
            1 | 2 => self.update(),
            3 => self.update_along_an_edge(),
            4 | 5 => self.insert_select(),
            6 => self.written_and_read(),
            7 => self.moved(),
            8 => self.with_before(),
            9 => self.update_from_query(),
            12..=14 => self.merge(),
            _ => self.insert(),
        }
    }

    fn written(&mut self, fits: impl Fn(&Table) -> bool) -> Table {
        let fitting: Vec<Table> = TABLES.iter().filter(|it| fits(it)).copied().collect();
        *self.choices.pick(&fitting)
    }

    fn returning(&mut self, scope: &[Col]) -> String {
        match self.choices.below(4) {
            0 => String::new(),
            1 => format!(" RETURNING {}", self.list(1, &[Ty::Int, Ty::Text], scope)),
            2 => format!(" RETURNING {}", self.list(2, &[Ty::Text, Ty::Json], scope)),
            _ => {
                let columns: Vec<_> = scope.iter().map(|it| it.sql.clone()).collect();
                format!(" RETURNING {}", columns.join(", "))
            }
        }
    }

    fn delete(&mut self) -> Written {
        let table = self.written(|it| it.insert.is_some());
        let alias = self.alias("t");
        let scope = columns(&table, &alias);
        let using = if self.choices.chance(40) {
            let (item, right) = self.item(1, &[]);
            let equality = self.equality(&scope, &right);
            format!(" USING {item} WHERE {equality} AND {}", self.condition(1, &[scope.as_slice(), &right].concat()))
        } else {
            self.filter(DEPTH - 1, &scope)
        };
        let returning = self.returning(&scope);
        let only = if self.choices.chance(10) { "ONLY " } else { "" };
        (format!("DELETE FROM {only}{} {alias}{using}{returning}", table.name), vec![table.name])
    }

    fn assignments(&mut self, table: &Table, scope: &[Col]) -> String {
        let (texts, numbers) = table.update;
        let mut parts: Vec<String> = Vec::new();
        for column in texts.iter().take(1 + self.choices.below(2)) {
            parts.push(match self.choices.below(8) {
                5 => format!("({column}) = ROW({})", self.expression(1, Ty::Text, scope)),
                6 => format!("{column} = 'ALPHA_' || {}", self.expression(1, Ty::Text, scope)),
                7 => format!("({column}) = (SELECT {} AS one)", self.typed(1, Ty::Text, scope)),
                _ => format!("{column} = {}", self.expression(2, Ty::Text, scope)),
            });
        }
        for column in numbers {
            if parts.is_empty() || self.choices.chance(50) {
                parts.push(format!("{column} = {}", self.expression(1, Ty::Int, scope)));
            }
        }
        parts.join(", ")
    }

    fn update(&mut self) -> Written {
        let table = self.written(|it| !it.tenant.0.is_empty() && it.name != "measurements");
        let alias = self.alias("t");
        let scope = columns(&table, &alias);
        let set = self.assignments(&table, &scope);
        let filter = self.filter(DEPTH - 1, &scope);
        let returning = self.returning(&scope);
        (format!("UPDATE {} AS {alias} SET {set}{filter}{returning}", table.name), vec![table.name])
    }

    fn update_along_an_edge(&mut self) -> Written {
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
        (sql, vec![one.name])
    }

    /// UPDATE ... FROM a query with one row for each key.
    fn update_from_query(&mut self) -> Written {
        let table = self.written(|it| !it.tenant.0.is_empty() && it.columns.iter().any(|(name, _)| *name == "id"));
        let (alias, partner) = (self.alias("t"), self.alias("s"));
        let inner = self.plain(2, Some(&[Ty::Int, Ty::Text]), &[]);
        let scope = [columns(&table, &alias), outputs(&partner, &[Ty::Int, Ty::Text])].concat();
        let set = self.assignments(&table, &scope);
        let returning = self.returning(&scope);
        let sql = format!(
            "UPDATE {} {alias} SET {set} FROM (SELECT i.c0, max(i.c1) AS c1 FROM ({}) i GROUP BY i.c0) {partner} \
             WHERE {alias}.id = {partner}.c0{returning}",
            table.name, inner.sql
        );
        (sql, vec![table.name])
    }

    fn insert_head(&mut self, table: &Table) -> (String, String) {
        let (names, values) = table.insert.expect("a table that takes rows");
        let (tenant, value) = table.tenant;
        let n = *self.choices.pick(&[90_001, 90_002, 3, 7, 90_011, 1]);
        let values = values.replace("{n}", &n.to_string());
        (format!("INSERT INTO {} AS it ({names}, {tenant})", table.name), format!("{values}, {value}"))
    }

    fn insert(&mut self) -> Written {
        let table = self.written(|it| it.insert.is_some());
        let (head, first) = self.insert_head(&table);
        let mut rows = vec![format!("({first})")];
        for _ in 0..self.choices.below(3) {
            let (_, row) = self.insert_head(&table);
            rows.push(format!("({row})"));
        }
        let conflict = self.conflict(&table);
        let returning = self.returning(&columns(&table, "it"));
        (format!("{head} VALUES {}{conflict}{returning}", rows.join(", ")), vec![table.name])
    }

    fn conflict(&mut self, table: &Table) -> String {
        let Some((target, column)) = table.conflict else { return String::new() };
        let scope = columns(table, "it");
        match self.choices.below(6) {
            1 => " ON CONFLICT DO NOTHING".to_owned(),
            2 => format!(" ON CONFLICT ({target}) DO UPDATE SET {column} = excluded.{column}"),
            3 => {
                let condition = self.condition(1, &scope);
                format!(" ON CONFLICT ({target}) DO UPDATE SET {column} = excluded.{column} WHERE {condition}")
            }
            4 => format!(" ON CONFLICT ({target}) DO NOTHING"),
            5 if table.update.0.contains(&column) => {
                let value = self.expression(2, Ty::Text, &scope);
                format!(" ON CONFLICT ({target}) DO UPDATE SET {column} = {value} || excluded.{column}")
            }
            _ => String::new(),
        }
    }

    fn insert_select(&mut self) -> Written {
        let table = self.written(|it| it.insert.is_some());
        let (names, values) = table.insert.expect("a table that takes rows");
        let (tenant, value) = table.tenant;
        let values = values.replace("{n}", "(src.id + 90000)");
        let cast = if tenant == "org_id" { "::uuid" } else { "" };
        let (source, filter) = self.source();
        let conflict = self.conflict(&table);
        let returning = self.returning(&columns(&table, "it"));
        let sql = format!(
            "INSERT INTO {} AS it ({names}, {tenant}) SELECT {values}, {value}{cast} FROM {source}{filter}{conflict}{returning}",
            table.name
        );
        (sql, vec![table.name])
    }

    /// Something called src with a unique id, and a condition.
    fn source(&mut self) -> (String, String) {
        match self.choices.below(4) {
            2 => {
                let inner = self.query(2, Some(&[Ty::Int]), &[]);
                let sql =
                    format!("(SELECT DISTINCT i.c0 AS id FROM ({}) i WHERE i.c0 BETWEEN 0 AND 9999) src", inner.sql);
                (sql, String::new())
            }
            3 => ("generate_series(1, 12, 2) AS src(id)".to_owned(), String::new()),
            _ => {
                let source = self.written(|it| it.columns.iter().any(|(name, _)| *name == "id"));
                let scope = columns(&source, "src");
                let filter = self.filter(2, &scope);
                (format!("{} src", source.name), filter)
            }
        }
    }

    fn action(&mut self, table: &Table, alias: &str) -> String {
        let scope = columns(table, alias);
        match self.choices.below(6) {
            0 | 1 => {
                let condition = self.condition(1, &scope);
                format!("DELETE FROM {} {alias} WHERE {condition}", table.name)
            }
            5 => {
                let (head, row) = self.insert_head(table);
                format!("{} VALUES ({row})", head.replace(" AS it ", &format!(" AS {alias} ")))
            }
            _ => {
                let set = self.assignments(table, &scope);
                let condition = self.condition(1, &scope);
                format!("UPDATE {} {alias} SET {set} WHERE {condition}", table.name)
            }
        }
    }

    /// WITH ... AS (UPDATE ... RETURNING) SELECT: the snapshot is the one before.
    fn written_and_read(&mut self) -> Written {
        let (mut parts, mut tables) = (Vec::new(), Vec::new());
        for _ in 0..=self.choices.below(2) {
            let name = self.alias("w");
            // A row that is changed twice in one statement is changed by one of the two.
            let table =
                self.written(|it| it.insert.is_some() && !["measurements", "events_purchase"].contains(&it.name));
            if tables.contains(&table.name) || related(&tables, table.name) {
                continue;
            }
            let alias = self.alias("t");
            let action = self.action(&table, &alias);
            let list = self.list(0, &[Ty::Int, Ty::Text], &columns(&table, &alias));
            parts.push(format!("{name} AS ({action} RETURNING {list})"));
            tables.push(table.name);
            self.ctes.push((name, vec![Ty::Int, Ty::Text]));
        }
        let body = self.query(1, None, &[]);
        self.ctes.clear();
        (format!("WITH {} {}", parts.join(", "), body.sql), tables)
    }

    /// Rows deleted here are inserted there.
    fn moved(&mut self) -> Written {
        let (name, alias) = (self.alias("w"), self.alias("t"));
        let scope = columns(table("tickets"), &alias);
        let condition = self.condition(2, &scope);
        let conflict = self.choices.pick(&["", " ON CONFLICT DO NOTHING"]);
        let sql = format!(
            "WITH {name} AS (DELETE FROM tickets {alias} WHERE {condition} RETURNING {alias}.id, {alias}.title) \
             INSERT INTO docs (id, tenant_id, title) SELECT {name}.id + 80000, 1, {name}.title FROM {name}{conflict} RETURNING id, title"
        );
        (sql, vec!["tickets", "docs"])
    }

    /// WITH before UPDATE and DELETE.
    fn with_before(&mut self) -> Written {
        let (name, alias) = (self.alias("w"), self.alias("t"));
        let inner = self.query(2, Some(&[Ty::Int, Ty::Text]), &[]);
        let table = self.written(|it| it.insert.is_some() && it.columns[0].0 == "id");
        self.ctes.push((name.clone(), vec![Ty::Int, Ty::Text]));
        let scope = columns(&table, &alias);
        let body = match self.choices.below(3) {
            1 => {
                let set = self.assignments(&table, &scope);
                format!("UPDATE {} {alias} SET {set} WHERE {alias}.id IN (SELECT c0 FROM {name})", table.name)
            }
            2 => format!("DELETE FROM {} {alias} USING {name} WHERE {alias}.id = {name}.c0", table.name),
            _ => {
                let filter = self.condition(2, &scope);
                format!("DELETE FROM {} {alias} WHERE {alias}.id IN (SELECT c0 FROM {name}) OR {filter}", table.name)
            }
        };
        self.ctes.pop();
        let returning = self.returning(&scope);
        (format!("WITH {name} AS ({}) {body}{returning}", inner.sql), vec![table.name])
    }

    fn merge(&mut self) -> Written {
        let table = self.written(|it| it.insert.is_some() && it.columns.iter().any(|(name, _)| *name == "id"));
        let (names, values) = table.insert.expect("a table that takes rows");
        let (tenant, value) = table.tenant;
        let scope = columns(&table, "it");
        let source = match self.choices.below(4) {
            1 => "(SELECT id FROM orders WHERE id < 9) src".to_owned(),
            2 => {
                let (source, filter) = self.source();
                format!("(SELECT DISTINCT src.id FROM {source}{filter}) src")
            }
            3 => {
                let inner = self.query(2, Some(&[Ty::Int]), &[]);
                format!("(SELECT DISTINCT i.c0 AS id FROM ({}) i WHERE i.c0 < 40) src", inner.sql)
            }
            _ => "(VALUES (3), (7), (90021)) src(id)".to_owned(),
        };
        let mut branches = Vec::new();
        for _ in 0..=self.choices.below(2) {
            let condition = self.condition(1, &scope);
            let action = match self.choices.below(4) {
                // Whether a comment's parent is gone when the comment is checked depends on the order of rows.
                1 if table.name != "comments" => "DELETE".to_owned(),
                2 => "DO NOTHING".to_owned(),
                _ => format!("UPDATE SET {}", self.assignments(&table, &scope)),
            };
            // Postgres mixes up the values of two branches, and may crash: refused.
            let assigns = |it: &str| it.contains(") = (SELECT ");
            let twice = assigns(&action) && branches.iter().any(|it: &String| assigns(it));
            let action = if twice { "DO NOTHING".to_owned() } else { action };
            branches.push(format!("WHEN MATCHED AND {condition} THEN {action}"));
        }
        let values = values.replace("{n}", "(src.id + 90000)");
        let cast = if tenant == "org_id" { "::uuid" } else { "" };
        branches.push(match self.choices.below(4) {
            2 => "WHEN NOT MATCHED THEN DO NOTHING".to_owned(),
            3 => format!(
                "WHEN NOT MATCHED AND src.id > 5 THEN INSERT ({names}, {tenant}) VALUES ({values}, {value}{cast})"
            ),
            _ => format!("WHEN NOT MATCHED THEN INSERT ({names}, {tenant}) VALUES ({values}, {value}{cast})"),
        });
        let mut returning = String::new();
        if self.server_version >= 170_000 {
            if self.choices.chance(30) {
                let condition = self.condition(1, &scope);
                let action = if table.name == "comments" { "DO NOTHING" } else { "DELETE" };
                branches.push(format!("WHEN NOT MATCHED BY SOURCE AND {condition} THEN {action}"));
            }
            if self.choices.chance(50) {
                returning = format!(" RETURNING merge_action(), {}", self.list(1, &[Ty::Int, Ty::Text], &scope));
            }
        }
        let sql = format!(
            "MERGE INTO {} AS it USING {source} ON it.id = src.id {}{returning}",
            table.name,
            branches.join(" ")
        );
        (sql, vec![table.name])
    }
}

/// Whether changing one of these changes rows of the other: by a cascade, or because it is its parent.
fn related(tables: &[&'static str], other: &str) -> bool {
    let cascades = ["customers", "orders", "order_items", "profiles", "payments"];
    cascades.contains(&other) && tables.iter().any(|it| cascades.contains(it))
}
