//! Items of FROM that are queries.

use super::*;

/// What is derived from a tenant relation: `T(x)` is a CASE on a subquery.
fn expand_derived(sql: &str) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once("T(") {
        let end = after
            .char_indices()
            .scan(1i32, |depth, (at, c)| {
                *depth += i32::from(c == '(') - i32::from(c == ')');
                Some((at, *depth))
            })
            .find(|(_, depth)| *depth == 0)
            .unwrap()
            .0;
        out.push_str(&format!("{before}CASE WHEN (SELECT true) THEN {} ELSE false END", &after[..end]));
        rest = &after[end + 1..];
    }
    out + rest
}

const OWN: &str = "(SELECT * FROM public.orders WHERE P(orders) OFFSET 0)";
const OPEN: &str = "(SELECT id, f(note) AS note, tenant_id FROM public.orders WHERE P(orders))";

#[test]
fn what_looks_at_derived_items_behind_a_case_passes() {
    for sql in [
        "SELECT * FROM OWN o WHERE T(f(o.id))",
        "SELECT * FROM OWN o WHERE T(f(id)) AND o.id = 5 AND o.note IS NULL",
        "SELECT * FROM OWN o JOIN public.countries c ON T(f(o.id, c.id))",
        "SELECT * FROM public.countries c LEFT JOIN OWN o ON T(f(o.id))",
        "SELECT * FROM OWN o FULL JOIN OWN c ON CASE WHEN (SELECT true) THEN f(o.id) ELSE NULL END = CASE WHEN (SELECT true) THEN c.id ELSE NULL END AND T(f(c.id))",
        "SELECT * FROM (OWN o JOIN OWN c ON o.id = c.id) j WHERE T(f(j.id))",
        "WITH w AS (SELECT * FROM public.orders WHERE P(orders) OFFSET 0) SELECT * FROM w WHERE T(f(w.id))",
        "WITH w AS MATERIALIZED (SELECT * FROM public.orders WHERE P(orders)) SELECT * FROM w x WHERE T(f(x.id))",
        "WITH RECURSIVE w AS (SELECT id FROM public.orders WHERE P(orders) UNION ALL SELECT id FROM w) SELECT * FROM w WHERE T(f(w.id))",
        "WITH w AS (INSERT INTO public.orders (tenant_id) VALUES ($2) RETURNING id) SELECT * FROM w WHERE T(f(w.id))",
        "SELECT * FROM (SELECT * FROM pg_catalog.pg_class) c WHERE T(f(c.relname))",
        // A CASE on the predicate tests the rows themselves: no fence is needed.
        "SELECT * FROM OPEN o WHERE CASE WHEN P(o) THEN f(o.id) ELSE false END AND o.id = 5",
        "SELECT * FROM public.orders o, OWN x WHERE P(o) AND CASE WHEN P(o) THEN f(o.id, x.id) ELSE false END",
        "SELECT * FROM public.orders o WHERE P(o) AND EXISTS (SELECT 1 FROM public.countries c WHERE CASE WHEN P(o) THEN f(o.id, c.id) ELSE false END)",
        "SELECT * FROM OWN o WHERE EXISTS (SELECT 1 FROM public.countries c WHERE T(f(o.id, c.id)))",
        // Behind WHERE, rows are filtered.
        "SELECT (SELECT 1 FROM public.countries c WHERE f(o.id, c.id)) FROM OWN o",
        "SELECT * FROM (SELECT * FROM public.countries) c WHERE f(c.id)",
        "SELECT * FROM public.orders o, public.countries c, LATERAL (SELECT c.note) l(x) WHERE P(o) AND f(l.x)",
        "SELECT * FROM public.orders o, LATERAL (SELECT o.id) l WHERE P(o) AND CASE WHEN P(o) THEN f(l.id) ELSE false END",
        "WITH w AS (SELECT 1 AS id), v AS (SELECT id FROM public.orders WHERE P(orders)) SELECT * FROM w WHERE f(w.id)",
        "UPDATE public.orders SET id = 5 FROM OWN x WHERE P(orders) AND T(f(x.id))",
        "DELETE FROM public.orders USING OWN x WHERE P(orders) AND T(f(x.id))",
        "MERGE INTO public.orders o USING OWN s ON P(o) AND T(f(s.id)) WHEN MATCHED THEN DELETE",
    ] {
        let sql = expand_derived(&sql.replace("OWN", OWN).replace("OPEN", OPEN));
        assert_eq!(check(&sql), Ok(()), "{sql}");
    }
}

