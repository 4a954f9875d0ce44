//! The table of a real server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use time::macros::date;

use super::backlog::Batch;
use super::*;
use crate::base::{QualifiedName, Secret, TenantName, UpstreamName};
use crate::config::{
    Address, PeriodLength, PoolSettings, Quota, QuotaConfig, TlsMode, Upstream, UpstreamTls, WhenUnknown,
};
use crate::test_cluster::Cluster;

async fn store(database: &str) -> Store {
    let cluster = tokio::task::spawn_blocking(Cluster::shared).await.unwrap().unwrap();
    cluster.create_database(database, None).await.unwrap();
    let upstream = Upstream {
        name: UpstreamName::new("main"),
        address: Address::Tcp { host: "127.0.0.1".to_owned(), port: cluster.port() },
        user: Cluster::SUPERUSER.to_owned(),
        database: database.to_owned(),
        password: Some(Secret::new(cluster.password())),
        enforcement: crate::config::Enforcement::Rewrite,
        admin: None,
        tls: UpstreamTls { mode: TlsMode::Prefer, root_cert: None },
        pool: PoolSettings::default(),
        connect_timeout: Duration::from_secs(10),
    };
    Store::new(&QuotaConfig {
        upstream: Arc::new(upstream),
        table: QualifiedName::new("public", "Odd \"name"),
        flush_interval: Duration::from_secs(1),
        period: PeriodLength::Month,
        when_unknown: WhenUnknown::Refuse,
        default: Arc::new(Quota::default()),
    })
}

fn batch(number: i64, rows: &[(&str, u64)]) -> Batch {
    let rows = rows.iter().map(|(tenant, statements)| {
        let counts = Counts { statements: *statements, busy_micros: 3, ..Counts::default() };
        ((TenantName::new(*tenant), date!(2026 - 11 - 25)), counts)
    });
    Batch { number, rows: rows.collect::<BTreeMap<_, _>>() }
}

async fn statements(store: &Store, tenant: &str) -> u64 {
    let days = (date!(2026 - 11 - 01), date!(2026 - 12 - 01));
    let used = store.used(days, None).await.unwrap();
    used.get(&TenantName::new(tenant)).map_or(0, |counts| counts.statements)
}

#[tokio::test]
async fn each_batch_is_added_once_whoever_writes() {
    let store = store("usage_store").await;
    assert!(matches!(store.write("one", &batch(1, &[("a", 1)])).await, Err(StoreError::NoTable(_))));
    store.create().await.unwrap();
    store.create().await.unwrap();
    for _ in 0..3 {
        store.write("one", &batch(1, &[("a", 5), ("b", 7)])).await.unwrap();
        store.write("two", &batch(1, &[("a", 10)])).await.unwrap();
    }
    assert_eq!(statements(&store, "a").await, 15);
    store.write("one", &batch(2, &[("a", 100)])).await.unwrap();
    // An old one that comes late.
    store.write("one", &batch(1, &[("a", 5), ("b", 7)])).await.unwrap();
    assert_eq!(statements(&store, "a").await, 115);
    assert_eq!(statements(&store, "b").await, 7);
    store.tidy().await.unwrap();
    let days = (date!(2026 - 11 - 25), date!(2026 - 11 - 26));
    let entries = store.entries(days, Some(&["b", "c"]), true).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].day, entries[0].counts.busy_micros), (Some(days.0), 3));
    assert_eq!(store.used((days.1, days.1), None).await.unwrap().len(), 0);
}
