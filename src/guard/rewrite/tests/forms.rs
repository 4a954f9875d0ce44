//! The final text of each form.

use super::fixture::{self, plan, sent, text};
use crate::base::Mode;
use crate::guard::{Piece, Policy, Protocol, TenantCheck, plan_statements};

/// Pairs of the client's text and the final one. `=T=` stands for `OPERATOR(pg_catalog.=)`, `FAILS` for the expression that
/// fails when it is evaluated.
fn check(pairs: &[(&str, &str)]) {
    const FAILS: &str =
        "pg_catalog.concat('column tenant_id may hold only the tenant''s own value')::boolean::pg_catalog.text::int";
    for (sql, expected) in pairs {
        assert_eq!(sent(sql).replace(FAILS, "FAILS"), *expected, "{sql}");
    }
}

/// A table stays as it is; its predicate and the plain conditions stand beside a CASE with all others.
#[test]
fn one_table() {
    check(&[
        (
            "SELECT * FROM orders WHERE id = $1 AND lower(status) = 'open'",
            "SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $2 AND id = $1 AND CASE WHEN public.orders.tenant_id =T= $2 THEN lower(status) = 'open' ELSE false END",
        ),
        (
            "SELECT * FROM orders o WHERE o.id = 1 AND o.total > 5 AND o.open AND status IN ('a', 'b') AND placed_at IS NOT NULL",
            "SELECT * FROM public.orders o WHERE o.tenant_id =T= $1 AND o.id = 1 AND o.total > 5 AND o.open AND status IN ('a', 'b') AND placed_at IS NOT NULL",
        ),
        (
            "SELECT * FROM orders WHERE id = 1 OR status LIKE 'a%'",
            "SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $1 AND CASE WHEN public.orders.tenant_id =T= $1 THEN id = 1 OR status LIKE 'a%' ELSE false END",
        ),
        ("SELECT 1", "SELECT 1"),
        ("SELECT * FROM countries WHERE lower(name) = 'x'", "SELECT * FROM countries WHERE lower(name) = 'x'"),
        (
            "SELECT * FROM orders AS o(a, b) WHERE a < 3 AND lower(status) = 'x'",
            "SELECT * FROM (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1) o(a, b) WHERE a < 3 AND CASE WHEN o.b =T= $1 THEN lower(status) = 'x' ELSE false END",
        ),
        (
            "SELECT * FROM orders AS o(a, b, b)",
            "SELECT * FROM (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1 OFFSET 0) o(a, b, b)",
        ),
        (
            "SELECT count(*) FROM ONLY orders TABLESAMPLE BERNOULLI (50) REPEATABLE (7) WHERE id < 4",
            "SELECT count(*) FROM ONLY public.orders TABLESAMPLE bernoulli(50) REPEATABLE (7) WHERE public.orders.tenant_id =T= $1 AND id < 4",
        ),
        (
            "SELECT country, count(*) FROM customers GROUP BY country HAVING lower(country) = 'de' AND country <> 'x'",
            "SELECT country, count(*) FROM public.customers WHERE public.customers.tenant_id =T= $1 GROUP BY country HAVING country <> 'x' AND CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0 THEN lower(country) = 'de' ELSE false END",
        ),
        (
            "SELECT * FROM orders o WHERE o.id = 1 FOR UPDATE OF o SKIP LOCKED",
            "SELECT * FROM public.orders o WHERE o.tenant_id =T= $1 AND o.id = 1 FOR UPDATE OF o SKIP LOCKED",
        ),
        ("TABLE orders", "SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $1"),
        (
            "VALUES ((SELECT count(*) FROM orders))",
            "VALUES ((SELECT count(*) FROM public.orders WHERE public.orders.tenant_id =T= $1))",
        ),
        (
            "SELECT public.orders.id FROM public.orders WHERE public.orders.id = 1",
            "SELECT public.orders.id FROM public.orders WHERE public.orders.tenant_id =T= $1 AND public.orders.id = 1",
        ),
        (
            "SELECT * FROM orders WHERE (tenant_id, id) = ($1, $2)",
            "SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $3 AND (tenant_id, id) = ($1, $2)",
        ),
        (
            "SELECT * FROM orders WHERE id = ANY($1) OR id = ANY(ARRAY[1, 2]) OR id = ANY('{1}'::int8[])",
            "SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $2 AND (id = ANY($1) OR id = ANY(ARRAY[1, 2]) OR id = ANY('{1}'::int8[]))",
        ),
        (
            "SELECT * FROM orders WHERE placed_at > CURRENT_TIMESTAMP AND id BETWEEN 1 AND 5",
            "SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $1 AND placed_at > current_timestamp AND id BETWEEN 1 AND 5",
        ),
        (
            "SELECT * FROM orders WHERE status::int = 1 AND id + 1 = 2",
            "SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $1 AND CASE WHEN public.orders.tenant_id =T= $1 THEN status::int = 1 AND id + 1 = 2 ELSE false END",
        ),
        ("SELECT N'a' FROM orders", "SELECT char 'a' FROM public.orders WHERE public.orders.tenant_id =T= $1"),
    ]);
}

