//! Conditions whose queries look at rows of the level around them.

use super::check;

#[test]
fn queries_in_a_condition_that_look_at_a_row_stand_behind_its_predicate() {
    for sql in [
        // The condition names no column but in its query.
        "SELECT 1 FROM public.orders o WHERE P(o) AND (SELECT o.note / 0) / 1 > 0",
        "SELECT 1 FROM public.orders o WHERE P(o) AND (SELECT note / 0) / 1 > 0",
        "SELECT 1 FROM public.orders WHERE P(orders) AND (SELECT public.orders.note / 0) / 1 > 0",
        "SELECT 1 FROM public.orders o WHERE P(o) AND f((SELECT o.note))",
        "SELECT 1 FROM public.orders o WHERE P(o) AND f((SELECT k.id / o.note FROM public.countries k))",
        "SELECT 1 FROM public.orders o WHERE P(o) AND f((SELECT 1 UNION SELECT o.note / 0))",
        "SELECT 1 FROM public.orders o WHERE P(o) AND f((SELECT (SELECT o.note / 0)))",
        "SELECT 1 FROM public.orders o WHERE P(o) AND f((SELECT c.x FROM (SELECT o.note / 0 AS x) c))",
        "SELECT 1 FROM public.orders o JOIN public.countries k ON P(o) AND f((SELECT o.note / 0))",
        "SELECT 1 FROM public.orders o WHERE P(o) GROUP BY o.id HAVING f((SELECT o.id / 0))",
        "UPDATE public.orders o SET id = 1 WHERE P(o) AND f((SELECT o.note / 0))",
        "DELETE FROM public.orders o WHERE P(o) AND f((SELECT o.note / 0))",
        "MERGE INTO public.orders o USING public.countries k ON P(o) AND f((SELECT o.note / 0)) WHEN MATCHED THEN DELETE",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE P(orders) AND f((SELECT orders.note / 0))",
        // Behind a predicate, but of another table.
        "SELECT 1 FROM public.orders o, public.customers c WHERE P(o) AND P(c) AND CASE WHEN P(o) THEN f((SELECT c.note / 0)) ELSE false END",
        // A query that the planner merges into the one around it.
        "SELECT 1 FROM (SELECT o.note AS n FROM public.orders o WHERE P(o)) q WHERE f((SELECT q.n / 0))",
    ] {
        assert!(
            check(sql).is_err_and(|what| what.contains("beside") || what.contains("tried")),
            "{sql}: {:?}",
            check(sql)
        );
    }
    for sql in [
        "SELECT 1 FROM public.orders o WHERE P(o) AND CASE WHEN P(o) THEN (SELECT o.note / 0) / 1 > 0 ELSE false END",
        "SELECT 1 FROM public.orders o, public.customers c WHERE P(o) AND P(c) AND CASE WHEN P(o) AND P(c) THEN f((SELECT c.note / o.id)) ELSE false END",
        // Names that mean something nearer.
        "SELECT 1 FROM public.orders o WHERE P(o) AND f((SELECT max(o.id / 0) FROM public.countries o))",
        "SELECT 1 FROM public.orders o WHERE P(o) AND f((SELECT max(note / 0) FROM public.countries k))",
        "SELECT 1 FROM public.orders o WHERE P(o) AND f((SELECT k.cid AS note FROM public.countries k ORDER BY note))",
        "SELECT 1 FROM public.countries k WHERE f((SELECT k.id / 0))",
        "SELECT 1 FROM public.orders WHERE P(orders) AND f((SELECT count(*) FROM public.orders WHERE P(orders)))",
    ] {
        assert_eq!(check(sql), Ok(()), "{sql}");
    }
}
