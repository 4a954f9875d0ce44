mod correlated;
mod derived;
mod readers;
mod writes;

use super::*;
use crate::base::Access;
use crate::base::oid::{INT2, INT4, INT8, TEXT};
use crate::catalog::TypeInfo;
use crate::guard::fixture;
use crate::sql::parse::reparse;

thread_local! {
    /// What the verifier did: nodes walked, names and conditions compared.
    pub(super) static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn policy() -> Policy {
    let columns = [("id", INT4), ("cid", INT4), ("note", INT4), ("tenant_id", INT4)];
    let names = ["orders", "customers", "countries", "sessions", "feedback", "accounts", "templates"];
    let tags = fixture::table("order_tags", &[("order_id", INT4), ("tag", INT4)]);
    let relations = names.map(|name| fixture::table(name, &columns)).into_iter().chain([tags]);
    let operators = [("=", true), ("<", true), ("/", false)]
        .map(|(name, leakproof)| fixture::operator(&format!("pg_catalog.{name}"), INT4, INT4, leakproof));
    let tenant = || TableRule::Tenant(fixture::tenant_table("tenant_id"));
    let rules = [
        ("orders", tenant()),
        ("customers", tenant()),
        ("sessions", TableRule::Shared(Access::Write)),
        ("feedback", TableRule::Shared(Access::Insert)),
        (
            "order_tags",
            TableRule::Tenant(fixture::through(
                "order_tags",
                "order_id",
                "orders",
                "id",
                fixture::tenant_table("tenant_id"),
            )),
        ),
        ("templates", TableRule::Tenant(TenantTable { null_is_shared: true, ..fixture::tenant_table("tenant_id") })),
        ("accounts", TableRule::Tenant(TenantTable { access: Access::Read, ..fixture::tenant_table("tenant_id") })),
        ("countries", TableRule::Shared(Access::Read)),
    ];
    fixture::policy(fixture::catalog(relations, [], operators), rules)
}

/// Verifies a text in which the client has one parameter and the tenant's value is `$2`. `P(x)` stands for the predicate.
fn check(sql: &str) -> Result<(), String> {
    let sql = expand(sql);
    let slots = [TenantSlot { key: None, arity: Arity::One, type_oid: 23, type_name: "pg_catalog.int4".into() }];
    let checks = [TenantCheck::Literal { slot: 0, value: "1".into() }, TenantCheck::Param { slot: 0, number: 1 }];
    let statements = reparse(&sql).unwrap_or_else(|error| panic!("{error}: {sql:.60}"));
    verify(&policy(), Arity::One, &statements[0], 1, &[], &slots, &checks)
        .map_err(|refusal| refusal.error.detail.unwrap().into_owned())
}

/// Verifies a condition on `orders` where the client's parameter was declared with a type (0: with none).
fn check_param(declared: Oid, condition: &str) -> Result<(), String> {
    let mut policy = policy();
    let catalog = std::sync::Arc::make_mut(&mut policy.catalog);
    catalog.types = fixture::types(&[(INT2, "int2"), (INT4, "int4"), (INT8, "int8"), (TEXT, "text"), (1007, "_int4")]);
    let domain = TypeInfo { oid: 20_002, name: fixture::named("pg_catalog.small"), typtype: 'd', base: INT4 };
    catalog.types.insert(domain.oid, domain);
    let sql = expand(&format!("SELECT 1 FROM public.orders o WHERE P(o) AND {condition}"));
    let slots = [TenantSlot { key: None, arity: Arity::One, type_oid: 23, type_name: "pg_catalog.int4".into() }];
    let statements = reparse(&sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    verify(&policy, Arity::One, &statements[0], 1, &[declared], &slots, &[])
        .map_err(|refusal| refusal.error.detail.unwrap().into_owned())
}

#[test]
fn casts_of_parameters_give_them_their_type_or_fail_for_everybody() {
    let trial = "CASE WHEN $1::int IS NULL THEN true ELSE true END";
    for (declared, condition) in [
        (0, "o.id = $1::int".to_owned()),
        (0, "o.id = $1::int AND o.cid = $1::int4".to_owned()),
        (0, "($1::int IS NULL OR o.id = $1)".to_owned()),
        (INT4, "o.id = $1::int".to_owned()),
        (INT2, "o.id = $1::int".to_owned()),
        (705, "o.id = $1::int".to_owned()),
        (0, "o.id = ANY ($1::int[])".to_owned()),
        (1007, "o.id = ANY ($1::int[])".to_owned()),
        (0, "o.id = ANY (ARRAY[$1, 5]::int[])".to_owned()),
        (TEXT, format!("o.id = $1::int AND {trial}")),
        (TEXT, format!("o.id IN ($1::int, 5) AND {trial}")),
        (TEXT, "CASE WHEN o.tenant_id OPERATOR(pg_catalog.=) $2 THEN o.id = $1::int ELSE false END".to_owned()),
    ] {
        assert_eq!(check_param(declared, &condition), Ok(()), "{declared} {condition}");
    }
    for (declared, condition) in [
        (TEXT, "o.id = $1::int"),
        (INT8, "o.id = $1::int"),
        (TEXT, "o.id = ANY ($1::int[])"),
        (INT4, "o.id = ANY ($1::int[])"),
        (TEXT, "o.id = ANY (ARRAY[$1, 5]::int[])"),
        (TEXT, "(o.note IS NULL OR o.id = $1::int)"),
        (TEXT, "NOT (o.id = $1::int)"),
        (TEXT, "(o.id, 1) = ($1::int, 1)"),
        (0, "o.note = $1 AND o.id = $1::int"),
        (0, "o.note = $1::text AND o.id = $1::int"),
        (0, "($1::int IS NULL OR o.id = $1) AND o.note = $1"),
        (0, "(o.note = $1 OR o.id = $1::int)"),
        (TEXT, "o.id = $1::int AND CASE WHEN $1::int8 IS NULL THEN true ELSE true END"),
        (0, "o.id = $1::small"),
        (0, "o.id = '5'::small"),
    ] {
        let outcome = check_param(declared, condition);
        assert!(outcome.is_err_and(|why| why.contains("beside the tenant predicate")), "{declared} {condition}");
    }
}

/// The same for a reader of several tenants, whose keys are `$2`; `slot`: how many the parameter holds.
fn check_as(arity: Arity, slot: Arity, sql: &str) -> Result<(), String> {
    let slots = [TenantSlot { key: None, arity: slot, type_oid: 23, type_name: "pg_catalog.int4".into() }];
    let statements = reparse(sql).unwrap_or_else(|error| panic!("{error}: {sql:.60}"));
    verify(&policy(), arity, &statements[0], 1, &[], &slots, &[])
        .map_err(|refusal| refusal.error.detail.unwrap().into_owned())
}

fn expand(sql: &str) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once("P(") {
        let (name, after) = after.split_once(')').unwrap();
        out.push_str(&format!("{before}{name}.tenant_id OPERATOR(pg_catalog.=) $2"));
        rest = after;
    }
    out + rest
}

#[test]
fn guarded_statements_pass() {
    for sql in [
        "SELECT * FROM public.orders WHERE P(orders) AND id = 5",
        "SELECT * FROM public.orders WHERE P(public.orders)",
        "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN P(o) THEN f(o.id) ELSE false END",
        "SELECT * FROM public.orders o, public.customers c WHERE P(o) AND P(c) AND o.cid = c.id",
        "SELECT * FROM public.customers c LEFT JOIN public.orders o ON o.cid = c.id AND P(o) WHERE P(c)",
        "SELECT * FROM public.orders o RIGHT JOIN public.customers c ON o.cid = c.id AND P(o) WHERE P(c)",
        "SELECT * FROM public.countries x LEFT JOIN (public.orders o JOIN public.customers c ON P(o) AND P(c)) ON o.cid = x.id",
        "SELECT * FROM (SELECT * FROM public.orders WHERE P(orders)) o FULL JOIN public.countries c ON o.id = c.id",
        "SELECT * FROM public.orders TABLESAMPLE system (5) WHERE P(orders) FOR UPDATE OF orders",
        "WITH orders AS (SELECT 1) SELECT * FROM orders",
        "WITH x AS (SELECT id FROM public.orders WHERE P(orders)) SELECT * FROM x UNION SELECT id FROM public.customers WHERE P(customers)",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2), (6, 1), (7, $1) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE P(orders)",
        "INSERT INTO public.orders (id, tenant_id) VALUES (5, $2) ON CONFLICT (id) DO UPDATE SET id = 7 WHERE CASE WHEN P(orders) THEN true ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::boolean END AND P(orders)",
        "INSERT INTO public.orders (tenant_id, id) SELECT $2, q.id FROM (SELECT id FROM public.customers WHERE P(customers)) q",
        "UPDATE public.orders o SET id = 5, tenant_id = $2 FROM public.customers c WHERE P(o) AND P(c)",
        "UPDATE public.orders SET (id, tenant_id) = (5, $1) WHERE P(orders)",
        "UPDATE public.orders SET id = 5 WHERE CURRENT OF c",
        "UPDATE public.orders SET (id, tenant_id) = (SELECT q.a, CASE WHEN q.b OPERATOR(pg_catalog.=) $2 THEN $2 ELSE pg_catalog.concat('no')::boolean::pg_catalog.text::int END FROM (SELECT true) x LEFT JOIN (SELECT 5, 2) q(a, b) ON true) WHERE P(orders)",
        "DELETE FROM public.orders USING public.countries c WHERE P(orders) AND id = c.id RETURNING *",
        "MERGE INTO public.orders o USING (SELECT id FROM public.customers WHERE P(customers)) s ON P(o) AND o.id = s.id \
         WHEN MATCHED THEN UPDATE SET id = 1 WHEN NOT MATCHED BY SOURCE AND P(o) THEN DELETE WHEN NOT MATCHED THEN INSERT (id, tenant_id) VALUES (1, $2)",
        "COPY (SELECT id FROM public.orders WHERE P(orders)) TO STDOUT",
        "COPY public.orders (id, tenant_id) FROM STDIN",
        "SELECT * FROM public.countries WHERE f(id)",
        "SELECT * FROM public.countries x, public.orders o WHERE P(o) AND f(x.id) AND g(5)",
        "SELECT * FROM public.countries x LEFT JOIN public.orders o ON P(o) WHERE CASE WHEN P(o) OR (o.*) IS NULL THEN f(o.id) ELSE false END",
        "SELECT id FROM public.orders o WHERE P(o) GROUP BY id HAVING CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0 THEN f(id) ELSE false END",
        "SELECT * FROM public.orders o WHERE P(o) AND EXISTS (SELECT 1 FROM public.customers WHERE P(customers))",
        "SELECT * FROM public.orders o WHERE P(o) AND NOT EXISTS (SELECT 1) AND o.id IN (SELECT 1)",
        "SELECT * FROM public.orders o WHERE P(o) AND o.id < CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE (SELECT 1) END",
        "SELECT * FROM public.orders o WHERE P(o) AND o.id = CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE (SELECT max(id) FROM public.customers WHERE P(customers) AND id < 5) END",
        "SELECT * FROM public.orders o WHERE P(o) AND o.id = $1::int AND o.id = '5'::text::int",
    ] {
        assert_eq!(check(sql), Ok(()), "{sql}");
    }
}