/// The predicate goes to WHERE for what is preserved, to ON for what an outer join may make up, into a subquery where neither can hold it.
#[test]
fn joins() {
    check(&[
        (
            "SELECT * FROM countries c LEFT JOIN orders o ON o.status = c.code AND lower(o.status) = c.name",
            "SELECT * FROM public.countries c LEFT JOIN public.orders o ON o.tenant_id =T= $1 AND o.status = c.code AND CASE WHEN o.tenant_id =T= $1 THEN lower(o.status) = c.name ELSE false END",
        ),
        (
            "SELECT * FROM orders o LEFT JOIN customers c ON c.id = o.customer_id WHERE lower(c.name) = 'x'",
            "SELECT * FROM public.orders o LEFT JOIN public.customers c ON c.tenant_id =T= $1 AND c.id = o.customer_id WHERE o.tenant_id =T= $1 AND CASE WHEN c.tenant_id =T= $1 OR c.* IS NULL THEN lower(c.name) = 'x' ELSE false END",
        ),
        (
            "SELECT * FROM customers c RIGHT JOIN countries k ON c.country = k.code",
            "SELECT * FROM public.customers c RIGHT JOIN public.countries k ON c.tenant_id =T= $1 AND c.country = k.code",
        ),
        (
            "SELECT * FROM customers c FULL JOIN orders o ON o.customer_id = c.id",
            "SELECT * FROM (SELECT customers.id, customers.tenant_id, customers.name, customers.country FROM public.customers WHERE public.customers.tenant_id =T= $1) c FULL JOIN (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1) o ON o.customer_id = c.id",
        ),
        (
            "SELECT * FROM customers c LEFT JOIN orders USING (id)",
            "SELECT * FROM public.customers c LEFT JOIN (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1) orders USING (id) WHERE c.tenant_id =T= $1",
        ),
        (
            "SELECT * FROM customers NATURAL JOIN orders",
            "SELECT * FROM public.customers NATURAL JOIN public.orders WHERE public.customers.tenant_id =T= $1 AND public.orders.tenant_id =T= $1",
        ),
        (
            "SELECT j.a FROM (customers c JOIN orders o ON o.customer_id = c.id) AS j(a, b) WHERE j.a = 1",
            "SELECT j.a FROM ((SELECT customers.id, customers.tenant_id, customers.name, customers.country FROM public.customers WHERE public.customers.tenant_id =T= $1 OFFSET 0) c JOIN (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1 OFFSET 0) o ON o.customer_id = c.id ) j(a, b) WHERE CASE WHEN (SELECT true) THEN j.a = 1 ELSE false END",
        ),
        (
            "SELECT * FROM orders o FULL JOIN countries k TABLESAMPLE SYSTEM (5) ON k.code = o.status",
            "SELECT * FROM (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1) o FULL JOIN public.countries k TABLESAMPLE system(5) ON k.code = o.status",
        ),
        (
            "SELECT * FROM invoices i JOIN orders o ON o.id = i.id",
            "SELECT * FROM public.invoices i JOIN public.orders o ON o.id = i.id WHERE i.org_id =T= $1 AND o.tenant_id =T= $2",
        ),
        (
            "SELECT * FROM orders JOIN (VALUES (1, 'a')) v(i, s) ON orders.id = v.i",
            "SELECT * FROM public.orders JOIN (VALUES (1, 'a')) v(i, s) ON orders.id = v.i WHERE public.orders.tenant_id =T= $1",
        ),
    ]);
}

