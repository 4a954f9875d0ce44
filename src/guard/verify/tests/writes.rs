//! What is written, and which rows belong to whom beside the tenant column.

use super::*;

#[test]
fn writes_for_others_are_found() {
    for sql in [
        "INSERT INTO public.orders (id) VALUES (5)",
        "INSERT INTO public.orders VALUES (5, $2)",
        "INSERT INTO public.orders DEFAULT VALUES",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2), (6, 2)",
        "INSERT INTO public.orders (tenant_id, tenant_id) VALUES ($2, 2)",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2 + 1)",
        "INSERT INTO public.orders (tenant_id) VALUES (DEFAULT)",
        "INSERT INTO public.orders (tenant_id, id) SELECT *, $2 FROM public.countries",
        "INSERT INTO public.orders (id, tenant_id) SELECT $2, * FROM public.countries",
        "INSERT INTO public.orders (tenant_id) SELECT CASE WHEN id OPERATOR(pg_catalog.=) $2 THEN id ELSE 0 END FROM public.countries",
        "INSERT INTO public.orders (tenant_id) SELECT CASE WHEN id OPERATOR(pg_catalog.=) $2 THEN $2 ELSE id END FROM public.countries",
        "INSERT INTO public.orders (tenant_id) SELECT $2 UNION SELECT 2",
        "INSERT INTO public.orders (id, tenant_id, cid) VALUES ((ROW(1, 2)).*, $2)",
        "INSERT INTO public.orders (id, tenant_id, cid) VALUES ((ROW(1, 2)).*, $2, 3)",
        "UPDATE public.orders SET (id, tenant_id, cid) = ROW((ROW(1, 2)).*, $2) WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id, cid) = ((ROW(1, 2)).*, $2, 3) WHERE P(orders)",
        "MERGE INTO public.orders o USING public.countries s ON P(o) WHEN NOT MATCHED THEN INSERT (id, tenant_id, cid) VALUES ((ROW(1, 2)).*, $2)",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.id WHERE P(orders)",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE CASE WHEN P(orders) THEN true ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::boolean END",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE CASE WHEN P(orders) THEN true ELSE f(orders.note) END AND P(orders)",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE CASE WHEN f(orders.note) THEN true ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::boolean END AND P(orders)",
        "UPDATE public.orders SET id = 5 WHERE CASE WHEN P(orders) THEN true ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::boolean END AND P(orders)",
        "UPDATE public.orders SET id = 5",
        "UPDATE public.orders SET tenant_id = 2 WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id) = (5, 2) WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id) = (SELECT 5, 2) WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, q.b FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id) = (SELECT CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END, q.b FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id) = (SELECT 5, CASE WHEN 2 OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END) WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true WHERE false) WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true) x JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true WHERE false) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
        "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true LIMIT 0) WHERE P(orders)",
        "UPDATE public.orders SET id = c.id FROM public.customers c WHERE P(orders)",
        "DELETE FROM public.orders WHERE id = 5",
        "DELETE FROM public.orders USING public.customers c WHERE P(orders)",
        "MERGE INTO public.orders o USING public.countries s ON o.id = s.id WHEN MATCHED THEN DELETE",
        "MERGE INTO public.orders o USING public.customers s ON P(o) AND P(s) WHEN MATCHED THEN DELETE",
        "MERGE INTO public.orders o USING public.countries s ON P(o) WHEN NOT MATCHED BY SOURCE THEN DELETE",
        "MERGE INTO public.orders o USING public.countries s ON P(o) WHEN NOT MATCHED THEN INSERT (id, tenant_id) VALUES (1, 2)",
        "MERGE INTO public.orders o USING public.countries s ON P(o) WHEN MATCHED THEN UPDATE SET tenant_id = 2",
    ] {
        assert!(check(sql).is_err(), "{sql}");
    }
}

#[test]
fn what_tenants_may_not_write_is_not_written() {
    for sql in [
        "INSERT INTO public.countries (id) VALUES (1)",
        "UPDATE public.countries SET id = 1",
        "DELETE FROM public.countries",
        "COPY public.countries FROM STDIN",
        "MERGE INTO public.countries c USING public.sessions s ON true WHEN MATCHED THEN DELETE",
        "WITH w AS (DELETE FROM public.countries RETURNING 1) SELECT * FROM w",
        "INSERT INTO public.feedback (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 2",
        "UPDATE public.feedback SET id = 1",
        "MERGE INTO public.feedback f USING public.sessions s ON true WHEN NOT MATCHED THEN INSERT (id) VALUES (1)",
        "INSERT INTO public.accounts (id, tenant_id) VALUES (5, $2)",
        "UPDATE public.accounts SET id = 1 WHERE P(accounts)",
        "DELETE FROM public.accounts WHERE P(accounts)",
        "COPY public.accounts (id, tenant_id) FROM STDIN",
    ] {
        assert!(check(sql).is_err(), "{sql}");
    }
    for sql in [
        "INSERT INTO public.feedback (id) VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO public.sessions (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 2",
        "UPDATE public.sessions SET id = 1",
        "DELETE FROM public.sessions",
        "COPY public.feedback FROM STDIN",
        "COPY public.countries TO STDOUT",
    ] {
        assert_eq!(check(sql), Ok(()), "{sql}");
    }
}

