use super::*;

#[test]
fn guarded_relations_are_covered() {
    covered(
        ALL,
        &[
            "SELECT * FROM public.orders WHERE P(orders) AND id = 5",
            "SELECT * FROM public.orders WHERE P(public.orders)",
            "SELECT * FROM ONLY public.orders WHERE (P(public.orders)) AND (id = 5 OR id = 6)",
            "SELECT * FROM public.orders o, public.customers c WHERE P(o) AND P(c) AND o.customer_id = c.id",
            "SELECT * FROM public.customers c LEFT JOIN public.orders o ON o.customer_id = c.id AND P(o) WHERE P(c)",
            "SELECT * FROM public.orders o RIGHT JOIN public.customers c ON o.customer_id = c.id AND P(o) WHERE P(c)",
            "SELECT * FROM public.countries x LEFT JOIN (public.orders o JOIN public.customers c ON P(o) AND P(c)) ON o.status = x.code",
            "SELECT * FROM (SELECT * FROM public.orders WHERE P(orders)) o FULL JOIN public.countries c ON o.status = c.code",
            "SELECT * FROM public.orders TABLESAMPLE system (5) WHERE P(orders) FOR UPDATE OF orders",
            "SELECT * FROM public.customers NATURAL JOIN public.orders WHERE P(public.customers) AND P(public.orders)",
            "SELECT * FROM public.customers c CROSS JOIN LATERAL (SELECT id FROM public.orders o WHERE P(o) AND o.customer_id = c.id) x WHERE P(c)",
            "WITH x AS (SELECT id FROM public.orders WHERE P(orders)) SELECT * FROM x UNION SELECT id FROM public.customers WHERE P(customers)",
            "WITH orders AS (SELECT * FROM orders WHERE P(orders)) SELECT * FROM orders",
            "WITH RECURSIVE w AS (SELECT id FROM public.orders WHERE P(orders) UNION ALL SELECT id FROM w) SELECT * FROM w",
            "SELECT * FROM ((SELECT id FROM public.orders WHERE P(public.orders) OFFSET 0) a JOIN public.countries k ON true) j(x) WHERE j.x = 1",
            "SELECT (SELECT count(*) FROM public.orders o WHERE P(o)), ARRAY(SELECT id FROM public.orders o WHERE P(o))",
            "SELECT * FROM public.orders o, generate_series(1, 3) AS g(n), unnest(ARRAY[1]) u WHERE P(o) AND o.id = g.n",
            "EXPLAIN SELECT * FROM public.orders WHERE P(orders)",
            "DECLARE c CURSOR FOR SELECT * FROM public.orders WHERE P(orders)",
            "PREPARE p AS SELECT * FROM public.orders WHERE P(orders)",
            "COPY (SELECT id FROM public.orders WHERE P(orders)) TO STDOUT",
            "SELECT * FROM public.orders o WHERE P(o) AND id BETWEEN SYMMETRIC 5 AND 1 FOR NO KEY UPDATE OF o SKIP LOCKED",
            "SELECT * FROM public.orders o WHERE P(o) FOR KEY SHARE",
            "SELECT count(*) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM public.orders o WHERE P(o)",
            "SELECT count(*) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW), exclude, \"for\" FROM public.orders o WHERE P(o)",
            "SELECT \"o\".id FROM public.\"orders\" \"o\" WHERE P(o)",
        ],
    );
}

