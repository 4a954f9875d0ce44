//! Loading from a real server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::base::{QualifiedName, Secret, UpstreamName};
use crate::config::{Address, PoolSettings, TlsMode, Upstream, UpstreamTls};
use crate::test_cluster::{Cluster, Options};

fn upstream(port: u16, password: &str, database: &str) -> Upstream {
    Upstream {
        name: UpstreamName::new("main"),
        address: Address::Tcp { host: "127.0.0.1".to_owned(), port },
        user: Cluster::SUPERUSER.to_owned(),
        database: database.to_owned(),
        password: Some(Secret::new(password)),
        tls: UpstreamTls { mode: TlsMode::Prefer, root_cert: None },
        pool: PoolSettings::default(),
        connect_timeout: Duration::from_secs(10),
        enforcement: crate::config::Enforcement::Rewrite,
        admin: None,
    }
}

async fn database(name: &str, script: &str) -> (&'static Cluster, Upstream) {
    let cluster = Cluster::shared().unwrap();
    cluster.create_database(name, None).await.unwrap();
    cluster.run(name, script).await.unwrap();
    (cluster, upstream(cluster.port(), cluster.password(), name))
}

const SCHEMA: &str = r#"
    CREATE SCHEMA "Odd";
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN "Odd".small_positive AS positive CHECK (VALUE < 10);
    CREATE TYPE public.mood AS ENUM ('sad', 'happy');
    CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, gone int, tenant_id "Odd".small_positive NOT NULL,
                    name varchar(20) DEFAULT 'x', mood mood, twice int GENERATED ALWAYS AS (tenant_id * 2) STORED);
    ALTER TABLE t DROP COLUMN gone;
    CREATE TABLE p (org uuid, at date) PARTITION BY RANGE (at);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE a (x int);
    CREATE TABLE b (y int);
    CREATE TABLE ab () INHERITS (b, a);
    CREATE VIEW v AS SELECT * FROM t;
    DO $$ BEGIN
        IF current_setting('server_version_num')::int >= 150000 THEN
            ALTER VIEW v SET (security_invoker = yes);
        END IF;
        IF current_setting('server_version_num')::int >= 180000 THEN
            EXECUTE 'ALTER TABLE a ADD COLUMN computed int GENERATED ALWAYS AS (x * 2) VIRTUAL';
        END IF;
    END $$;
    CREATE VIEW w AS SELECT * FROM t;
    CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
    ALTER TABLE a ENABLE ROW LEVEL SECURITY;
    ALTER TABLE b ENABLE ROW LEVEL SECURITY;
    ALTER TABLE b FORCE ROW LEVEL SECURITY;
    CREATE FUNCTION label(t) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT $1.name';
    CREATE FUNCTION label(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT NULL::text';
    CREATE FUNCTION maybe(t, int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT $2';
    CREATE FUNCTION needs_two(t, int) RETURNS int LANGUAGE sql AS 'SELECT $2';
    CREATE PROCEDURE proc() LANGUAGE sql AS '';
    CREATE FUNCTION same(int, int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 = $2';
    CREATE OPERATOR "Odd".=== (LEFTARG = int, RIGHTARG = int, FUNCTION = same);
    CREATE TEMP TABLE temporary (x int);
"#;

#[tokio::test]
async fn everything_that_the_guard_asks_for() {
    let (_client, upstream) = database("catalog_load", SCHEMA).await;
    let mut catalog = load(&upstream).await.unwrap();
    // Roles are the whole cluster's, and other tests make some.
    let mut read_once = false;
    for _ in 0..50 {
        let again = load(&upstream).await.unwrap();
        read_once = std::sync::Arc::ptr_eq(&catalog, &again);
        catalog = again;
        if read_once {
            break;
        }
    }
    assert!(read_once);
    assert!(catalog.server_version_num >= 130_000);
    assert_eq!(catalog.search_path, ["public"]);
    assert!(["public", "Odd", "pg_catalog", "information_schema"].iter().all(|s| catalog.schemas.contains(*s)));

    let t = catalog.relation("public", "t").unwrap();
    assert_eq!((t.kind, t.is_partition, t.parents.len()), (RelKind::Table, false, 0));
    let columns: Vec<_> = t.columns.iter().map(|c| (c.name.as_str(), c.attnum, c.type_name.as_str())).collect();
    assert_eq!(
        columns,
        [
            ("id", 1, "bigint"),
            ("tenant_id", 3, "\"Odd\".small_positive"),
            ("name", 4, "character varying(20)"),
            ("mood", 5, "public.mood"),
            ("twice", 6, "integer"),
        ]
    );
    assert_eq!((t.columns[0].identity, t.columns[0].not_null), (Identity::Always, true));
    assert_eq!((t.columns[1].base_type_oid, t.columns[1].not_null), (23, true));
    assert_eq!(catalog.types[&t.columns[1].type_oid].typtype, 'd');
    assert_eq!((t.columns[2].has_default, t.columns[2].base_type_oid), (true, 1043));
    assert_eq!((t.columns[4].generated, t.columns[4].has_default), (Generated::Stored, false));

    let oid = |name: &str| catalog.relation("public", name).unwrap().oid;
    let p1 = catalog.relation("public", "p1").unwrap();
    assert_eq!((p1.is_partition, p1.parents.as_slice()), (true, [oid("p")].as_slice()));
    assert_eq!(catalog.relation("public", "p").unwrap().kind, RelKind::PartitionedTable);
    let ab = catalog.relation("public", "ab").unwrap();
    assert_eq!((ab.is_partition, ab.parents.as_slice()), (false, [oid("b"), oid("a")].as_slice()));
    let security = |name: &str| {
        let r = catalog.relation("public", name).unwrap();
        (r.row_security, r.force_row_security)
    };
    assert_eq!([security("a"), security("b"), security("ab")], [(true, false), (true, true), (false, false)]);
    let view = |name: &str| catalog.relation("public", name).map(|r| (r.kind, r.security_invoker));
    assert_eq!(view("v"), Some((RelKind::View, catalog.server_version_num >= 150_000)));
    let computed = catalog.relation("public", "a").unwrap().column("computed").map(|c| c.generated);
    assert_eq!(computed, (catalog.server_version_num >= 180_000).then_some(Generated::Virtual));
    assert_eq!(view("w"), Some((RelKind::View, false)));
    assert_eq!(view("m"), Some((RelKind::MaterializedView, false)));
    assert!(catalog.relations.keys().all(|name| name.name != "temporary"));
    let pg_class = catalog.relation("pg_catalog", "pg_class").unwrap();
    assert!(pg_class.column("relname").is_some() && pg_class.column("ctid").is_none());
    assert!(catalog.relation("information_schema", "columns").is_some());
}

/// What holds for sessions that begin now is read, soon after the last time too. In a cluster of its own: such settings are
/// in the mark of all its databases.
#[tokio::test]
async fn settings_of_new_sessions() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    cluster.run("postgres", "CREATE SCHEMA later").await.unwrap();
    let upstream = upstream(cluster.port(), cluster.password(), "postgres");
    assert_eq!(load(&upstream).await.unwrap().search_path, ["public"]);
    cluster.run("postgres", "ALTER DATABASE postgres SET search_path = later").await.unwrap();
    assert_eq!(load(&upstream).await.unwrap().search_path, ["later"]);
}

#[tokio::test]
async fn functions_and_operators() {
    let (_, upstream) = database("catalog_functions", SCHEMA).await;
    let catalog = load(&upstream).await.unwrap();
    let takes_row = |name: &str| catalog.functions[name].iter().map(|f| f.takes_row).collect::<Vec<_>>();
    assert_eq!(takes_row("label"), [true, false]);
    assert_eq!((takes_row("maybe"), takes_row("needs_two")), (vec![true], vec![false]));
    assert!(takes_row("row_to_json").contains(&true));
    assert_eq!(takes_row("to_json"), [true]);
    assert!(takes_row("count").contains(&true));
    let label = &catalog.functions["label"][0];
    assert_eq!(label.name, QualifiedName::new("public", "label"));
    assert!(label.security_definer && !label.leakproof && label.extension.is_none());
    assert_eq!((label.volatility, label.language.as_str()), (Volatility::Stable, "sql"));
    assert_eq!(catalog.functions["proc"][0].kind, FunctionKind::Procedure);
    assert_eq!(catalog.functions["row_number"][0].kind, FunctionKind::Window);
    assert_eq!(catalog.functions["plpgsql_call_handler"][0].extension.as_deref(), Some("plpgsql"));
    assert!(catalog.functions["int4eq"][0].leakproof && !catalog.functions["int4div"][0].leakproof);

    let int_equals = |o: &&Operator| (o.left, o.right) == (23, 23);
    assert!(catalog.operators["="].iter().find(int_equals).unwrap().leakproof);
    assert!(!catalog.operators["/"].iter().find(int_equals).unwrap().leakproof);
    assert_eq!(catalog.operators["==="][0].name.schema, "Odd");
}

#[tokio::test]
async fn reads_anew_after_ddl_and_for_unknown_names() {
    let (cluster, upstream) = database("catalog_source", "CREATE TABLE one (x int)").await;
    let times =
        RefreshTimes { unknown_gap: Duration::from_millis(300), ..RefreshTimes::every(Duration::from_secs(600)) };
    let source = CatalogSource::spawn(Arc::new(upstream), times);
    let first = source.changed_from(None).await;
    assert!(first.relation("public", "one").is_some() && source.error().is_none());

    // Young: the answer is known already.
    assert!(source.refresh_for_unknown(&first).await.is_none());
    // Nothing changed: the catalog stays the same one, and verdicts stay cached.
    let again = source.refresh().await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));

    // DDL that the proxy saw is looked for at once, however young the catalog is.
    cluster.run("catalog_source", "CREATE TABLE two (x int)").await.unwrap();
    source.notice_ddl();
    let second = source.changed_from(Some(&first)).await;
    assert!(second.relation("public", "two").is_some());

    // DDL that it did not see is found when a name is unknown and the catalog is not young any more.
    cluster.run("catalog_source", "CREATE TABLE three (x int)").await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let (a, b) = tokio::join!(source.refresh_for_unknown(&second), source.refresh_for_unknown(&second));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(Arc::ptr_eq(&a, &b) && a.relation("public", "three").is_some());
}

