use super::*;

const LEAK: &str = "stands where it could run on the rows of others";

#[test]
fn plain_and_fenced_conditions_pass() {
    covered(
        ALL,
        &[
            "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN P(o) THEN f(o.id) ELSE false END",
            "SELECT * FROM public.orders o WHERE P(o) AND o.id BETWEEN 1 AND $1 AND o.open AND NOT o.open AND status IS NOT NULL AND id IN (1, 2)",
            "SELECT * FROM public.orders o WHERE P(o) AND (id = ANY($1) OR id = ANY(ARRAY[1, 2]) OR id = ANY('{1}'::int8[]))",
            "SELECT * FROM public.orders o WHERE P(o) AND placed_at > now() - interval '1 day' AND id = '5'::int AND (id, status) = (1, 'x')",
            "SELECT * FROM public.orders o WHERE P(o) AND o.status IS DISTINCT FROM 'x' AND o.id OPERATOR(pg_catalog.<) 5 AND current_date > placed_at",
            "SELECT * FROM public.orders o WHERE P(o) AND ROW(o.status, o.id) < ROW('paid'::text, 5)",
            "SELECT * FROM public.orders o WHERE P(o) AND o.status ^@ 'a' AND o.status ~<~ 'b' AND o.status OPERATOR(pg_catalog.~>=~) 'c'",
            "SELECT * FROM public.countries x, public.orders o WHERE P(o) AND f(x.code) AND lower(x.name) = 'a' AND g(5)",
            "SELECT * FROM public.countries x LEFT JOIN public.orders o ON P(o) WHERE CASE WHEN P(o) OR (o.*) IS NULL THEN f(o.id) ELSE false END",
            "SELECT id FROM public.orders o WHERE P(o) GROUP BY id HAVING CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0 THEN f(max(id)) ELSE false END",
            "SELECT * FROM public.orders o WHERE P(o) AND EXISTS (SELECT 1 FROM public.customers c WHERE P(c) AND c.id = o.id)",
            "SELECT * FROM public.orders o WHERE P(o) AND NOT EXISTS (SELECT 1) AND o.id IN (SELECT 1)",
            "SELECT * FROM public.orders o WHERE P(o) AND o.id < CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE (SELECT 1) END",
            "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE (o.id, 1) >= (SELECT 1, 2) END",
            "SELECT * FROM public.orders o WHERE P(o) AND EXISTS (SELECT 1 FROM public.countries k WHERE CASE WHEN P(o) THEN f(o.id) ELSE false END)",
            "SELECT (SELECT 1 FROM public.countries k WHERE lower(o.status) = k.code) FROM public.orders o WHERE P(o) ORDER BY (SELECT lower(o.status))",
            "SELECT * FROM public.orders o WHERE P(o) AND EXISTS (SELECT 1 FROM public.countries o WHERE lower(o.code) = 'a')",
            "SELECT lower(status), id + 1 FROM public.orders o WHERE P(o) ORDER BY status || 'x'",
            "SELECT 1 FROM (SELECT * FROM public.orders WHERE P(orders)) o FULL JOIN (SELECT * FROM public.customers WHERE P(customers)) c ON CASE WHEN P(o) THEN lower(o.status) ELSE NULL END = CASE WHEN P(c) THEN lower(c.name) ELSE NULL END",
            // Over what has no predicate to name at its level.
            "SELECT * FROM (SELECT id, status AS s FROM public.orders WHERE P(orders)) x WHERE CASE WHEN (SELECT true) THEN x.s LIKE 'a%' ELSE false END",
            "SELECT * FROM (SELECT id, status AS s FROM public.orders WHERE P(orders)) x WHERE x.s = 'a' AND id = 5",
            "WITH w AS (SELECT status FROM public.orders WHERE P(orders)) SELECT * FROM w WHERE CASE WHEN (SELECT true) THEN lower(status) = 'a' ELSE false END",
            "SELECT * FROM public.orders o, (VALUES (1, 'a')) v(i, s) WHERE P(o) AND lower(s) = 'a'",
            "SELECT * FROM public.orders o, (SELECT code FROM public.countries) k WHERE P(o) AND lower(k.code) = 'a'",
            "SELECT * FROM public.orders o JOIN public.countries k ON k.name LIKE 'a%' AND f(k.*) WHERE P(o)",
        ],
    );
}