/// Every subquery is guarded where it stands; conditions of one that look outside carry the outer guards too.
#[test]
fn subqueries() {
    check(&[
        (
            "SELECT * FROM (SELECT id, lower(status) AS s FROM orders) x WHERE x.id = 5",
            "SELECT * FROM (SELECT id, lower(status) AS s FROM public.orders WHERE public.orders.tenant_id =T= $1) x WHERE x.id = 5",
        ),
        (
            "SELECT * FROM (SELECT id, lower(status) AS s FROM orders) x WHERE x.s = 'a'",
            "SELECT * FROM (SELECT id, lower(status) AS s FROM public.orders WHERE public.orders.tenant_id =T= $1 OFFSET 0) x WHERE x.s = 'a'",
        ),
        (
            "SELECT * FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND lower(o.status) = c.name)",
            "SELECT * FROM public.customers c WHERE c.tenant_id =T= $1 AND EXISTS (SELECT 1 FROM public.orders o WHERE o.tenant_id =T= $1 AND o.customer_id = c.id AND CASE WHEN c.tenant_id =T= $1 AND o.tenant_id =T= $1 THEN lower(o.status) = c.name ELSE false END)",
        ),
        (
            "SELECT * FROM customers c WHERE id IN (SELECT customer_id FROM orders WHERE lower(status) = 'x')",
            "SELECT * FROM public.customers c WHERE c.tenant_id =T= $1 AND id IN (SELECT customer_id FROM public.orders WHERE public.orders.tenant_id =T= $1 AND CASE WHEN public.orders.tenant_id =T= $1 THEN lower(status) = 'x' ELSE false END)",
        ),
        (
            "SELECT * FROM customers WHERE id = (SELECT max(customer_id) FROM orders)",
            "SELECT * FROM public.customers WHERE public.customers.tenant_id =T= $1 AND id = CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE (SELECT max(customer_id) FROM public.orders WHERE public.orders.tenant_id =T= $1) END",
        ),
        // A row of a query cannot be put into a CASE by itself.
        (
            "SELECT * FROM (SELECT id FROM orders) x WHERE (x.id, 1) >= (SELECT id, 1 FROM customers LIMIT 1)",
            "SELECT * FROM (SELECT id FROM public.orders WHERE public.orders.tenant_id =T= $1 OFFSET 0) x WHERE CASE WHEN (SELECT true) THEN (x.id, 1) >= (SELECT id, 1 FROM public.customers WHERE public.customers.tenant_id =T= $1 LIMIT 1) ELSE false END",
        ),
        (
            "SELECT 1 FROM orders o FULL JOIN customers c ON o.id = c.id AND (o.id, 1) = (SELECT id, 1 FROM customers LIMIT 1)",
            "SELECT 1 FROM (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1) o FULL JOIN (SELECT customers.id, customers.tenant_id, customers.name, customers.country FROM public.customers WHERE public.customers.tenant_id =T= $1) c ON o.id = c.id AND CASE WHEN o.tenant_id =T= $1 THEN (o.id, 1) = (SELECT id, 1 FROM public.customers WHERE public.customers.tenant_id =T= $1 LIMIT 1) ELSE false END",
        ),
        // The system column of one table beside another one that is wrapped.
        (
            "SELECT o.ctid FROM orders o JOIN customers AS c(a) ON a = o.id",
            "SELECT o.ctid FROM public.orders o JOIN (SELECT customers.id, customers.tenant_id, customers.name, customers.country FROM public.customers WHERE public.customers.tenant_id =T= $1) c(a) ON a = o.id WHERE o.tenant_id =T= $1",
        ),
        // A query that is not turned into a join runs when the first row comes that far.
        (
            "SELECT * FROM customers WHERE id NOT IN (SELECT customer_id FROM orders)",
            "SELECT * FROM public.customers WHERE public.customers.tenant_id =T= $1 AND CASE WHEN public.customers.tenant_id =T= $1 THEN NOT id IN (SELECT customer_id FROM public.orders WHERE public.orders.tenant_id =T= $1) ELSE false END",
        ),
        // Two literals, but an operator that can fail.
        (
            "SELECT * FROM customers WHERE country IS NULL OR 'a' ~ '('",
            "SELECT * FROM public.customers WHERE public.customers.tenant_id =T= $1 AND CASE WHEN public.customers.tenant_id =T= $1 THEN country IS NULL OR 'a' ~ '(' ELSE false END",
        ),
        (
            "SELECT * FROM customers WHERE country IS NULL OR EXISTS (SELECT 1 FROM orders)",
            "SELECT * FROM public.customers WHERE public.customers.tenant_id =T= $1 AND CASE WHEN public.customers.tenant_id =T= $1 THEN country IS NULL OR EXISTS (SELECT 1 FROM public.orders WHERE public.orders.tenant_id =T= $1) ELSE false END",
        ),
        (
            "SELECT (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c",
            "SELECT (SELECT count(*) FROM public.orders o WHERE o.tenant_id =T= $1 AND o.customer_id = c.id) FROM public.customers c WHERE c.tenant_id =T= $1",
        ),
        (
            "SELECT id FROM orders UNION ALL SELECT id FROM customers ORDER BY 1 LIMIT (SELECT count(*) FROM items)",
            "SELECT id FROM public.orders WHERE public.orders.tenant_id =T= $1 UNION ALL SELECT id FROM public.customers WHERE public.customers.tenant_id =T= $1 ORDER BY 1 LIMIT (SELECT count(*) FROM public.items WHERE public.items.tenant_id =T= $1)",
        ),
        (
            // An ON cannot name what stands before its join: what leads there is fenced.
            "SELECT 1 FROM orders o, LATERAL (SELECT o.id) z(k) LEFT JOIN customers c ON c.id + 0 = z.k",
            "SELECT 1 FROM public.orders o, LATERAL (SELECT o.id OFFSET 0) z(k) LEFT JOIN public.customers c ON c.tenant_id =T= $1 AND CASE WHEN c.tenant_id =T= $1 THEN c.id + 0 = z.k ELSE false END WHERE o.tenant_id =T= $1",
        ),
        (
            "SELECT 1 FROM orders o, LATERAL (SELECT o.id) z(k) JOIN countries c ON lower(z.k::text) = c.name",
            "SELECT 1 FROM public.orders o, LATERAL (SELECT o.id OFFSET 0) z(k) JOIN public.countries c ON CASE WHEN (SELECT true) THEN lower(z.k::text) = c.name ELSE false END WHERE o.tenant_id =T= $1",
        ),
        (
            "SELECT o.id FROM orders o, LATERAL (SELECT lower(o.status) AS s) z WHERE z.s = 'a'",
            "SELECT o.id FROM public.orders o, LATERAL (SELECT lower(o.status) AS s) z WHERE o.tenant_id =T= $1 AND CASE WHEN o.tenant_id =T= $1 THEN z.s = 'a' ELSE false END",
        ),
    ]);
}

/// Names mean what Postgres reads them as.
#[test]
fn common_table_expressions() {
    check(&[
        (
            "WITH w AS (SELECT id, lower(status) AS s FROM orders) SELECT * FROM w WHERE s = 'a'",
            "WITH w AS (SELECT id, lower(status) AS s FROM public.orders WHERE public.orders.tenant_id =T= $1 OFFSET 0) SELECT * FROM w WHERE CASE WHEN (SELECT true) THEN s = 'a' ELSE false END",
        ),
        (
            "WITH orders AS (SELECT * FROM orders) SELECT * FROM orders",
            "WITH orders AS (SELECT * FROM public.orders WHERE public.orders.tenant_id =T= $1) SELECT * FROM orders",
        ),
        (
            "WITH RECURSIVE orders AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM orders) SELECT * FROM orders",
            "WITH RECURSIVE orders AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM orders) SELECT * FROM orders",
        ),
        (
            "WITH a AS (SELECT * FROM customers), customers AS (SELECT 1) SELECT * FROM a, customers",
            "WITH a AS (SELECT * FROM public.customers WHERE public.customers.tenant_id =T= $1), customers AS (SELECT 1) SELECT * FROM a, customers",
        ),
    ]);
}

