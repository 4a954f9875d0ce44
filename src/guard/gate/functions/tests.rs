use pg_query::NodeEnum;

use super::*;
use crate::guard::BoundText;
use crate::guard::gate::fixture::{outcome, policy, schema_mode};
use crate::sql::parse;

fn call(mode: &Mode, sql: &str) -> Result<Vec<Effect>, Refusal> {
    let node = parse::expression(sql).unwrap();
    let Some(NodeEnum::FuncCall(call)) = node.node else { panic!("{sql}") };
    check(&policy(), mode, &call.funcname, &call.args)
}

#[test]
fn the_shared_layout_calls_what_computes_on_values() {
    for allowed in [
        "lower('A')",
        "pg_catalog.lower('A')",
        "count(*)",
        "now()",
        "gen_random_uuid()",
        "row_to_json(o)",
        "similarity('a', 'b')",
        "extensions.similarity('a', 'b')",
        "gen_salt('bf')",
        "st_area(g)",
        "safe_total(1)",
        "public.safe_total(1)",
        "nextval('orders_id_seq')",
        "nextval('public.orders_id_seq'::regclass)",
        "lastval()",
        "currval('orders_id_seq')",
        "currval(pg_get_serial_sequence('public.orders', 'id')::regclass)",
        "nextval(pg_catalog.pg_get_serial_sequence('orders', 'id'))",
        "has_table_privilege('orders', 'SELECT')",
        "has_table_privilege(c.oid, 'SELECT')",
        "pg_table_is_visible(c.oid)",
        "format_type(a.atttypid, a.atttypmod)",
        "date('2024-01-01')",
        "status(o)",
        "pg_advisory_unlock_all()",
        "pg_advisory_lock(1)",
        "pg_advisory_xact_lock(1)",
        "pg_notify('c', 'x')",
        "pg_sleep(1)",
        "pg_relation_size('orders')",
        "has_table_privilege(quote_ident(c.relname) || '.' || quote_ident(c.relkind), 'SELECT')",
    ] {
        assert_eq!(outcome(call(&Mode::Shared, allowed)), "ok", "{allowed}");
    }
}

#[test]
fn the_shared_layout_calls_nothing_else() {
    for denied in [
        "query_to_xml('SELECT 1', true, true, '')",
        "pg_catalog.query_to_xml('SELECT 1', true, true, '')",
        "ts_rewrite('x'::tsquery, 'SELECT 1')",
        "pg_read_file('/etc/passwd')",
        "pg_file_write('x', 'y', true)",
        "pg_terminate_backend(1)",
        "currval(status)",
        "currval('nowhere.seq')",
        "currval(16504)",
        "currval('16504')",
        "currval(regclass => 'orders_id_seq')",
        "currval(pg_get_serial_sequence(status, 'id'))",
        "currval(pg_get_serial_sequence('orders', status))",
        "currval(pg_get_serial_sequence('nowhere.orders', 'id'))",
        "currval(public.pg_get_serial_sequence('orders', 'id'))",
        "setval('orders_id_seq', 1)",
        "lo_get(1)",
        "dblink('x', 'y')",
        "extensions.crosstab('x')",
        "set_limit(0.1)",
        "st_estimatedextent('a', 'b')",
        "customer_count()",
        "public.customer_count()",
        "t_b.my_customers()",
        // an overload of the operator's stands on the search path
        "abs(1)",
        "nextval(status)",
        "nextval('a' || 'b')",
        "nextval('nowhere.seq')",
        "nextval('16504')",
        "nextval('orders_id_seq'::varchar(6))",
        "has_table_privilege(status, 'SELECT')",
        "has_table_privilege('public.' || status, 'SELECT')",
        "has_table_privilege(format('%I', status), 'SELECT')",
        "has_table_privilege(lower(relname), 'SELECT')",
        "has_table_privilege(lower('x'), 'SELECT')",
        "to_regclass(o.status)",
        // of the operator's, whatever its name
        "public.pg_advisory_note(1)",
        "set_config('app.tenant_id', '2', false)",
        "set_config('role', 'x', false)",
        "set_config(status, 'x', false)",
        "set_config(setting_name => 'role', new_value => 'x', is_local => false)",
        "pg_catalog.set_config('search_path', 't_b', false)",
        "current_setting('app.secret')",
        "current_setting(status)",
    ] {
        assert_eq!(outcome(call(&Mode::Shared, denied)), "42501", "{denied}");
    }
    // pg_catalog's own under its full name is not the overload
    assert_eq!(outcome(call(&Mode::Shared, "pg_catalog.abs(1)")), "ok");
    for unknown in ["nothing()", "nothing(1, 2)", "public.nothing(1)", "pg_temp.f()"] {
        assert_eq!(outcome(call(&Mode::Shared, unknown)), "42883", "{unknown}");
    }
}