#[test]
fn unguarded_relations_are_found_everywhere() {
    for sql in [
        "SELECT * FROM public.orders",
        "SELECT * FROM orders",
        "TABLE orders",
        "SELECT * FROM ONLY public.orders",
        "SELECT * FROM public.orders WHERE P(orders) OR true",
        "SELECT * FROM public.orders WHERE NOT (P(orders))",
        "SELECT * FROM public.orders WHERE tenant_id = $2",
        "SELECT * FROM public.orders WHERE orders.tenant_id = $2",
        "SELECT * FROM public.orders WHERE orders.tenant_id OPERATOR(pg_catalog.=) $1",
        "SELECT * FROM public.orders WHERE orders.tenant_id OPERATOR(pg_catalog.=) $3",
        "SELECT * FROM public.orders WHERE orders.id OPERATOR(pg_catalog.=) $2",
        "SELECT * FROM public.orders o WHERE P(orders)",
        "SELECT * FROM public.orders o(tenant_id) WHERE P(o)",
        "SELECT * FROM public.orders o, public.customers c WHERE P(o)",
        "SELECT * FROM public.customers c LEFT JOIN public.orders o ON o.cid = c.id WHERE P(c) AND P(o)",
        "SELECT * FROM public.customers c LEFT JOIN public.orders o ON P(c) AND P(o)",
        "SELECT * FROM public.orders o FULL JOIN public.countries c ON P(o) WHERE P(o)",
        "SELECT (SELECT count(*) FROM (public.orders o JOIN public.countries c ON true) AS j WHERE P(o)) FROM public.orders o WHERE P(o)",
        "SELECT (SELECT max(id) FROM public.orders)",
        "SELECT 1 LIMIT (SELECT count(*) FROM public.orders)",
        "SELECT 1 UNION TABLE public.orders",
        "VALUES ((SELECT max(id) FROM public.orders))",
        "SELECT sum(1) OVER (ORDER BY (SELECT max(id) FROM public.orders))",
        "WITH orders AS (SELECT * FROM orders) SELECT * FROM orders",
        "WITH a AS (SELECT * FROM orders), orders AS (SELECT 1) SELECT * FROM a",
        "WITH d AS (DELETE FROM public.orders RETURNING *) SELECT * FROM d",
        "WITH orders AS (SELECT 1) SELECT * FROM public.orders",
        "WITH orders AS (SELECT 1) DELETE FROM orders",
        "SELECT * FROM public.countries WHERE EXISTS (SELECT 1 FROM public.orders)",
        "SELECT * INTO x FROM public.orders",
        "CREATE TABLE x AS SELECT * FROM public.orders",
        "CREATE TABLE x (LIKE public.orders)",
        "LOCK public.orders",
        "TRUNCATE public.orders",
        "EXPLAIN SELECT * FROM public.orders",
        "COPY public.orders TO STDOUT",
        "COPY public.orders (tenant_id) TO STDOUT",
        "COPY public.orders (id) FROM STDIN",
        "COPY public.orders (tenant_id) FROM '/tmp/x'",
    ] {
        assert!(check(sql).is_err(), "{sql}");
    }
}

