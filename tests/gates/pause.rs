//! Waiting at a gate.

use super::*;
use crate::operation::{console, psql};
use crate::support::message::query;

#[test]
fn statements_wait_without_a_server_connection_and_in_order() {
    let stage = Stage::new("gate_waits", "main", "10s");
    let proxy = stage.proxy();
    let url = console(&proxy).url();
    let show = |what: &str| psql(&url, &format!("SHOW {what}")).1;
    let (mut running, mut waits) = (login(&proxy, "mover").connect(), login(&proxy, "mover").connect());
    running.simple("BEGIN").ok();
    running.simple("INSERT INTO items (id, note) VALUES (1, 'x')").ok();
    stage.shut(1, "60s", true);
    proxy.wait_for("gate", |_| show("GATES").contains("mover|shut|move|all|1|"));
    // What began goes on; what is new waits. A pipeline of two batches and a Query.
    running.simple("INSERT INTO items (id, note) VALUES (2, 'x')").ok();
    waits.send(&query("SELECT count(*) FROM items; SELECT 1"));
    waits.send(&query("SELECT 2"));
    proxy.wait_for("waiting client", |_| show("CLIENTS").contains("|mover|main|gate_waits_main|waiting|"));
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_gate_acks"), "0");
    running.simple("COMMIT").ok();
    stage.drained(1, 1);
    assert!(show("GATES").contains("mover|drained|move|all|1|1|"), "{}", show("GATES"));
    // Nobody else notices.
    login(&proxy, "bystander").connect().simple("SELECT count(*) FROM items").ok();
    // A login waits, too.
    let waited =
        block_on(async { tokio::time::timeout(Duration::from_millis(300), driver(proxy.port, "mover")).await });
    assert!(waited.is_err());
    stage.open();
    let replies = waits.collect(2).ok();
    assert_eq!(replies.first_column(), ["2", "1", "2"]);
    running.simple("SELECT 1").ok();
    assert_eq!(show("GATES").trim(), "");
}

#[test]
fn a_wait_is_cancelled_and_ends_with_its_client_and_at_the_deadline() {
    let stage = Stage::new("gate_cancel", "main", "10s");
    let proxy = stage.proxy();
    let url = console(&proxy).url();
    let waiting = |count: usize| {
        proxy.wait_for("number of waiting clients", |_| {
            psql(&url, "SHOW CLIENTS").1.lines().filter(|line| line.contains("|waiting|")).count() == count
        });
    };
    let [client, patient] = [(); 2].map(|()| block_on(driver(proxy.port, "mover")));
    let mut gone = login(&proxy, "mover").connect();
    stage.shut(1, "4s", true);
    stage.drained(1, 1);
    let begun = Instant::now();
    let cancel = client.cancel_token();
    let run = |client: Client| {
        let asked = async move { client.query_one("SELECT 7", &[]).await.map(|row| row.get::<_, i32>(0)) };
        block_on(async { (tokio::spawn(asked),) }).0
    };
    let (cancelled, patient) = (run(client), run(patient));
    gone.send(&query("SELECT 1"));
    waiting(3);
    block_on(cancel.cancel_query(NoTls)).unwrap();
    let error = block_on(cancelled).unwrap().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014");
    waiting(2);
    drop(gone);
    waiting(1);
    // Nobody opens it: it opens at its deadline.
    assert_eq!(block_on(patient).unwrap().unwrap(), 7);
    assert!(begun.elapsed() > Duration::from_millis(2500), "{:?}", begun.elapsed());
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_gates"), "0");
}