/// Shared tables are written where the rule allows it, and never locked but where all may write.
#[test]
fn shared_tables() {
    check(&[
        (
            "INSERT INTO sessions VALUES ('k', 'd') ON CONFLICT (key) DO UPDATE SET data = excluded.data",
            "INSERT INTO sessions VALUES ('k', 'd') ON CONFLICT (key) DO UPDATE SET data = excluded.data",
        ),
        (
            "UPDATE sessions s SET data = o.status FROM orders o WHERE s.key = o.status AND lower(s.data) = 'x'",
            "UPDATE public.sessions s SET data = o.status FROM public.orders o WHERE o.tenant_id =T= $1 AND s.key = o.status AND lower(s.data) = 'x'",
        ),
        (
            "INSERT INTO feedback SELECT status FROM orders ON CONFLICT DO NOTHING RETURNING *",
            "INSERT INTO public.feedback SELECT status FROM public.orders WHERE public.orders.tenant_id =T= $1 ON CONFLICT DO NOTHING RETURNING *",
        ),
        ("DELETE FROM sessions", "DELETE FROM sessions"),
        ("SELECT * FROM sessions FOR UPDATE SKIP LOCKED", "SELECT * FROM sessions FOR UPDATE SKIP LOCKED"),
        ("COPY feedback FROM STDIN", "COPY public.feedback FROM STDIN"),
        (
            "SELECT * FROM orders o JOIN countries c ON c.code = o.status FOR UPDATE",
            "SELECT * FROM public.orders o JOIN public.countries c ON c.code = o.status WHERE o.tenant_id =T= $1 FOR UPDATE OF o",
        ),
        (
            "SELECT 1 FROM orders, countries, sessions, (SELECT id FROM customers) c, generate_series(1, 2) FOR SHARE NOWAIT",
            "SELECT 1 FROM public.orders, public.countries, public.sessions, (SELECT id FROM public.customers WHERE public.customers.tenant_id =T= $1) c, generate_series(1, 2) WHERE public.orders.tenant_id =T= $1 FOR SHARE OF orders, c NOWAIT",
        ),
    ]);
}

/// The columns of a function may be those of a table; a generated key is given where the client says so.
#[test]
fn columns_that_are_not_listed() {
    check(&[
        (
            "INSERT INTO items SELECT * FROM jsonb_populate_record(NULL::items, $1)",
            "INSERT INTO public.items (tenant_id, order_id, sku, doubled) SELECT CASE WHEN pgwarden_rows.c1 =T= $2 THEN $2 ELSE FAILS END, pgwarden_rows.c2, pgwarden_rows.c3, pgwarden_rows.c4 FROM (SELECT * FROM jsonb_populate_record(NULL::items, $1)) pgwarden_rows(c1, c2, c3, c4)",
        ),
        (
            "INSERT INTO orgs (name) OVERRIDING SYSTEM VALUE VALUES ('x')",
            "INSERT INTO public.orgs (name, id) OVERRIDING SYSTEM VALUE VALUES ('x', $1)",
        ),
    ]);
}

/// Opted in: the tenant column makes the columns a unique key.
#[test]
fn conflict_targets_are_completed() {
    let mut policy = Policy { complete_conflict_targets: true, ..fixture::policy() };
    let catalog = std::sync::Arc::make_mut(&mut policy.catalog);
    let key = |columns: &[&str]| columns.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    for (name, relation) in &mut catalog.relations {
        match name.name.as_str() {
            "orders" => relation.unique_keys = vec![key(&["tenant_id", "status", "id"]), key(&["id"])],
            "customers" => relation.unique_keys = vec![key(&["name", "tenant_id"])],
            _ => {}
        }
    }
    let sent = |policy: &Policy, sql: &str| {
        let plans = plan_statements(policy, &Mode::Shared, Protocol::Extended { param_types: &[] }, sql).unwrap();
        text(&plans[0]).split_once("ON CONFLICT").unwrap().1.to_owned()
    };
    let insert = |table: &str, conflict: &str| format!("INSERT INTO {table} (id) VALUES (1) ON CONFLICT {conflict}");
    for (table, given, wanted) in [
        ("customers", "(name) DO NOTHING", " (name, tenant_id) DO NOTHING"),
        ("orders", "(id, status) DO NOTHING", " (id, status, tenant_id) DO NOTHING"),
        ("orders", "(id) DO NOTHING", " (id) DO NOTHING"),
        ("orders", "(status) DO NOTHING", " (status) DO NOTHING"),
        ("customers", "(name, tenant_id) DO NOTHING", " (name, tenant_id) DO NOTHING"),
        ("customers", "(lower(name)) DO NOTHING", " (lower(name)) DO NOTHING"),
        ("customers", "(name) WHERE id = 1 DO NOTHING", " (name) WHERE id = 1 DO NOTHING"),
        ("customers", "ON CONSTRAINT name DO NOTHING", " ON CONSTRAINT name DO NOTHING"),
        ("customers", "DO NOTHING", " DO NOTHING"),
    ] {
        assert_eq!(sent(&policy, &insert(table, given)), wanted, "{table} {given}");
    }
    policy.complete_conflict_targets = false;
    assert_eq!(sent(&policy, &insert("customers", "(name) DO NOTHING")), " (name) DO NOTHING");
}

