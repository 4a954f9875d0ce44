mod copy;
mod definitions;
mod plans;

use super::*;
use crate::guard::gate::fixture::{policy, schema_mode};
use crate::guard::{CopyFormat, CopyTenant, Deallocate, Plan, Protocol, plan_statements};
use crate::sql::parse;

/// Stands in for the rewriter: counts what it is given, and refuses what names `forbidden`.
#[derive(Default)]
struct Fake {
    queries: Vec<String>,
    expressions: usize,
}

impl Parts for Fake {
    fn query(&mut self, query: &mut Node) -> Result<(), Refusal> {
        let text = parse::deparse(query).unwrap();
        let forbidden = text.contains("forbidden");
        self.queries.push(text);
        if forbidden { Err(unsupported("forbidden")) } else { Ok(()) }
    }

    fn expression(&mut self, expression: &mut Node) -> Result<(), Refusal> {
        self.expressions += 1;
        let text = serde_json::to_string(expression).unwrap();
        if text.contains("forbidden") { Err(unsupported("forbidden")) } else { Ok(()) }
    }

    fn defined(&mut self, expression: &mut Node) -> Result<(), Refusal> {
        self.expression(expression)
    }

    fn temporary(&mut self) {}

    fn slot(&mut self, table: &TenantTable) -> Result<usize, Refusal> {
        assert_eq!(table.column, "tenant_id");
        Ok(3)
    }

    fn channel(&mut self, kind: ChannelName, name: &str) -> Result<String, Refusal> {
        Ok(format!("{kind:?} of {name}"))
    }
}

struct Verdict {
    gated: Gated,
    text: String,
    fake: Fake,
}

fn run(mode: &Mode, sql: &str) -> Result<Verdict, Refusal> {
    let mut statements = parse::reparse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut tree = *statements.pop().unwrap().stmt.unwrap();
    let mut fake = Fake::default();
    let gated = gate(&policy(), mode, &mut tree, &mut fake)?;
    let text = parse::deparse(&tree).unwrap();
    Ok(Verdict { gated, text, fake })
}

fn code(mode: &Mode, sql: &str) -> String {
    crate::guard::gate::fixture::outcome(run(mode, sql))
}

fn ok(mode: &Mode, sql: &str) -> Verdict {
    run(mode, sql).unwrap_or_else(|r| panic!("{sql}: {}", r.error))
}

#[test]
fn queries_go_to_the_rewriter() {
    for (sql, kind) in [
        ("SELECT 1", StatementKind::Select),
        ("TABLE orders", StatementKind::Select),
        ("INSERT INTO orders (id) VALUES (1)", StatementKind::Dml),
        ("UPDATE orders SET id = 1", StatementKind::Dml),
        ("DELETE FROM orders", StatementKind::Dml),
        ("MERGE INTO orders o USING orders p ON true WHEN MATCHED THEN DO NOTHING", StatementKind::Dml),
    ] {
        for mode in [Mode::Shared, schema_mode(), Mode::Database, Mode::Operator] {
            let verdict = ok(&mode, sql);
            assert_eq!((verdict.gated.kind, verdict.gated.text, verdict.fake.queries.len()), (kind, Sent::Query, 1));
        }
    }
    assert_eq!(code(&Mode::Shared, "SELECT forbidden"), "0A000");
}

#[test]
fn transactions_pass() {
    for sql in [
        "BEGIN",
        "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "COMMIT AND CHAIN",
        "ROLLBACK",
        "SAVEPOINT \"a b\"",
        "ROLLBACK TO SAVEPOINT s",
        "RELEASE s",
    ] {
        let verdict = ok(&Mode::Shared, sql);
        assert_eq!(verdict.gated.kind, StatementKind::Transaction, "{sql}");
        assert_eq!(verdict.gated.effects, [], "{sql}");
    }
}

#[test]
fn names_of_prepared_statements_get_a_prefix_everywhere() {
    for mode in [Mode::Shared, schema_mode(), Mode::Database, Mode::Operator] {
        let verdict = ok(&mode, "PREPARE p (int) AS SELECT $1");
        assert_eq!(verdict.text, "PREPARE client_p(int) AS SELECT $1");
        assert_eq!(verdict.gated.effects, [Effect::Pin(PinReason::Prepare), Effect::Prepare("p".to_owned())]);
        assert_eq!((verdict.gated.text, verdict.fake.queries.len()), (Sent::Changed, 1));
        let verdict = ok(&mode, "EXECUTE p(1, 2)");
        assert_eq!((verdict.text.as_str(), verdict.fake.expressions), ("EXECUTE client_p(1, 2)", 2));
        let verdict = ok(&mode, "DEALLOCATE \"P\"");
        assert_eq!(verdict.text, "DEALLOCATE \"client_P\"");
        assert_eq!(verdict.gated.effects, [Effect::Deallocate(Deallocate::Name("P".into()))]);
        assert_eq!(ok(&mode, "DEALLOCATE ALL").gated.effects, [Effect::Deallocate(Deallocate::All)]);
    }
    assert_eq!(code(&Mode::Shared, "PREPARE p AS SELECT forbidden"), "0A000");
    assert_eq!(code(&Mode::Shared, "EXECUTE p('forbidden')"), "0A000");
    assert_eq!(code(&Mode::Shared, &format!("EXECUTE {}", "x".repeat(60))), "0A000");
}

