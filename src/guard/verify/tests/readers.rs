//! Logins that read several tenants.

use super::*;

#[test]
fn a_reader_has_the_predicate_of_all_its_keys() {
    use Arity::{One, Several};
    let any = "o.tenant_id OPERATOR(pg_catalog.=) ANY ($2)";
    let select = |condition: &str| format!("SELECT * FROM public.orders o WHERE {condition}");
    let good = select(any);
    assert_eq!(check_as(Several, Several, &good), Ok(()));
    // A key in the place of keys, keys in that of one, and either form where the other must be
    assert!(check_as(Several, One, &good).is_err());
    assert!(check_as(One, Several, &good).is_err());
    assert!(check_as(One, One, &good).is_err());
    let single = select("o.tenant_id OPERATOR(pg_catalog.=) $2");
    assert_eq!(check_as(One, One, &single), Ok(()));
    assert!(check_as(Several, Several, &single).is_err());
    for condition in [
        "o.tenant_id = ANY ($2)",
        "o.tenant_id OPERATOR(pg_catalog.=) ALL ($2)",
        "o.tenant_id OPERATOR(pg_catalog.<>) ANY ($2)",
        "o.tenant_id OPERATOR(public.=) ANY ($2)",
        "o.tenant_id OPERATOR(pg_catalog.=) ANY ($1)",
        "o.tenant_id OPERATOR(pg_catalog.=) ANY ($3)",
        "o.tenant_id OPERATOR(pg_catalog.=) ANY ($2 || 1)",
        "o.tenant_id OPERATOR(pg_catalog.=) ANY (ARRAY[$2])",
        "o.tenant_id OPERATOR(pg_catalog.=) ANY (SELECT $2)",
        "o.tenant_id IN ($2)",
        "o.cid OPERATOR(pg_catalog.=) ANY ($2)",
        "$2 OPERATOR(pg_catalog.=) ANY ($2)",
        "NOT o.tenant_id OPERATOR(pg_catalog.=) ANY ($2)",
        "o.tenant_id OPERATOR(pg_catalog.=) ANY ($2) OR true",
        "o.tenant_id OPERATOR(pg_catalog.=) ANY ($2) OR o.tenant_id IS NULL",
    ] {
        assert!(check_as(Several, Several, &select(condition)).is_err(), "{condition}");
    }
    let templates =
        "SELECT * FROM public.templates o WHERE o.tenant_id OPERATOR(pg_catalog.=) ANY ($2) OR o.tenant_id IS NULL";
    assert_eq!(check_as(Several, Several, templates), Ok(()));
    let through = "SELECT * FROM public.order_tags t WHERE (SELECT true FROM public.orders o WHERE \
                   o.tenant_id OPERATOR(pg_catalog.=) ANY ($2) AND o.id OPERATOR(pg_catalog.=) t.order_id)";
    assert_eq!(check_as(Several, Several, through), Ok(()));
    assert!(check_as(Several, Several, &through.replace("ANY ($2)", "$2")).is_err());
}

#[test]
fn a_reader_reads() {
    use Arity::{One, Several};
    for sql in [
        "INSERT INTO public.sessions (id) VALUES (1)",
        "UPDATE public.sessions SET id = 1",
        "DELETE FROM public.sessions",
        "SELECT id FROM public.sessions FOR UPDATE",
        "WITH d AS (DELETE FROM public.sessions RETURNING id) SELECT 1 FROM d",
        "COPY public.sessions (id) FROM STDIN",
        "PREPARE s AS SELECT 1",
        "EXECUTE s",
        "NOTIFY x",
        "SET TRANSACTION READ WRITE",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "BEGIN READ WRITE",
        "SET transaction_read_only = off",
        "SET default_transaction_read_only TO DEFAULT",
        "RESET default_transaction_read_only",
        "SELECT pg_catalog.set_config('transaction_read_only', 'off', true)",
    ] {
        assert!(check_as(Several, Several, sql).is_err(), "{sql}");
        let locks = ["NOTIFY", "COPY"].iter().any(|it| sql.starts_with(it));
        assert!(locks || check_as(One, One, sql).is_ok(), "{sql}");
    }
    for sql in
        ["SET TRANSACTION READ ONLY", "SET transaction_read_only = on", "SELECT id FROM public.sessions", "BEGIN"]
    {
        assert_eq!(check_as(Several, Several, sql), Ok(()), "{sql}");
    }
}
