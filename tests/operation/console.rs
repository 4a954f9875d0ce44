//! The console, over psql, the simple and the extended protocol, and drivers.

use tokio_postgres::NoTls;

use super::{console, proxy, psql};
use crate::support::lab::{Lab, block_on};
use crate::support::session::Endpoint;
use crate::support::{ENDLESS, message};

#[test]
fn psql_sees_every_table() {
    let proxy = proxy("op_console_show");
    let url = console(&proxy).url();
    let mut client = proxy.a().connect();
    client.simple("BEGIN; SELECT 1").ok();
    let show = |what: &str| {
        let (ok, said) = psql(&url, &format!("SHOW {what}"));
        assert!(ok, "{what}: {said}");
        said
    };
    let tenants = show("TENANTS");
    assert!(tenants.lines().any(|line| line == "a|shared|main|op_console_show||no|1|1|0"), "{tenants}");
    assert!(tenants.lines().any(|line| line.starts_with("sa|schema|schemas|schemas|t_a|no|")), "{tenants}");
    let clients = show("CLIENTS");
    let line = clients.lines().find(|line| line.contains("|tenant_a|a|main|")).unwrap_or_else(|| panic!("{clients}"));
    assert!(line.contains("|active|127.0.0.1|"), "{line}");
    assert!(clients.contains("|console|boss|"), "{clients}");
    let servers = show("SERVERS");
    let link = line.rsplit('|').next().unwrap();
    let id = line.split('|').next().unwrap();
    let server = servers.lines().find(|it| it.starts_with(&format!("{link}|"))).unwrap_or_else(|| panic!("{servers}"));
    assert!(server.contains("|active|") && server.ends_with(&format!("|{id}|a")), "{server}");
    assert!(show("POOLS").contains("main|op_console_show|app_owner|0|1|"));
    assert!(show("STATS").contains("main|op_console_show|app_owner|"));
    let config = show("CONFIG");
    assert!(config.contains("tenancy.column|tenant_id|yes") && config.contains("listen.address|"), "{config}");
    assert!(!config.contains("app_owner_pw"), "{config}");
    assert!(show("VERSION").starts_with("pgwarden "));
    assert!(show("HELP").contains("SHOW TENANTS|"));
    for bad in ["SELECT 1", "SHOW nonsense", "SHOW", "DROP TABLE x", "\\d"] {
        let (_, said) = psql(&url, bad);
        assert!(said.contains("ERROR"), "{bad}: {said}");
    }
    // Several at once, as psql sends them.
    let (ok, both) = psql(&url, "SHOW VERSION; SHOW POOLS;");
    assert!(ok && both.contains("op_console_show"), "{both}");
}

#[test]
fn drivers_see_typed_columns() {
    let proxy = proxy("op_console_driver");
    let url = console(&proxy).url();
    block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let rows = client.query("SHOW CLIENTS", &[]).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert!(rows[0].get::<_, i64>("id") > 0);
        assert_eq!(rows[0].get::<_, &str>("user"), "boss");
        assert_eq!(rows[0].get::<_, Option<&str>>("tenant"), None);
        let error = client.query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42601");
        // The session lives on.
        assert_eq!(client.execute("RELOAD", &[]).await.unwrap(), 0);
    });
    // Rows in portions, and an error in mid-pipeline.
    let mut session = console(&proxy).connect();
    let all = session.extended("SHOW CONFIG", &[]).ok().rows.len();
    let portion = [
        message::parse("", "SHOW CONFIG", &[]),
        message::bind("", "", &[], &[]),
        message::execute("", 2),
        message::execute("", 0),
        message::sync(),
    ];
    let reply = session.exchange(&portion, 1).ok();
    assert_eq!(reply.rows.len(), all);
    assert!(reply.kinds.contains("DDs"), "{}", reply.kinds);
    let broken = [message::parse("", "nonsense", &[]), message::bind("", "", &[], &[]), message::sync()];
    let reply = session.exchange(&broken, 1);
    assert_eq!((reply.kinds.as_str(), reply.sqlstate()), ("EZ", "42601"));
    session.simple("SHOW VERSION").ok();
}

