//! What a database holds, so that a test can tell whether rows of others or the catalog were changed, and can put
//! everything back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::support::lab::Lab;
use crate::support::reply::Reply;
use crate::support::session::Session;

/// The layout that an attack is tried in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    Shared,
    Schema,
    Database,
}

impl Layout {
    /// The database that B's rows are in.
    pub fn database(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Schema => "schemas",
            Self::Database => "db_tenant_b",
        }
    }

    /// SQL: whether a row of the table is A's.
    fn own(self, schema: &str, table: &str) -> String {
        match self {
            Self::Database => "false".to_owned(),
            Self::Schema => (schema == "t_a").to_string(),
            Self::Shared => own_in_shop(table),
        }
    }
}

fn own_in_shop(table: &str) -> String {
    let condition = match table {
        "order_labels" => "order_id < 1000",
        "profile_notes" => "profile_id < 1000",
        "profile_note_marks" => "note_id < 1000",
        "template_parts" => "template_id < 500",
        "countries" | "plans" => "false",
        "web_sessions" => "true",
        // Rows may be added, and this one not be changed.
        "feedback" => "id <> 1",
        "order_tags" => "order_id < 1000",
        "User" => "\"tenantId\" = 1",
        "tickets" => "tenant = 'acme'",
        _ if table.starts_with("invoices") => "org_id = '00000000-0000-4000-8000-00000000000a'",
        _ if table.starts_with("events") => "account = 'acme'",
        _ => "tenant_id = 1",
    };
    condition.to_owned()
}

/// Checksums of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sums {
    all: String,
    others: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    tables: BTreeMap<String, Sums>,
    sequences: Vec<Vec<String>>,
    catalog: BTreeMap<String, String>,
}

/// Watches one database.
pub struct Watch {
    lab: &'static Lab,
    database: &'static str,
    template: String,
    layout: Layout,
    session: Session,
    sums: String,
    /// COPY text of every table.
    contents: BTreeMap<String, Vec<u8>>,
    base: State,
    /// No transaction has got an id since: nothing was written anywhere in the cluster.
    horizon: String,
}

impl Watch {
    /// Takes note of what a database holds, which becomes what it always goes back to.
    pub fn over(lab: &'static Lab, database: &'static str, layout: Layout) -> Self {
        // A copy for the case that the catalog itself is damaged.
        let template = format!("{database}_as_it_was");
        lab.create(&template, Some(database));
        let mut session = lab.superuser(database);
        prepare(&mut session);
        let tables = ask(&mut session, TABLES);
        let sums = sums_query(&tables, layout);
        let contents = tables
            .iter()
            .filter(|row| row[2] == "r")
            .map(|row| quoted(&row[0], &row[1]))
            .map(|name| {
                let rows = session.simple(format!("COPY {name} TO STDOUT")).ok().copy_out;
                (name, rows)
            })
            .collect();
        let base = state(&mut session, &sums);
        let horizon = horizon(&mut session);
        Self { lab, database, template, layout, session, sums, contents, base, horizon }
    }

    /// Whether anything but A's rows changed; whatever changed is put back.
    pub fn settle(&mut self) -> Option<String> {
        // Sequences move without a transaction id.
        let sequences = ask(&mut self.session, SEQUENCES);
        if horizon(&mut self.session) == self.horizon && sequences == self.base.sequences {
            return None;
        }
        self.wait_for_quiet();
        let now = state(&mut self.session, &self.sums);
        let mut harm = Vec::new();
        for (name, sums) in &self.base.tables {
            if now.tables.get(name).map(|it| &it.others) != Some(&sums.others) {
                harm.push(format!("rows in {name}"));
            }
        }
        for (kind, sum) in &self.base.catalog {
            if now.catalog.get(kind) != Some(sum) {
                harm.push(format!("catalog: {kind}"));
            }
        }
        if now.catalog == self.base.catalog && now.tables.len() == self.base.tables.len() {
            self.put_rows_back(&now);
        } else {
            self.rebuild();
        }
        self.horizon = horizon(&mut self.session);
        (!harm.is_empty()).then(|| harm.join(", "))
    }

