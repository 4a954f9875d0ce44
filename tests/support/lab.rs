//! Clusters with the fixture in them.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pgwarden::test_cluster::{Cluster, Options};

use super::session::{Endpoint, Session};

/// A file below `tests/`.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

/// The text of a file below `tests/`.
#[track_caller]
pub fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("tests/{path}: {error}"))
}

/// Runs a future on a small runtime that lives as long as the process.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
        })
        .block_on(future)
}

/// A cluster with the databases
/// * `shared`: the shop of tenants A, B and C in one set of tables,
/// * `solo`: the same with A's rows only (the oracle),
/// * `schemas`: a schema for each tenant,
/// * `db_tenant_a`, `db_tenant_b`: a database for each tenant,
///
/// and `shop`, the template of the first.
pub struct Lab {
    pub cluster: Cluster,
}

impl Lab {
    /// For tests that leave the cluster as it is. They share it, in parallel: each writes to databases of its own.
    pub fn general() -> &'static Self {
        static LAB: OnceLock<Lab> = OnceLock::new();
        LAB.get_or_init(Self::build)
    }

    /// For the attacks, which may harm it if they succeed.
    pub fn battlefield() -> &'static Self {
        static LAB: OnceLock<Lab> = OnceLock::new();
        LAB.get_or_init(Self::build)
    }

    /// As [`Lab::battlefield`], with policies on the tables of `shared`.
    pub fn policed_battlefield() -> &'static Self {
        static LAB: OnceLock<Lab> = OnceLock::new();
        LAB.get_or_init(|| {
            let lab = Self::build();
            super::proxy::police(&lab, "shared");
            lab
        })
    }

    fn build() -> Self {
        let settings = [
            ("max_prepared_transactions", "10"),
            ("wal_level", "logical"),
            // It takes transaction ids, which tests watch.
            ("autovacuum", "off"),
            ("max_wal_senders", "4"),
            ("max_replication_slots", "4"),
            // A lock wait in a test is a mistake, and must not hang it.
            ("deadlock_timeout", "200ms"),
            // What a pgwarden left running that a test killed takes no processor from the tests to come. Longer than any
            // test waits for pgwarden's own cancel request.
            ("client_connection_check_interval", "15s"),
        ];
        let options = Options {
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..Options::default()
        };
        let lab = Self { cluster: Cluster::start(&options).expect("a throwaway cluster") };
        // As it is from Postgres 15 on.
        lab.run("template1", "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
        lab.comes_to_rest("template1");
        lab.script("postgres", "fixture/roles.sql");
        lab.create("shop", None);
        lab.script("shop", "fixture/shop.sql");
        lab.copy_of_shop("shared");
        lab.copy_of_shop("solo");
        lab.script("solo", "fixture/solo.sql");
        lab.create("schemas", None);
        lab.script("schemas", "fixture/schemas.sql");
        lab.copy_of_shop("db_tenant_a");
        lab.script("db_tenant_a", "fixture/solo.sql");
        lab.copy_of_shop("db_tenant_b");
        lab
    }

    /// Another copy of the shop of all tenants.
    pub fn copy_of_shop(&self, name: &str) {
        self.create(name, Some("shop"));
        // Not part of what a template hands on.
        self.run(
            "postgres",
            &format!(
                "ALTER DATABASE {name} SET search_path = public, extensions; ALTER DATABASE {name} OWNER TO app_owner"
            ),
        );
    }

    /// A new database.
    pub fn create(&self, name: &str, template: Option<&str>) {
        block_on(self.cluster.create_database(name, template)).expect("CREATE DATABASE");
    }

    /// Runs SQL as superuser.
    #[track_caller]
    pub fn run(&self, database: &str, sql: &str) {
        block_on(self.cluster.run(database, sql)).unwrap_or_else(|error| panic!("{database}: {error}\n{sql}"));
    }

    /// Runs a file below `tests/` as superuser.
    #[track_caller]
    pub fn script(&self, database: &str, path: &str) {
        block_on(self.cluster.run(database, &read(path))).unwrap_or_else(|error| panic!("tests/{path}: {error}"));
    }

    /// Past pgwarden, as the owner of the tables.
    pub fn owner(&self, database: &str) -> Endpoint {
        Endpoint::new(self.cluster.port(), "app_owner", "app_owner_pw", database)
    }

    /// Waits until no client's statement runs in a database: what a session had running that pgwarden ended is cancelled.
    #[track_caller]
    pub fn comes_to_rest(&self, database: &str) {
        let mut superuser = self.superuser("postgres");
        let running = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND state = 'active'
                AND backend_type = 'client backend'"
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        while superuser.simple(running.as_str()).ok().value() != "0" {
            assert!(Instant::now() < deadline, "a statement runs on in {database}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Past pgwarden, as superuser.
    pub fn superuser(&self, database: &str) -> Session {
        Endpoint::new(self.cluster.port(), Cluster::SUPERUSER, self.cluster.password(), database).connect()
    }
}