#[test]
fn settings_change_through_functions_as_through_set() {
    let effects = call(&Mode::Shared, "set_config('Application_Name', 'x', false)");
    assert_eq!(effects, Ok(vec![Effect::Setting("application_name".to_owned())]));
    assert_eq!(call(&Mode::Shared, "set_config('jit', $1, false)"), Ok(vec![Effect::Setting("jit".to_owned())]));
    assert_eq!(outcome(call(&Mode::Shared, "set_config('client_encoding', 'UTF8', false)")), "ok");
    let value = Some(BoundText::Param(1));
    let bound = Effect::SettingAtBind { name: BoundText::Text("client_encoding".to_owned()), value };
    let effects = call(&Mode::Shared, "set_config('client_encoding', $1, false)");
    assert_eq!(effects, Ok(vec![Effect::Setting("client_encoding".to_owned()), bound]));
    assert_eq!(outcome(call(&Mode::Shared, "set_config('client_encoding', lower($1), false)")), "42501");
    assert_eq!(outcome(call(&Mode::Shared, "set_config('role', $1, false)")), "42501");
    assert_eq!(outcome(call(&Mode::Shared, "current_setting('app.tenant_id', true)")), "ok");
    let effects = call(&Mode::Operator, "set_config(name, 'x', false)");
    assert_eq!(effects, Ok(vec![Effect::Pin(PinReason::SessionState)]));
}

#[test]
fn the_schema_layout_reaches_only_its_own_objects() {
    let mode = schema_mode();
    for (sql, wanted) in [
        ("lower('A')", "ok"),
        ("nextval('orders_id_seq')", "ok"),
        ("nextval('t_a.orders_id_seq')", "ok"),
        ("nextval('t_b.orders_id_seq')", "42501"),
        ("t_b.my_customers()", "42501"),
        ("pg_get_viewdef('t_b.v_orders'::regclass)", "42501"),
        ("pg_get_viewdef('t_b.v_orders')", "42501"),
        ("pg_get_viewdef(16503)", "42501"),
        ("pg_get_viewdef('16503'::pg_catalog.oid, true)", "42501"),
        ("pg_get_viewdef($1)", "42501"),
        ("pg_get_viewdef(16502 + 1)", "42501"),
        ("pg_get_viewdef(c.oid)", "ok"),
        ("pg_get_viewdef('16501'::pg_catalog.oid, true)", "ok"),
        ("pg_get_viewdef('customers'::regclass)", "ok"),
        ("pg_get_userbyid(c.relowner)", "ok"),
        ("obj_description(c.oid, 'pg_class')", "ok"),
        ("to_regclass('t_b.customers')", "42501"),
        ("to_regclass('t_a.customers')", "ok"),
        ("lo_get(1)", "42501"),
        // Oids, as the server's input functions read them.
        ("nextval('16504')", "42501"),
        ("nextval('16504'::regclass)", "42501"),
        ("nextval('0x4078'::int::oid)", "42501"),
        ("nextval('t_a.orders_id_seq'::varchar(3))", "42501"),
        ("nextval('t_a.orders_id_seq'::text::regclass)", "ok"),
        ("pg_get_viewdef('0x4077'::oid)", "42501"),
        ("pg_get_viewdef('0x4075'::oid)", "42501"),
        ("pg_get_viewdef('040167')", "42501"),
        ("pg_get_viewdef(' 16503')", "42501"),
        ("pg_get_viewdef('+16503')", "42501"),
        ("pg_get_viewdef('customers'::varchar(3)::regclass)", "42501"),
        // What is checked must be what is set: these are another schema's names.
        ("set_config('search_path', 't_a', true)", "ok"),
        ("set_config('search_path', 't_a'::text, true)", "ok"),
        ("set_config('search_path', 't_a'::varchar(1), true)", "42501"),
        ("set_config('search_path', 't_a'::bpchar(1), true)", "42501"),
        ("set_config('search_path', 't_a'::\"char\"::text, true)", "42501"),
        ("set_config('search_path', 't_a'::t_a.text, true)", "42501"),
        ("set_config('search_path', ('t_a'::name)::text, true)", "42501"),
        ("set_config('search_path'::varchar(6), 't_b', true)", "42501"),
    ] {
        assert_eq!(outcome(call(&mode, sql)), wanted, "{sql}");
    }
    let pinned = vec![Effect::Pin(PinReason::AdvisoryLock)];
    assert_eq!(call(&mode, "pg_advisory_lock(1)"), Ok(pinned));
    assert_eq!(call(&mode, "pg_advisory_xact_lock(1)"), Ok(vec![]));
}