#[tokio::test]
async fn reads_on_an_interval() {
    let (cluster, upstream) = database("catalog_interval", "").await;
    let source = CatalogSource::spawn(Arc::new(upstream), RefreshTimes::every(Duration::from_millis(300)));
    let first = source.changed_from(None).await;
    cluster.run("catalog_interval", "CREATE TABLE t (x int)").await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(20), source.changed_from(Some(&first))).await.unwrap();
    assert!(next.relation("public", "t").is_some());
}

#[tokio::test]
async fn the_first_load_is_waited_for_once() {
    // Connections are taken, and nothing is ever said.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut upstream = upstream(silent.local_addr().unwrap().port(), "x", "postgres");
    upstream.connect_timeout = Duration::from_secs(2);
    let source = CatalogSource::spawn(Arc::new(upstream), RefreshTimes::every(Duration::from_secs(60)));
    // A load is under way.
    let _taken = silent.accept().await.unwrap();
    let asked = Instant::now();
    let error = source.refresh().await.unwrap_err();
    assert!(error.contains("2s") && asked.elapsed() < Duration::from_millis(3_500), "{error} {:?}", asked.elapsed());
}

#[tokio::test]
async fn an_upstream_that_is_down_is_tried_until_it_is_there() {
    // A port that nobody listens on until a forwarder does.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let cluster = Cluster::shared().unwrap();
    let source = CatalogSource::spawn(
        Arc::new(upstream(port, cluster.password(), "postgres")),
        RefreshTimes::every(Duration::from_secs(1)),
    );
    assert!(source.refresh().await.is_err());
    assert!(source.current().is_none() && source.error().is_some());

    let target = ("127.0.0.1", cluster.port());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let catalog = tokio::time::timeout(Duration::from_secs(30), source.changed_from(None)).await.unwrap();
    assert!(catalog.relation("pg_catalog", "pg_class").is_some());
    assert!(source.error().is_none());
}

#[tokio::test]
async fn over_tls_and_with_a_wrong_password() {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Some((pair.cert.pem(), pair.signing_key.serialize_pem()));
    let hba = vec!["hostnossl all all all reject".to_owned()];
    let cluster = Cluster::start(&Options { tls, hba, ..Options::default() }).unwrap();
    let with = |mode| Upstream {
        tls: UpstreamTls { mode, root_cert: None },
        ..upstream(cluster.port(), cluster.password(), "postgres")
    };
    assert!(load(&with(TlsMode::Require)).await.is_ok());
    let plain = load(&with(TlsMode::Disable)).await.unwrap_err().to_string();
    assert!(plain.starts_with("28000: "), "{plain}");
    let wrong = Upstream { password: Some(Secret::new("wrong")), ..with(TlsMode::Require) };
    let error = load(&wrong).await.unwrap_err().to_string();
    assert!(error.starts_with("28P01: ") && !error.contains("wrong"), "{error}");
}
