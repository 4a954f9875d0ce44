//! `pgwarden init`: the files that it writes for databases of other people's shape are accepted by `check --connect`, and serve
//! their tenants.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use pgwarden::test_cluster::Cluster;

use super::Ran;
use super::adopted::Adopted;
use crate::support::lab::{Lab, read};
use crate::support::proxy::program;
use crate::support::session::Session;

fn column(session: &mut Session, sql: &str) -> String {
    session.simple(sql).ok().first_column().join(",")
}

/// What `check` warns of is what the file says is refused.
#[track_caller]
fn warned(warnings: &[String], names: &[&str]) {
    let about = |line: &&String| names.iter().any(|name| line.contains(&format!("public.{name} ")));
    let others: Vec<_> = warnings.iter().filter(|line| !about(line)).collect();
    assert!(others.is_empty() && warnings.len() == names.len(), "{warnings:#?}");
}

#[test]
fn a_database_as_rails_makes_it() {
    let app = Adopted::new("init_rails", &read("adopting/schemas/rails.sql"));
    let warnings = app.adopt();
    let text = app.text("pgwarden.toml");
    for line in [
        "column = \"account_id\"",
        "\"public.accounts\" = { column = \"id\", write = false }",
        "\"public.comments\" = { through = \"task_id\" }",
        "\"public.reactions\" = { through = \"comment_id\" }",
        "\"public.projects_tags\" = { through = \"project_id\" }",
        "\"public.open_tasks\" = { column = \"account_id\" }",
        "    \"public.plans\",",
        "    \"public.countries\",",
        "    \"public.price_list\",",
        "    \"public.schema_migrations\",",
        "    # \"public.announcements\",",
        "    \"public.initials\",",
        "# \"public.solid_queue_jobs\" = { access = \"write\" }",
        "# \"public.task_counts\" = { column = \"account_id\" }",
        "query = 'SELECT \"subdomain\" AS name, \"id\" AS key FROM \"public\".\"accounts\"'",
    ] {
        assert!(text.lines().any(|it| it == line), "no line {line} in\n{text}");
    }
    assert!(
        text.contains("\"suspended_at\" IS NOT NULL AS suspended") && !text.contains("\"public.count_tasks\","),
        "{text}"
    );
    warned(
        &warnings,
        &[
            "announcements",
            "task_counts",
            "versions",
            "active_storage_blobs",
            "active_storage_attachments",
            "solid_queue_jobs",
        ],
    );
    // Rights are for what is served.
    let sql = app.text("pgwarden.sql");
    let rights = "-- GRANT SELECT ON \"public\".\"task_counts\" TO \"pgwarden_init_rails_tenants\";";
    assert!(sql.lines().any(|it| it == rights) && sql.contains("record_version names it"), "{sql}");
    let _proxy = app.serve();
    let (mut acme, mut globex) = (app.tenant("acme"), app.tenant("globex"));
    assert_eq!(column(&mut acme, "SELECT name FROM accounts"), "Acme Inc.");
    assert_eq!(column(&mut globex, "SELECT title FROM tasks ORDER BY id"), "ship,bill");
    assert_eq!(column(&mut acme, "SELECT title FROM open_tasks"), "forge");
    assert_eq!(column(&mut globex, "SELECT emoji FROM reactions"), "clock");
    assert_eq!(column(&mut acme, "SELECT p.name FROM plans p JOIN accounts a ON a.plan_id = p.id"), "pro");
    assert_eq!(column(&mut acme, "SELECT initials('anvil') || (SELECT count(*) FROM countries)"), "AN2");
    // A trigger writes to a table that no tenant may name.
    let insert = "INSERT INTO projects (name, slug) VALUES ('Rockets', 'rockets') RETURNING account_id";
    assert_eq!(column(&mut acme, insert), "1");
    acme.simple("INSERT INTO comments (user_id, task_id, body) VALUES (1, 2, 'theirs')").refused("23503");
    for refused in
        ["SELECT * FROM versions", "SELECT count_tasks()", "SELECT * FROM task_counts", "SELECT * FROM announcements"]
    {
        acme.simple(refused).refused("42501");
    }
    acme.simple("UPDATE plans SET price_cents = 0").refused("42501");
    acme.simple("INSERT INTO tasks (account_id, project_id, title) VALUES (2, 2, 'x')").refused("42501");
    // Migrations are the operator's, and what they make is served.
    let mut operator = app.operator();
    operator.simple("CREATE TABLE invoices (id bigserial PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts, total int)").ok();
    operator.simple("ALTER TABLE tasks ADD COLUMN due date").ok();
    assert_eq!(
        column(&mut operator, "SELECT tableowner FROM pg_tables WHERE tablename = 'invoices'"),
        "init_rails_owner"
    );
    // Served at once but for how old a catalog may be.
    std::thread::sleep(std::time::Duration::from_millis(1200));
    assert_eq!(column(&mut globex, "INSERT INTO invoices (total) VALUES (7) RETURNING account_id"), "2");
    assert_eq!(column(&mut acme, "SELECT count(*) FROM invoices"), "0");
}