#[test]
fn unguarded_relations_are_seen_everywhere() {
    uncovered(
        Rules::IN_FORCE,
        "without its tenant predicate",
        &[
            "SELECT * FROM public.orders",
            "SELECT * FROM orders",
            "SELECT * FROM ORDERS",
            "SELECT * FROM \"orders\"",
            "SELECT 1 UNION TABLE orders",
            "SELECT 1 UNION (TABLE public.orders)",
            "SELECT * FROM ONLY public.orders",
            "SELECT * FROM public.orders WHERE P(orders) OR true",
            "SELECT * FROM public.orders WHERE NOT (P(orders))",
            "SELECT * FROM public.orders WHERE (P(orders)) IS NOT NULL",
            "SELECT * FROM public.orders WHERE tenant_id = $2",
            "SELECT * FROM public.orders WHERE orders.tenant_id = $2",
            "SELECT * FROM public.orders WHERE orders.tenant_id OPERATOR(pg_catalog.<>) $2",
            "SELECT * FROM public.orders WHERE orders.tenant_id OPERATOR(pg_catalog.=) $1",
            "SELECT * FROM public.orders WHERE orders.tenant_id OPERATOR(pg_catalog.=) $3",
            "SELECT * FROM public.orders WHERE orders.id OPERATOR(pg_catalog.=) $2",
            "SELECT * FROM public.invoices WHERE invoices.org_id OPERATOR(pg_catalog.=) $2",
            "SELECT * FROM public.orders o WHERE P(orders)",
            "SELECT * FROM public.orders o(a, tenant_id) WHERE P(o)",
            "SELECT * FROM public.orders o, public.customers c WHERE P(o)",
            "SELECT * FROM public.orders HAVING P(orders)",
            "SELECT * FROM public.customers c LEFT JOIN public.orders o ON o.customer_id = c.id WHERE P(c) AND P(o)",
            "SELECT * FROM public.customers c LEFT JOIN public.orders o ON P(c) AND P(o)",
            "SELECT * FROM public.orders o RIGHT JOIN public.customers c ON P(c) AND P(o)",
            "SELECT * FROM public.orders o FULL JOIN public.countries c ON P(o) WHERE P(o)",
            "SELECT * FROM public.countries k JOIN public.orders o USING (id)",
            "SELECT * FROM (public.orders o JOIN public.countries c ON true) AS j WHERE P(o)",
            "SELECT * FROM public.countries k, LATERAL (SELECT * FROM public.orders) x",
            "SELECT (SELECT max(id) FROM public.orders)",
            "SELECT lower((SELECT max(id) FROM public.orders)::text)",
            "SELECT CASE WHEN true THEN (SELECT max(id) FROM public.orders) END",
            "SELECT coalesce(1, ARRAY(SELECT id FROM public.orders))",
            "SELECT 1 WHERE 1 IN (SELECT id FROM public.orders)",
            "SELECT 1 WHERE 1 = ANY (SELECT id FROM public.orders)",
            "SELECT 1 ORDER BY (SELECT max(id) FROM public.orders)",
            "SELECT 1 GROUP BY (SELECT max(id) FROM public.orders)",
            "SELECT 1 LIMIT (SELECT count(*) FROM public.orders)",
            "SELECT 1 OFFSET (SELECT count(*) FROM public.orders)",
            "SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM public.orders))",
            "SELECT sum(1) OVER (ORDER BY (SELECT max(id) FROM public.orders))",
            "SELECT sum(1) OVER w FROM public.countries WINDOW w AS (PARTITION BY (SELECT max(id) FROM public.orders))",
            "SELECT DISTINCT ON ((SELECT max(id) FROM public.orders)) 1",
            "SELECT * FROM generate_series(1, (SELECT max(id) FROM public.orders)) g",
            "SELECT * FROM public.countries TABLESAMPLE system ((SELECT max(id) FROM public.orders))",
            "SELECT * FROM public.countries a JOIN public.countries b ON EXISTS (SELECT 1 FROM public.orders)",
            "VALUES ((SELECT max(id) FROM public.orders))",
            "WITH orders AS (SELECT * FROM orders) SELECT * FROM orders",
            "WITH a AS (SELECT * FROM orders), orders AS (SELECT 1) SELECT * FROM a",
            "WITH d AS (DELETE FROM public.orders RETURNING *) SELECT * FROM d",
            "WITH orders AS (SELECT 1) SELECT * FROM public.orders",
            "WITH orders AS (SELECT 1) DELETE FROM orders",
            "SELECT 1 EXCEPT SELECT id FROM public.orders",
            "SELECT * FROM public.orders o FOR NO KEY UPDATE",
            "SELECT count(*) OVER (ROWS CURRENT ROW EXCLUDE NO OTHERS) FROM public.orders o",
            "SELECT 1 WHERE 1 BETWEEN SYMMETRIC (SELECT max(id) FROM public.orders) AND 2",
            "EXPLAIN SELECT * FROM public.orders",
            "DECLARE c CURSOR FOR SELECT * FROM public.orders",
            "PREPARE p AS DELETE FROM public.orders",
            "COPY (SELECT id FROM public.orders) TO STDOUT",
        ],
    );
    uncovered(
        Rules::IN_FORCE,
        "COPY of a tenant table",
        &[
            "COPY public.orders TO STDOUT",
            "COPY public.orders (tenant_id) TO STDOUT",
            "COPY public.orders (id) FROM STDIN",
            "COPY public.orders (tenant_id) FROM '/tmp/x'",
        ],
    );
}

/// What no rule is for is an abstention, and so is a reading in which the tenant relation is missing.
#[test]
fn what_is_not_read_is_never_covered() {
    for sql in
        ["TRUNCATE public.orders", "LOCK TABLE public.orders", "SELECT * INTO x FROM public.orders WHERE P(orders)"]
    {
        let said = says(sql);
        assert!(matches!(said, Testimony::Abstains(Abstention::Construct(_))), "{sql}: {said:?}");
    }
    for sql in ["SELECT FROM WHERE", "SELECT 1; SELECT 2", "UPDATE public.orders SET id = 5 WHERE CURRENT OF c"] {
        assert_eq!(says(sql), Testimony::Abstains(Abstention::Grammar), "{sql}");
    }
    assert_eq!(says("SELECT 1"), Testimony::Abstains(Abstention::Unseen));
}