/// Of two indexes the second is asked only where the first had any row: whether these fail would tell that.
#[test]
fn what_may_fail_when_it_is_evaluated_does_not_stand_beside() {
    let late = |query: &str| format!("o.id = CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE ({query}) END");
    for query in [
        "SELECT f(1)",
        "SELECT 1 / 0",
        "SELECT id FROM public.customers WHERE P(customers)",
        "SELECT id FROM public.customers WHERE P(customers) LIMIT 2",
        "SELECT id FROM public.customers WHERE P(customers) ORDER BY id FETCH FIRST 1 ROW WITH TIES",
        "SELECT id FROM public.customers WHERE P(customers) LIMIT $1",
        "SELECT f(id) FROM public.customers WHERE P(customers) LIMIT 1",
        "SELECT id FROM public.customers WHERE P(customers) ORDER BY f(id) LIMIT 1",
        "SELECT max(f(id)) FROM public.customers WHERE P(customers)",
        "SELECT max(id) FROM public.customers WHERE P(customers) GROUP BY id",
        "SELECT max(id) FROM public.customers WHERE P(customers) AND CASE WHEN P(customers) THEN f(id) ELSE false END",
        "SELECT max(x.f) FROM f(1) x",
        "SELECT max(id) FROM (SELECT 1 / 0 AS id) x",
        "SELECT 1 UNION SELECT 2",
        "VALUES (1), (2)",
    ] {
        let sql = format!("SELECT * FROM public.orders o WHERE P(o) AND {}", late(query));
        assert!(check(&sql).is_err(), "{sql}");
    }
    for cast in ["$1::text::int", "$1::numeric(2, 1)", "lower($1)::int"] {
        let sql = format!("SELECT * FROM public.orders o WHERE P(o) AND o.id = {cast}");
        assert!(check(&sql).is_err(), "{cast}");
        assert_eq!(check(&format!("{sql} AND CASE WHEN {cast} IS NULL THEN true ELSE true END")), Ok(()), "{cast}");
    }
}

