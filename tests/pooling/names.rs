//! Names of prepared statements: SQL's PREPARE and Parse give them in one name space, and no other name shows.

use super::proxy;
use crate::support::lab::Lab;
use crate::support::message::{bind, close, describe, execute, extended, parse, query, sync};
use crate::support::reply::Reply;
use crate::support::session::Session;

/// What a client could tell of a reply, words of errors included.
fn seen(reply: &Reply) -> String {
    let errors: Vec<_> = reply.errors.iter().map(|it| format!("{} {}", it[&'C'], it[&'M'])).collect();
    let kinds = reply.kinds.replace(['S', 'N'], "");
    let columns: Vec<_> = reply.columns.iter().flatten().map(|it| (&it.name, it.type_oid)).collect();
    format!("{kinds} {:?} {errors:?} {:?} {columns:?} {:?}", reply.tags, reply.texts(), reply.parameter_types)
}

fn run(name: &str, values: &[&str]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|it| Some(*it)).collect();
    [describe('S', name), bind("", name, &values, &[]), execute("", 0)].concat()
}

#[test]
fn sql_and_protocol_give_names_in_one_space() {
    let proxy = proxy("names_space", 1);
    let prepare = "PREPARE x AS SELECT $1::int + 1 AS more";
    let orders: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("PREPARE, then run", vec![query(prepare), run("x", &["41"]), sync()]),
        ("again, and by EXECUTE", vec![run("x", &["42"]), sync(), query("EXECUTE x(43)")]),
        ("a Parse of it", vec![parse("x", "SELECT 7", &[]), sync(), run("x", &["1"]), sync()]),
        ("PREPARE of it", vec![query(prepare), extended(prepare, &[]), sync()]),
        ("too many values", vec![run("x", &["1", "2"]), sync()]),
        ("closed", vec![close('S', "x"), run("x", &["1"]), sync(), query("EXECUTE x(1)"), query("DEALLOCATE x")]),
        ("closed in vain", vec![query(prepare), parse("", "SELECT nosuch", &[]), close('S', "x"), sync()]),
        ("still there", vec![run("x", &["5"]), sync(), query("DEALLOCATE x"), run("x", &["1"]), sync()]),
        ("by the extended protocol", vec![extended(prepare, &[]), run("x", &["6"]), sync(), run("x", &["7"]), sync()]),
        ("dropped so", vec![extended("DEALLOCATE x", &[]), run("x", &["8"]), sync()]),
        ("in a transaction", vec![query("BEGIN"), query(prepare), run("x", &["9"]), sync(), query("ROLLBACK")]),
        ("it outlasts it", vec![run("x", &["10"]), sync(), query("DEALLOCATE ALL"), run("x", &["1"]), sync()]),
        ("failed", vec![query("PREPARE x AS SELECT nosuch"), run("x", &["1"]), sync()]),
        ("of several", vec![query("SELECT 1; PREPARE x AS SELECT 2; EXECUTE x"), run("x", &[]), sync()]),
        ("all gone", vec![query("DISCARD ALL"), run("x", &[]), sync()]),
        (
            "a name of Parse",
            vec![parse("p", "SELECT 3", &[]), sync(), query("PREPARE p AS SELECT 4"), run("p", &[]), sync()],
        ),
        ("and in a pipeline", vec![extended("PREPARE p AS SELECT 5", &[]), sync(), run("p", &[]), sync()]),
        ("free again", vec![query("DEALLOCATE p"), query("PREPARE p AS SELECT 6"), run("p", &[]), sync()]),
        ("and again", vec![query("DEALLOCATE p; PREPARE p AS SELECT 8"), run("p", &[]), sync()]),
        ("unknown", vec![query("EXECUTE nosuch"), query("DEALLOCATE nosuch"), run("nosuch", &[]), sync()]),
        ("a name that begins alike", vec![query("PREPARE client_x AS SELECT 9"), run("client_x", &[]), sync()]),
        ("twice", vec![query("PREPARE client_x AS SELECT 9"), query("EXECUTE client_y")]),
        (
            "a portal of it",
            vec![query("BEGIN"), bind("c", "client_x", &[], &[]), execute("c", 1), sync(), query("COMMIT")],
        ),
        ("in a failed transaction", vec![query("BEGIN; SELECT 1/0"), run("client_x", &[]), sync(), query("ROLLBACK")]),
    ];
    for login in ["tenant_a", "schema_a", "database_a", "operator"] {
        let (mut client, mut alone) = (proxy.login(login).connect(), Lab::general().owner("names_space").connect());
        for (what, messages) in &orders {
            // A Sync or a Query each.
            let ready = messages.iter().filter(|it| matches!(it[0], b'S' | b'Q')).count();
            let [got, wanted] = [&mut client, &mut alone].map(|session| seen(&session.exchange(messages, ready)));
            assert_eq!(got, wanted, "{login}: {what}");
        }
    }
}

