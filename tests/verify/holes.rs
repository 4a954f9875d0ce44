//! Holes that are made on purpose are found, each time.

use std::path::Path;
use std::process::Command;

use super::{leaks, text};
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup, free_port, program};

/// Runs of each.
const RUNS: usize = 2;

/// Each of these targets and families leaks, planted or not, in each run. `config`: what it is proven against.
fn finds(proxy: &Proxy, database: &str, config: &Path, wanted: &[(&str, &str)]) {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let [a, b] = [proxy.a(), proxy.b()].map(|mut it| {
        database.clone_into(&mut it.database);
        it.url()
    });
    for further in [&[][..], &["--no-plant"]] {
        for run in 0..RUNS {
            let output = Command::new(program())
                .args(["verify-isolation", "--config"])
                .arg(config)
                .args(["--as-a", &a, "--as-b", &b, "--json"])
                .arg(&json)
                .args(further)
                .output()
                .expect("pgwarden runs");
            assert_eq!(output.status.code(), Some(1), "{}\n{}", text(&output.stdout), text(&output.stderr));
            let found = leaks(&json);
            for (family, target) in wanted {
                let wanted = ((*family).to_owned(), (*target).to_owned());
                assert!(found.contains(&wanted), "run {run} {further:?}: {found:?}\n{}", text(&output.stdout));
            }
        }
    }
}

/// A view of a function that pgwarden does not see into, and that somebody has listed, among what everybody reads.
#[test]
fn a_view_that_is_listed_as_shared() {
    let lab = Lab::general();
    lab.copy_of_shop("verify_view");
    lab.run(
        "verify_view",
        "CREATE VIEW everybodys AS SELECT * FROM tenant_orders(2); ALTER VIEW everybodys OWNER TO app_owner",
    );
    let setup = Setup { database: "verify_view".to_owned(), ..Setup::default() };
    let port = free_port();
    let shared = "shared_tables = [\"public.everybodys\", ";
    let listed = "allow_functions = [\"public.tenant_orders\", ";
    let text = setup.text(lab, port).replace("shared_tables = [", shared).replace("allow_functions = [", listed);
    let proxy = Proxy::launch(&text, port);
    finds(&proxy, "verify_view", &proxy.config(), &[("function", "functions")]);
}

/// pgwarden runs with a configuration in which a tenant's tables are everybody's; it is proven against the right one.
#[test]
fn a_rule_that_was_dropped() {
    let lab = Lab::general();
    lab.copy_of_shop("verify_dropped");
    let port = free_port();
    let right = Setup { database: "verify_dropped".to_owned(), ..Setup::default() }.text(lab, port);
    let rule = "\"public.invoices\" = { column = \"org_id\", key = \"uuid\" }";
    let wrong = right.replace(rule, "").replace("shared_tables = [", "shared_tables = [\"public.invoices\", ");
    let proxy = Proxy::launch(&wrong, port);
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("right.toml");
    std::fs::write(&config, right).unwrap();
    let families = ["list", "by id", "aggregate", "copy"];
    let wanted = families.map(|it| (it, "public.invoices"));
    finds(&proxy, "verify_dropped", &config, &wanted);
}

/// Nothing stands between the two tenants: each kind of attack that could succeed does.
#[test]
fn no_proxy_at_all() {
    let lab = Lab::general();
    lab.copy_of_shop("verify_bare");
    let directory = tempfile::tempdir().unwrap();
    let [config, json] = ["pgwarden.toml", "report.json"].map(|it| directory.path().join(it));
    let setup = Setup {
        database: "verify_bare".to_owned(),
        tenancy: "without_tenant = { functions = [\"public.who_is\"] }".to_owned(),
        ..Setup::default()
    };
    lab.run(
        "verify_bare",
        "CREATE FUNCTION who_is(asked text) RETURNS TABLE (tenant int) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            AS 'SELECT tenant_id FROM public.customers WHERE email = asked'; GRANT EXECUTE ON FUNCTION who_is TO PUBLIC",
    );
    std::fs::write(&config, setup.text(lab, free_port())).unwrap();
    let url = lab.owner("verify_bare").url();
    let output = Command::new(program())
        .args(["verify-isolation", "--as-a", &url, "--as-b", &url, "--tenant-a", "a", "--tenant-b", "b"])
        .args([Path::new("--config"), &config, Path::new("--json"), &json])
        .output()
        .expect("pgwarden runs");
    assert_eq!(output.status.code(), Some(1), "{}\n{}", text(&output.stdout), text(&output.stderr));
    let found = leaks(&json);
    for family in [
        "list",
        "by id",
        "search",
        "join",
        "subquery",
        "aggregate",
        "error",
        "plan time",
        "insert",
        "update",
        "delete",
        "upsert",
        "copy",
        "returning",
        "cursor",
        "prepared",
        "function",
        "explain",
        "ddl",
        "context",
        "path",
        "counts",
        "null",
        "server",
        "channels",
        "locks",
        "nobody",
    ] {
        assert!(found.iter().any(|(it, _)| it == family), "{family} found nothing\n{}", text(&output.stdout));
    }
    for (family, wanted) in [("channels", 3), ("locks", 6)] {
        assert_eq!(found.iter().filter(|(it, _)| it == family).count(), wanted, "{family}\n{}", text(&output.stdout));
    }
}