#[test]
fn what_could_tell_of_other_rows_is_found() {
    for sql in [
        "SELECT * FROM public.orders o WHERE P(o) AND f(o.id)",
        "SELECT * FROM public.orders o WHERE P(o) AND 1 / o.id = 1",
        "SELECT * FROM public.orders o WHERE P(o) AND o.note::int = 1",
        "SELECT * FROM public.orders o WHERE P(o) AND f(o)",
        "SELECT * FROM public.orders o WHERE P(o) AND f(id)",
        "SELECT * FROM public.orders o WHERE P(o) AND f(o.*)",
        "SELECT * FROM public.orders WHERE P(orders) AND f(public.orders.id)",
        "SELECT * FROM public.countries x LEFT JOIN public.orders o ON P(o) WHERE f(o.id)",
        "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN true THEN f(o.id) ELSE false END",
        "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN P(o) THEN true ELSE f(o.id) END",
        // The CASE tests another relation than the one that its result looks at.
        "SELECT * FROM public.orders o JOIN public.customers c ON P(o) WHERE P(c) AND CASE WHEN P(c) THEN f(o.id) ELSE false END",
        "SELECT * FROM public.orders o JOIN public.customers c ON P(o) WHERE P(c) AND CASE WHEN P(c) THEN f(o) ELSE false END",
        "SELECT * FROM public.orders o JOIN public.customers c ON P(o) WHERE P(c) AND CASE WHEN P(c) THEN f(o.*, c.id) ELSE false END",
        "SELECT * FROM public.countries x LEFT JOIN public.orders o ON P(o) AND CASE WHEN P(o) OR x.* IS NULL THEN f(o.id) ELSE false END",
        "SELECT * FROM public.countries x LEFT JOIN public.orders o ON P(o) AND CASE WHEN P(o) OR o.* IS NOT NULL THEN f(o.id) ELSE false END",
        "SELECT * FROM public.orders o FULL JOIN public.customers c ON CASE WHEN P(c) THEN f(o.id) ELSE NULL END = CASE WHEN P(c) THEN f(c.id) ELSE NULL END",
        "SELECT * FROM public.orders o WHERE P(o) AND CASE WHEN P(o) OR f(o.id) THEN true ELSE false END",
        "SELECT * FROM public.customers c LEFT JOIN public.orders o ON P(o) AND f(o.id) WHERE P(c)",
        "SELECT id FROM public.orders o WHERE P(o) GROUP BY id HAVING f(id)",
        "UPDATE public.orders SET id = 5 WHERE P(orders) AND f(id)",
        // Queries are run when the first row comes so far.
        "SELECT * FROM public.orders o WHERE P(o) AND o.id < (SELECT 1)",
        "SELECT * FROM public.orders o WHERE P(o) AND o.id NOT IN (SELECT 1)",
        "SELECT * FROM public.orders o WHERE P(o) AND o.id IN (1, (SELECT 1))",
        "SELECT * FROM public.orders o WHERE P(o) AND o.id = ALL (SELECT 1)",
        "SELECT * FROM public.orders o WHERE P(o) AND (o.id, 1) = (1, (SELECT 1))",
        "SELECT * FROM public.orders o WHERE P(o) AND NOT (o.note IS NULL AND EXISTS (SELECT 1))",
        "SELECT * FROM public.orders o WHERE P(o) AND (o.id = 5 OR o.id IN (SELECT 1))",
        "SELECT * FROM public.orders o WHERE P(o) AND o.id < CASE WHEN o.id IS NULL THEN NULL ELSE (SELECT 1) END",
    ] {
        let outcome = check(sql);
        assert!(outcome.as_ref().is_err_and(|what| what.contains("beside the tenant predicate")), "{sql}: {outcome:?}");
    }
}

