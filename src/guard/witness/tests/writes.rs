use super::*;

#[test]
fn writes_of_the_own_value_are_covered() {
    covered(
        ALL,
        &[
            "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2), (7, $1) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE P(orders)",
            "INSERT INTO public.orders AS o (id, tenant_id) VALUES (1, $2) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.tenant_id, id = o.id WHERE P(o)",
            "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE CASE WHEN P(orders) THEN true ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::boolean END AND P(orders)",
            "INSERT INTO public.orders (id, tenant_id) VALUES (5, $1::int4) ON CONFLICT DO NOTHING RETURNING *",
            "INSERT INTO public.orders (tenant_id, id) SELECT $2, q.id FROM (SELECT id FROM public.customers WHERE P(customers)) q",
            "INSERT INTO public.orders (id, status, tenant_id) SELECT *, $2 FROM public.countries",
            "INSERT INTO public.orders (id, tenant_id) SELECT 1, $2 UNION (SELECT 2, $2)",
            "INSERT INTO public.orders (id, tenant_id) SELECT 1, CASE WHEN code OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM public.countries",
            "UPDATE public.orders o SET id = 5, tenant_id = $2 FROM public.customers c WHERE P(o) AND P(c)",
            "UPDATE public.orders SET (id, tenant_id) = (5, $1), status = 'x' WHERE P(orders)",
            "UPDATE public.orders SET (id, tenant_id) = ROW(5, $1) WHERE P(orders)",
            "UPDATE public.orders SET tenant_id = orders.tenant_id WHERE P(public.orders)",
            "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
            "DELETE FROM public.orders USING public.countries c WHERE P(orders) AND status = c.code RETURNING *",
            "MERGE INTO public.orders o USING (SELECT id FROM public.customers WHERE P(customers)) s ON P(o) AND o.id = s.id \
             WHEN MATCHED THEN UPDATE SET id = 1 WHEN NOT MATCHED BY SOURCE AND P(o) THEN DELETE WHEN NOT MATCHED THEN INSERT (id, tenant_id) VALUES (1, $2)",
            "COPY public.orders (id, tenant_id) FROM STDIN",
        ],
    );
}

#[test]
fn writes_for_others_are_seen() {
    uncovered(
        Rules::IN_FORCE,
        "an INSERT does not put",
        &[
            "INSERT INTO public.orders (id) VALUES (5)",
            "INSERT INTO public.orders VALUES (5, $2)",
            "INSERT INTO public.orders DEFAULT VALUES",
            "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2), (6, 2)",
            "INSERT INTO public.orders (tenant_id, tenant_id) VALUES ($2, 2)",
            "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2 + 1)",
            "INSERT INTO public.orders (tenant_id) VALUES (DEFAULT)",
            "INSERT INTO public.orders (tenant_id) VALUES (NULL)",
            "INSERT INTO public.orders (tenant_id, id) SELECT *, $2 FROM public.countries",
            "INSERT INTO public.orders (id, tenant_id) SELECT $2, * FROM public.countries",
            "INSERT INTO public.orders (tenant_id) SELECT CASE WHEN id OPERATOR(pg_catalog.=) $2 THEN id ELSE 0 END FROM public.countries",
            "INSERT INTO public.orders (tenant_id) SELECT CASE WHEN id OPERATOR(pg_catalog.=) $2 THEN $2 ELSE id END FROM public.countries",
            "INSERT INTO public.orders (tenant_id) SELECT $2 UNION SELECT 2",
            "INSERT INTO public.orders (tenant_id, id) TABLE public.countries",
            "WITH i AS (INSERT INTO public.orders (id) VALUES (5) RETURNING id) SELECT * FROM i",
        ],
    );
    uncovered(
        Rules::IN_FORCE,
        "an assignment may change the tenant column",
        &[
            "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.id WHERE P(orders)",
            "UPDATE public.orders SET tenant_id = 2 WHERE P(orders)",
            "UPDATE public.orders o SET tenant_id = c.tenant_id FROM public.customers c WHERE P(o) AND P(c)",
            "UPDATE public.orders SET (id, tenant_id) = (5, 2) WHERE P(orders)",
            "UPDATE public.orders SET (id, tenant_id) = (SELECT 5, 2) WHERE P(orders)",
            "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, q.b FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
            "UPDATE public.orders SET (id, tenant_id) = (SELECT CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END, q.b FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
            "UPDATE public.orders SET (id, tenant_id) = (SELECT 5, CASE WHEN 2 OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END) WHERE P(orders)",
            "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true WHERE false) WHERE P(orders)",
            "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true) x JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
            "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true WHERE false) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
            "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true LIMIT 0) WHERE P(orders)",
            "MERGE INTO public.orders o USING public.countries s ON P(o) WHEN MATCHED THEN UPDATE SET tenant_id = 2",
        ],
    );
    uncovered(
        Rules::IN_FORCE,
        "without its tenant predicate",
        &[
            "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7",
            "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) RETURNING (SELECT max(id) FROM public.customers)",
            "UPDATE public.orders SET id = 5",
            "UPDATE ONLY public.orders SET id = 5 WHERE id = 4",
            "UPDATE public.orders SET id = c.id FROM public.customers c WHERE P(orders)",
            "UPDATE public.orders SET id = (SELECT max(id) FROM public.customers) WHERE P(orders)",
            "DELETE FROM public.orders WHERE id = 5",
            "DELETE FROM public.orders USING public.customers c WHERE P(orders)",
            "MERGE INTO public.orders o USING public.countries s ON o.status = s.code WHEN MATCHED THEN DELETE",
            "MERGE INTO public.orders o USING public.customers s ON P(o) AND P(s) WHEN MATCHED THEN DELETE",
            "MERGE INTO public.orders o USING public.countries s ON P(o) WHEN NOT MATCHED BY SOURCE THEN DELETE",
        ],
    );
    uncovered(
        Rules::IN_FORCE,
        "a MERGE does not insert",
        &[
            "MERGE INTO public.orders o USING public.countries s ON P(o) WHEN NOT MATCHED THEN INSERT (id, tenant_id) VALUES (1, 2)",
        ],
    );
}