#[test]
fn rows_of_everybody_are_read_only() {
    covered(
        Rules::IN_FORCE,
        &[
            "SELECT * FROM public.templates t WHERE (P(t) OR t.tenant_id IS NULL) AND CASE WHEN P(t) OR t.tenant_id IS NULL THEN f(t.name) ELSE false END",
            "SELECT * FROM public.templates t WHERE P(t) AND CASE WHEN P(t) THEN f(t.name) ELSE false END",
            "SELECT * FROM public.orders o LEFT JOIN public.templates t ON P(t) OR t.tenant_id IS NULL WHERE P(o) AND CASE WHEN P(t) OR t.tenant_id IS NULL THEN f(t.id) ELSE false END",
            "UPDATE public.orders SET id = t.id FROM public.templates t WHERE P(orders) AND (P(t) OR t.tenant_id IS NULL)",
            "UPDATE public.templates SET id = 1 WHERE P(templates)",
        ],
    );
    for sql in [
        "SELECT * FROM public.orders t WHERE P(t) OR t.tenant_id IS NULL",
        "SELECT * FROM public.templates t WHERE P(t) OR t.id IS NULL",
        "SELECT * FROM public.templates t WHERE P(t) OR t.tenant_id IS NOT NULL",
        "SELECT * FROM public.templates t, public.customers c WHERE P(c) AND (P(t) OR c.tenant_id IS NULL)",
        "SELECT * FROM public.orders t WHERE P(t) AND CASE WHEN P(t) OR t.tenant_id IS NULL THEN f(t.status) ELSE false END",
        "SELECT * FROM public.templates t WHERE (P(t) OR t.tenant_id IS NULL) AND f(t.name)",
        "UPDATE public.templates SET id = 1 WHERE P(templates) OR templates.tenant_id IS NULL",
        "DELETE FROM public.templates WHERE P(templates) OR templates.tenant_id IS NULL",
        "MERGE INTO public.templates t USING public.countries s ON P(t) OR t.tenant_id IS NULL WHEN MATCHED THEN DELETE",
        "INSERT INTO public.templates (id, tenant_id) VALUES (5, NULL)",
        "INSERT INTO public.templates (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE P(templates) OR templates.tenant_id IS NULL",
    ] {
        assert!(matches!(says(sql), Testimony::Uncovered(_)), "{sql}: {:?}", says(sql));
    }
}

#[test]
fn tables_that_belong_through_a_foreign_key() {
    covered(
        Rules::IN_FORCE,
        &[
            "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) AND CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) THEN f(t.tag) ELSE false END AND EXISTS (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
            "SELECT * FROM public.order_tags WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) public.order_tags.order_id)",
            "SELECT * FROM public.orders o LEFT JOIN public.order_tags t ON (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) AND t.order_id = o.id WHERE P(o) AND CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) OR (t.*) IS NULL THEN f(t.tag) ELSE false END",
            "UPDATE public.order_tags SET tag = tag, order_id = order_tags.order_id WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) order_tags.order_id)",
            "INSERT INTO public.order_tags (order_id) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) q.c) THEN q.c ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::bigint END FROM (SELECT true) x LEFT JOIN (SELECT 5) q(c) ON true))",
            "INSERT INTO public.order_tags (order_id) SELECT CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) q.c) THEN q.c ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::bigint END FROM (SELECT 5) q(c)",
            "DELETE FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        ],
    );
    for sql in [
        "SELECT * FROM public.order_tags",
        "SELECT * FROM public.order_tags t WHERE EXISTS (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE p.id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p))",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) p.id)",
        "SELECT * FROM public.order_tags p WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) p.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.customers p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.customer_id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id LIMIT 1)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) OR p.id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags t, public.order_tags u WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) AND f(t.tag)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) AND CASE WHEN true THEN f(t.tag) ELSE false END",
        "SELECT * FROM public.order_tags t WHERE NOT (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "DELETE FROM public.order_tags t WHERE EXISTS (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "UPDATE public.order_tags t SET order_id = 5 WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "UPDATE public.order_tags t SET order_id = $2 WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "INSERT INTO public.order_tags (order_id) VALUES (5)",
        "INSERT INTO public.order_tags (order_id) VALUES ($2)",
        "INSERT INTO public.order_tags (tag) VALUES ('x')",
        "INSERT INTO public.order_tags (order_id) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) q.c) THEN q.d ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::bigint END FROM (SELECT true) x LEFT JOIN (SELECT 5, 6) q(c, d) ON true))",
        "INSERT INTO public.order_tags (order_id) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) q.c) THEN q.c ELSE q.c END FROM (SELECT true) x LEFT JOIN (SELECT 5) q(c) ON true))",
        "INSERT INTO public.order_tags (order_id) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) q.c) THEN q.c ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::bigint END FROM (SELECT 5) q(c)))",
        "INSERT INTO public.order_tags (order_id) SELECT CASE WHEN (SELECT true FROM public.orders p WHERE p.id OPERATOR(pg_catalog.=) q.c) THEN q.c ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::bigint END FROM (SELECT 5) q(c)",
    ] {
        assert!(matches!(says(sql), Testimony::Uncovered(_)), "{sql}");
    }
}
