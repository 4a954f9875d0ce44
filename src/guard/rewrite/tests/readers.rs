//! Readers of several tenants: the predicate has all their keys, and nothing is written.

use super::faults::STATEMENTS;
use super::fixture::{plan_in, policy, text};
use crate::base::{Arity, Mode, Refusal, RefusalKind, SqlState};
use crate::guard::fault::{Fault, with};
use crate::guard::{Plan, Protocol, plan_statements};

fn plan(sql: &str) -> Result<Plan, Refusal> {
    plan_in(&Mode::Reader, sql)
}

/// The final text, with the predicate's operator shortened.
fn sent(sql: &str) -> String {
    match plan(sql) {
        Ok(plan) => {
            text(&plan).replace("OPERATOR(pg_catalog.=) ANY(", "=ANY (").replace("OPERATOR(pg_catalog.=)", "=T=")
        }
        Err(refusal) => panic!("{sql}: {:?}", refusal.error),
    }
}

#[test]
fn every_tenant_relation_stands_behind_all_keys() {
    for (sql, wanted) in [
        ("SELECT id FROM orders", "SELECT id FROM public.orders WHERE public.orders.tenant_id =ANY ($1)"),
        (
            "SELECT o.id FROM orders o WHERE o.id = $1 AND lower(o.status) = 'x'",
            "SELECT o.id FROM public.orders o WHERE o.tenant_id =ANY ($2) AND o.id = $1 AND \
             CASE WHEN o.tenant_id =ANY ($2) THEN lower(o.status) = 'x' ELSE false END",
        ),
        ("SELECT memo FROM invoices", "SELECT memo FROM public.invoices WHERE public.invoices.org_id =ANY ($1)"),
        (
            "SELECT name FROM templates",
            "SELECT name FROM public.templates WHERE public.templates.tenant_id =ANY ($1) OR public.templates.tenant_id IS NULL",
        ),
        ("SELECT name FROM countries", "SELECT name FROM countries"),
    ] {
        assert_eq!(sent(sql), wanted);
    }
    let through = sent("SELECT tag FROM order_tags");
    assert_eq!(through.matches("pgwarden_parent1.tenant_id =ANY ($1)").count(), 2, "{through}");
    // One slot for a key and a type, as an array; its type is what it is compared with.
    let plan = plan("SELECT 1 FROM orders, customers, invoices").unwrap();
    let slots: Vec<_> = plan.slots.iter().map(|slot| (slot.key.as_deref(), slot.arity, slot.param_type())).collect();
    assert_eq!(slots, [(None, Arity::Several, 0), (Some("uuid"), Arity::Several, 0)]);
}

#[test]
fn what_does_more_than_read_is_refused() {
    for sql in [
        "INSERT INTO orders (id) VALUES (1)",
        "INSERT INTO sessions VALUES ('a', 'b')",
        "UPDATE orders SET status = 'x'",
        "DELETE FROM orders",
        "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT * FROM d",
        "WITH i AS (INSERT INTO feedback VALUES ('x') RETURNING note) SELECT 1 FROM i",
        "EXPLAIN DELETE FROM orders",
        "DECLARE c CURSOR FOR WITH d AS (DELETE FROM orders RETURNING id) SELECT * FROM d",
        "COPY (DELETE FROM orders RETURNING id) TO STDOUT",
        "COPY orders (id) FROM STDIN",
        "SELECT * INTO x FROM orders",
        "CREATE TABLE x AS SELECT * FROM orders",
        "SELECT * FROM orders FOR UPDATE",
        "SELECT * FROM (SELECT * FROM orders FOR KEY SHARE) o",
        "DECLARE c CURSOR FOR SELECT * FROM orders FOR UPDATE",
        "SELECT nextval('s')",
        "SELECT lastval()",
        "SELECT pg_catalog.setval('s', 1)",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_catalog.pg_try_advisory_lock(1)",
        "SELECT 1 FROM orders WHERE pg_advisory_unlock(id)",
        "SELECT pg_notify('a', 'b')",
        "NOTIFY jobs",
        "LISTEN jobs",
        "UNLISTEN jobs",
        "PREPARE s AS SELECT * FROM orders",
        "EXECUTE s",
        "CALL f()",
        "DO 'begin end'",
        "TRUNCATE orders",
        "LOCK orders",
        "VACUUM",
        "CREATE TEMP TABLE t (a int)",
        "DROP TABLE orders",
        "GRANT SELECT ON orders TO PUBLIC",
        "BEGIN READ WRITE",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
        "SET TRANSACTION READ WRITE",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "PREPARE TRANSACTION 'x'",
    ] {
        let refusal = plan(sql).expect_err(sql);
        let message = &refusal.error.message;
        let code = refusal.error.code;
        assert!(
            (code == SqlState::READ_ONLY_SQL_TRANSACTION && message.ends_with("a login of role \"reader\" only reads"))
                || sql == "PREPARE TRANSACTION 'x'",
            "{sql}: {code} {message}"
        );
    }
}

