//! SIGHUP: a new configuration without dropping a client.

use super::proxy;
use crate::support::lab::Lab;
use crate::support::message;
use crate::support::proxy::Proxy;
use crate::support::session::Session;

/// Something that only the tenant sees.
fn orders(session: &mut Session) -> String {
    session.simple("SELECT count(*) FROM orders").ok().value()
}

/// The session was told to end with this SQLSTATE and a text that says why.
#[track_caller]
fn ended(mut session: Session, sqlstate: &str, word: &str) {
    let reply = session.collect(1);
    assert_eq!(reply.sqlstate(), sqlstate, "{}", reply.text());
    assert!(reply.text().contains(word), "{}", reply.text());
    assert!(reply.closed, "{}", reply.text());
}

#[test]
fn a_file_with_errors_changes_nothing_and_says_why() {
    let proxy = proxy("op_reload_bad");
    let mut session = proxy.a().connect();
    proxy.reload(|text| {
        text.replace("name = \"tenant_b\"", "name = \"tenant_b\"\ncolour = 1").replace("key = \"2\"", "")
    });
    let log = proxy.log();
    assert!(log.contains("pgwarden.toml:") && log.contains("colour"), "{log}");
    assert!(log.contains("layout \"shared\" needs \"key\""), "all errors at once:\n{log}");
    orders(&mut session);
    orders(&mut proxy.b().connect());
}

#[test]
fn logins_and_tenants_come_and_go() {
    let proxy = proxy("op_reload_tenants");
    let (mut a, b, mut schema) = (proxy.a().connect(), proxy.b().connect(), proxy.login("schema_a").connect());
    let before = orders(&mut a);
    proxy.reload(|text| {
        let text = text.replace("key = \"2\"", "key = \"2\"\nsuspended = true");
        format!("{text}\n[[login]]\nname = \"late\"\npassword = \"late_pw\"\ntenants = [\"a\"]\n")
    });
    // The suspended tenant's session ends by itself, with the reason; new ones are refused; the others go on.
    ended(b, "28000", "suspended");
    proxy.b().try_connect().1.refused("28000");
    assert_eq!(orders(&mut a), before);
    schema.simple("SELECT count(*) FROM customers").ok();
    assert_eq!(orders(&mut proxy.login("late").connect()), before);
    // A login that is gone.
    proxy.reload(|text| {
        let text = text.replace("key = \"2\"\nsuspended = true", "key = \"2\"");
        let start = text.find("[[login]]\nname = \"schema_a\"").unwrap();
        let end = start + text[start..].find("tenants = [\"sa\"]\n").unwrap() + "tenants = [\"sa\"]\n".len();
        format!("{}{}", &text[..start], &text[end..])
    });
    ended(schema, "28000", "removed");
    orders(&mut proxy.b().connect());
    assert_eq!(orders(&mut a), before);
}

#[test]
fn a_transaction_ends_before_its_session_does() {
    let proxy = proxy("op_reload_transaction");
    let mut b = proxy.b().connect();
    b.simple("BEGIN; UPDATE customers SET name = 'changed' WHERE id = (SELECT min(id) FROM customers)").ok();
    proxy.reload(|text| text.replace("key = \"2\"", "key = \"2\"\nsuspended = true"));
    // It may go on, and commit.
    b.simple("SELECT 1").ok();
    let reply = b.simple("COMMIT");
    assert_eq!(reply.tags, ["COMMIT"], "{}", reply.text());
    if reply.errors.is_empty() {
        ended(b, "28000", "suspended");
    }
    proxy.reload(|text| text.replace("suspended = true", "suspended = false"));
    let changed = proxy.b().connect().simple("SELECT count(*) FROM customers WHERE name = 'changed'").ok().value();
    assert_eq!(changed, "1");
}