#[test]
fn only_statements_of_known_kinds_pass() {
    for sql in [
        "REINDEX TABLE public.orders",
        "ALTER TABLE public.countries ADD a int",
        "DO 'BEGIN END'",
        "LOAD 'x'",
        "GRANT a TO b",
    ] {
        let outcome = check(sql);
        assert!(outcome.as_ref().is_err_and(|what| what.contains("has no place")), "{sql}: {outcome:?}");
    }
    for sql in
        ["NOTIFY c", "NOTIFY \"pgw:11d3\", 'x'", "NOTIFY \"pgw+~\"", "LISTEN c", "LISTEN \"pgw:~\"", "LISTEN \"*\""]
    {
        let outcome = check(sql);
        assert!(outcome.as_ref().is_err_and(|what| what.contains("not the tenant's own")), "{sql}: {outcome:?}");
    }
    for sql in ["NOTIFY \"pgw:~\", 'x'", "LISTEN \"pgw+~\"", "LISTEN \"pgw-~\"", "LISTEN \"pgw*\""] {
        assert_eq!(check(sql), Ok(()), "{sql}");
    }
    for sql in [
        "SHOW timezone",
        "BEGIN",
        "FETCH c",
        "EXPLAIN SELECT 1",
        "SET timezone = 'UTC'",
        "DEALLOCATE ALL",
        "SET CONSTRAINTS orders DEFERRED",
    ] {
        assert_eq!(check(sql), Ok(()), "{sql}");
    }
}