/// Rows of everybody are read; they are neither written nor locked.
#[test]
fn rows_of_everybody() {
    check(&[
        (
            "SELECT * FROM templates WHERE lower(name) = 'x'",
            "SELECT * FROM public.templates WHERE (public.templates.tenant_id =T= $1 OR public.templates.tenant_id IS NULL) AND CASE WHEN public.templates.tenant_id =T= $1 OR public.templates.tenant_id IS NULL THEN lower(name) = 'x' ELSE false END",
        ),
        (
            "SELECT * FROM orders o LEFT JOIN templates t ON t.id = o.id WHERE lower(t.name) = 'x'",
            "SELECT * FROM public.orders o LEFT JOIN public.templates t ON (t.tenant_id =T= $1 OR t.tenant_id IS NULL) AND t.id = o.id WHERE o.tenant_id =T= $1 AND CASE WHEN t.tenant_id =T= $1 OR t.tenant_id IS NULL THEN lower(t.name) = 'x' ELSE false END",
        ),
        (
            "SELECT t.name FROM orders o FULL JOIN templates t ON t.id = o.id",
            "SELECT t.name FROM (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1) o FULL JOIN (SELECT templates.id, templates.tenant_id, templates.name FROM public.templates WHERE public.templates.tenant_id =T= $1 OR public.templates.tenant_id IS NULL) t ON t.id = o.id",
        ),
        (
            "SELECT * FROM templates FOR UPDATE",
            "SELECT * FROM public.templates WHERE public.templates.tenant_id =T= $1 FOR UPDATE",
        ),
        (
            "SELECT * FROM templates t, orders o FOR UPDATE OF o",
            "SELECT * FROM public.templates t, public.orders o WHERE (t.tenant_id =T= $1 OR t.tenant_id IS NULL) AND o.tenant_id =T= $1 FOR UPDATE OF o",
        ),
        (
            "SELECT * FROM (SELECT * FROM templates) t WHERE EXISTS (SELECT 1 FROM templates x WHERE x.id = t.id) FOR SHARE",
            "SELECT * FROM (SELECT * FROM public.templates WHERE public.templates.tenant_id =T= $1) t WHERE EXISTS (SELECT 1 FROM public.templates x WHERE (x.tenant_id =T= $1 OR x.tenant_id IS NULL) AND x.id = t.id) FOR SHARE",
        ),
        (
            "UPDATE templates SET name = t.name FROM templates t WHERE t.id = 1 AND templates.id = 2",
            "UPDATE public.templates SET name = t.name FROM public.templates t WHERE public.templates.tenant_id =T= $1 AND (t.tenant_id =T= $1 OR t.tenant_id IS NULL) AND t.id = 1 AND templates.id = 2",
        ),
        ("DELETE FROM templates", "DELETE FROM public.templates WHERE public.templates.tenant_id =T= $1"),
        (
            "INSERT INTO templates (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'y'",
            "INSERT INTO public.templates (id, name, tenant_id) VALUES (1, 'x', $1) ON CONFLICT (id) DO UPDATE SET name = 'y' WHERE public.templates.tenant_id =T= $1",
        ),
    ]);
}

/// A row of these is the tenant's if the row is that its foreign key leads to.
#[test]
fn tables_that_belong_through_a_foreign_key() {
    check(&[
        (
            "SELECT * FROM order_tags WHERE tag = 'x' AND lower(tag) = 'x'",
            "SELECT * FROM public.order_tags WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id) AND tag = 'x' AND CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id) THEN lower(tag) = 'x' ELSE false END AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)",
        ),
        (
            "SELECT t.tag FROM orders o JOIN order_tags t ON t.order_id = o.id",
            "SELECT t.tag FROM public.orders o JOIN public.order_tags t ON t.order_id = o.id WHERE o.tenant_id =T= $1 AND (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id)",
        ),
        (
            "SELECT t.tag FROM orders o LEFT JOIN order_tags t ON t.order_id = o.id WHERE lower(t.tag) = 'x'",
            "SELECT t.tag FROM public.orders o LEFT JOIN public.order_tags t ON (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND t.order_id = o.id AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) WHERE o.tenant_id =T= $1 AND CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) OR t.* IS NULL THEN lower(t.tag) = 'x' ELSE false END",
        ),
        (
            "SELECT * FROM tag_notes n WHERE n.id = $1",
            "SELECT * FROM public.tag_notes n WHERE (SELECT true FROM public.order_tags pgwarden_parent1 WHERE (SELECT true FROM public.orders pgwarden_parent2 WHERE pgwarden_parent2.tenant_id =T= $2 AND pgwarden_parent2.id =T= pgwarden_parent1.order_id) AND pgwarden_parent1.order_id =T= n.tag_order) AND n.id = $1 AND EXISTS (SELECT true FROM public.order_tags pgwarden_parent1 WHERE (SELECT true FROM public.orders pgwarden_parent2 WHERE pgwarden_parent2.tenant_id =T= $2 AND pgwarden_parent2.id =T= pgwarden_parent1.order_id) AND pgwarden_parent1.order_id =T= n.tag_order AND EXISTS (SELECT true FROM public.orders pgwarden_parent2 WHERE pgwarden_parent2.tenant_id =T= $2 AND pgwarden_parent2.id =T= pgwarden_parent1.order_id))",
        ),
        (
            "SELECT * FROM order_tags AS t(a, b)",
            "SELECT * FROM (SELECT order_tags.order_id, order_tags.tag FROM public.order_tags WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)) t(a, b)",
        ),
        (
            "DELETE FROM order_tags WHERE tag = 'x'",
            "DELETE FROM public.order_tags WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id) AND tag = 'x' AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)",
        ),
        (
            "UPDATE order_tags SET tag = 'y', order_id = order_tags.order_id",
            "UPDATE public.order_tags SET tag = 'y', order_id = order_tags.order_id WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id) AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)",
        ),
        (
            "UPDATE order_tags t SET order_id = t.order_id + 1",
            "UPDATE public.order_tags t SET order_id = (SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT (t.order_id + 1)::bigint) pgwarden_rows(c1) ON true) WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id)",
        ),
        (
            "UPDATE order_tags t SET (order_id, tag) = (SELECT id, status FROM orders WHERE id = 1)",
            "UPDATE public.order_tags t SET (order_id, tag) = (SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END, pgwarden_rows.c2 FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT id, status FROM public.orders WHERE public.orders.tenant_id =T= $1 AND id = 1) pgwarden_rows(c1, c2) ON true) WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id)",
        ),
        (
            "INSERT INTO order_tags VALUES ($1, 'x'), (5, 'y')",
            "INSERT INTO public.order_tags (order_id, tag) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $2 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT $1::bigint) pgwarden_rows(c1) ON true), 'x'), ((SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $2 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT 5::bigint) pgwarden_rows(c1) ON true), 'y')",
        ),
        (
            "INSERT INTO order_tags (tag, order_id) SELECT 'x', o.id FROM orders o",
            "INSERT INTO public.order_tags (tag, order_id) SELECT 'x', (SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT o.id) pgwarden_rows(c1) ON true) FROM public.orders o WHERE o.tenant_id =T= $1",
        ),
        (
            "INSERT INTO order_tags (tag, order_id) SELECT 'x', max(id) FROM orders",
            "INSERT INTO public.order_tags (tag, order_id) SELECT pgwarden_rows.c1, CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c2) THEN pgwarden_rows.c2 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT 'x', max(id) FROM public.orders WHERE public.orders.tenant_id =T= $1) pgwarden_rows(c1, c2)",
        ),
        (
            "INSERT INTO order_tags VALUES (1, 'x') ON CONFLICT (order_id, tag) DO UPDATE SET order_id = excluded.order_id",
            "INSERT INTO public.order_tags (order_id, tag) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT 1::bigint) pgwarden_rows(c1) ON true), 'x') ON CONFLICT (order_id, tag) DO UPDATE SET order_id = excluded.order_id WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)",
        ),
        (
            "MERGE INTO order_tags t USING orders o ON t.order_id = o.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (o.id, 'x')",
            "MERGE INTO public.order_tags t USING (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1) o ON (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND t.order_id = o.id WHEN MATCHED AND (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) THEN DELETE WHEN NOT MATCHED THEN INSERT (order_id, tag) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT o.id) pgwarden_rows(c1) ON true), 'x')",
        ),
        (
            "SELECT * FROM template_parts p FOR UPDATE",
            "SELECT * FROM public.template_parts p WHERE (SELECT true FROM public.templates pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= p.template_id) AND EXISTS (SELECT true FROM public.templates pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= p.template_id) FOR UPDATE",
        ),
        (
            "SELECT * FROM template_parts p",
            "SELECT * FROM public.template_parts p WHERE (SELECT true FROM public.templates pgwarden_parent1 WHERE (pgwarden_parent1.tenant_id =T= $1 OR pgwarden_parent1.tenant_id IS NULL) AND pgwarden_parent1.id =T= p.template_id) AND EXISTS (SELECT true FROM public.templates pgwarden_parent1 WHERE (pgwarden_parent1.tenant_id =T= $1 OR pgwarden_parent1.tenant_id IS NULL) AND pgwarden_parent1.id =T= p.template_id)",
        ),
    ]);
}