#[test]
fn a_database_as_django_makes_it() {
    let app = Adopted::new("init_django", &read("adopting/schemas/django.sql"));
    let warnings = app.adopt();
    let text = app.text("pgwarden.toml");
    for line in [
        "column = \"organization_id\"",
        "\"public.tenants_organization\" = { column = \"id\", write = false }",
        "\"public.accounts_user_groups\" = { through = \"user_id\" }",
        "\"public.django_admin_log\" = { through = \"user_id\" }",
        "\"public.billing_invoiceline\" = { through = \"invoice_id\" }",
        "\"public.crm_deal_products\" = { through = \"deal_id\" }",
        "\"public.partners_agreement\" = { column = \"signer_id\" }",
        "    \"public.billing_currency\",",
        "    \"public.auth_permission\",",
        "    \"public.auth_group\",",
        "    # \"public.auth_group_permissions\",",
        "# \"public.django_session\" = { access = \"write\" }",
        "query = 'SELECT \"slug\" AS name, \"id\" AS key FROM \"public\".\"tenants_organization\"'",
    ] {
        assert!(text.lines().any(|it| it == line), "no line {line} in\n{text}");
    }
    // Two of its columns lead to tenants, and another table has rows that are nobody's.
    assert!(
        text.contains("DECIDE: public.partners_referral is refused")
            && text.contains("DECIDE: public.crm_product: some rows"),
        "{text}"
    );
    warned(&warnings, &["django_session", "auth_group_permissions", "partners_referral"]);
    let _proxy = app.serve();
    let (mut acme, mut globex) = (app.tenant("acme"), app.tenant("globex"));
    assert_eq!(column(&mut acme, "SELECT email FROM accounts_user"), "ann@acme.test");
    assert_eq!(
        column(&mut acme, "SELECT g.name FROM auth_group g JOIN accounts_user_groups u ON u.group_id = g.id"),
        "sales"
    );
    assert_eq!(column(&mut globex, "SELECT label FROM billing_invoiceline"), "gadget");
    assert_eq!(column(&mut globex, "SELECT count(*) FROM partners_agreement"), "0");
    acme.simple("SELECT session_data FROM django_session").refused("42501");
    acme.simple("SELECT * FROM partners_referral").refused("42501");
    let key = "UPDATE tenants_organization SET id = '00000000-0000-4000-8000-00000000000b'";
    acme.simple(key).refused("42501");
}

