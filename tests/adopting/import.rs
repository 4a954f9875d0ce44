//! `pgwarden import-pgbouncer`: what it makes is accepted, and serves the same clients.

use std::fs;
use std::process::Command;

use pgwarden::test_cluster::Cluster;

use super::Ran;
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, free_port, program};
use crate::support::session::Endpoint;

fn import(ini: &str, users: &str) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = ["pgbouncer.ini", "userlist.txt"].map(|name| directory.path().join(name));
    fs::write(&a, ini).unwrap();
    fs::write(&b, users).unwrap();
    Ran::of(&Command::new(program()).arg("import-pgbouncer").args([a, b]).output().unwrap())
}

#[test]
fn clients_of_pgbouncer_find_what_they_had() {
    let lab = Lab::general();
    for database in ["import_one", "import_two"] {
        lab.create(database, None);
        lab.run(database, "CREATE TABLE here AS SELECT current_database() AS name");
    }
    let (port, postgres) = (free_port(), lab.cluster.port());
    let (user, password) = (Cluster::SUPERUSER, lab.cluster.password());
    let ini = format!(
        "[databases]\nimport_one = host=127.0.0.1 port={postgres} user={user} password='{password}' pool_size=3\n\
         second = host=127.0.0.1 port={postgres} dbname=import_two user={user} password={password} pool_mode=session\n\
         * = host=127.0.0.1 port={postgres} user={user} password={password}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = scram-sha-256\nauth_file = userlist.txt\n\
         pool_mode = transaction\nmax_client_conn = 100\ndefault_pool_size = 5\nmax_prepared_statements = 100\n\
         server_idle_timeout = 60\nquery_wait_timeout = 5.5\nquery_timeout = 30\nignore_startup_parameters = extra_float_digits\n\
         admin_users = boss\nstats_users = looker\nserver_reset_query = DISCARD ALL\n"
    );
    // The second password is md5 of "secretold", its user's name behind it.
    let users =
        "\"new\" \"in clear \"\"x\"\"\"\n\"old\" \"md57cb133e596658708079ed4cfaaf64462\"\n\"boss\" \"bosspw\"\n";
    let imported = import(&ini, users);
    imported.says(
        0,
        &["stats_users was not carried over", "the line * leads to any database", "login boss: it uses the console"],
    );
    assert!(
        !imported.out.contains("in clear") && imported.out.contains("wait_timeout = \"5500ms\""),
        "{}",
        imported.out
    );
    let proxy = Proxy::launch(&imported.out, port);
    let end = |user: &str, password: &str, database: &str| Endpoint::new(port, user, password, database);
    let name = |end: Endpoint| end.connect().simple("SELECT name FROM here").ok().value().to_owned();
    assert_eq!(name(end("new", "in clear \"x\"", "import_one")), "import_one");
    assert_eq!(name(end("new", "in clear \"x\"", "second")), "import_two");
    assert_eq!(name(end("old", "secret", "second")), "import_two");
    end("new", "in clear \"x\"", "import_two").try_connect().1.refused("3D000");
    assert_eq!(end("boss", "bosspw", "pgwarden").connect().simple("SHOW POOLS").ok().tags.len(), 1);
    end("new", "wrong", "second").try_connect().1.refused("28P01");
    end("looker", "x", "second").try_connect().1.refused("28P01");
    drop(proxy);
}

#[test]
fn what_must_be_looked_at_is_said() {
    let ini = "[databases]\napp =\nweird! = host=db\nmany = host=a,b user=x connect_query='SELECT 1'\n\
        [users]\nu = pool_mode=session query_timeout=5\n[peers]\n1 = host=x\n\
        [pgbouncer]\nlisten_addr = *\nunix_socket_dir = /tmp\nauth_query = SELECT 1\nno_such_key = 1\nclient_tls_sslmode = require\n%include more.ini\n";
    let imported = import(ini, "\"u\" \"\"\n\"v\" \"x\"\n");
    imported.says(
        0,
        &[
            "database app: its line names no user",
            "database weird!: this is no name for a tenant",
            "of several hosts the first",
            "connect_query was not carried over",
            "user u: pool_mode was not carried over",
            "unix_socket_dir was not carried over",
            "auth_query was not carried over: write an [auth_query]",
            "no_such_key is not known",
            "client_tls_sslmode = require needs client_tls_cert_file",
            "%include more.ini was not followed",
            "[peers] was not carried over",
            "login u: it has no password",
            "statement_timeout = \"5s\"",
            "[\"0.0.0.0:6432\", \"[::]:6432\"]",
        ],
    );
    import("[databases]\nx\n", "").says(1, &["pgbouncer.ini:2: neither a section nor key = value"]);
    import("[databases]\n", "x").says(1, &["userlist.txt:1"]);
}