#[test]
fn only_administrators_get_in() {
    let proxy = proxy("op_console_login");
    // To others there is no such database.
    for login in ["tenant_a", "app", "operator"] {
        let (_, reply) = Endpoint { database: "pgwarden".to_owned(), ..proxy.login(login) }.try_connect();
        assert_eq!(reply.sqlstate(), "3D000", "{login}: {}", reply.text());
    }
    let (_, reply) = Endpoint { password: "wrong".to_owned(), ..console(&proxy) }.try_connect();
    reply.refused("28P01");
    // And an administrator gets nowhere else.
    for database in ["op_console_login", "a", "boss"] {
        let (_, reply) = Endpoint { database: database.to_owned(), ..console(&proxy) }.try_connect();
        assert_eq!(reply.sqlstate(), "3D000", "{database}: {}", reply.text());
    }
    let (_, reply) = Endpoint { user: "boss@a".to_owned(), ..console(&proxy) }.try_connect();
    assert!(!reply.errors.is_empty());
    // Operators that are listed, from the moment that they are.
    proxy.reload(|text| format!("{text}\n[admin]\nlogins = [\"operator\"]\n"));
    let end = Endpoint { database: "pgwarden".to_owned(), ..proxy.login("operator") };
    let mut listed = end.connect();
    listed.simple("SHOW VERSION").ok();
    proxy.reload(|text| text.replace("logins = [\"operator\"]", "logins = []"));
    let reply = listed.simple("SHOW VERSION");
    assert_eq!(reply.sqlstate(), "57P01", "{}", reply.text());
}

#[test]
fn sessions_are_ended_by_id_and_by_tenant() {
    let proxy = proxy("op_console_kill");
    let mut admin = console(&proxy).connect();
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    a.send(&message::query(ENDLESS));
    let clients = admin.simple("SHOW CLIENTS").ok().texts();
    let id = clients.iter().find(|row| row[3] == "b").unwrap()[0].clone();
    assert_eq!(admin.simple("KILL TENANT a").ok().tags, ["KILL 1"]);
    let reply = a.collect(1);
    assert_eq!((reply.sqlstate(), reply.closed), ("57P01", true), "{}", reply.text());
    assert!(reply.elapsed.as_secs() < 10);
    Lab::general().comes_to_rest("op_console_kill");
    assert_eq!(admin.simple(format!("KILL CLIENT {id}")).ok().tags, ["KILL 1"]);
    let reply = b.collect(1);
    assert_eq!((reply.sqlstate(), reply.closed), ("57P01", true), "{}", reply.text());
    admin.simple("KILL CLIENT 999999").refused("42704");
    admin.simple("KILL CLIENT x").refused("22P02");
    let log = proxy.log();
    assert!(log.contains("pgwarden::audit") && log.contains("KillTenant") && log.contains("login=boss"), "{log}");
}

/// A login of several tenants: the console knows whom its sessions act for, by SET, in a transaction, and by comment.
#[test]
fn sessions_that_switch_are_their_tenants() {
    let proxy = proxy("op_console_switch");
    let mut admin = console(&proxy).connect();
    let mut apps: Vec<_> = (0..4).map(|_| proxy.login("app").connect()).collect();
    let told = |admin: &mut crate::support::session::Session| {
        let mut tenants: Vec<_> = admin.simple("SHOW CLIENTS").ok().texts();
        tenants.retain(|row| row[2] == "app");
        tenants.into_iter().map(|row| row[3].clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut admin), ["∅", "∅", "∅", "∅"]);
    apps[0].simple("SET app.tenant_id = 'b'").ok();
    apps[1].simple("BEGIN; SET LOCAL app.tenant_id = 'b'").ok();
    apps[1].simple("SELECT count(*) FROM customers").ok();
    apps[2].send(&message::query(format!("/* tenant='b' */ {ENDLESS}")));
    apps[3].simple("SET app.tenant_id = 'b'").ok();
    apps[3].simple("SET app.tenant_id = 'a'").ok();
    proxy.wait_for("tenants", |_| told(&mut console(&proxy).connect()) == ["b", "b", "b", "a"]);
    let tenants = admin.simple("SHOW TENANTS").ok().texts();
    let b = tenants.iter().find(|row| row[0] == "b").unwrap();
    assert_eq!(&b[6..9], ["3", "2", "0"], "{b:?}");
    // Back to nobody with the transaction.
    apps[1].simple("ROLLBACK").ok();
    proxy.wait_for("nobody", |_| told(&mut console(&proxy).connect()) == ["b", "∅", "b", "a"]);
    assert_eq!(admin.simple("KILL TENANT b").ok().tags, ["KILL 2"]);
    for at in [0, 2] {
        let reply = apps[at].collect(1);
        assert_eq!((reply.sqlstate(), reply.closed), ("57P01", true), "{}", reply.text());
    }
    apps[1].simple("SELECT 1").ok();
    assert_eq!(apps[3].simple("SHOW app.tenant_id").ok().value(), "a");
    Lab::general().comes_to_rest("op_console_switch");
}