#[test]
fn a_database_as_prisma_makes_it() {
    let app = Adopted::new("init_prisma", &read("adopting/schemas/prisma.sql"));
    let warnings = app.adopt();
    let text = app.text("pgwarden.toml");
    for line in [
        "column = \"organizationId\"",
        "\"public.Organization\" = { column = \"id\", write = false }",
        "\"public.Task\" = { through = \"projectId\" }",
        "\"public.TaskComment\" = { through = \"taskId\" }",
        "\"public._LabelToTask\" = { through = \"A\" }",
        // A slug that is no name for a tenant: the key is.
        "query = 'SELECT \"id\"::text AS name, \"id\" AS key FROM \"public\".\"Organization\"'",
    ] {
        assert!(text.lines().any(|it| it == line), "no line {line} in\n{text}");
    }
    assert!(
        text.contains("1 of the values in slug cannot be one") && text.contains("DECIDE: public.User is refused"),
        "{text}"
    );
    warned(&warnings, &["_prisma_migrations", "User", "Session"]);
    let _proxy = app.serve();
    let (mut acme, mut globex) = (app.tenant("clorga"), app.tenant("clorgb"));
    assert_eq!(column(&mut acme, "SELECT title FROM \"Task\""), "forge");
    assert_eq!(
        column(&mut globex, "SELECT body FROM \"TaskComment\" WHERE \"taskId\" IN ('cltska', 'cltskb')"),
        "soon"
    );
    assert_eq!(column(&mut globex, "SELECT \"B\" FROM \"_LabelToTask\""), "cltskb");
    acme.simple("SELECT email FROM \"User\"").refused("42501");
    acme.simple("INSERT INTO \"_LabelToTask\" VALUES ('cllabb', 'cltska')").refused("23503");
}