    /// Restores unconditionally: for attacks whose set-up by the superuser changed things.
    pub fn rebuild(&mut self) {
        let mut maintenance = self.lab.superuser("postgres");
        for row in maintenance.simple("SELECT gid, database FROM pg_prepared_xacts").ok().texts() {
            self.lab.run(&row[1], &format!("ROLLBACK PREPARED '{}'", row[0].replace('\'', "''")));
        }
        maintenance.simple(format!("DROP DATABASE {} WITH (FORCE)", self.database)).ok();
        maintenance.simple(format!("CREATE DATABASE {} TEMPLATE {}", self.database, self.template)).ok();
        if self.layout != Layout::Schema {
            maintenance.simple(format!("ALTER DATABASE {} SET search_path = public, extensions", self.database)).ok();
            maintenance.simple(format!("ALTER DATABASE {} OWNER TO app_owner", self.database)).ok();
        }
        self.session = self.lab.superuser(self.database);
        prepare(&mut self.session);
        self.base = state(&mut self.session, &self.sums);
        self.horizon = horizon(&mut self.session);
    }

    /// Clients have left; their transactions end a moment later.
    fn wait_for_quiet(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'";
        while self.session.simple(busy).ok().value() != "0" && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn put_rows_back(&mut self, now: &State) {
        let changed: Vec<String> = self
            .contents
            .keys()
            .filter(|name| now.tables.get(*name).map(|it| &it.all) != self.base.tables.get(*name).map(|it| &it.all))
            .cloned()
            .collect();
        for name in &changed {
            // Without triggers and foreign keys, which would reach into other tables.
            self.session
                .simple(format!("BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM ONLY {name}"))
                .ok();
            self.session.copy(&format!("COPY {name} FROM STDIN"), &self.contents[name]).ok();
            self.session.simple("COMMIT").ok();
        }
        for sequence in &self.base.sequences {
            if !now.sequences.contains(sequence) {
                let [name, value, called] = sequence.as_slice() else { panic!("three columns") };
                self.session.simple(format!("SELECT setval('{name}', {value}, {called})")).ok();
            }
        }
    }
}

/// Waiting for a lock that an attack has left would hang the tests.
fn prepare(session: &mut Session) {
    let settings = "SET statement_timeout = '20s'; SET lock_timeout = '5s'; SET client_min_messages = error; \
                    SET search_path = pg_catalog; SET jit = off";
    session.simple(settings).ok();
}

fn ask(session: &mut Session, sql: &str) -> Vec<Vec<String>> {
    let reply: Reply = session.simple(sql);
    reply.ok().texts()
}

fn horizon(session: &mut Session) -> String {
    session.simple("SELECT pg_snapshot_xmax(pg_current_snapshot())").ok().value()
}

fn quoted(schema: &str, name: &str) -> String {
    format!("\"{schema}\".\"{name}\"")
}

const TABLES: &str = "
    SELECT nspname, relname, relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'm') AND nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'extensions')
    ORDER BY 1, 2";

const SEQUENCES: &str = "
    SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value), (last_value IS NOT NULL)::text
    FROM pg_sequences ORDER BY 1";

fn sums_query(tables: &[Vec<String>], layout: Layout) -> String {
    let parts: Vec<String> = tables
        .iter()
        .map(|row| {
            let (name, own) = (quoted(&row[0], &row[1]), layout.own(&row[0], &row[1]));
            let only = if row[2] == "r" { "ONLY" } else { "" };
            format!(
                "SELECT '{name}', md5(coalesce(string_agg(x::text, '~' ORDER BY x::text), '')),
                        md5(coalesce(string_agg(x::text, '~' ORDER BY x::text) FILTER (WHERE NOT coalesce({own}, false)), ''))
                 FROM {only} {name} x"
            )
        })
        .collect();
    parts.join(" UNION ALL ")
}

fn state(session: &mut Session, sums: &str) -> State {
    let tables = ask(session, sums).into_iter().map(|row| {
        let [name, all, others] = row.try_into().expect("three columns");
        (name, Sums { all, others })
    });
    let tables = tables.collect();
    let catalog = ask(session, &catalog_query()).into_iter().map(|row| {
        let [kind, sum] = row.try_into().expect("two columns");
        (kind, sum)
    });
    let catalog = catalog.collect();
    State { tables, sequences: ask(session, SEQUENCES), catalog }
}