#[test]
fn read_only_is_not_switched_off() {
    for sql in [
        "SET default_transaction_read_only = off",
        "SET LOCAL transaction_read_only TO 'no'",
        "SET \"Transaction_Read_Only\" = 0",
        "SET default_transaction_read_only TO DEFAULT",
        "RESET default_transaction_read_only",
        "RESET transaction_read_only",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "SELECT set_config('default_transaction_' || 'read_only', 'off', false)",
        "SELECT set_config('default_transaction_read_only', $1, false)",
        "SET app.tenant_id = '2'",
        "SELECT set_config('app.tenant_id', '2', true)",
        "SET search_path = pg_catalog, other",
        "SET ROLE postgres",
    ] {
        let refusal = plan(sql).expect_err(sql);
        assert_eq!(refusal.error.code, SqlState::INSUFFICIENT_PRIVILEGE, "{sql}: {}", refusal.error.message);
    }
    for sql in [
        "SET default_transaction_read_only = on",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SET TRANSACTION READ ONLY",
        "SET statement_timeout = '1s'",
        "COMMIT",
        "SHOW search_path",
        "RESET ALL",
        "DISCARD ALL",
        "UNLISTEN *",
        "DEALLOCATE ALL",
        "CLOSE ALL",
        "DECLARE c CURSOR FOR SELECT * FROM orders",
        "FETCH 1 FROM c",
        "EXPLAIN SELECT * FROM orders",
        "COPY (SELECT id FROM orders) TO STDOUT",
        "COPY customers TO STDOUT",
    ] {
        assert!(plan(sql).is_ok(), "{sql}: {:?}", plan(sql).err().map(|it| it.error.message));
    }
}

/// What tenants may send that reads, readers may: with the same guards around it.
#[test]
fn the_forms_are_those_of_one_tenant() {
    let mut read = 0;
    for sql in STATEMENTS {
        let (Ok(of_one), Ok(of_several)) = (plan_in(&Mode::Shared, sql), plan(sql)) else { continue };
        read += usize::from(!of_several.slots.is_empty());
        let as_of_one = text(&of_several).replace("OPERATOR(pg_catalog.=) ANY(", "OPERATOR(pg_catalog.=) (");
        let same = |text: String| text.replace(['(', ')'], "");
        assert_eq!(same(as_of_one), same(text(&of_one)), "{sql}");
    }
    assert!(read > 20, "{read}");
}

#[test]
fn the_witness_reads_them() {
    for sql in STATEMENTS {
        let Ok(plan) = plan(sql) else { continue };
        let said = crate::guard::witness::testify_as(&policy(), Arity::Several, &plan);
        assert_eq!(said, crate::guard::Testimony::Covered, "{sql}");
    }
}

/// ANY, left out: what remains compares a column with an array, or a key with a column.
#[test]
fn a_predicate_of_another_form_is_found() {
    for sql in STATEMENTS.iter().filter(|sql| plan(sql).is_ok_and(|plan| !plan.slots.is_empty())) {
        let refusal = with(&[Fault::Any], || plan(sql)).expect_err(sql);
        assert_eq!(refusal.kind, RefusalKind::Verifier, "{sql}");
        let refusal = with(&[Fault::Any, Fault::Verifier], || plan(sql)).expect_err(sql);
        assert_eq!(refusal.kind, RefusalKind::Witness, "{sql}");
    }
    for fault in [Fault::Where, Fault::On, Fault::Inside, Fault::Case] {
        let mut missing = 0;
        for sql in STATEMENTS {
            let whole = plan(sql).ok().map(|plan| text(&plan));
            let faulty = with(&[fault, Fault::Verifier, Fault::Witness], || plan(sql)).ok().map(|plan| text(&plan));
            if faulty.is_none() || faulty == whole {
                continue;
            }
            missing += 1;
            let kind = |faults: &[Fault]| with(faults, || plan(sql)).map(|plan| text(&plan)).map_err(|it| it.kind);
            assert_eq!(kind(&[fault]), Err(RefusalKind::Verifier), "{sql}");
            assert_eq!(kind(&[fault, Fault::Verifier]), Err(RefusalKind::Witness), "{sql}");
        }
        assert!(missing > 0, "no statement here needs what {} leaves out", fault.as_str());
    }
}

/// What the gate lets through by mistake.
#[test]
fn what_writes_is_found_again() {
    for (sql, by_witness) in [
        ("INSERT INTO sessions VALUES ('a', 'b')", true),
        ("INSERT INTO feedback (note) VALUES ('b')", true),
        ("UPDATE orders SET status = 'x'", true),
        ("DELETE FROM sessions", true),
        ("WITH d AS (DELETE FROM sessions RETURNING key) SELECT * FROM d, orders", true),
        ("SELECT * FROM orders FOR UPDATE", true),
        ("SELECT key FROM sessions FOR UPDATE", true),
        ("COPY orders (id) FROM STDIN", true),
        ("SELECT pg_advisory_xact_lock(1)", false),
        ("SELECT pg_notify('a', 'b')", false),
        ("NOTIFY jobs", false),
        ("LISTEN jobs", false),
        ("PREPARE s AS SELECT * FROM orders", false),
        ("BEGIN READ WRITE", false),
        ("SET TRANSACTION READ WRITE", false),
    ] {
        let kind = |faults: &[Fault]| {
            let plan = || plan_statements(&policy(), &Mode::Reader, Protocol::Extended { param_types: &[] }, sql);
            with(faults, plan).map(|plans| text(&plans[0])).map_err(|refusal| refusal.kind)
        };
        assert_eq!(kind(&[Fault::Reads]), Err(RefusalKind::Verifier), "{sql}");
        if by_witness {
            assert_eq!(kind(&[Fault::Reads, Fault::Verifier]), Err(RefusalKind::Witness), "{sql}");
        }
    }
}