#[test]
fn what_could_be_tried_on_statistics_of_others_is_found() {
    for sql in [
        "SELECT * FROM OWN o WHERE f(o.id)",
        "SELECT * FROM OWN o WHERE f(id)",
        "SELECT * FROM OWN o WHERE f(o)",
        "SELECT * FROM public.countries o WHERE f(here.public.o.id)",
        "SELECT * FROM OWN o WHERE f(o.*)",
        "SELECT * FROM OWN o WHERE NOT f(o.id)",
        "SELECT * FROM OWN o WHERE f(o.id) IS TRUE",
        "SELECT * FROM OWN o WHERE o.id = 1 OR f(o.id)",
        "SELECT * FROM OWN o WHERE CASE WHEN true THEN f(o.id) ELSE false END",
        "SELECT * FROM OWN o WHERE CASE WHEN (SELECT true FROM public.countries) THEN f(o.id) ELSE false END",
        "SELECT * FROM OWN o WHERE CASE WHEN (SELECT true) THEN true ELSE f(o.id) END",
        "SELECT * FROM OWN o WHERE CASE WHEN (SELECT false) THEN f(o.id) ELSE false END",
        "SELECT * FROM OWN o WHERE CASE WHEN (SELECT true) OR f(o.id) THEN f(o.id) ELSE false END",
        "SELECT * FROM OWN o JOIN public.countries c ON f(o.id, c.id)",
        "SELECT * FROM public.countries c LEFT JOIN OWN o ON f(o.id)",
        "SELECT * FROM OWN o FULL JOIN OWN c ON f(o.id) = c.id",
        "SELECT * FROM OWN o FULL JOIN OWN c ON o.id = c.id AND f(c.id)",
        "SELECT o.id FROM OWN o GROUP BY 1 HAVING f(o.id)",
        "SELECT * FROM (OWN o JOIN OWN c ON o.id = c.id) j WHERE f(j.id)",
        "WITH w AS (SELECT * FROM public.orders WHERE P(orders) OFFSET 0) SELECT * FROM w WHERE f(w.id)",
        "WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT * FROM public.orders WHERE P(orders) OFFSET 0) SELECT * FROM a WHERE f(a.id)",
        "SELECT * FROM (SELECT * FROM pg_catalog.pg_class) c WHERE f(c.relname)",
        "SELECT * FROM public.orders o WHERE P(o) AND EXISTS (SELECT 1 FROM public.countries c WHERE f(o.id, c.id))",
        "SELECT * FROM OWN o WHERE EXISTS (SELECT 1 FROM public.countries c WHERE f(o.id, c.id))",
        "SELECT * FROM OWN o, LATERAL (SELECT 1 FROM public.countries c WHERE f(o.id, c.id)) l",
        "SELECT * FROM public.orders o, LATERAL (SELECT o.id) l WHERE P(o) AND f(l.id)",
        "SELECT * FROM OWN o, LATERAL (SELECT o.id) l WHERE f(l.id)",
        "UPDATE public.orders SET id = 5 FROM OWN x WHERE P(orders) AND f(x.id)",
        "DELETE FROM public.orders USING OWN x WHERE P(orders) AND f(x.id)",
        "MERGE INTO public.orders o USING OWN s ON P(o) AND f(s.id) WHEN MATCHED THEN DELETE",
        // Nothing keeps these from being moved to the rows inside.
        "SELECT * FROM OPEN o WHERE T(f(o.id))",
        "SELECT * FROM OPEN o WHERE o.note = 'x'",
        "SELECT * FROM OPEN o WHERE note = 'x'",
        "SELECT * FROM (OPEN o JOIN OPEN c ON o.id = c.id) j WHERE T(f(j.id))",
        "WITH w AS (SELECT * FROM public.orders WHERE P(orders)) SELECT * FROM w WHERE T(f(w.id))",
        "WITH w AS NOT MATERIALIZED (SELECT * FROM public.orders WHERE P(orders)) SELECT * FROM w x WHERE T(f(x.id))",
    ] {
        let sql = expand_derived(&sql.replace("OWN", OWN).replace("OPEN", OPEN));
        let outcome = check(&sql);
        let found = |what: &String| {
            ["tried on values of others", "beside the tenant predicate"].iter().any(|kind| what.contains(kind))
        };
        assert!(outcome.as_ref().is_err_and(found), "{sql}: {outcome:?}");
    }
}