#[test]
fn what_could_tell_of_other_rows_is_seen() {
    uncovered(
        Rules::IN_FORCE,
        LEAK,
        &[
            "SELECT * FROM public.orders o WHERE P(o) AND f(o.id)",
            "SELECT * FROM public.orders o WHERE P(o) AND 1 / o.id = 1",
            "SELECT * FROM public.orders o WHERE P(o) AND o.status::int = 1",
            "SELECT * FROM public.orders o WHERE P(o) AND o.status LIKE 'a%'",
            "SELECT * FROM public.orders o WHERE P(o) AND o.status ~ 'a'",
            "SELECT * FROM public.orders o WHERE P(o) AND o.status ~>~ 'a'",
            "SELECT * FROM public.orders o WHERE P(o) AND o.status OPERATOR(public.=) 'a'",
            "SELECT * FROM public.orders WHERE orders.tenant_id OPERATOR(public.=) $2",
            "SELECT * FROM public.orders o WHERE P(o) AND f(o)",
            "SELECT * FROM public.orders o WHERE P(o) AND ROW(lower(o.status), o.id) < ROW('paid'::text, 5)",
            "SELECT * FROM public.orders o WHERE P(o) AND f(id)",
            "SELECT * FROM public.orders o WHERE P(o) AND f(o.*)",
            "SELECT * FROM public.orders o WHERE P(o) AND lower(ctid::text) = 'x'",
            "SELECT * FROM public.orders o WHERE P(o) AND (o.id = 1 OR NOT f(o.id))",
            "SELECT * FROM public.orders o WHERE P(o) AND (f(o.id)) IS TRUE",
            "SELECT * FROM public.orders o WHERE P(o) AND coalesce(f(o.id), false)",
            "SELECT * FROM public.orders WHERE P(orders) AND f(public.orders.id)",
            "SELECT * FROM public.countries x LEFT JOIN public.orders o ON P(o) WHERE f(o.id)",
            "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN true THEN f(o.id) ELSE false END",
            "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN P(o) THEN true ELSE f(o.id) END",
            "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN (SELECT false) THEN f(o.id) ELSE false END",
            // It tests nothing of the relation that its result looks at.
            "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN (SELECT true) THEN f(o.id) ELSE false END",
            "SELECT * FROM public.orders o JOIN public.customers c ON P(o) WHERE P(c) AND CASE WHEN P(c) THEN f(o.id) ELSE false END",
            "SELECT * FROM public.orders o JOIN public.customers c ON P(o) WHERE P(c) AND CASE WHEN P(c) THEN f(o) ELSE false END",
            "SELECT * FROM public.orders o JOIN public.customers c ON P(o) WHERE P(c) AND CASE WHEN P(c) THEN f(o.*, c.id) ELSE false END",
            "SELECT * FROM public.countries x LEFT JOIN public.orders o ON P(o) AND CASE WHEN P(o) OR x.* IS NULL THEN f(o.id) ELSE false END",
            "SELECT * FROM public.countries x LEFT JOIN public.orders o ON P(o) AND CASE WHEN P(o) OR o.* IS NOT NULL THEN f(o.id) ELSE false END",
            "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN P(o) OR f(o.id) THEN true ELSE false END",
            "SELECT * FROM public.customers c LEFT JOIN public.orders o ON P(o) AND f(o.id) WHERE P(c)",
            "SELECT id FROM public.orders o WHERE P(o) GROUP BY id HAVING f(id)",
            "SELECT id FROM public.orders o WHERE P(o) GROUP BY id HAVING max(status) = 'x'",
            "UPDATE public.orders SET id = 5 WHERE P(orders) AND f(id)",
            "DELETE FROM public.orders USING public.countries k WHERE P(orders) AND k.code = lower(status)",
            "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE P(orders) AND f(orders.id)",
            "MERGE INTO public.orders o USING public.countries s ON P(o) AND f(o.id) WHEN MATCHED THEN DELETE",
            "MERGE INTO public.orders o USING public.countries s ON P(o) WHEN MATCHED AND f(o.id) THEN DELETE",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM public.orders o WHERE P(o) AND f(o.id))",
            // What a query looks at around it.
            "SELECT * FROM public.orders o WHERE P(o) AND EXISTS (SELECT 1 FROM public.countries k WHERE f(o.id))",
            "SELECT * FROM public.orders o WHERE P(o) AND EXISTS (SELECT 1 FROM public.countries k WHERE lower(status) = k.code)",
            "SELECT * FROM public.orders o WHERE P(o) AND EXISTS (SELECT 1 WHERE EXISTS (SELECT 1 WHERE f(o.id)))",
            "SELECT * FROM public.orders o, LATERAL (SELECT code FROM public.countries k WHERE lower(o.status) = k.code) x WHERE P(o)",
            "SELECT * FROM public.orders o LEFT JOIN public.countries k ON EXISTS (SELECT 1 WHERE f(o.id)) WHERE P(o)",
            // Queries are run when the first row comes so far.
            "SELECT * FROM public.orders o WHERE P(o) AND o.id < (SELECT 1)",
            "SELECT * FROM public.orders o WHERE P(o) AND (o.id, 1) >= (SELECT 1, 2)",
            "SELECT * FROM public.orders o WHERE P(o) AND o.id IN (1, (SELECT 1))",
            "SELECT * FROM public.orders o WHERE P(o) AND o.id = ALL (SELECT 1)",
            "SELECT * FROM public.orders o WHERE P(o) AND o.id < CASE WHEN o.id IS NULL THEN NULL ELSE (SELECT 1) END",
        ],
    );
}