#[test]
fn rows_of_everybody_are_read_only() {
    for sql in [
        "SELECT * FROM public.templates t WHERE (P(t) OR t.tenant_id IS NULL) AND CASE WHEN P(t) OR t.tenant_id IS NULL THEN f(t.note) ELSE false END",
        "SELECT * FROM public.templates t WHERE P(t) AND CASE WHEN P(t) THEN f(t.note) ELSE false END",
        "SELECT * FROM public.orders o LEFT JOIN public.templates t ON P(t) OR t.tenant_id IS NULL WHERE P(o) AND CASE WHEN P(t) OR t.tenant_id IS NULL THEN f(t.id) ELSE false END",
        "UPDATE public.orders SET id = t.id FROM public.templates t WHERE P(orders) AND (P(t) OR t.tenant_id IS NULL)",
        "UPDATE public.templates SET id = 1 WHERE P(templates)",
    ] {
        assert_eq!(check(sql), Ok(()), "{sql}");
    }
    for sql in [
        "SELECT * FROM public.orders t WHERE P(t) OR t.tenant_id IS NULL",
        "SELECT * FROM public.templates t WHERE P(t) OR t.id IS NULL",
        "SELECT * FROM public.templates t WHERE P(t) OR t.tenant_id IS NOT NULL",
        "SELECT * FROM public.templates t, public.customers c WHERE P(c) AND (P(t) OR c.tenant_id IS NULL)",
        "SELECT * FROM public.templates t WHERE P(t) OR t.tenant_id IS NULL OR t.id = 1",
        "SELECT * FROM public.orders t WHERE P(t) AND CASE WHEN P(t) OR t.tenant_id IS NULL THEN f(t.note) ELSE false END",
        "SELECT * FROM public.templates t WHERE (P(t) OR t.tenant_id IS NULL) AND f(t.note)",
        "UPDATE public.templates SET id = 1 WHERE P(templates) OR templates.tenant_id IS NULL",
        "DELETE FROM public.templates WHERE P(templates) OR templates.tenant_id IS NULL",
        "UPDATE public.templates SET id = 1 WHERE CURRENT OF c",
        "DELETE FROM public.templates WHERE CURRENT OF c",
        "MERGE INTO public.templates t USING public.countries s ON P(t) OR t.tenant_id IS NULL WHEN MATCHED THEN DELETE",
        "INSERT INTO public.templates (id, tenant_id) VALUES (5, NULL)",
        "INSERT INTO public.templates (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE P(templates) OR templates.tenant_id IS NULL",
    ] {
        assert!(check(sql).is_err(), "{sql}");
    }
}

#[test]
fn tables_that_belong_through_a_foreign_key() {
    for sql in [
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) AND CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) THEN f(t.tag) ELSE false END AND EXISTS (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) public.order_tags.order_id)",
        "SELECT * FROM public.orders o LEFT JOIN public.order_tags t ON (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) AND t.order_id = o.id WHERE P(o) AND CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id) OR (t.*) IS NULL THEN f(t.tag) ELSE false END",
        "UPDATE public.order_tags SET tag = tag, order_id = order_tags.order_id WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) order_tags.order_id)",
        "INSERT INTO public.order_tags (order_id) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) q.c) THEN q.c ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::bigint END FROM (SELECT true) x LEFT JOIN (SELECT 5) q(c) ON true))",
        "INSERT INTO public.order_tags (order_id) SELECT CASE WHEN (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) q.c) THEN q.c ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::bigint END FROM (SELECT 5) q(c)",
        "DELETE FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
    ] {
        assert_eq!(check(sql), Ok(()), "{sql}");
    }
    for sql in [
        "SELECT * FROM public.order_tags",
        "SELECT * FROM public.order_tags t WHERE EXISTS (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE p.id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p))",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) p.id)",
        "SELECT * FROM public.order_tags p WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) p.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.customers p WHERE P(p) AND p.id OPERATOR(pg_catalog.=) t.order_id)",
        "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders p WHERE P(p) AND p.cid OPERATOR(pg_catalog.=) t.order_id)",
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
        "COPY public.order_tags (order_id, tag) FROM STDIN",
    ] {
        assert!(check(sql).is_err(), "{sql}");
    }
}