#[test]
fn a_database_of_ones_own_is_left_by_nothing() {
    for (sql, wanted) in [
        ("customer_count()", "ok"),
        ("nothing()", "ok"),
        ("lo_get(1)", "ok"),
        ("pg_sleep(1)", "ok"),
        ("query_to_xml('SELECT 1', true, true, '')", "ok"),
        ("crosstab('x')", "ok"),
        ("pg_relation_size('x')", "ok"),
        ("pg_database_size('x')", "42501"),
        ("dblink('x', 'y')", "42501"),
        ("dblink_exec('x', 'y')", "42501"),
        ("lo_import('/etc/passwd')", "42501"),
        ("pg_read_file('x')", "42501"),
        ("pg_terminate_backend(1)", "42501"),
        ("pg_stat_get_activity(1)", "42501"),
        ("pg_logical_emit_message(true, 'a', 'b')", "42501"),
        ("set_config('role', 'x', false)", "42501"),
        ("set_config('work_mem', '1GB', false)", "ok"),
    ] {
        assert_eq!(outcome(call(&Mode::Database, sql)), wanted, "{sql}");
        assert_eq!(outcome(call(&Mode::Operator, sql)), "ok", "{sql}");
    }
}

#[test]
fn fields_that_are_calls_are_checked_as_calls() {
    let policy = policy();
    let field = |mode: &Mode, before, field| outcome(check_field(&policy, mode, before, field));
    let both = [Before::Row, Before::Value];
    for before in both {
        assert_eq!(field(&Mode::Shared, before, "order_label"), "42501");
        assert_eq!(field(&Mode::Shared, before, "status"), "ok");
        assert_eq!(field(&Mode::Shared, before, "lower"), "ok");
        assert_eq!(field(&Mode::Database, before, "order_label"), "ok");
        assert_eq!(field(&Mode::Operator, before, "order_label"), "ok");
    }
    assert_eq!(field(&Mode::Shared, Before::Row, "customer_count"), "ok", "it takes no row");
    for name in [
        "customer_count",
        "lo_get",
        "pg_relation_size",
        "pg_advisory_lock",
        "pg_advisory_xact_lock",
        "nextval",
        "current_setting",
        "to_regclass",
        "pg_terminate_backend",
        "obj_description",
    ] {
        assert_eq!(field(&Mode::Shared, Before::Value, name), "42501", "{name}");
        assert_eq!(field(&Mode::Operator, Before::Value, name), "ok", "{name}");
    }
    for mode in [Mode::Shared, schema_mode()] {
        assert_eq!(field(&mode, Before::Value, "pg_get_viewdef"), "42501", "its argument is looked at");
    }
    assert_eq!(field(&Mode::Database, Before::Value, "pg_get_viewdef"), "ok");
    assert_eq!(field(&Mode::Database, Before::Value, "pg_terminate_backend"), "42501");
    let effects = check_field(&policy, &Mode::Operator, Before::Value, "pg_advisory_lock").unwrap();
    assert_eq!(effects, [Effect::Pin(PinReason::AdvisoryLock)]);
}

/// What is done to a call of `pg_relation_size` or `obj_description` goes by its name.
#[test]
fn a_function_named_with_its_database_is_refused() {
    for called in
        ["shop.pg_catalog.pg_relation_size('orders')", "shop.pg_catalog.lower('A')", "shop.public.safe_total(1)"]
    {
        for mode in [Mode::Shared, Mode::Reader, schema_mode(), Mode::Database] {
            assert_eq!(call(&mode, called).unwrap_err().error.code, SqlState::FEATURE_NOT_SUPPORTED, "{called}");
        }
        assert!(call(&Mode::Operator, called).is_ok(), "{called}");
    }
}

#[test]
fn comments_are_masked_where_tables_are_shared() {
    let name = |sql: &str| match parse::expression(sql).unwrap().node {
        Some(NodeEnum::FuncCall(call)) => call.funcname,
        other => panic!("{other:?}"),
    };
    assert!(tells_of_shared_tables(&Mode::Shared, &name("pg_catalog.obj_description(1, 'pg_class')")));
    assert!(!tells_of_shared_tables(&Mode::Shared, &name("public.obj_description(1, 'pg_class')")));
    assert!(tells_of_shared_tables(&Mode::Shared, &name("pg_total_relation_size('orders')")));
    assert!(!tells_of_shared_tables(&schema_mode(), &name("obj_description(1, 'pg_class')")));
    assert!(tells_of_shared_tables(&schema_mode(), &name("shobj_description(1, 'pg_database')")));
}