/// A checksum of each part of the catalog that a statement could change. Statistics (relpages, reltuples ...) move by
/// themselves and are left out.
fn catalog_query() -> String {
    const PARTS: [(&str, &str, &str); 26] = [
        (
            "relations",
            "(oid, relname, relnamespace, relkind, relowner, relacl, relrowsecurity, relforcerowsecurity, reloptions, relhasrules, relpersistence, relreplident)",
            "pg_class WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_t%')",
        ),
        (
            "columns",
            "(attrelid, attnum, attname, atttypid, attnotnull, atthasdef, attacl, attisdropped, attoptions, attstattarget, attstorage)",
            "pg_attribute WHERE attrelid >= 16384 AND attrelid IN (SELECT oid FROM pg_class WHERE relpersistence <> 't')",
        ),
        ("defaults", "(adrelid, adnum, pg_get_expr(adbin, adrelid))", "pg_attrdef"),
        ("constraints", "(oid, conname, pg_get_constraintdef(oid))", "pg_constraint"),
        ("triggers", "(oid, tgrelid, tgname, tgenabled, tgfoid, tgtype)", "pg_trigger"),
        ("rules", "(oid, ev_class, rulename, ev_enabled, md5(ev_action::text))", "pg_rewrite WHERE oid >= 16384"),
        ("policies", "(oid, polrelid, polname, polcmd, polroles)", "pg_policy"),
        (
            "functions",
            "(oid, proname, pronamespace, md5(prosrc), proacl, proowner, prosecdef, proconfig, proleakproof)",
            "pg_proc",
        ),
        ("schemas", "(oid, nspname, nspowner, nspacl)", "pg_namespace WHERE nspname NOT LIKE 'pg\\_t%'"),
        ("inheritance", "(inhrelid, inhparent)", "pg_inherits"),
        ("extensions", "(extname, extversion, extowner)", "pg_extension"),
        (
            "roles",
            "(oid, rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolpassword, rolvaliduntil)",
            "pg_authid",
        ),
        ("memberships", "(roleid, member, admin_option)", "pg_auth_members"),
        (
            "settings of roles and databases",
            "(setrole, setconfig)",
            "pg_db_role_setting WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))",
        ),
        ("settings of the cluster", "(name, setting)", "pg_file_settings"),
        ("database", "(datacl, datallowconn, datconnlimit)", "pg_database WHERE datname = current_database()"),
        ("large objects", "(loid, pageno, md5(data))", "pg_largeobject"),
        ("owners of large objects", "(oid, lomowner, lomacl)", "pg_largeobject_metadata"),
        ("publications", "(pubname)", "pg_publication"),
        ("event triggers", "(evtname)", "pg_event_trigger"),
        ("foreign servers", "(srvname, srvoptions, srvacl)", "pg_foreign_server"),
        (
            "types",
            "(oid, typname, typowner)",
            "pg_type WHERE typnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_t%')",
        ),
        (
            "operators and casts",
            "(oid)",
            "(SELECT oid FROM pg_operator UNION ALL SELECT oid FROM pg_cast UNION ALL SELECT oid FROM pg_collation) o",
        ),
        ("comments", "(objoid, objsubid, description)", "pg_description WHERE objoid >= 16384"),
        // Those of temporary tables come and go with their session's leaving.
        (
            "indexes",
            "(indexrelid, indisvalid, indisclustered)",
            "pg_index WHERE indexrelid NOT IN (SELECT oid FROM pg_class WHERE relpersistence = 't')",
        ),
        (
            "prepared transactions and slots",
            "(name)",
            "(SELECT gid AS name FROM pg_prepared_xacts UNION ALL SELECT slot_name FROM pg_replication_slots) p",
        ),
    ];
    let parts = PARTS.map(|(kind, row, source)| {
        format!(
            "SELECT '{kind}', md5(coalesce(string_agg(it, '~' ORDER BY it), '')) \
             FROM (SELECT ({row})::text AS it FROM {source}) rows_of_it"
        )
    });
    parts.join(" UNION ALL ")
}
