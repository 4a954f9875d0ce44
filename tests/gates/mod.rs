//! Tenants' gates: shut by SQL as a mover shuts them, by the console, or by a proxy that has lost touch.

mod pause;
mod touch;
mod travel;

use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use crate::operation::CONSOLE;
use crate::support::lab::{Lab, block_on};
use crate::support::proxy::{Proxy, Setup, free_port};
use crate::support::session::Endpoint;

/// Where the tenant "mover" may live, in databases of this test's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Shared,
    SharedElsewhere,
    Schema(&'static str),
    Database(&'static str),
}

const ITEMS: &str = "CREATE TABLE items (id bigint PRIMARY KEY, note text NOT NULL)";
const SHARED: &str =
    "CREATE TABLE items (tenant_id int NOT NULL, id bigint, note text NOT NULL, PRIMARY KEY (tenant_id, id))";

/// Databases with the tables that tenants have, and pgwarden's own.
struct Stage {
    name: &'static str,
    config: String,
    /// The database with the table of tenants.
    registry: String,
}

impl Stage {
    /// With the table of tenants in the database of this suffix, and a lease of so long.
    fn new(name: &'static str, registry: &str, lease: &str) -> Self {
        let lab = Lab::general();
        for suffix in ["main", "other", "one", "two", "registry"] {
            let database = format!("{name}_{suffix}");
            lab.create(&database, None);
            let table = if matches!(suffix, "main" | "other") { SHARED } else { ITEMS };
            lab.run(
                &database,
                &format!("{table}; GRANT ALL ON items TO app_owner; GRANT CREATE ON SCHEMA public TO app_owner"),
            );
        }
        for schema in ["left", "right"] {
            let sql = format!(
                "CREATE SCHEMA t_{schema}; SET search_path = t_{schema}; {ITEMS};
                 GRANT USAGE ON SCHEMA t_{schema} TO app_owner; GRANT ALL ON items TO app_owner"
            );
            lab.run(&format!("{name}_main"), &sql);
        }
        let postgres = lab.cluster.port();
        let upstream = |upstream: &str, suffix: &str| {
            format!(
                "[upstream.{upstream}]\nurl = \"postgres://app_owner@127.0.0.1:{postgres}/{name}_{suffix}\"\npassword = \"app_owner_pw\"\n"
            )
        };
        let upstreams = [upstream("main", "main"), upstream("other", "other"), upstream("tenants", registry)].concat();
        let config = format!(
            "[listen]\naddress = \"127.0.0.1:{{port}}\"\n{upstreams}[tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\n\
             [tenants_from]\nupstream = \"tenants\"\ntable = \"public.pgwarden_tenants\"\n[moves]\nlease = \"{lease}\"\n\
             [[login]]\nname = \"all\"\npassword = \"all_pw\"\ntenants = \"*\"\n{CONSOLE}"
        );
        let stage = Self { name, config, registry: format!("{name}_{registry}") };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgwarden.toml");
        std::fs::write(&path, stage.text(1)).unwrap();
        let ddl = std::process::Command::new(crate::support::proxy::program())
            .args(["tenant", "--config"])
            .arg(&path)
            .args(["init", "--ddl"])
            .output()
            .unwrap();
        assert!(ddl.status.success(), "{}", String::from_utf8_lossy(&ddl.stderr));
        lab.run(&stage.registry, std::str::from_utf8(&ddl.stdout).unwrap());
        stage.sql("INSERT INTO pgwarden_tenants (name, key) VALUES ('mover', '1'), ('bystander', '2')");
        stage
    }

    fn text(&self, port: u16) -> String {
        self.config.replace("{port}", &port.to_string())
    }

    /// A proxy that knows the tenants.
    fn proxy(&self) -> Proxy {
        let port = free_port();
        let proxy = Proxy::launch(&self.text(port), port);
        proxy.wait_for("tenant", |proxy| {
            let (_, reply) = login(proxy, "mover").try_connect();
            reply.errors.is_empty()
        });
        proxy
    }

    /// Runs SQL beside the table of tenants.
    #[track_caller]
    fn sql(&self, sql: &str) {
        Lab::general().run(&self.registry, sql);
    }

    #[track_caller]
    fn value(&self, sql: &str) -> String {
        Lab::general().superuser(&self.registry).simple(sql).ok().value()
    }

    #[track_caller]
    fn wait_until(&self, sql: &str, wanted: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let value = self.value(sql);
            if value == wanted {
                return;
            }
            assert!(Instant::now() < end, "{sql}: {value}, not {wanted}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Shuts the mover's gate for so long at most.
    fn shut(&self, epoch: u32, time: &str, travel: bool) {
        self.sql(&format!(
            "INSERT INTO pgwarden_gates VALUES ('mover', {epoch}, 'move', now(), now() + '{time}'::interval, {travel})"
        ));
    }

    /// All proxies have nothing of it under way.
    fn drained(&self, epoch: u32, proxies: u32) {
        self.wait_until(
            &format!("SELECT count(*) FROM pgwarden_gate_acks WHERE tenant = 'mover' AND epoch = {epoch}"),
            &proxies.to_string(),
        );
    }

    fn open(&self) {
        self.sql("DELETE FROM pgwarden_gates WHERE tenant = 'mover'");
    }

    /// The database of a place, and the table in it with the condition that picks the tenant's rows.
    fn table(&self, place: Place) -> (String, String, &'static str) {
        let Self { name, .. } = self;
        match place {
            Place::Shared => (format!("{name}_main"), "public.items".to_owned(), "tenant_id = 1"),
            Place::SharedElsewhere => (format!("{name}_other"), "public.items".to_owned(), "tenant_id = 1"),
            Place::Schema(schema) => (format!("{name}_main"), format!("t_{schema}.items"), "true"),
            Place::Database(suffix) => (format!("{name}_{suffix}"), "public.items".to_owned(), "true"),
        }
    }

    /// What the row of the tenant says of a place.
    fn row(&self, place: Place) -> String {
        let (layout, key, schema, upstream, database) = match place {
            Place::Shared => ("shared", "'1'", "NULL".to_owned(), "NULL", "NULL".to_owned()),
            Place::SharedElsewhere => ("shared", "'1'", "NULL".to_owned(), "'other'", "NULL".to_owned()),
            Place::Schema(schema) => ("schema", "NULL", format!("'t_{schema}'"), "NULL", "NULL".to_owned()),
            Place::Database(suffix) => {
                ("database", "NULL", "NULL".to_owned(), "NULL", format!("'{}_{suffix}'", self.name))
            }
        };
        format!("layout = '{layout}', key = {key}, schema = {schema}, upstream = {upstream}, database = {database}")
    }

    /// Moves the tenant's rows, and the tenant, behind its gate, which opens with that.
    fn go(&self, from: Place, to: Place) {
        let ((source, from_table, ours), (target, to_table, _)) = (self.table(from), self.table(to));
        block_on(async {
            let lab = Lab::general();
            let (source, target) =
                (lab.cluster.connect(&source).await.unwrap(), lab.cluster.connect(&target).await.unwrap());
            let rows = source.query(&format!("SELECT id, note FROM {from_table} WHERE {ours}"), &[]).await.unwrap();
            let (ids, notes): (Vec<i64>, Vec<String>) =
                rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, String>(1))).unzip();
            let columns = match to {
                Place::Shared | Place::SharedElsewhere => "(tenant_id, id, note) SELECT 1,",
                Place::Schema(_) | Place::Database(_) => "(id, note) SELECT",
            };
            let insert = format!("INSERT INTO {to_table} {columns} * FROM unnest($1::bigint[], $2::text[])");
            target.execute(&insert, &[&ids, &notes]).await.unwrap();
            // Who still writes there finds out.
            source.execute(&format!("DELETE FROM {from_table} WHERE {ours}"), &[]).await.unwrap();
        });
        self.sql(&format!(
            "BEGIN; SELECT FROM pgwarden_gates WHERE tenant = 'mover' AND deadline > clock_timestamp() FOR UPDATE;
             UPDATE pgwarden_tenants SET {} WHERE name = 'mover'; DELETE FROM pgwarden_gates WHERE tenant = 'mover'; COMMIT",
            self.row(to)
        ));
    }

    /// How many rows the tenant has there.
    fn count(&self, place: Place) -> String {
        let (database, table, ours) = self.table(place);
        Lab::general()
            .superuser(&database)
            .simple(format!("SELECT count(*) FROM {table} WHERE {ours}").as_str())
            .ok()
            .value()
    }
}

/// A tenant's login.
fn login(proxy: &Proxy, tenant: &str) -> Endpoint {
    Endpoint::new(proxy.port, &format!("all@{tenant}"), "all_pw", tenant)
}

/// A driver's session.
async fn driver(proxy_port: u16, tenant: &str) -> Client {
    let url = Endpoint::new(proxy_port, &format!("all@{tenant}"), "all_pw", tenant).url();
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