/// As above, for a session that has named the tenant itself; and in the extended protocol, where the transaction is a pipeline.
#[test]
fn a_tenant_suspended_in_mid_transaction() {
    let proxy = proxy("op_reload_mid");
    let (mut switching, mut piped) = (proxy.login("app").connect(), proxy.b().connect());
    let (mut failed, mut idle) = (proxy.b().connect(), proxy.b().connect());
    idle.simple("SELECT 1").ok();
    switching.simple("BEGIN; SET LOCAL app.tenant_id = 'b'").ok();
    switching.simple("UPDATE customers SET name = 'mid' WHERE id = (SELECT min(id) FROM customers)").ok();
    piped
        .send(&[message::extended("SELECT count(*) FROM generate_series(1, 3000000)", &[]), message::flush()].concat());
    failed.simple("BEGIN").ok();
    failed.simple("SELECT 1 / 0").refused("22012");
    proxy.reload(|text| text.replace("key = \"2\"", "key = \"2\"\nsuspended = true"));
    ended(idle, "28000", "suspended");
    // The message that is under way ends well.
    piped.send(&[message::extended("SELECT count(*) FROM customers", &[]), message::sync()].concat());
    let reply = piped.collect(1);
    assert_eq!(reply.rows.len(), 2, "{}", reply.text());
    if reply.errors.is_empty() {
        ended(piped, "28000", "suspended");
    }
    let reply = failed.simple("ROLLBACK");
    assert_eq!(reply.tags, ["ROLLBACK"], "{}", reply.text());
    if reply.errors.is_empty() {
        ended(failed, "28000", "suspended");
    }
    // It acts for the tenant no longer than its transaction: it lives on, for the others.
    switching.simple("SELECT count(*) FROM customers").ok();
    assert_eq!(switching.simple("COMMIT").tags, ["COMMIT"]);
    switching.simple("SET app.tenant_id = 'b'").refused("28000");
    switching.simple("BEGIN; SET LOCAL app.tenant_id = 'b'").refused("28000");
    switching.simple("ROLLBACK").ok();
    switching.simple("SET app.tenant_id = 'a'").ok();
    orders(&mut switching);
    let lab = crate::support::lab::Lab::general();
    let count = lab.owner("op_reload_mid").connect().simple("SELECT count(*) FROM customers WHERE name = 'mid'");
    assert_eq!(count.ok().value(), "1");
}

#[test]
fn a_login_of_several_tenants_loses_one() {
    let proxy = proxy("op_reload_shared_login");
    let mut session = proxy.login("app").connect();
    let mut other = proxy.login("app").connect();
    session.simple("SET app.tenant_id = 'b'").ok();
    other.simple("SET app.tenant_id = 'a'").ok();
    let a = orders(&mut other);
    proxy.reload(|text| text.replace("tenants = [\"a\", \"b\"]", "tenants = [\"a\"]"));
    ended(session, "28000", "tenant \"b\"");
    assert_eq!(orders(&mut other), a);
    other.simple("SET app.tenant_id = 'b'").refused("28000");
}

#[test]
fn a_key_that_changes_ends_the_sessions_that_had_the_old_one() {
    let proxy = proxy("op_reload_key");
    let (a, mut b) = (proxy.a().connect(), proxy.b().connect());
    proxy.reload(|text| text.replace("key = \"1\"", "key = \"77\""));
    ended(a, "57P01", "changed");
    orders(&mut b);
    assert_eq!(orders(&mut proxy.a().connect()), "0");
}

#[test]
fn rules_for_tables_change() {
    let proxy = proxy("op_reload_rules");
    let mut session = proxy.a().connect();
    session.simple("SELECT count(*) FROM countries").ok();
    proxy.reload(|text| text.replace("shared_tables = [\"public.countries\"]", "shared_tables = []"));
    session.simple("SELECT count(*) FROM countries").refused("42501");
    proxy.reload(|text| text.replace("shared_tables = []", "shared_tables = [\"public.countries\"]"));
    session.simple("SELECT count(*) FROM countries").ok();
}

/// Another password, size and address of an upstream: clients stay connected.
#[test]
fn pools_are_changed_under_their_clients() {
    let proxy = proxy("op_reload_pool");
    let mut session = proxy.a().connect();
    let mut busy = proxy.a().connect();
    busy.simple("BEGIN").ok();
    let backend = busy.simple("SELECT pg_backend_pid()").ok().value();
    // The same server by another name: connections go elsewhere.
    proxy
        .reload(|text| text.replacen("app_owner@127.0.0.1", "app_owner@localhost", 1).replace("size = 10", "size = 3"));
    assert!(proxy.log().contains("server connections are replaced"), "{}", proxy.log());
    orders(&mut session);
    assert_eq!(busy.simple("SELECT pg_backend_pid()").ok().value(), backend, "its transaction goes on where it began");
    busy.simple("COMMIT").ok();
    orders(&mut busy);
    let (ok, pools) = super::psql(&super::console(&proxy).url(), "SHOW SERVERS");
    assert!(ok && !pools.contains("127.0.0.1:") && pools.contains("localhost:"), "{pools}");
    let (_, pools) = super::psql(&super::console(&proxy).url(), "SHOW POOLS");
    assert!(
        pools.lines().any(|line| line.starts_with("main|op_reload_pool|") && line.contains("|3|transaction|")),
        "{pools}"
    );
}