/// Over subqueries, common table expressions and aliased joins.
#[test]
fn conditions_over_derived_items_are_seen_where_the_rule_is_on() {
    let texts = [
        "SELECT * FROM (SELECT * FROM public.orders WHERE P(orders)) x WHERE x.status LIKE 'a%'",
        "SELECT * FROM (SELECT id, status AS s FROM public.orders WHERE P(orders) OFFSET 0) x WHERE s LIKE 'a%'",
        "SELECT * FROM (SELECT * FROM (SELECT status FROM public.orders WHERE P(orders)) y) x WHERE f(x.status)",
        "SELECT * FROM (SELECT id FROM public.countries UNION ALL SELECT status FROM public.orders WHERE P(orders)) x WHERE f(x.id)",
        "WITH w AS (SELECT status FROM public.orders WHERE P(orders)) SELECT * FROM w WHERE lower(status) = 'a'",
        "WITH w AS MATERIALIZED (SELECT status FROM public.orders WHERE P(orders)) SELECT * FROM w AS v(s) WHERE lower(v.s) = 'a'",
        "SELECT * FROM ((SELECT status FROM public.orders WHERE P(public.orders) OFFSET 0) a CROSS JOIN public.countries k) j WHERE f(j.status)",
        "SELECT * FROM public.countries k LEFT JOIN (SELECT * FROM public.orders WHERE P(orders)) x ON x.status LIKE k.code",
        "SELECT 1 FROM (SELECT * FROM public.orders WHERE P(orders)) x HAVING f(max(x.status))",
        "DELETE FROM public.customers USING (SELECT * FROM public.orders WHERE P(orders)) x WHERE P(customers) AND lower(x.status) = 'a'",
        "MERGE INTO public.orders o USING (SELECT * FROM public.customers WHERE P(customers)) s ON P(o) AND lower(s.name) = 'x' WHEN MATCHED THEN DELETE",
        "INSERT INTO public.orders (id, tenant_id) SELECT x.id, $2 FROM (SELECT * FROM public.orders WHERE P(orders)) x WHERE f(x.id)",
        "COPY (SELECT * FROM (SELECT * FROM public.orders WHERE P(orders)) x WHERE f(x.id)) TO STDOUT",
    ];
    uncovered(ALL, LEAK, &texts);
    covered(Rules { derived: false, ..ALL }, &texts);
}

/// Over tables that the server's policies guard, which need no predicate.
#[test]
fn conditions_over_policed_relations_are_seen_where_the_rule_is_on() {
    let mut policy = fixture::policy();
    for rule in policy.tables.values_mut() {
        if let TableRule::Tenant(table) = rule {
            table.protection = Protection::Policies;
        }
    }
    let says = |rules, sql: &str| testify_by(&policy, Arity::One, &planned(sql), rules);
    let bare = "SELECT * FROM public.orders o WHERE f(o.id)";
    assert_eq!(says(Rules { derived: false, policed: false }, bare), Testimony::Covered);
    assert!(matches!(says(ALL, bare), Testimony::Uncovered(_)));
    let fenced = "SELECT * FROM public.orders o WHERE CASE WHEN P(o) THEN f(o.id) ELSE false END";
    assert_eq!(says(ALL, fenced), Testimony::Covered);
}