#[test]
fn cursors_are_guarded_where_they_are_declared() {
    let verdict = ok(&Mode::Shared, "DECLARE c SCROLL CURSOR FOR SELECT 1");
    assert_eq!((verdict.gated.effects.len(), verdict.fake.queries.len()), (0, 1));
    let verdict = ok(&Mode::Shared, "DECLARE c CURSOR WITH HOLD FOR SELECT 1");
    assert_eq!(verdict.gated.effects, [Effect::Pin(PinReason::HoldCursor)]);
    assert_eq!(code(&Mode::Shared, "DECLARE c CURSOR FOR SELECT forbidden"), "0A000");
    assert_eq!(ok(&Mode::Shared, "FETCH BACKWARD 3 FROM c").text, "FETCH BACKWARD 3 c");
    assert_eq!(ok(&Mode::Shared, "MOVE ALL FROM c").gated.text, Sent::Printed);
    assert_eq!(ok(&Mode::Shared, "CLOSE ALL").text, "CLOSE ALL");
}

#[test]
fn channels_are_the_tenants_own() {
    use crate::guard::Listening;
    for mode in [Mode::Shared, schema_mode()] {
        for (sql, sent, effect) in [
            ("NOTIFY c, 'x'", "NOTIFY \"Channel of c\", 'x'", None),
            ("LISTEN c", "LISTEN \"Listen of c\"", Some(Listening::Start("c".to_owned()))),
            ("UNLISTEN \"C\"", "LISTEN \"Unlisten of C\"", Some(Listening::Stop("C".to_owned()))),
            ("UNLISTEN *", "LISTEN \"pgw*\"", Some(Listening::StopAll)),
        ] {
            let verdict = ok(&mode, sql);
            assert_eq!(verdict.text, sent);
            assert_eq!(verdict.gated.text, Sent::Changed);
            assert_eq!(verdict.gated.effects, effect.map(Effect::Listens).into_iter().collect::<Vec<_>>(), "{sql}");
        }
    }
    assert_eq!(ok(&Mode::Database, "LISTEN c").gated.effects, [Effect::Pin(PinReason::Listen)]);
    assert_eq!(ok(&Mode::Database, "NOTIFY c").gated.effects, []);
    assert_eq!(ok(&Mode::Shared, "DISCARD ALL").gated.effects, [Effect::DiscardAll]);
    assert_eq!(ok(&Mode::Shared, "DISCARD PLANS").gated.effects, []);
}

#[test]
fn explain_is_plain_for_tenants() {
    for mode in [Mode::Shared, schema_mode()] {
        assert_eq!(ok(&mode, "EXPLAIN SELECT 1").text, "EXPLAIN (COSTS OFF) SELECT 1");
        assert_eq!(
            ok(&mode, "EXPLAIN (FORMAT json, COSTS true, ANALYZE false, VERBOSE) SELECT 1").text,
            "EXPLAIN (FORMAT \"json\", VERBOSE, COSTS OFF) SELECT 1"
        );
        for sql in [
            "EXPLAIN ANALYZE SELECT 1",
            "EXPLAIN (ANALYZE, COSTS OFF) SELECT 1",
            "EXPLAIN (BUFFERS) SELECT 1",
            "EXPLAIN (ANALYZE off, ANALYZE on) SELECT 1",
            "EXPLAIN (SETTINGS) SELECT 1",
        ] {
            assert_eq!(code(&mode, sql), "42501", "{sql}");
        }
        assert_eq!(ok(&mode, "EXPLAIN EXECUTE p(1)").text, "EXPLAIN (COSTS OFF) EXECUTE client_p(1)");
        assert_eq!(code(&mode, "EXPLAIN SELECT forbidden"), "0A000");
        assert_eq!(code(&mode, "EXPLAIN DECLARE c CURSOR FOR SELECT forbidden"), "0A000");
        assert_eq!(code(&mode, "EXPLAIN CREATE TABLE t AS SELECT 1"), "0A000");
    }
    assert_eq!(ok(&Mode::Database, "EXPLAIN ANALYZE SELECT 1").gated.text, Sent::AsWritten);
    assert_eq!(ok(&Mode::Operator, "EXPLAIN (ANALYZE, BUFFERS) SELECT 1").gated.text, Sent::AsWritten);
}

#[test]
fn procedures_and_code_run_where_they_may() {
    assert_eq!(ok(&Mode::Shared, "CALL p(1)").fake.expressions, 1);
    assert_eq!(code(&Mode::Shared, "CALL forbidden(1)"), "0A000");
    for mode in [Mode::Database, Mode::Operator] {
        for sql in ["DO $$ BEGIN END $$", "CALL p(1)"] {
            assert!(ok(&mode, sql).gated.effects.contains(&Effect::Pin(PinReason::SessionState)));
        }
    }
}