/// Statements of growing depth, and of growing width: what is done grows with their size, and not with size times depth.
#[test]
fn work_grows_with_the_size_of_a_statement() {
    let nested =
        |open: &str, inner: &str, close: &str, n: usize| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
    let listed = |n: usize, cte: &dyn Fn(usize) -> String| {
        (0..n).map(|i| format!("w{i} AS ({})", cte(i))).collect::<Vec<_>>().join(",")
    };
    let own = "SELECT id FROM public.orders WHERE P(orders)";
    type Statement<'s> = &'s dyn Fn(usize) -> String;
    let statements: [(&str, usize, Statement<'_>); 12] = [
        ("subqueries in FROM", 20, &|n| nested("SELECT * FROM (", own, ") o", n)),
        ("lateral ones", 8, &|n| {
            nested("SELECT * FROM public.countries k, LATERAL (SELECT k.id, l.* FROM (", own, ") l) m", n)
        }),
        ("in WHERE", 20, &|n| nested("SELECT 1 FROM public.countries WHERE EXISTS (", own, ")", n)),
        ("that look at the outermost", 20, &|n| {
            let inner = "SELECT o.id";
            format!("SELECT 1 FROM public.countries o WHERE {} = 1", nested("(SELECT o.id + (", inner, "))", n))
        }),
        ("in the target list", 20, &|n| nested("SELECT (", own, ")", n)),
        ("WITH in WITH", 20, &|n| nested("WITH w AS (", own, ") SELECT * FROM w", n)),
        ("WITH RECURSIVE in WITH RECURSIVE", 20, &|n| nested("WITH RECURSIVE w AS (", own, ") SELECT * FROM w", n)),
        ("set operations", 20, &|n| nested("(", own, &format!(" UNION {own})"), n)),
        ("rows", 20, &|n| {
            format!("SELECT * FROM public.orders WHERE P(orders) AND {} = 1", nested("ROW(", "id / 1", ", 2)", n))
        }),
        ("joins", 20, &|n| {
            let more: String = (0..n).map(|i| format!(" JOIN public.countries k{i} ON k{i}.id = 1")).collect();
            format!("SELECT * FROM public.countries k{more}")
        }),
        ("CTEs", 200, &|n| {
            let cte = |i: usize| if i == 0 { own.to_owned() } else { format!("SELECT * FROM w{}", i - 1) };
            format!("WITH {} SELECT * FROM w{}", listed(n, &cte), n - 1)
        }),
        ("CTEs that refer forward", 200, &|n| {
            let cte = |i: usize| if i + 1 == n { own.to_owned() } else { format!("SELECT * FROM w{}", i + 1) };
            format!("WITH RECURSIVE {} SELECT * FROM w0", listed(n, &cte))
        }),
    ];
    for (what, n, statement) in statements {
        let steps = |n: usize| {
            STEPS.set(0);
            let outcome = check(&statement(n));
            assert!(outcome.is_ok() || what == "rows", "{what}: {outcome:?}");
            STEPS.get()
        };
        let (small, large) = (steps(n), steps(4 * n));
        // Four times the statement; sixteen times the work would be depth times size.
        assert!(large < 5 * small, "{what}: {small} steps, {large} for a statement four times as large");
    }
}

#[test]
fn locks_of_a_schema_are_its_own() {
    let passes = |sql: &str| {
        let limits = crate::sql::StatementLimits::default();
        let statements = crate::sql::parse::parse(sql, &limits, 150_000).unwrap();
        crate::guard::verify::verify_own_locks("t_a", &statements[0].tree).is_ok()
    };
    let key = |space: &str| {
        format!(
            "SELECT pg_advisory_lock(CAST(CAST('x' OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(\
             pg_catalog.convert_to('{space}', 'UTF8') OPERATOR(pg_catalog.||) pg_catalog.int8send(1)), 1, 8), 'hex') \
             AS pg_catalog.bit(64)) AS pg_catalog.int8))"
        )
    };
    assert!(passes(&key("schema:t_a:3:")) && passes("SELECT pg_advisory_unlock_all()"));
    for wrong in [&key("schema:t_b:3:"), &key("schema:t_a:4:"), &key("t_a"), "SELECT pg_advisory_unlock(1)"] {
        assert!(!passes(wrong), "{wrong}");
    }
    assert!(!passes("SELECT * FROM orders WHERE pg_catalog.pg_try_advisory_xact_lock(1, id)"));
}
