//! What tools that draw a database's outline ask, while they synchronise it: names and rights, and for counts and sizes, which tell of
//! all tenants, NULL.

use super::PROXY;
use crate::support::lab::Lab;

#[test]
fn outlines_are_there_without_their_counts() {
    for login in ["tenant_a", "schema_a"] {
        let mut it = PROXY.get().login(login).connect();
        for (sql, value) in [
            (
                "SELECT c.relname || ' ' || (s.n_live_tup IS NULL)::text || (s.last_vacuum IS NULL)::text FROM pg_catalog.pg_class c
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 LEFT JOIN pg_catalog.pg_stat_user_tables s ON s.relid = c.oid
                 WHERE n.nspname = current_schema() AND c.relname = 'customers'",
                "customers truetrue",
            ),
            ("SELECT relname FROM pg_stat_user_tables WHERE schemaname = current_schema() AND relname = 'orders'", "orders"),
            (
                "SELECT has_table_privilege(current_user, quote_ident(t.schemaname) || '.' || quote_ident(t.tablename), 'select')
                 FROM pg_catalog.pg_tables t WHERE t.schemaname = current_schema() AND t.tablename = 'orders'",
                "t",
            ),
            (
                "SELECT has_any_column_privilege(format('%I.%I', t.schemaname, t.tablename), 'insert')
                 FROM pg_tables t WHERE t.schemaname = current_schema() AND t.tablename = 'orders'",
                "t",
            ),
            ("SELECT pg_size_pretty(pg_total_relation_size(c.oid)) FROM pg_class c WHERE relname = 'orders'", "∅"),
            ("SELECT pg_table_size('orders')", "∅"),
            ("SELECT pg_relation_size('orders', 'main')", "∅"),
        ] {
            assert_eq!(it.simple(sql).ok().value(), value, "{login}: {sql}");
            assert_eq!(it.extended(sql, &[]).ok().value(), value, "{login}: {sql}");
        }
        // Columns have the types that they have elsewhere.
        let star = "SELECT * FROM pg_stat_user_tables";
        let types = |columns: &[Vec<crate::support::reply::Column>]| {
            columns[0].iter().map(|it| it.type_oid).collect::<Vec<_>>()
        };
        let wanted = Lab::general().superuser("postgres").simple(star).ok();
        assert_eq!(types(&it.simple(star).ok().columns), types(&wanted.columns), "{login}");
        // A value of a row may not be looked up.
        assert_eq!(it.simple("SELECT has_table_privilege(name || '.x', 'select') FROM customers").sqlstate(), "42501");
    }
}
