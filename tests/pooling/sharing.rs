//! What tenants have of the server connections: shares of a pool, and the cap over all pools.

use std::time::Duration;

use crate::operation::{CONSOLE, console, psql};
use crate::support::lab::Lab;
use crate::support::message::query;
use crate::support::proxy::{Proxy, Setup, free_port};
use crate::support::session::{Endpoint, Session};

/// Sixty tenants with a database each, all connected at once, under a cap of eight.
#[test]
fn many_databases_live_under_a_small_cap() {
    const TENANTS: usize = 60;
    const CAP: usize = 8;
    let lab = Lab::general();
    let postgres = lab.cluster.port();
    let mut admin = lab.superuser("postgres");
    let mut config = String::new();
    let port = free_port();
    for n in 0..TENANTS {
        admin.simple(format!("CREATE DATABASE cap_{n} TEMPLATE template0")).ok();
        config += &format!(
            "[[tenant]]\nname = \"cap_{n}\"\nlayout = \"database\"\n\
             upstream = {{ url = \"postgres://app_owner@127.0.0.1:{postgres}/cap_{n}\", password = \"app_owner_pw\", pool = {{ size = 4 }} }}\n"
        );
    }
    let head = format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n[pool]\nmax_server_connections = {CAP}\n[upstream.main]\n\
         url = \"postgres://app_owner@127.0.0.1:{postgres}/shared\"\npassword = \"app_owner_pw\"\npool = {{ size = 4 }}\n\
         [tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\n[[login]]\nname = \"all\"\npassword = \"all_pw\"\ntenants = \"*\"\n"
    );
    let _proxy = Proxy::launch(&(head + &config), port);
    let end = |n: usize| Endpoint::new(port, "all", "all_pw", &format!("cap_{n}"));
    let mut clients: Vec<Session> = (0..TENANTS).map(|n| end(n).connect()).collect();
    let used = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'cap\\_%' AND backend_type = 'client backend' \
                AND query LIKE '%of_the_cap%'";
    for round in 0..3 {
        for client in &mut clients {
            client.send(&query(format!("SELECT current_database(), {round} AS of_the_cap")));
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let reply = client.collect_within(1, Duration::from_secs(60)).ok();
            assert_eq!(reply.texts(), [[format!("cap_{n}"), round.to_string()]]);
        }
        let used: usize = admin.simple(used).ok().value().parse().unwrap();
        assert!(used <= CAP, "{used} server connections");
    }
}

/// A tenant's guaranteed connection is there for it, and its neighbour has no more than its maximum.
#[test]
fn shares_of_a_pool() {
    let lab = Lab::general();
    lab.copy_of_shop("sharing_shares");
    let more = "[[tenant]]\nname = \"quiet\"\nkey = \"77\"\nkeys = { uuid = \"77777777-0000-4000-8000-000000000000\", account = \"quiet\" }\n\
                pool = { min = 1 }\nweight = 3\n\
                [[tenant]]\nname = \"small\"\nkey = \"78\"\nkeys = { uuid = \"77777777-0000-4000-8000-000000000001\", account = \"small\" }\n\
                pool = { max = 1 }\n\
                [[login]]\nname = \"more\"\npassword = \"more_pw\"\ntenants = [\"quiet\", \"small\"]\n";
    let pool = r#"{ mode = "transaction", size = 3, wait_timeout = "600ms", kept_for_others = 0 }"#.to_owned();
    let setup = Setup { database: "sharing_shares".to_owned(), pool, more: more.to_owned(), ..Setup::default() };
    let proxy = Proxy::start(lab, &setup);
    let of = |tenant: &str| Endpoint::new(proxy.port, "more", "more_pw", tenant).connect();
    let mut quiet = of("quiet");
    quiet.simple("SELECT count(*) FROM customers").ok();
    // The neighbour takes all that it can get: two of three.
    let mut noisy: Vec<Session> = (0..3).map(|_| proxy.a().connect()).collect();
    noisy[0].simple("BEGIN").ok();
    noisy[1].simple("BEGIN").ok();
    noisy[2].simple("BEGIN").refused("53300");
    assert_eq!(quiet.simple("SELECT count(*) FROM customers").ok().value(), "0");
    noisy[0].simple("COMMIT").ok();
    noisy[1].simple("COMMIT").ok();
    // One at a time, though others are free.
    let (mut one, mut two) = (of("small"), of("small"));
    one.simple("BEGIN").ok();
    two.simple("SELECT 1").refused("53300");
    two.send(&query("SELECT 2"));
    std::thread::sleep(Duration::from_millis(100));
    one.simple("COMMIT").ok();
    assert_eq!(two.collect(1).ok().value(), "2");
}

/// What nobody uses any more is let go of: the pool, and the catalog that would be read again and again.
#[test]
fn databases_that_nobody_uses_are_let_go_of() {
    let lab = Lab::general();
    let postgres = lab.cluster.port();
    lab.copy_of_shop("sharing_main");
    lab.copy_of_shop("sharing_reaped");
    let more = format!(
        "[[tenant]]\nname = \"rare\"\nlayout = \"database\"\nupstream = {{ url = \"postgres://app_owner@127.0.0.1:{postgres}/sharing_reaped\", \
         password = \"app_owner_pw\", pool = {{ size = 2, idle_timeout = \"1s\" }} }}\n\
         [[login]]\nname = \"more\"\npassword = \"more_pw\"\ntenants = [\"rare\"]\n{CONSOLE}"
    );
    let tenancy = "catalog_refresh = \"1s\"".to_owned();
    let setup = Setup { database: "sharing_main".to_owned(), more, tenancy, ..Setup::default() };
    let proxy = Proxy::start(lab, &setup);
    let pools = || psql(&console(&proxy).url(), "SHOW POOLS").1;
    let end = Endpoint::new(proxy.port, "more", "more_pw", "rare");
    let mut client = end.connect();
    client.simple("SELECT count(*) FROM customers").ok();
    // As long as a client is there, so is the pool, though it closes its connections.
    std::thread::sleep(Duration::from_millis(3_500));
    assert!(pools().contains("|sharing_reaped|"), "{}", pools());
    client.simple("SELECT count(*) FROM customers").ok();
    client.quit();
    proxy.wait_for("end of the pool", |_| !pools().contains("|sharing_reaped|"));
    let mut admin = lab.superuser("postgres");
    let mut transactions = || {
        let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'sharing_reaped'";
        admin.simple(sql).ok().value()
    };
    // A load that had begun may end.
    std::thread::sleep(Duration::from_millis(2_500));
    let before = transactions();
    std::thread::sleep(Duration::from_millis(3_000));
    assert_eq!(transactions(), before, "somebody still reads its catalog");
    // That of the shared layout stays; and who comes back is served.
    assert!(pools().contains("|sharing_main|"), "{}", pools());
    end.connect().simple("SELECT count(*) FROM customers").ok();
}
