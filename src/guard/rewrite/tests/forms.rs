//! The final text of each form.

use super::fixture::{plan, sent, text};

/// Pairs of the client's text and the final one. `=T=` stands for `OPERATOR(pg_catalog.=)`, `FAILS` and `TAKEN` for the
/// expressions that fail when they are evaluated.
pub(super) fn check(pairs: &[(&str, &str)]) {
    const FAILS: &str =
        "pg_catalog.concat('column tenant_id may hold only the tenant''s own value')::boolean::pg_catalog.text::int";
    const TAKEN: &str = "pg_catalog.concat('the row in the way of ON CONFLICT is not the tenant''s')::boolean::pg_catalog.text::boolean";
    for (sql, expected) in pairs {
        assert_eq!(sent(sql).replace(FAILS, "FAILS").replace(TAKEN, "TAKEN"), *expected, "{sql}");
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

#[test]
fn what_touches_no_tenant_is_sent_as_it_came() {
    let plan = plan("SELECT /* hint */ lower(name)  FROM countries").unwrap();
    assert!(!plan.rewritten);
    assert_eq!(text(&plan), "SELECT /* hint */ lower(name)  FROM countries");
    assert!(plan.slots.is_empty());
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