/// Target and every other table carry their predicates; the tenant column keeps its value.
#[test]
fn update_and_delete() {
    check(&[
        (
            "UPDATE orders SET status = 'x' WHERE lower(status) = 'y' RETURNING *",
            "UPDATE public.orders SET status = 'x' WHERE public.orders.tenant_id =T= $1 AND CASE WHEN public.orders.tenant_id =T= $1 THEN lower(status) = 'y' ELSE false END RETURNING *",
        ),
        (
            "UPDATE orders o SET status = c.name FROM customers c WHERE c.id = o.customer_id",
            "UPDATE public.orders o SET status = c.name FROM public.customers c WHERE o.tenant_id =T= $1 AND c.tenant_id =T= $1 AND c.id = o.customer_id",
        ),
        (
            "UPDATE orders SET tenant_id = 1, (status, total) = (SELECT name, 5 FROM customers WHERE id = 1)",
            "UPDATE public.orders SET tenant_id = $1, (status, total) = (SELECT name, 5 FROM public.customers WHERE public.customers.tenant_id =T= $1 AND id = 1) WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "UPDATE orders SET tenant_id = tenant_id",
            "UPDATE public.orders SET tenant_id = tenant_id WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "UPDATE orders SET tenant_id = DEFAULT",
            "UPDATE public.orders SET tenant_id = $1 WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "UPDATE orders SET tenant_id = COALESCE($1, tenant_id), status = 'x'",
            "UPDATE public.orders SET tenant_id = CASE WHEN COALESCE($1, tenant_id) =T= $2 THEN $2 ELSE FAILS END, status = 'x' WHERE public.orders.tenant_id =T= $2",
        ),
        (
            "UPDATE orders o SET tenant_id = v.t FROM (VALUES (1, 2)) v(i, t) WHERE o.id = v.i",
            "UPDATE public.orders o SET tenant_id = CASE WHEN v.t =T= $1 THEN $1 ELSE FAILS END FROM (VALUES (1, 2)) v(i, t) WHERE o.tenant_id =T= $1 AND o.id = v.i",
        ),
        (
            "UPDATE orders SET (status, tenant_id) = (SELECT name, tenant_id FROM customers WHERE id = 1)",
            "UPDATE public.orders SET (status, tenant_id) = (SELECT pgwarden_rows.c1, CASE WHEN pgwarden_rows.c2 =T= $1 THEN $1 ELSE FAILS END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT name, tenant_id FROM public.customers WHERE public.customers.tenant_id =T= $1 AND id = 1) pgwarden_rows(c1, c2) ON true) WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.tenant_id + 0",
            "INSERT INTO public.orders (id, tenant_id) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET tenant_id = CASE WHEN excluded.tenant_id + 0 =T= $1 THEN $1 ELSE FAILS END WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "MERGE INTO orders o USING countries c ON false WHEN MATCHED THEN UPDATE SET tenant_id = CASE WHEN c.code = 'x' THEN 1 ELSE 2 END",
            "MERGE INTO public.orders o USING public.countries c ON o.tenant_id =T= $1 AND false WHEN MATCHED AND o.tenant_id =T= $1 THEN UPDATE SET tenant_id = CASE WHEN CASE WHEN c.code = 'x' THEN 1 ELSE 2 END =T= $1 THEN $1 ELSE FAILS END",
        ),
        (
            "UPDATE orders SET tenant_id = $1",
            "UPDATE public.orders SET tenant_id = $1 WHERE public.orders.tenant_id =T= $2",
        ),
        (
            "UPDATE orders SET (status, tenant_id) = ('a', 1)",
            "UPDATE public.orders SET (status, tenant_id) = ('a', $1) WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "UPDATE orders SET status = 'x' WHERE CURRENT OF c",
            "UPDATE public.orders SET status = 'x' WHERE CURRENT OF c",
        ),
        (
            "DELETE FROM orders USING customers c WHERE c.id = customer_id AND lower(c.name) = 'x'",
            "DELETE FROM public.orders USING public.customers c WHERE public.orders.tenant_id =T= $1 AND c.tenant_id =T= $1 AND c.id = customer_id AND CASE WHEN c.tenant_id =T= $1 THEN lower(c.name) = 'x' ELSE false END",
        ),
    ]);
}