#[test]
fn refusals_of_user_functions_name_the_configuration_key() {
    let refusal = call(&Mode::Shared, "customer_count()").unwrap_err();
    assert!(refusal.error.hint.unwrap().contains("tenancy.allow_functions"));
    assert_eq!(refusal.kind, RefusalKind::Function);
}

#[test]
fn sql_functions_are_read_and_called_if_they_touch_nothing_but_their_arguments() {
    let ask = |body: &str, change: fn(&mut Function)| {
        let mut policy = policy();
        let mut catalog = crate::catalog::Catalog::clone(&policy.catalog);
        let model = catalog.functions.values().flatten().next().unwrap().clone();
        let mut function = Function {
            name: crate::base::QualifiedName::new("public", "label"),
            language: "sql".into(),
            body: Some(body.into()),
            extension: None,
            ..model
        };
        change(&mut function);
        catalog.functions.insert("label".into(), vec![function]);
        policy.catalog = std::sync::Arc::new(catalog);
        let node = parse::expression("label(o)").unwrap();
        let Some(NodeEnum::FuncCall(call)) = node.node else { panic!() };
        outcome(check(&policy, &Mode::Shared, &call.funcname, &call.args))
    };
    for pure in [
        "SELECT o.id || ':' || lower(o.note)",
        "SELECT $1 + $2;",
        "SELECT CASE WHEN lower($1) < 'b' THEN 'a'::text END",
    ] {
        assert_eq!(ask(pure, |_| ()), "ok", "{pure}");
        assert_eq!(ask(pure, |f| f.security_definer = true), "42501", "{pure}");
        assert_eq!(ask(pure, |f| f.language = "plpgsql".into()), "42501", "{pure}");
    }
    for other in [
        "SELECT count(*) FROM customers",
        "SELECT (SELECT max(id) FROM customers)",
        "TABLE customers",
        "WITH x AS (DELETE FROM orders RETURNING 1) SELECT 1",
        "DELETE FROM orders",
        "SELECT 1; SELECT 2",
        "SELECT now()",
        "SELECT nextval('s')",
        "SELECT query_to_xml($1)",
        "SELECT label($1)",
        "SELECT $1::regclass",
        "SELECT ($1).label",
        "SELECT $1 OPERATOR(public.+) 1",
        "SELECT 1 INTO x",
        "not sql",
        "",
    ] {
        assert_eq!(ask(other, |_| ()), "42501", "{other}");
    }
}

/// Neither its language nor its volatility makes an application's function harmless: what they promise, nobody checks.
#[test]
fn functions_of_any_language_and_volatility_must_be_listed() {
    for mode in [Mode::Shared, schema_mode()] {
        for language in ["sql", "plpgsql", "c", "internal", "plperl", "plpython3u"] {
            for volatility in [Volatility::Immutable, Volatility::Stable, Volatility::Volatile] {
                for security_definer in [false, true] {
                    let mut policy = policy();
                    let mut catalog = crate::catalog::Catalog::clone(&policy.catalog);
                    let model = catalog.functions.values().flatten().next().unwrap().clone();
                    let schema = if mode == Mode::Shared { "public" } else { "t_a" };
                    let name = crate::base::QualifiedName::new(schema, "report");
                    let function = Function {
                        name: name.clone(),
                        language: language.into(),
                        volatility,
                        security_definer,
                        body: (language == "sql").then(|| "SELECT count(*) FROM orders".to_owned()),
                        extension: None,
                        ..model
                    };
                    catalog.functions.insert("report".into(), vec![function]);
                    policy.catalog = std::sync::Arc::new(catalog);
                    let node = parse::expression("report(1)").unwrap();
                    let Some(NodeEnum::FuncCall(call)) = node.node else { panic!() };
                    let ask = |policy: &Policy| outcome(check(policy, &mode, &call.funcname, &call.args));
                    assert_eq!(ask(&policy), "42501", "{language} {volatility:?} {security_definer} {mode:?}");
                    policy.allow_functions.insert(name);
                    assert_eq!(ask(&policy), "ok", "{language} {volatility:?} {security_definer} {mode:?}");
                }
            }
        }
    }
}
