//! What the parts on a statement's way cost by themselves: `cargo bench --bench parts`. Needs Postgres binaries for the catalog
//! and a server connection.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // What fails here fails loudly.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion};
use pgwarden::base::{Mode, TenantKeys, Witness};
use pgwarden::catalog::{self, Catalog};
use pgwarden::config::{self, Config};
use pgwarden::connect::ServerTarget;
use pgwarden::guard::copy_stream::CopyRewriter;
use pgwarden::guard::{Guard, Policy, Protocol, plan_statements, testify};
use pgwarden::policy::{PolicyInput, build_policy, tenants_of};
use pgwarden::pool::{NetConnector, PoolKey, Pools};
use pgwarden::sql::StatementLimits;
use pgwarden::test_cluster::Cluster;
use pgwarden::wire::frame::{Head, UpstreamLimits, peek_head};
use pgwarden::wire::frontend::{BindRewrite, ExtraParam, Format, FrontendMessage, rewrite_bind};
use tokio::runtime::Runtime;

fn measure<T>(criterion: &mut Criterion, name: &str, mut part: impl FnMut() -> T) {
    criterion.bench_function(name, |bencher| bencher.iter(&mut part));
}

const SCHEMA: &str =
    "CREATE TABLE orders (id bigint PRIMARY KEY, tenant_id int NOT NULL, status text, total_cents int);
                      CREATE TABLE clicks (tenant_id int NOT NULL, session text, page text, amount int)";
const POINT: &str = "SELECT id, status, total_cents FROM orders WHERE id = 4242";
const JOINS: &str = "SELECT o.id, o.status, c.page, sum(c.amount) FROM orders o JOIN clicks c ON c.session = o.status \
    LEFT JOIN clicks d ON d.page = c.page AND lower(d.session) = $1 JOIN orders p ON p.id = o.id \
    WHERE o.total_cents > $2 AND o.status LIKE 'a%' AND EXISTS (SELECT 1 FROM orders q WHERE q.id = o.id) \
    GROUP BY o.id, o.status, c.page ORDER BY 4 DESC LIMIT 10";
const COPY: &str = "COPY clicks (session, page, amount) FROM STDIN";

/// A database with tables of tenants, and the guard's policy for it.
struct Fixture {
    runtime: Runtime,
    config: Config,
    policy: Arc<Policy>,
}

impl Fixture {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let cluster = Cluster::shared().unwrap();
        let config = runtime.block_on(async {
            // Left over from an earlier bench of the same process otherwise.
            cluster.create_database("parts", None).await.unwrap();
            cluster.run("parts", SCHEMA).await.unwrap();
            let text = format!(
                "[listen]\naddress = \"127.0.0.1:0\"\n[upstream.main]\nurl = \"{}\"\n\
                 [tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\n[[login]]\nname = \"app\"\nauth = \"trust\"\ntenants = \"*\"\n\
                 [[tenant]]\nname = \"acme\"\nkey = \"42\"\n",
                cluster.url("parts")
            );
            config::parse(&text, Path::new("parts.toml"), &|_| None).unwrap().config
        });
        let catalog = runtime.block_on(catalog::load(main_upstream(&config))).unwrap();
        let policy = policy(&config, catalog);
        Self { runtime, config, policy }
    }

    fn guard(&self) -> Guard {
        Guard::new(Arc::clone(&self.policy), plan_statements)
    }
}

fn main_upstream(config: &Config) -> &Arc<config::Upstream> {
    config.upstreams.get(&config.tenancy.upstream).unwrap()
}

fn policy(config: &Config, catalog: Arc<Catalog>) -> Arc<Policy> {
    let tenants = tenants_of(config, &config.tenancy.upstream);
    let input = PolicyInput {
        tenancy: &config.tenancy,
        tenants: &tenants,
        derives_shared: false,
        usage_table: None,
        limits: StatementLimits::default(),
        enforcement: pgwarden::base::Enforcement::default(),
    };
    Arc::new(build_policy(&input, catalog, 1).0)
}

fn keys() -> TenantKeys {
    TenantKeys { default: Some("42".into()), ..TenantKeys::default() }
}

