//! The demo's databases and the configuration of pgwarden in front of them.

use crate::test_cluster::{Cluster, ClusterError};

/// The password of every login and of the upstream role: the cluster holds nothing worth more, and lives on 127.0.0.1.
pub(super) const PASSWORD: &str = "demo";

/// A demo tenant: its login and itself have the same name.
pub(super) struct Resident {
    /// Name of tenant and login.
    pub name: &'static str,
    /// For the table of tenants on the screen.
    pub lives: &'static str,
}

/// The tenants.
pub(super) const RESIDENTS: [Resident; 4] = [
    Resident { name: "acme", lives: "shared layout: rows with tenant_id = 1" },
    Resident { name: "globex", lives: "shared layout: the same tables, tenant_id = 2" },
    Resident { name: "umbrella", lives: "schema layout: schema umbrella" },
    Resident { name: "initech", lives: "database layout: database initech" },
];

/// Creates roles, databases, tables and rows.
///
/// # Errors
/// The server's, should the cluster be no ordinary Postgres.
pub(super) async fn build(cluster: &Cluster) -> Result<(), ClusterError> {
    let roles =
        format!("CREATE ROLE shop_app LOGIN NOINHERIT PASSWORD '{PASSWORD}'; CREATE ROLE umbrella_role NOLOGIN");
    cluster.run("postgres", &roles).await?;
    cluster.create_database("shop", None).await?;
    cluster.create_database("initech", None).await?;
    cluster.run("initech", "ALTER DATABASE initech OWNER TO shop_app; ALTER SCHEMA public OWNER TO shop_app").await?;
    let (shop, initech) = tokio::join!(
        cluster.run("shop", include_str!("shop.sql")),
        cluster.run("initech", include_str!("initech.sql"))
    );
    shop.and(initech)
}

/// The configuration file.
pub(super) fn config(listen: u16, postgres: u16) -> String {
    let logins: String = RESIDENTS
        .iter()
        .map(|Resident { name, .. }| {
            format!("[[login]]\nname = \"{name}\"\npassword = \"{PASSWORD}\"\ntenants = [\"{name}\"]\n\n")
        })
        .collect();
    format!(
        r#"# pgwarden in front of the demo's throwaway Postgres
[listen]
address = "127.0.0.1:{listen}"

[upstream.main]
url = "postgres://shop_app@127.0.0.1:{postgres}/shop"
password = "{PASSWORD}"
tls = {{ mode = "disable" }}

[tenancy]
upstream = "main"
column = "tenant_id"                      # tables that have it are tenant tables
shared_tables = ["public.countries"]      # read by all

[[tenant]]
name = "acme"
key = 1

[[tenant]]
name = "globex"
key = 2

[[tenant]]
name = "umbrella"
layout = "schema"
schema = "umbrella"
role = "umbrella_role"

[[tenant]]
name = "initech"
layout = "database"
upstream = {{ url = "postgres://shop_app@127.0.0.1:{postgres}/initech", password = "{PASSWORD}", tls = {{ mode = "disable" }} }}

{logins}[[login]]
name = "operator"
password = "{PASSWORD}"
role = "operator"
tenants = "*"

[log]
level = "error"
audit = "audit.log"                       # refusals, and what operators do
"#
    )
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use crate::test_cluster::{Cluster, Options};

    #[tokio::test]
    async fn the_scripts_run() {
        let cluster = Cluster::start(&Options::default()).unwrap();
        super::build(&cluster).await.unwrap();
        let shop = cluster.connect("shop").await.unwrap();
        let open = shop.query_one("SELECT count(*) FROM orders WHERE status = 'open'", &[]).await.unwrap();
        assert_eq!(open.get::<_, i64>(0), 4);
    }

    #[test]
    fn the_configuration_is_valid() {
        let text = super::config(6432, 5432);
        let loaded = parse(&text, std::path::Path::new("demo.toml"), &|_| None);
        assert!(loaded.is_ok(), "{:?}", loaded.err());
    }
}