#[test]
fn what_needs_a_restart_is_said_and_left() {
    let proxy = proxy("op_reload_restart");
    proxy.reload(|text| text.replace("[listen]\n", "[listen]\nmax_connections = 7\n"));
    let log = proxy.log();
    assert!(log.contains("only after a restart") && log.contains("listen.max_connections"), "{log}");
    // Sections of which only the next process makes something; said once, and not when they are as they were.
    let more = format!(
        "\n[quota]\nflush_interval = \"7s\"\n[metrics]\naddress = \"127.0.0.1:{}\"\n",
        crate::support::proxy::free_port()
    );
    proxy.reload(|text| text + &more);
    let line = |proxy: &Proxy| proxy.log().lines().rfind(|it| it.contains("only after a restart")).unwrap().to_owned();
    let said = line(&proxy);
    assert!(said.contains("listen.max_connections, quota, metrics"), "{said}");
    let (ok, notice) = super::psql(&super::console(&proxy).url(), "RELOAD");
    assert!(ok && notice.contains("quota, metrics"), "{notice}");
    proxy.reload(|text| text.replace(&more, ""));
    let said = line(&proxy);
    assert!(said.contains("listen.max_connections") && !said.contains("quota"), "{said}");
    let lines = proxy.log().matches("only after a restart").count();
    proxy.reload(|text| text.replace("max_connections = 7\n", ""));
    assert_eq!(proxy.log().matches("only after a restart").count(), lines);
    proxy.reload(|text| format!("{text}\n[log]\nlevel = \"debug\"\n"));
    proxy.a().connect().quit();
    proxy.wait_for("debug line", |proxy| proxy.log().contains("DEBUG"));
}

/// What `pgwarden check --connect` would call wrong changes nothing, and no part of the file is in force.
#[test]
fn a_misspelt_table_changes_nothing() {
    let proxy = proxy("op_reload_misspelt");
    let mut session = proxy.a().connect();
    let login = "\n[[login]]\nname = \"late\"\npassword = \"late_pw\"\ntenants = [\"a\"]\n";
    proxy.reload(|text| {
        format!("{}{login}", text.replace("\"public.countries\"", "\"public.countries\", \"public.contries\""))
    });
    let log = proxy.log();
    assert!(log.contains("shared_tables names public.contries, which does not exist"), "{log}");
    assert!(log.contains("configuration not reloaded"), "{log}");
    orders(&mut session);
    proxy.login("late").try_connect().1.refused("28P01");
    proxy.reload(|text| text.replace(", \"public.contries\"", ""));
    orders(&mut proxy.login("late").connect());
}

/// A name that the catalog does not know yet is not called wrong: it is looked up anew.
#[test]
fn a_table_that_was_made_just_now_is_known_to_a_reload() {
    let proxy = proxy("op_reload_new_table");
    let mut session = proxy.a().connect();
    orders(&mut session);
    Lab::general().run(
        "op_reload_new_table",
        "CREATE TABLE public.made_late (code int); GRANT ALL ON public.made_late TO PUBLIC",
    );
    proxy.reload(|text| text.replace("\"public.countries\"", "\"public.countries\", \"public.made_late\""));
    let log = proxy.log();
    assert!(log.contains("configuration reloaded") && !log.contains("made_late, which does not exist"), "{log}");
    assert_eq!(session.simple("SELECT count(*) FROM made_late").ok().value(), "0");
    // What is gone by now is no reason to keep an old configuration in force.
    Lab::general().run("op_reload_new_table", "DROP TABLE public.made_late");
    proxy.reload(|text| text.replace("key = \"2\"", "key = \"2\"\nsuspended = true"));
    proxy.b().try_connect().1.refused("28000");
}
