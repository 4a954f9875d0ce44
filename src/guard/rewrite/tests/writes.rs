//! The final text of INSERT, UPDATE, DELETE and MERGE.

use super::fixture::{self, text};
use super::forms::check;
use crate::base::Mode;
use crate::guard::{Policy, Protocol, plan_statements};

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
            "INSERT INTO public.orders (id, tenant_id) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET tenant_id = CASE WHEN excluded.tenant_id + 0 =T= $1 THEN $1 ELSE FAILS END WHERE CASE WHEN public.orders.tenant_id =T= $1 THEN true ELSE TAKEN END AND public.orders.tenant_id =T= $1",
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
            "INSERT INTO public.orders AS o (id, status, tenant_id) VALUES (1, 'a', $1) ON CONFLICT (id) DO UPDATE SET status = excluded.status WHERE CASE WHEN o.tenant_id =T= $1 THEN true ELSE TAKEN END AND o.tenant_id =T= $1 AND CASE WHEN o.tenant_id =T= $1 THEN lower(o.status) = 'x' ELSE false END RETURNING o.id",
        ),
        (
            "INSERT INTO orders AS o VALUES (1) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.tenant_id, id = o.id",
            "INSERT INTO public.orders AS o (id, tenant_id) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.tenant_id, id = o.id WHERE CASE WHEN o.tenant_id =T= $1 THEN true ELSE TAKEN END AND o.tenant_id =T= $1",
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
