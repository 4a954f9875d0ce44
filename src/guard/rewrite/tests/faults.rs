//! Each guard that the rewriter puts in, left out on purpose: the verifier refuses every statement that it was missing in.

use super::fixture::{plan, text};
use crate::base::RefusalKind;
use crate::guard::fault::{Fault, with};

/// A statement for each place that a guard is put.
pub(in crate::guard) const STATEMENTS: &[&str] = &[
    "SELECT * FROM orders",
    "SELECT * FROM orders o WHERE o.id = 1 AND lower(o.status) = 'x'",
    "SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND lower(o.status) = 'x'",
    "SELECT * FROM orders o RIGHT JOIN customers c ON o.customer_id = c.id WHERE lower(o.status) = 'x'",
    "SELECT * FROM orders o FULL JOIN customers c ON lower(o.status) = c.name",
    "SELECT * FROM orders o FULL JOIN customers c USING (id)",
    "SELECT * FROM orders AS o(a, b) WHERE lower(status) = 'x'",
    "SELECT * FROM (customers c JOIN orders o ON o.customer_id = c.id) AS j(a, b) WHERE lower(j.a) = 'x'",
    "SELECT * FROM (SELECT id, lower(status) AS s FROM orders) x WHERE lower(x.s) = 'a'",
    "SELECT * FROM (SELECT id, lower(status) AS s FROM orders) x WHERE x.s = 'a'",
    "SELECT * FROM orders o JOIN (SELECT lower(name) AS n FROM customers) x ON x.n = o.status",
    "SELECT * FROM orders o JOIN (SELECT lower(name) AS n FROM customers) x ON o.status BETWEEN x.n AND x.n",
    "SELECT * FROM (SELECT lower(name) AS n FROM customers) x WHERE x.n IN ('a', 'b')",
    "WITH w AS (SELECT id, status FROM orders) SELECT * FROM w WHERE lower(w.status) = 'x'",
    "WITH w AS MATERIALIZED (SELECT id, status FROM orders) SELECT * FROM w WHERE lower(w.status) = 'x'",
    "WITH w AS (SELECT lower(status) AS s FROM orders) SELECT * FROM w JOIN orders o ON o.status = w.s",
    "SELECT * FROM orders o WHERE EXISTS (SELECT 1 FROM countries k WHERE lower(o.status) = k.code)",
    "SELECT * FROM (SELECT status FROM orders) o WHERE EXISTS (SELECT 1 FROM countries k WHERE lower(o.status) = k.code)",
    "SELECT status FROM orders GROUP BY status HAVING lower(status) = 'x'",
    "SELECT * FROM orders WHERE id = (SELECT max(id) FROM customers)",
    "SELECT * FROM orders WHERE placed_at > now() - interval '1 day'",
    "DELETE FROM orders WHERE placed_at BETWEEN now() - $1::interval AND now()",
    "PREPARE p (int) AS SELECT * FROM orders WHERE id = $1",
    "EXPLAIN SELECT * FROM orders WHERE id = 1",
    "DECLARE c CURSOR FOR SELECT * FROM orders WHERE lower(status) = 'x'",
    "SELECT * FROM orders WHERE status = $1 AND id = $1::int",
    "PREPARE p (text) AS SELECT * FROM orders WHERE id = $1::int",
    "SELECT * FROM orders WHERE (id, 1) >= (SELECT id, 1 FROM customers LIMIT 1)",
    "INSERT INTO orders (id, tenant_id) VALUES (1, 2)",
    "INSERT INTO orders (id, tenant_id) SELECT 1, 2",
    "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET status = 'z' WHERE lower(orders.status) = 'x'",
    "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET tenant_id = 2",
    "UPDATE orders SET status = 'x' WHERE lower(status) = 'x'",
    "UPDATE orders SET tenant_id = 2",
    "UPDATE orders SET status = 'x' FROM (SELECT name FROM customers) c WHERE lower(c.name) = 'x'",
    "DELETE FROM orders USING customers c WHERE orders.customer_id = c.id",
    "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE",
    "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN UPDATE SET tenant_id = 2",
    "MERGE INTO orders o USING customers c ON o.id = c.id WHEN NOT MATCHED THEN INSERT (id, tenant_id) VALUES (1, 2)",
    "COPY (SELECT id FROM orders WHERE lower(status) = 'x') TO STDOUT",
    "SELECT pg_advisory_xact_lock(1, 2)",
    "NOTIFY jobs, 'mail'",
    "LISTEN jobs",
    "SELECT pg_notify(status, 'x') FROM orders",
];

/// What the verifier is not asked about: masks, functions and options are the gate's alone.
fn is_the_gates(fault: Fault) -> bool {
    match fault {
        Fault::Mask | Fault::Functions | Fault::Explain => true,
        // Faults of readers, and one that the fixture's server, which is older, has no statement for.
        Fault::Verifier | Fault::Witness | Fault::MergeBySource => true,
        // Of readers of several tenants: they have tests of their own.
        Fault::Any | Fault::Reads => true,
        Fault::Where
        | Fault::On
        | Fault::Inside
        | Fault::TargetWhere
        | Fault::MergeOn
        | Fault::ConflictWhere
        | Fault::Case
        | Fault::CaseOnQuery
        | Fault::Fence
        | Fault::Having
        | Fault::LockKeys
        | Fault::Channels
        | Fault::Defer
        | Fault::Trial
        | Fault::ParamTypes
        | Fault::OwnValue
        | Fault::Assignment => false,
    }
}

#[test]
fn the_verifier_finds_what_the_rewriter_leaves_out() {
    for fault in Fault::ALL.iter().copied().filter(|it| !is_the_gates(*it)) {
        let (mut missing, mut passed) = (0, Vec::new());
        for sql in STATEMENTS {
            let whole = plan(sql).ok().map(|plan| text(&plan));
            let faulty = with(&[fault, Fault::Verifier, Fault::Witness], || plan(sql)).ok().map(|plan| text(&plan));
            if faulty.is_none() || faulty == whole {
                continue;
            }
            missing += 1;
            match with(&[fault], || plan(sql)) {
                Err(refusal) if refusal.kind == RefusalKind::Verifier => {}
                outcome => passed.push(format!("{sql}: {:?}", outcome.map(|plan| text(&plan)))),
            }
        }
        assert!(missing > 0, "no statement here needs what {} leaves out", fault.as_str());
        assert!(passed.is_empty(), "{} passes:\n{}", fault.as_str(), passed.join("\n"));
    }
}