/// Every row has the tenant's value; what the client gave is replaced, compared when bound, or compared in place.
#[test]
fn insert() {
    check(&[
        (
            "INSERT INTO orders (id, status) VALUES (1, 'a'), (2, DEFAULT)",
            "INSERT INTO public.orders (id, status, tenant_id) VALUES (1, 'a', $1), (2, DEFAULT, $1)",
        ),
        (
            "INSERT INTO orders (id, tenant_id) VALUES (1, 7), (2, $1), (3, DEFAULT)",
            "INSERT INTO public.orders (id, tenant_id) VALUES (1, $2), (2, $1), (3, $2)",
        ),
        ("INSERT INTO orders VALUES (1)", "INSERT INTO public.orders (id, tenant_id) VALUES (1, $1)"),
        (
            "INSERT INTO orders VALUES (1, 7, 3)",
            "INSERT INTO public.orders (id, tenant_id, customer_id) VALUES (1, $1, 3)",
        ),
        ("INSERT INTO orders DEFAULT VALUES", "INSERT INTO public.orders (tenant_id) VALUES ($1)"),
        (
            "INSERT INTO orders (id, tenant_id) VALUES (1, 1 + 1)",
            "INSERT INTO public.orders (id, tenant_id) VALUES (1, CASE WHEN 1 + 1 =T= $1 THEN $1 ELSE FAILS END)",
        ),
        (
            "INSERT INTO orders (id) SELECT id FROM customers",
            "INSERT INTO public.orders (id, tenant_id) SELECT id, $1 FROM public.customers WHERE public.customers.tenant_id =T= $1",
        ),
        (
            "INSERT INTO orders SELECT id, tenant_id FROM customers",
            "INSERT INTO public.orders (id, tenant_id) SELECT id, CASE WHEN tenant_id =T= $1 THEN $1 ELSE FAILS END FROM public.customers WHERE public.customers.tenant_id =T= $1",
        ),
        (
            "INSERT INTO customers SELECT * FROM customers",
            "INSERT INTO public.customers (id, tenant_id, name, country) SELECT pgwarden_rows.c1, CASE WHEN pgwarden_rows.c2 =T= $1 THEN $1 ELSE FAILS END, pgwarden_rows.c3, pgwarden_rows.c4 FROM (SELECT * FROM public.customers WHERE public.customers.tenant_id =T= $1) pgwarden_rows(c1, c2, c3, c4)",
        ),
        (
            "INSERT INTO customers (id, name) SELECT 1, 'a' UNION SELECT 2, 'b'",
            "INSERT INTO public.customers (id, name, tenant_id) SELECT 1, 'a', $1 UNION SELECT 2, 'b', $1",
        ),
        (
            "INSERT INTO customers (id, tenant_id) SELECT 1, 7 UNION SELECT 2, tenant_id FROM orders",
            "INSERT INTO public.customers (id, tenant_id) SELECT 1, $1 UNION SELECT 2, CASE WHEN tenant_id =T= $1 THEN $1 ELSE FAILS END FROM public.orders WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "INSERT INTO orders AS o (id, status) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET status = excluded.status WHERE lower(o.status) = 'x' RETURNING o.id",
            "INSERT INTO public.orders AS o (id, status, tenant_id) VALUES (1, 'a', $1) ON CONFLICT (id) DO UPDATE SET status = excluded.status WHERE o.tenant_id =T= $1 AND CASE WHEN o.tenant_id =T= $1 THEN lower(o.status) = 'x' ELSE false END RETURNING o.id",
        ),
        (
            "INSERT INTO orders AS o VALUES (1) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.tenant_id, id = o.id",
            "INSERT INTO public.orders AS o (id, tenant_id) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.tenant_id, id = o.id WHERE o.tenant_id =T= $1",
        ),
        (
            "INSERT INTO orders (id, status) VALUES (1, 'a') ON CONFLICT DO NOTHING",
            "INSERT INTO public.orders (id, status, tenant_id) VALUES (1, 'a', $1) ON CONFLICT DO NOTHING",
        ),
        (
            "WITH d AS (DELETE FROM orders RETURNING id) INSERT INTO customers (id) SELECT id FROM d",
            "WITH d AS (DELETE FROM public.orders WHERE public.orders.tenant_id =T= $1 RETURNING id) INSERT INTO public.customers (id, tenant_id) SELECT id, $1 FROM d",
        ),
    ]);
}

/// The source is guarded inside; the target in ON and in the branches that see it.
#[test]
fn merge() {
    check(&[
        (
            "MERGE INTO orders o USING customers c ON o.customer_id = c.id AND lower(o.status) = 'x' WHEN MATCHED AND c.name = 'a' THEN UPDATE SET status = 'm' WHEN NOT MATCHED THEN INSERT (id) VALUES (c.id)",
            "MERGE INTO public.orders o USING (SELECT customers.id, customers.tenant_id, customers.name, customers.country FROM public.customers WHERE public.customers.tenant_id =T= $1) c ON o.tenant_id =T= $1 AND o.customer_id = c.id AND CASE WHEN o.tenant_id =T= $1 THEN lower(o.status) = 'x' ELSE false END WHEN MATCHED AND o.tenant_id =T= $1 AND c.name = 'a' THEN UPDATE SET status = 'm' WHEN NOT MATCHED THEN INSERT (id, tenant_id) VALUES (c.id, $1)",
        ),
        (
            "MERGE INTO orders o USING (VALUES (1)) s(i) ON o.id = s.i WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.i, 7)",
            "MERGE INTO public.orders o USING (VALUES (1)) s(i) ON o.tenant_id =T= $1 AND o.id = s.i WHEN MATCHED AND o.tenant_id =T= $1 THEN DELETE WHEN NOT MATCHED THEN INSERT (id, tenant_id) VALUES (s.i, $1)",
        ),
    ]);
}

