//! COPY.

use super::*;

#[test]
fn the_condition_of_copy_is_looked_at() {
    for mode in [schema_mode(), Mode::Database] {
        assert_eq!(code(&mode, "COPY customers FROM STDIN WHERE id > 1"), "ok");
        assert_eq!(code(&mode, "COPY customers FROM STDIN WHERE forbidden(id)"), "0A000");
    }
}

#[test]
fn tables_are_copied_out_through_a_guarded_query() {
    let verdict = ok(&Mode::Shared, "COPY orders TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE (status))");
    assert_eq!(
        verdict.text,
        "COPY (SELECT id, tenant_id, status FROM ONLY public.orders) TO STDOUT WITH (FORMAT CSV, HEADER, FORCE_QUOTE (status))"
    );
    assert_eq!(verdict.fake.queries.len(), 1);
    assert_eq!(verdict.gated.kind, StatementKind::CopyOut);
    let text = ok(&Mode::Shared, "COPY orders (status, id) TO STDOUT").text;
    assert_eq!(text, "COPY (SELECT status, id FROM ONLY public.orders) TO STDOUT");
    assert_eq!(ok(&Mode::Shared, "COPY countries TO STDOUT").fake.queries.len(), 1);
    assert_eq!(ok(&Mode::Shared, "COPY (SELECT 1) TO STDOUT").fake.queries, ["SELECT 1"]);
    for (sql, wanted) in [
        ("COPY (SELECT forbidden) TO STDOUT", "0A000"),
        ("COPY (DELETE FROM forbidden RETURNING 1) TO STDOUT", "0A000"),
        ("COPY invoices TO STDOUT", "42809"),
        ("COPY order_tags TO STDOUT", "42501"),
        ("COPY nothing TO STDOUT", "42P01"),
        ("COPY pg_stats TO STDOUT", "42501"),
    ] {
        assert_eq!(code(&Mode::Shared, sql), wanted, "{sql}");
    }
    assert_eq!(code(&schema_mode(), "COPY t_b.customers TO STDOUT"), "42501");
    assert_eq!(ok(&schema_mode(), "COPY customers TO STDOUT").text, "COPY customers TO STDOUT");
}

#[test]
fn rows_are_copied_in_through_the_stream_rewriter() {
    let verdict = ok(&Mode::Shared, "COPY orders (id, status) FROM STDIN");
    assert_eq!(verdict.text, "COPY public.orders(id, status, tenant_id) FROM STDIN");
    let copy_in = verdict.gated.copy_in.unwrap();
    assert_eq!((copy_in.client_columns, copy_in.tenant, copy_in.slot), (2, CopyTenant::Append, 3));
    assert_eq!(copy_in.format, CopyFormat::Text { delimiter: b'\t', null: "\\N".into(), header: false });

    let verdict =
        ok(&Mode::Shared, "COPY orders FROM STDIN WITH CSV HEADER DELIMITER ';' NULL 'x' QUOTE '''' ESCAPE '#'");
    assert!(verdict.text.starts_with("COPY public.orders(id, tenant_id, status) FROM STDIN"), "{}", verdict.text);
    let copy_in = verdict.gated.copy_in.unwrap();
    assert_eq!((copy_in.client_columns, copy_in.tenant), (3, CopyTenant::Check(1)));
    assert_eq!(
        copy_in.format,
        CopyFormat::Csv { delimiter: b';', quote: b'\'', escape: b'#', null: "x".into(), header: true }
    );

    let copy_in = ok(&Mode::Shared, "COPY BINARY orders FROM STDIN").gated.copy_in.unwrap();
    assert_eq!(copy_in.format, CopyFormat::Binary);
    for (sql, wanted) in [
        ("COPY orders (id, nope) FROM STDIN", "42703"),
        ("COPY orders (id, id) FROM STDIN", "42701"),
        ("COPY orders FROM STDIN WHERE id > 1", "0A000"),
        ("COPY orders FROM STDIN (FREEZE)", "0A000"),
        ("COPY orders FROM STDIN (ENCODING 'LATIN1')", "0A000"),
        ("COPY orders (id) FROM STDIN (HEADER match)", "0A000"),
        ("COPY orders FROM STDIN (DELIMITER 'ab')", "0A000"),
        ("COPY orders FROM STDIN (FORMAT csv, FORCE_NULL (tenant_id))", "0A000"),
        ("COPY orders FROM STDIN (FORMAT csv, FORCE_NOT_NULL *)", "0A000"),
        ("COPY orders FROM STDIN (DEFAULT 'x')", "0A000"),
        ("COPY orders FROM STDIN (FORMAT xml)", "22023"),
        ("COPY countries FROM STDIN", "42501"),
        ("COPY pg_class FROM STDIN", "42501"),
        ("COPY order_tags FROM STDIN", "42501"),
        ("COPY orders FROM STDIN (FORMAT csv, HEADER match, ENCODING 'utf-8', FORCE_NULL (status))", "ok"),
    ] {
        assert_eq!(code(&Mode::Shared, sql), wanted, "{sql}");
    }
    let verdict = ok(&schema_mode(), "COPY customers FROM STDIN");
    assert_eq!((verdict.gated.kind, verdict.gated.copy_in), (StatementKind::CopyIn, None));
    assert_eq!(code(&schema_mode(), "COPY t_b.customers FROM STDIN"), "42501");
}

#[test]
fn an_operators_copy_is_a_stream_or_a_file() {
    let kind = |sql| ok(&Mode::Operator, sql).gated.kind;
    assert_eq!(kind("COPY orders TO STDOUT"), StatementKind::CopyOut);
    assert_eq!(kind("COPY orders FROM STDIN"), StatementKind::CopyIn);
    assert_eq!(kind("COPY orders TO '/tmp/x'"), StatementKind::Utility);
    assert_eq!(kind("COPY orders FROM PROGRAM 'x'"), StatementKind::Utility);
}