fn guard(criterion: &mut Criterion, fixture: &Fixture) {
    let (guard, keys, extended) = (fixture.guard(), keys(), Protocol::Extended { param_types: &[] });
    criterion.bench_function("guard, cold", |bencher| {
        // A new policy forgets all verdicts.
        let forget = || guard.set_policy(Arc::clone(&fixture.policy));
        bencher.iter_batched(forget, |()| guard.plan(&Mode::Shared, extended, POINT).unwrap(), BatchSize::PerIteration);
    });
    measure(criterion, "guard, text hit", || guard.plan(&Mode::Shared, extended, POINT).unwrap().bind(&keys).unwrap());
    let mut id = 0;
    measure(criterion, "guard, shape hit", || {
        id = (id + 1) % 5_000;
        let sql = format!("SELECT id, status, total_cents FROM orders WHERE id = {id}");
        let guarded = guard.plan(&Mode::Shared, Protocol::Simple, &sql).unwrap().bind(&keys).unwrap();
        guarded.text().len()
    });
    measure(criterion, "guard, text hit, another comment each time", || {
        id = (id + 1) % 5_000;
        let sql = format!("{POINT} /*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba9{id:04x}-01'*/");
        guard.plan(&Mode::Shared, extended, &sql).unwrap().bind(&keys).unwrap().text().len()
    });
    rows(criterion, &guard);
    witness(criterion, fixture);
}

/// What the second grammar adds to a new statement, by itself and in all.
fn witness(criterion: &mut Criterion, fixture: &Fixture) {
    let unheard = Policy { witness: Witness::Off, ..(*fixture.policy).clone() };
    let extended = Protocol::Extended { param_types: &[] };
    for (name, sql) in [("point", POINT), ("three joins", JOINS)] {
        let plan = || plan_statements(&unheard, &Mode::Shared, extended, sql).unwrap().remove(0);
        measure(criterion, &format!("plan without the witness, {name}"), plan);
        let plan = plan();
        measure(criterion, &format!("witness, {name}"), || testify(&unheard, &plan));
    }
}

/// COPY FROM with the tenant column added, a thousand rows at once.
fn rows(criterion: &mut Criterion, guard: &Guard) {
    let script = guard.plan(&Mode::Shared, Protocol::Simple, COPY).unwrap();
    let copy = script.statements.first().and_then(|plan| plan.copy_in.clone()).unwrap();
    let data = "f3a9c27d10\t/products/blue-chair\t4200\n".repeat(1_000);
    measure(criterion, "COPY FROM, 1,000 rows", || {
        let mut rewriter = CopyRewriter::new(&copy, "42", 23).unwrap();
        let mut out = Vec::with_capacity(data.len() * 2);
        rewriter.push(data.as_bytes(), &mut out).unwrap();
        rewriter.finish(&mut out).unwrap();
        out.len()
    });
}

/// Taking an idle server connection and giving it back.
fn checkout(criterion: &mut Criterion, fixture: &Fixture) {
    let upstream = main_upstream(&fixture.config);
    let target = ServerTarget::new(upstream).unwrap();
    let _entered = fixture.runtime.enter();
    let pools = Pools::new(Arc::new(NetConnector::default()), 10);
    let pool = pools.get(&PoolKey::of(&target), || (target, upstream.pool.clone()));
    measure(criterion, "checkout and release", || fixture.runtime.block_on(pool.checkout(&None, 1)).unwrap().release());
}

fn frames(criterion: &mut Criterion) {
    let row = b"D\0\0\0\x1a\0\x03\0\0\0\x04\x34\x32\x34\x32\0\0\0\x04open\0\0\0\0";
    let result = row.repeat(100);
    measure(criterion, "frames of 100 rows", || {
        let (mut rest, mut rows) = (result.as_slice(), 0);
        while let Some(head) = peek_head(rest, &UpstreamLimits).unwrap()
            && let Some(after) = rest.get(head.frame_len()..)
        {
            rows += 1;
            rest = after;
        }
        black_box(rows)
    });
    // Unnamed portal and statement, one text parameter, all results as text
    let body = b"\0\0\0\0\0\x01\0\0\0\x044242\0\0";
    let extra = [ExtraParam { format: Format::Text, value: Some(b"42") }];
    let mut out = BytesMut::with_capacity(1 << 10);
    measure(criterion, "Bind with a parameter appended", || {
        let Ok(FrontendMessage::Bind(bind)) = FrontendMessage::read(b'B', body) else { return 0 };
        let change = BindRewrite { portal: "", statement: "", client_params: 1, extra: &extra };
        out.clear();
        rewrite_bind(&mut out, &bind, &change).unwrap();
        out.len() - Head::LEN
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let fixture = Fixture::new();
    guard(&mut criterion, &fixture);
    checkout(&mut criterion, &fixture);
    frames(&mut criterion);
    criterion.final_summary();
}