/// What is bound is the tenant's own, and nobody else's.
#[test]
fn what_sql_has_prepared_is_its_tenants() {
    let proxy = proxy("names_own", 3);
    let names = |session: &mut Session, name: &str, value: &str| session.exchange(&[run(name, &[value]), sync()], 1);
    let mut a = proxy.a().connect();
    a.simple("PREPARE own AS SELECT DISTINCT left(name, 5) FROM customers WHERE id > $1").ok();
    a.simple("PREPARE mine AS INSERT INTO customers (tenant_id, id, name) VALUES ($1, 900, 'x')").ok();
    assert_eq!(names(&mut a, "own", "0").ok().texts(), [["ALPHA"]]);
    names(&mut a, "mine", "2").refused("42501");
    a.simple("DISCARD ALL").ok();
    let mut b = proxy.b().connect();
    names(&mut b, "own", "0").refused("26000");
    b.simple("PREPARE own AS SELECT DISTINCT left(name, 5) FROM customers WHERE id > $1").ok();
    assert_eq!(names(&mut b, "own", "0").ok().texts(), [["CANAR"]]);
    drop(b);
    names(&mut a, "own", "0").refused("26000");
    // What the catalog says has changed since: as for EXECUTE.
    a.simple("PREPARE old AS SELECT DISTINCT left(name, 5) FROM customers WHERE id > $1").ok();
    let later = "CREATE TABLE later (tenant_id int, id int); ALTER TABLE later OWNER TO app_owner";
    Lab::general().run("names_own", later);
    proxy.wait_for("the catalog of now", |proxy| proxy.a().connect().simple("SELECT id FROM later").errors.is_empty());
    names(&mut a, "old", "0").refused("0A000");
    a.simple("DEALLOCATE ALL").ok();
    // A session of several tenants binds nothing of the last one.
    let mut app = proxy.login("app").connect();
    app.simple("SET app.tenant_id = 'a'").ok();
    app.simple("PREPARE own AS SELECT DISTINCT left(name, 5) FROM customers WHERE id > $1").ok();
    assert_eq!(names(&mut app, "own", "0").ok().texts(), [["ALPHA"]]);
    app.simple("SET app.tenant_id = 'b'").ok();
    names(&mut app, "own", "0").refused("25001");
    app.simple("DISCARD ALL").ok();
}

/// Resets of pooled connections put a role back that nobody has changed.
#[test]
fn a_role_that_is_not_set_can_be_put_back() {
    let proxy = proxy("names_role", 1);
    for login in ["tenant_a", "schema_a", "database_a", "operator"] {
        let (mut client, mut alone) = (proxy.login(login).connect(), Lab::general().owner("names_role").connect());
        let role = client.simple("SELECT current_user").ok().value();
        for sql in [
            "RESET ROLE",
            "SET ROLE NONE",
            "SET ROLE 'none'",
            "SET SESSION AUTHORIZATION DEFAULT",
            "RESET SESSION AUTHORIZATION",
            "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; SELECT 1",
            "BEGIN; SET LOCAL ROLE NONE; COMMIT",
            "SET role TO DEFAULT",
        ] {
            for _ in 0..2 {
                let [got, wanted] = [&mut client, &mut alone].map(|session| seen(&session.simple(sql)));
                assert_eq!(got, wanted, "{login}: {sql}");
                assert_eq!(client.simple("SELECT current_user").ok().value(), role, "{login}: {sql}");
            }
            let [got, wanted] = [&mut client, &mut alone].map(|session| {
                let one = sql.split("; ").last().unwrap();
                seen(&session.exchange(&[extended(one, &[]), sync()], 1))
            });
            assert_eq!(got, wanted, "{login}: {sql}");
            assert_eq!(client.simple("SELECT current_user").ok().value(), role, "{login}: {sql}");
        }
        if login != "operator" {
            client.simple("SET ROLE postgres").refused("42501");
            client.simple("SET SESSION AUTHORIZATION postgres").refused("42501");
        }
    }
}