#[test]
fn a_pause_lets_clients_wait() {
    let proxy = proxy("op_console_pause");
    let mut admin = console(&proxy).connect();
    let mut a = proxy.a().connect();
    a.simple("SELECT 1").ok();
    admin.simple("PAUSE nonesuch").refused("42704");
    admin.simple("PAUSE main").ok();
    let servers = admin.simple("SHOW SERVERS").ok().text();
    assert!(!servers.contains("|main|"), "{servers}");
    a.send(&message::query("SELECT 2"));
    let reply = a.collect_within(1, std::time::Duration::from_millis(300));
    assert!(reply.timed_out && reply.rows.is_empty(), "{}", reply.text());
    let pools = admin.simple("SHOW POOLS").ok().texts();
    let pool = pools.iter().find(|row| row[0] == "main").unwrap();
    assert_eq!((pool[3].as_str(), pool[10].as_str()), ("1", "yes"), "{pool:?}");
    admin.simple("RESUME main").ok();
    assert_eq!(a.collect(1).ok().value(), "2");
}

#[test]
fn reload_and_shutdown_are_orders_too() {
    let mut proxy = proxy("op_console_orders");
    let url = console(&proxy).url();
    let path = proxy.config();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("key = \"2\"", "key = true")).unwrap();
    let (ok, said) = psql(&url, "RELOAD");
    assert!(!ok && said.contains("ERROR") && said.contains("pgwarden.toml:"), "{said}");
    std::fs::write(&path, text.replace("[listen]\n", "[listen]\nmax_connections = 8\n")).unwrap();
    let (ok, said) = psql(&url, "RELOAD");
    assert!(ok && said.contains("NOTICE") && said.contains("max_connections"), "{said}");
    let mut busy = proxy.a().connect();
    busy.simple("BEGIN").ok();
    let (ok, said) = psql(&url, "SHUTDOWN");
    assert!(ok, "{said}");
    assert_eq!(proxy.wait(std::time::Duration::from_millis(300)), None, "a transaction is open");
    let reply = busy.simple("COMMIT");
    assert_eq!(reply.tags, ["COMMIT"], "{}", reply.text());
    assert_eq!(proxy.wait(std::time::Duration::from_secs(15)), Some(0));
}

/// No more clients, but those that are there stay for as long as they like.
#[test]
fn a_shutdown_can_wait_for_clients() {
    let mut proxy = proxy("op_console_wait");
    let (mut idle, mut busy) = (proxy.a().connect(), proxy.b().connect());
    busy.simple("BEGIN").ok();
    let (ok, said) = psql(&console(&proxy).url(), "SHUTDOWN WAIT_FOR_CLIENTS");
    assert!(ok, "{said}");
    proxy.wait_for("closed port", |proxy| std::net::TcpStream::connect(("127.0.0.1", proxy.port)).is_err());
    assert_eq!(proxy.wait(std::time::Duration::from_secs(2)), None, "clients are there");
    idle.simple("SELECT 1").ok();
    busy.simple("COMMIT").ok();
    busy.simple("BEGIN; SELECT 1").ok();
    idle.quit();
    assert_eq!(proxy.wait(std::time::Duration::from_millis(500)), None, "one client is there");
    busy.simple("COMMIT").ok();
    busy.quit();
    assert_eq!(proxy.wait(std::time::Duration::from_secs(15)), Some(0));
}

/// A signal is heard while the last clients are waited for.
#[test]
fn a_signal_ends_the_wait_for_clients() {
    let mut proxy = proxy("op_console_wait_no_more");
    let mut idle = proxy.a().connect();
    console(&proxy).connect().simple("SHUTDOWN WAIT_FOR_CLIENTS").ok();
    assert_eq!(proxy.wait(std::time::Duration::from_millis(500)), None, "a client is there");
    proxy.signal("TERM");
    let reply = idle.collect(1);
    assert_eq!((reply.sqlstate(), reply.closed), ("57P01", true), "{}", reply.text());
    assert_eq!(proxy.wait(std::time::Duration::from_secs(15)), Some(0));
}