#[test]
fn what_touches_no_tenant_is_sent_as_it_came() {
    let plan = plan("SELECT /* hint */ lower(name)  FROM countries").unwrap();
    assert!(!plan.rewritten);
    assert_eq!(text(&plan), "SELECT /* hint */ lower(name)  FROM countries");
    assert!(plan.slots.is_empty());
}

#[test]
fn values_of_the_client_are_checked_when_they_are_bound() {
    let checks = |sql| plan(sql).unwrap().checks;
    assert_eq!(
        checks("INSERT INTO orders (id, tenant_id) VALUES (1, 7), (2, $1), (3, DEFAULT), (4, '8'::int)"),
        [
            TenantCheck::Literal { slot: 0, value: "7".into() },
            TenantCheck::Param { slot: 0, number: 1 },
            TenantCheck::Literal { slot: 0, value: "8".into() },
        ]
    );
    assert_eq!(
        checks("UPDATE orders SET (status, tenant_id) = ('a', 7)"),
        [TenantCheck::Literal { slot: 0, value: "7".into() }]
    );
    assert_eq!(checks("UPDATE orders SET tenant_id = $2"), [TenantCheck::Param { slot: 0, number: 2 }]);
}

#[test]
fn the_simple_protocol_cuts_the_text_at_each_value() {
    let policy = super::fixture::policy();
    let sql = "SELECT 'ä$1', id FROM orders WHERE id = 1; PREPARE p AS UPDATE invoices SET memo = $1 WHERE id = $2";
    let plans = plan_statements(&policy, &Mode::Shared, Protocol::Simple, sql).unwrap();
    let [select, prepare] = plans.as_slice() else { panic!("two statements") };
    assert_eq!(
        select.pieces,
        [
            Piece::Text(
                "SELECT 'ä$1', id FROM public.orders WHERE public.orders.tenant_id OPERATOR(pg_catalog.=) ".into()
            ),
            Piece::Slot(0),
            Piece::Text(" AND id = 1".into()),
        ]
    );
    assert_eq!((select.client_params, prepare.client_params), (0, 2));
    assert!(text(prepare).contains("memo = $1 WHERE public.invoices.org_id OPERATOR(pg_catalog.=) {0} AND"));
    assert_eq!(prepare.slots[0].key.as_deref(), Some("uuid"));
}

#[test]
fn the_tenants_parameter_comes_after_all_of_the_clients() {
    let policy = super::fixture::policy();
    let protocol = Protocol::Extended { param_types: &[20, 25, 23] };
    let plans = plan_statements(&policy, &Mode::Shared, protocol, "SELECT id FROM orders WHERE id = $1").unwrap();
    assert_eq!(plans[0].client_params, 3);
    assert!(text(&plans[0]).contains("tenant_id OPERATOR(pg_catalog.=) $4 AND id = $1"));
}

#[test]
fn one_value_for_each_key_and_type() {
    let plan = plan("SELECT * FROM orders, customers, invoices").unwrap();
    let names: Vec<_> = plan.slots.iter().map(|s| (s.key.as_deref(), &*s.type_name)).collect();
    assert_eq!(names, [(None, "pg_catalog.int4"), (Some("uuid"), "pg_catalog.uuid")]);
}

/// A sublink of a target list or HAVING runs on rows that have passed: naming the outer tenant column there would break GROUP BY.
#[test]
fn what_comes_after_where_needs_no_outer_guard() {
    check(&[
        (
            "SELECT c.name, (SELECT count(*) FROM orders o WHERE lower(o.status) = c.name) FROM customers c GROUP BY c.name",
            "SELECT c.name, (SELECT count(*) FROM public.orders o WHERE o.tenant_id =T= $1 AND CASE WHEN o.tenant_id =T= $1 THEN lower(o.status) = c.name ELSE false END) FROM public.customers c WHERE c.tenant_id =T= $1 GROUP BY c.name",
        ),
        (
            "SELECT name FROM customers c GROUP BY name HAVING EXISTS (SELECT 1 FROM orders o WHERE o.status = c.name)",
            "SELECT name FROM public.customers c WHERE c.tenant_id =T= $1 GROUP BY name HAVING CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0 THEN EXISTS (SELECT 1 FROM public.orders o WHERE o.tenant_id =T= $1 AND o.status = c.name) ELSE false END",
        ),
    ]);
}

/// USING and NATURAL hold no condition that could be guarded.
#[test]
fn merged_columns_are_columns_of_tables_or_come_out_of_a_fence() {
    check(&[
        (
            "SELECT 1 FROM (SELECT id FROM customers) x JOIN orders USING (id)",
            "SELECT 1 FROM (SELECT id FROM public.customers WHERE public.customers.tenant_id =T= $1) x JOIN public.orders USING (id) WHERE public.orders.tenant_id =T= $1",
        ),
        (
            "SELECT 1 FROM (SELECT id + 1 AS id FROM customers) x JOIN orders USING (id)",
            "SELECT 1 FROM (SELECT id + 1 AS id FROM public.customers WHERE public.customers.tenant_id =T= $1 OFFSET 0) x JOIN public.orders USING (id) WHERE public.orders.tenant_id =T= $1",
        ),
    ]);
}
