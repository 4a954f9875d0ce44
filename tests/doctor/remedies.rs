//! What the doctor proposes runs as it is, one after the other, and the app goes on.

use std::path::Path;

use super::{configured, doctor, find, findings, sql};
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, free_port};
use crate::support::session::Endpoint;

/// A schema of an app, its configuration, and what the app says before and after.
struct App {
    name: &'static str,
    schema: &'static str,
    tenancy: &'static str,
    keys: [&'static str; 2],
    statements: &'static [&'static str],
}

/// Plural tables and bigint keys, a key that sets NULL, one that points at its own table, and a view for reports.
const PLURAL: App = App {
    name: "remedies_plural",
    schema: "
CREATE TABLE accounts (id bigserial PRIMARY KEY, subdomain varchar(63) NOT NULL UNIQUE, name text NOT NULL);
CREATE TABLE users (id bigserial PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts ON DELETE CASCADE, email text NOT NULL);
CREATE UNIQUE INDEX index_users_on_email ON users (email);
CREATE UNIQUE INDEX index_users_on_token ON users (lower(email)) WHERE email LIKE 'x%';
CREATE TABLE projects (id bigserial PRIMARY KEY, account_id bigint REFERENCES accounts, title text, number int, UNIQUE (number));
CREATE TABLE tasks (id bigserial PRIMARY KEY, account_id bigint NOT NULL, project_id bigint NOT NULL CONSTRAINT fk_rails_1 REFERENCES projects ON DELETE CASCADE,
    assignee_id bigint CONSTRAINT fk_rails_2 REFERENCES users ON DELETE SET NULL, parent_id bigint REFERENCES tasks DEFERRABLE INITIALLY DEFERRED, estimate jsonb);
CREATE INDEX index_tasks_on_estimate ON tasks (((estimate ->> 'hours')::int));
CREATE INDEX index_tasks_on_project_id ON tasks (project_id);
CREATE TABLE taggings (task_id bigint NOT NULL REFERENCES tasks ON DELETE CASCADE, tag text NOT NULL, PRIMARY KEY (task_id, tag));
CREATE VIEW open_tasks AS SELECT t.id, t.account_id, t.project_id, p.title FROM tasks t JOIN projects p ON p.id = t.project_id;
CREATE FUNCTION slugify(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(regexp_replace($1, ''[^a-z]+'', ''-'', ''g''))';
CREATE FUNCTION initials(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN upper(left($1, 1));
CREATE FUNCTION peeks(text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM users WHERE email = $1';
INSERT INTO accounts (subdomain, name) VALUES ('acme', 'Acme'), ('globex', 'Globex');
INSERT INTO users (account_id, email) VALUES (1, 'a@acme'), (1, 'b@acme'), (2, 'a@globex');
INSERT INTO projects (account_id, title, number) VALUES (1, 'one', 1), (1, 'two', 2), (2, 'other', 3);
INSERT INTO tasks (account_id, project_id, assignee_id, parent_id) VALUES (1, 1, 1, NULL), (1, 1, 2, 1), (1, 2, 2, NULL), (2, 3, 3, NULL);
INSERT INTO taggings VALUES (1, 'red'), (2, 'blue'), (4, 'green');",
    tenancy: "column = \"account_id\"\nallow_functions = [\"public.slugify\", \"public.initials\", \"public.peeks\"]\n\
              [tenancy.tables]\n\"public.accounts\" = { column = \"id\" }\n\"public.taggings\" = { through = \"task_id\" }\n\
              \"public.open_tasks\" = { column = \"account_id\" }\n",
    keys: ["1", "2"],
    statements: &[
        "SELECT id, name FROM accounts WHERE subdomain = 'acme'",
        "SELECT id, account_id FROM users WHERE email = 'a@acme'",
        "INSERT INTO users (email) VALUES ('c@acme') ON CONFLICT (email) DO UPDATE SET email = excluded.email RETURNING account_id, email",
        "INSERT INTO projects (title, number) VALUES ('three', 7) RETURNING account_id, title",
        "INSERT INTO tasks (project_id, assignee_id) VALUES (2, 1) RETURNING account_id, project_id",
        "SELECT project_id, title FROM open_tasks ORDER BY 1, 2",
        "SELECT slugify('A b'), initials('xyz')",
        "DELETE FROM users WHERE email = 'b@acme'",
        "SELECT account_id, project_id, assignee_id FROM tasks ORDER BY 1, 2, 3",
        "DELETE FROM tasks WHERE parent_id = 1",
        "DELETE FROM projects WHERE title = 'one'",
        "SELECT account_id, project_id FROM tasks ORDER BY 1, 2",
        "SELECT task_id, tag FROM taggings ORDER BY 1, 2",
    ],
};

/// Quoted names and uuid keys that the app makes; the log-in rests on the one key, a foreign key on the other.
const QUOTED: App = App {
    name: "remedies_quoted",
    schema: "
CREATE TABLE \"Org\" (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE);
CREATE TABLE \"Member\" (id uuid PRIMARY KEY, \"orgId\" uuid NOT NULL REFERENCES \"Org\"(id) ON UPDATE CASCADE ON DELETE RESTRICT, email text NOT NULL UNIQUE, badge int NOT NULL UNIQUE);
CREATE TABLE \"Invoice\" (id uuid PRIMARY KEY, \"orgId\" uuid NOT NULL, number text NOT NULL, body text);
CREATE UNIQUE INDEX \"Invoice_orgId_number_key\" ON \"Invoice\" (\"orgId\", number);
CREATE INDEX \"Invoice_body_idx\" ON \"Invoice\" USING gin (to_tsvector('simple', body));
CREATE TABLE \"InvoiceLine\" (id uuid PRIMARY KEY, \"orgId\" uuid NOT NULL, \"invoiceId\" uuid NOT NULL REFERENCES \"Invoice\"(id) ON UPDATE CASCADE ON DELETE CASCADE,
    badge int REFERENCES \"Member\"(badge) ON UPDATE CASCADE ON DELETE SET NULL, cents int NOT NULL);
INSERT INTO \"Org\" VALUES ('aaaaaaaa-0000-4000-8000-000000000000', 'acme'), ('bbbbbbbb-0000-4000-8000-000000000000', 'globex');
INSERT INTO \"Member\" VALUES ('aaaaaaaa-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000000', 'a@acme', 1), ('bbbbbbbb-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000000', 'a@globex', 2);
INSERT INTO \"Invoice\" VALUES ('aaaaaaaa-0000-4000-8000-000000000002', 'aaaaaaaa-0000-4000-8000-000000000000', 'A1', 'one'), ('bbbbbbbb-0000-4000-8000-000000000002', 'bbbbbbbb-0000-4000-8000-000000000000', 'A1', 'two');
INSERT INTO \"InvoiceLine\" VALUES ('aaaaaaaa-0000-4000-8000-000000000003', 'aaaaaaaa-0000-4000-8000-000000000000', 'aaaaaaaa-0000-4000-8000-000000000002', 1, 10);",
    tenancy: "column = \"orgId\"\n[tenancy.tables]\n\"public.Org\" = { column = \"id\" }\n",
    keys: ["aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"],
    statements: &[
        "SELECT \"orgId\", badge FROM \"Member\" WHERE email = 'a@acme'",
        "SELECT id FROM \"Org\" WHERE slug = 'acme'",
        "INSERT INTO \"Member\" (id, email, badge) VALUES ('aaaaaaaa-0000-4000-8000-000000000009', 'b@acme', 9) ON CONFLICT (email) DO NOTHING",
        "INSERT INTO \"InvoiceLine\" (id, \"invoiceId\", badge, cents) VALUES ('aaaaaaaa-0000-4000-8000-000000000004', 'aaaaaaaa-0000-4000-8000-000000000002', 9, 5)",
        "UPDATE \"Member\" SET badge = 10 WHERE badge = 9",
        "DELETE FROM \"Member\" WHERE badge = 1",
        "SELECT \"orgId\", badge, cents FROM \"InvoiceLine\" ORDER BY cents",
        "DELETE FROM \"Invoice\" WHERE number = 'A1'",
        "SELECT count(*) FROM \"InvoiceLine\"",
    ],
};

impl App {
    /// The schema, in a database of this name, as the role that the app has.
    fn lay(&self, database: &str) {
        let lab = Lab::general();
        lab.create(database, None);
        lab.run("postgres", &format!("ALTER DATABASE {database} OWNER TO app_owner"));
        lab.run(database, "GRANT CREATE, USAGE ON SCHEMA public TO app_owner");
        lab.run(database, &format!("SET SESSION AUTHORIZATION app_owner; {}", self.schema));
    }

    fn config(&self, database: &str, port: u16, more: &str) -> String {
        let postgres = Lab::general().cluster.port();
        let [a, b] = self.keys;
        format!(
            "[listen]\naddress = \"127.0.0.1:{port}\"\n\
             [upstream.main]\nurl = \"postgres://app_owner@127.0.0.1:{postgres}/{database}\"\npassword = \"app_owner_pw\"\n\
             [tenancy]\nupstream = \"main\"\n{}{more}\n\
             [[tenant]]\nname = \"acme\"\nkey = \"{a}\"\n[[tenant]]\nname = \"globex\"\nkey = \"{b}\"\n\
             [[login]]\nname = \"app\"\npassword = \"secret\"\ntenants = [\"acme\"]\n",
            self.tenancy
        )
    }

    /// What the app is answered, statement by statement.
    fn answers(&self, database: &str) -> Vec<String> {
        let port = free_port();
        let proxy = Proxy::launch(&self.config(database, port, ""), port);
        let mut session = Endpoint::new(proxy.port, "app", "secret", "acme").connect();
        let answer = |sql: &&str| format!("{sql}: {:?}", session.simple(*sql).ok().texts());
        self.statements.iter().map(answer).collect()
    }

    /// A configuration for the doctor.
    fn written(&self, directory: &Path, database: &str, more: &str) -> std::path::PathBuf {
        let path = directory.join("pgwarden.toml");
        std::fs::write(&path, self.config(database, 6432, more)).unwrap();
        path
    }

    fn mended(&self) {
        let lab = Lab::general();
        let before = format!("{}_before", self.name);
        self.lay(&before);
        self.lay(self.name);
        let directory = tempfile::tempdir().unwrap();
        let found = findings(&self.written(directory.path(), self.name, ""));
        let keys =
            "SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint WHERE contype IN ('p', 'u', 'f')";
        let named = |database: &str| lab.superuser(database).simple(keys).ok().value();
        for statement in found.iter().flat_map(sql) {
            lab.run(self.name, &statement);
        }
        assert_eq!(named(self.name), named(&before), "no key is gone, and each has its name");
        let left = findings(&self.written(directory.path(), self.name, ""));
        for check in ["foreign-key-crosses", "no-tenant-index", "nullable-tenant-column", "view-bypasses"] {
            assert!(left.iter().all(|it| it["check"] != check), "{check}\n{left:#?}");
        }
        // Nothing is proposed twice.
        let again: Vec<String> = left.iter().flat_map(sql).filter(|it| !it.contains("DROP STATISTICS")).collect();
        assert!(again.is_empty(), "{again:#?}");
        assert_eq!(self.answers(self.name), self.answers(&before));
    }
}

#[test]
fn remedies_run_one_after_the_other_and_the_app_goes_on() {
    PLURAL.mended();
}

#[test]
fn remedies_keep_what_a_foreign_key_and_a_log_in_rest_on() {
    QUOTED.mended();
}

#[test]
fn findings_that_fit() {
    PLURAL.lay("remedies_fit");
    let directory = tempfile::tempdir().unwrap();
    let found = findings(&PLURAL.written(directory.path(), "remedies_fit", ""));
    // What only computes is not found; what reads is.
    let allowed: Vec<&str> =
        found.iter().filter(|it| it["check"] == "allowed-function").map(|it| it["object"].as_str().unwrap()).collect();
    assert_eq!(allowed, ["peeks(text)"]);
    // The table of the tenants keeps the key of its host names.
    let accounts = find(&found, "global-unique-key", "accounts");
    assert!(accounts.len() == 1 && accounts[0]["severity"] == "low" && sql(accounts[0]).is_empty(), "{accounts:#?}");
    let index = find(&found, "index-not-reached", "tasks");
    assert!(index.len() == 1 && index[0]["advice"].as_str().unwrap().contains("GENERATED"), "{index:#?}");
    // The worst first, and of those what is done soonest.
    let rank = |it: &serde_json::Value| {
        let at = |list: [&str; 3], key: &str| list.iter().position(|name| it[key] == **name).unwrap();
        (at(["high", "medium", "low"], "severity"), at(["instant", "online", "thought"], "cost"))
    };
    assert!(found.is_sorted_by_key(rank), "{found:#?}");
    QUOTED.lay("remedies_fit_quoted");
    let found = findings(&QUOTED.written(directory.path(), "remedies_fit_quoted", ""));
    let index = find(&found, "index-not-reached", "\"Invoice\"");
    assert!(index.len() == 1 && index[0]["advice"].as_str().unwrap().contains("tsvector"), "{index:#?}");
}

/// What belongs to tenants is never to be shared.
#[test]
fn tables_without_a_rule_get_one_that_fits() {
    let lab = Lab::general();
    lab.create("remedies_rules", None);
    lab.run(
        "remedies_rules",
        "CREATE TABLE orgs (id int PRIMARY KEY);
         CREATE TABLE orders (tenant_id int NOT NULL REFERENCES orgs, id int, part int, PRIMARY KEY (id, part), UNIQUE (id));
         CREATE TABLE lines (order_id int REFERENCES orders (id), n int PRIMARY KEY);
         CREATE TABLE parts (order_id int, part int, n int PRIMARY KEY, FOREIGN KEY (order_id, part) REFERENCES orders);
         CREATE TABLE notes (n int REFERENCES parts);
         CREATE TABLE countries (code text PRIMARY KEY);
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_owner",
    );
    let (_directory, path) = configured("remedies_rules", "app_owner", "rewrite", "");
    let found = findings(&path);
    for (table, part) in [
        ("orgs", "column = \"id\""),
        ("lines", "through = \"order_id\""),
        ("parts", "not to be shared"),
        ("notes", "not to be shared"),
        ("countries", "shared_tables"),
    ] {
        let hits = find(&found, "unconfigured-table", table);
        let advice = hits[0]["advice"].as_str().unwrap();
        assert!(advice.contains(part), "{table}: {advice}");
        assert_eq!(advice.contains("shared_tables"), table == "countries", "{table}: {advice}");
    }
}

#[test]
fn what_is_accepted_does_not_count() {
    PLURAL.lay("remedies_accept");
    let directory = tempfile::tempdir().unwrap();
    let config = PLURAL.written(directory.path(), "remedies_accept", "");
    let open = doctor(&config, &["--fail-on", "high", "--format", "json"]);
    assert_eq!(open.status.code(), Some(1));
    let found: Vec<serde_json::Value> = serde_json::from_slice(&open.stdout).unwrap();
    let high = found.iter().filter(|it| it["severity"] == "high");
    let entries: String = high
        .map(|it| {
            format!("[[doctor.accept]]\ncheck = {}\nobject = {}\nreason = \"known\"\n", it["check"], it["object"])
        })
        .collect();
    let stale = "[[doctor.accept]]\ncheck = \"view-bypasses\"\nobject = \"public.gone\"\nreason = \"it was\"\n";
    let config = PLURAL.written(directory.path(), "remedies_accept", &format!("\n{entries}{stale}"));
    let accepted = doctor(&config, &["--fail-on", "high"]);
    let [shown, said] = [&accepted.stdout, &accepted.stderr].map(|it| String::from_utf8_lossy(it).into_owned());
    assert!(accepted.status.success(), "{shown}\n{said}");
    assert!(shown.contains("accepted: known") && said.contains("0 high"), "{shown}\n{said}");
    assert!(said.contains("public.gone"), "{said}");
}