/// Partitions are served by their own names, too; what belongs to a tenant by a key of several columns is nobody's to share.
#[test]
fn partitions_and_keys_of_several_columns() {
    let schema = "CREATE TABLE teams (id int PRIMARY KEY, slug text NOT NULL UNIQUE); INSERT INTO teams VALUES (1, 'acme'), (2, 'globex');
        CREATE TABLE orders (id int, team_id int NOT NULL REFERENCES teams, at date NOT NULL, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE orders_old PARTITION OF orders FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
        CREATE TABLE orders_new PARTITION OF orders DEFAULT;
        INSERT INTO orders VALUES (1, 1, '2023-01-01', 'an order of acme of old'), (2, 2, '2023-01-01', 'an order of globex of old'), (3, 2, '2025-01-01', 'a new one');
        CREATE TABLE lines (id int PRIMARY KEY, order_id int NOT NULL, order_at date NOT NULL, FOREIGN KEY (order_id, order_at) REFERENCES orders);
        CREATE TABLE line_notes (line_id int REFERENCES lines, note text); INSERT INTO lines VALUES (1, 1, '2023-01-01'); INSERT INTO line_notes VALUES (1, 'x')";
    let app = Adopted::new("init_parts", schema);
    warned(&app.adopt(), &["lines", "line_notes"]);
    let text = app.text("pgwarden.toml");
    for (table, parent) in [("lines", "orders"), ("line_notes", "lines")] {
        let refused = format!("DECIDE: public.{table} is refused: it belongs to public.{parent}, by a way");
        assert!(text.contains(&refused) && !text.contains(&format!("\"public.{table}\"")), "{table}: {text}");
    }
    let _proxy = app.serve();
    assert_eq!(column(&mut app.tenant("globex"), "SELECT note FROM orders_old"), "an order of globex of old");
    // One index on the whole serves its parts.
    let found = app.pgwarden(&["doctor", "--fail-on", "never"]);
    assert!(found.out.contains("CREATE INDEX ON orders (team_id)") && !found.out.contains("orders_old"), "{found:#?}");
    let urls = ["acme", "globex"].map(|tenant| app.endpoint("DATABASE_URL", Some(tenant)).url());
    let verify = || app.pgwarden(&["verify-isolation", "--as-a", &urls[0], "--as-b", &urls[1]]);
    verify().says(0, &["public.orders_old"]);
    // As where only the whole was granted.
    Lab::general().run("init_parts", "REVOKE ALL ON orders_old FROM pgwarden_init_parts_tenants");
    verify().says(
        0,
        &["note: public.orders_old was not attacked", "permission denied for table orders_old", "public.orders_new"],
    );
}

#[test]
fn files_that_are_there_stand() {
    let app = Adopted::new(
        "init_files",
        "CREATE TABLE orgs (id int PRIMARY KEY); CREATE TABLE notes (org_id int NOT NULL REFERENCES orgs, id int)",
    );
    fs::write(app.path("pgwarden.operator.password"), "mine\n").unwrap();
    app.init(&[]).says(1, &["pgwarden.operator.password is there already", "--force"]);
    assert!(!app.path("pgwarden.toml").exists());
    app.init(&["--force"]).says(0, &["DECIDE"]);
    assert_ne!(app.text("pgwarden.operator.password"), "mine\n");
    let mode = |name: &str| fs::metadata(app.path(name)).unwrap().permissions().mode() & 0o777;
    for secret in ["pgwarden.logins", "pgwarden.tenants.password", "pgwarden.operator.password"] {
        assert_eq!(mode(secret), 0o600, "{secret}");
    }
    // No password stands where others read.
    for (file, secret) in
        [("pgwarden.sql", "pgwarden.tenants.password"), ("pgwarden.toml", "pgwarden.operator.password")]
    {
        let secret = app.text(secret);
        assert!(secret.trim().len() == 32 && !app.text(file).contains(secret.trim()), "{file}");
    }
    let before = app.text("pgwarden.logins");
    app.init(&[]).says(1, &["pgwarden.toml is there already"]);
    assert_eq!(app.text("pgwarden.logins"), before);
    app.init(&["--out", "other.toml"]).says(0, &["other.sql"]);
    app.init(&["--out", "other.sql"]).says(1, &["name a .toml"]);
    // The roles may be made again, with the new passwords.
    Lab::general().run("init_files", &app.text("pgwarden.sql"));
    app.init(&["--force"]).says(0, &[]);
    assert!(app.text("pgwarden.sql").contains("is there already"));
    Lab::general().run("init_files", &app.text("pgwarden.sql"));
    app.pgwarden(&["check", "--connect"]).says(0, &["0 tenants"]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let app = Adopted::new(
        "init_errors",
        "CREATE TABLE batches (id int PRIMARY KEY, shelf_id int); CREATE TABLE items (id int, batch_id int REFERENCES batches)",
    );
    app.init(&[]).says(1, &["pass --tenant-column", "batch_id (1)", "shelf_id (1)"]);
    app.init(&["--tenant-column", "nonesuch"]).says(1, &["no table has a column \"nonesuch\"", "batch_id"]);
    app.init(&["--tenant-column", "batch_id", "--tenants-table", "public.nonesuch"])
        .says(1, &["no table public.nonesuch"]);
    app.init(&["--tenant-column", "batch_id", "--tenants-table", "a.b.c"]).says(1, &["not a schema and a name"]);
    // Nothing lists the tenants: their names are their keys.
    app.init(&["--tenant-column", "shelf_id"]).says(0, &[]);
    assert!(app.text("pgwarden.toml").contains("[tenancy.pattern]\nkey = \"{name}\""));
    app.init(&["--force", "--tenant-column", "batch_id"]).says(0, &[]);
    assert!(app.text("pgwarden.toml").contains("\"public.batches\" = { column = \"id\", write = false }"));
    let out = |url: &str| app.pgwarden(&["init", "--out", "x.toml", "--url", url]);
    let port = Lab::general().cluster.port();
    out(&format!("postgres://{}@127.0.0.1:{port}/nonesuch", Cluster::SUPERUSER)).says(1, &["3D000", "psql -l"]);
    out(&format!("postgres://nobody@127.0.0.1:{port}/init_errors")).says(1, &["28P01", "PGPASSWORD"]);
    out("postgres://x@127.0.0.1:1/x").says(1, &["127.0.0.1:1"]);
    out("mysql://x").says(1, &["--url cannot be read: it must begin with postgres://"]);
    out(&format!("postgres://{}@127.0.0.1:{port}/template1", Cluster::SUPERUSER)).says(1, &["no tables of an app's"]);
    assert!(!app.path("x.toml").exists());
}

/// A role that may not read the tenants' table is told so; tables that it may not read are not guessed to be anybody's.
#[test]
fn a_role_without_rights() {
    let app = Adopted::new(
        "init_rights",
        "CREATE TABLE orgs (id int PRIMARY KEY, slug text NOT NULL UNIQUE); CREATE TABLE kinds (id int PRIMARY KEY, name text); INSERT INTO kinds VALUES (1, 'x');
         CREATE TABLE notes (org_id int NOT NULL REFERENCES orgs, kind_id int REFERENCES kinds)",
    );
    let lab = Lab::general();
    lab.run("init_rights", "CREATE ROLE init_reader LOGIN PASSWORD 'reader'");
    let url = format!("postgres://init_reader:reader@127.0.0.1:{}/init_rights", lab.cluster.port());
    app.pgwarden(&["init", "--url", &url]).says(1, &["42501", "such as their owner"]);
    lab.run("init_rights", "GRANT SELECT ON orgs TO init_reader");
    app.pgwarden(&["init", "--url", &url]).says(0, &[]);
    let text = app.text("pgwarden.toml");
    assert!(text.contains("could not be counted") && text.contains("    # \"public.kinds\","), "{text}");
}

/// An app that has policies of its own, and sets its setting to the tenant's key: both go on.
#[test]
fn policies_of_the_apps_own() {
    let schema = "CREATE TABLE orgs (id int PRIMARY KEY, slug text NOT NULL UNIQUE); INSERT INTO orgs VALUES (1, 'acme'), (2, 'globex');
        CREATE TABLE notes (org_id int NOT NULL REFERENCES orgs, body text); INSERT INTO notes VALUES (1, 'a'), (2, 'b');
        ALTER TABLE notes ENABLE ROW LEVEL SECURITY; ALTER TABLE notes FORCE ROW LEVEL SECURITY;
        CREATE POLICY own ON notes USING (org_id = current_setting('app.current_org', true)::int);
        RESET ROLE; CREATE SCHEMA billing AUTHORIZATION init_policies_owner CREATE TABLE invoices (org_id int NOT NULL REFERENCES public.orgs, total int)";
    let app = Adopted::new("init_policies", schema);
    let warnings = app.adopt();
    let text = app.text("pgwarden.toml");
    for words in [
        "setting = \"app.current_org\"",
        "enforcement = \"rewrite+rls\"",
        "SELECT \"id\"::text AS name",
        "DECIDE: tables in billing",
    ] {
        assert!(text.contains(words), "no {words} in\n{text}");
    }
    // Of tables without policies, the mode warns.
    assert!(warnings.iter().all(|it| it.contains("row-level security on")) && warnings.len() == 2, "{warnings:#?}");
    let _proxy = app.serve();
    assert_eq!(column(&mut app.tenant("2"), "SELECT body FROM notes"), "b");
    let mut app = app.login("DATABASE_URL", Some("init_policies"));
    app.simple("BEGIN").ok();
    app.simple("SELECT set_config('app.current_org', '1', true)").ok();
    assert_eq!(column(&mut app, "SELECT body FROM notes"), "a");
    assert_eq!(column(&mut app, "SELECT count(*) FROM billing.invoices"), "0");
    app.simple("COMMIT").ok();
}

/// On a terminal it asks; an answer stands, and what is passed over stays marked.
#[test]
fn questions_on_a_terminal() {
    let schema = "CREATE TABLE orgs (id int PRIMARY KEY); CREATE TABLE notes (org_id int NOT NULL REFERENCES orgs);
        CREATE TABLE flags (id int PRIMARY KEY); CREATE TABLE hints (id int PRIMARY KEY); CREATE TABLE jobs (id int PRIMARY KEY)";
    let app = Adopted::new("init_terminal", schema);
    fs::write(app.path("answers"), "y\nno\n\n").unwrap();
    let command = format!("'{}' init --url {}", program().to_str().unwrap(), app.url());
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .current_dir(app.directory())
        .env("PGPASSWORD", Lab::general().cluster.password())
        .stdin(fs::File::open(app.path("answers")).unwrap())
        .output()
        .unwrap();
    Ran::of(&output).says(
        0,
        &[
            "public.flags: nothing leads to a tenant",
            "May tenants use it? [y/n",
            "Open it to all tenants (access = \"write\")?",
        ],
    );
    let text = app.text("pgwarden.toml");
    for line in ["    \"public.flags\",", "# \"public.jobs\" = { access = \"write\" }"] {
        assert!(text.lines().any(|it| it == line), "no line {line} in\n{text}");
    }
    assert!(text.contains("public.hints is refused: ") && text.matches("DECIDE: ").count() == 1, "{text}");
}