#[test]
fn the_console_pauses_a_tenant_at_all_proxies_or_at_its_own() {
    let stage = Stage::new("gate_console", "main", "10s");
    let proxies = [stage.proxy(), stage.proxy()];
    let [one, two] = proxies.each_ref().map(|proxy| console(proxy).url());
    let mut session = login(&proxies[1], "mover").connect();
    let (ok, said) = psql(&one, "PAUSE TENANT mover FOR '30s'");
    assert!(ok, "{said}");
    assert!(psql(&one, "SHOW GATES").1.contains("mover|drained|console|all|"));
    assert!(psql(&one, "PAUSE TENANT mover").1.contains("is shut already"));
    proxies[1].wait_for("gate", |_| psql(&two, "SHOW GATES").1.contains("mover|drained|console|all|"));
    session.send(&query("SELECT 1"));
    std::thread::sleep(Duration::from_millis(200));
    let (ok, said) = psql(&two, "RESUME TENANT mover");
    assert!(ok, "{said}");
    session.collect(1).ok();
    assert!(psql(&one, "RESUME TENANT mover").1.contains("was not paused"));
    assert!(psql(&one, "PAUSE TENANT nobody").1.contains("no tenant \"nobody\""));
    // A transaction does not end in time.
    session.simple("BEGIN; SELECT 1").ok();
    let (ok, said) = psql(&two, "PAUSE TENANT mover FOR '1s'");
    assert!(!ok && said.contains("opened before its transactions had ended"), "{said}");
    session.simple("COMMIT").ok();
    // A clean stop says so.
    let [mut first, _second] = proxies;
    first.signal("TERM");
    first.ended();
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_proxies"), "1");
}

#[test]
fn a_tenant_of_the_file_is_paused_at_one_proxy() {
    let lab = Lab::general();
    lab.copy_of_shop("gate_file");
    let setup = Setup { database: "gate_file".to_owned(), more: CONSOLE.to_owned(), ..Setup::default() };
    let proxy = Proxy::start(lab, &setup);
    let url = console(&proxy).url();
    let mut session = proxy.a().connect();
    let begun = Instant::now();
    assert!(psql(&url, "PAUSE TENANT a FOR '3s'").0);
    assert!(psql(&url, "SHOW GATES").1.contains("a|drained|console|this||0|"));
    session.simple("SELECT 1").ok();
    assert!(begun.elapsed() > Duration::from_millis(2900));
    assert!(psql(&url, "PAUSE TENANT a").0 && psql(&url, "RESUME TENANT a").0);
    session.simple("SELECT 1").ok();
}

#[test]
fn tenants_neither_see_nor_open_gates() {
    let stage = Stage::new("gate_own_tables", "main", "10s");
    let proxy = stage.proxy();
    let by_schema = stage.row(Place::Schema("left"));
    stage.sql(&format!("INSERT INTO pgwarden_tenants (name) VALUES ('lodger'); UPDATE pgwarden_tenants SET {by_schema} WHERE name = 'lodger'"));
    stage.sql("INSERT INTO pgwarden_gates VALUES ('other', 1, 'move', now(), now() + '1h')");
    proxy.wait_for("tenant", |proxy| login(proxy, "lodger").try_connect().1.errors.is_empty());
    for tenant in ["bystander", "lodger"] {
        let mut session = login(&proxy, tenant).connect();
        for table in ["pgwarden_gates", "pgwarden_proxies", "pgwarden_gate_acks"] {
            for sql in [
                format!("SELECT * FROM public.{table}"),
                format!("SELECT (SELECT count(*) FROM public.{table})"),
                format!("DELETE FROM public.{table}"),
                format!("INSERT INTO public.{table} SELECT"),
                format!("COPY public.{table} TO STDOUT"),
                format!("TABLE public.{table}"),
            ] {
                let reply = session.simple(sql.as_str());
                assert!(!reply.errors.is_empty() && reply.rows.is_empty(), "{tenant}: {sql}: {}", reply.text());
            }
        }
        // What tells proxies of a gate is no channel of a tenant's.
        session.simple("NOTIFY pgwarden_gates").ok();
    }
    assert_eq!(stage.value("SELECT count(*) FROM pgwarden_gates"), "1");
}
