//! Postgres's own regression statements, sent to a database directly and, through pgwarden, to another one of the database layout:
//! which of them fail there alone, and why. Run by `make test-regress`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use regex::Regex;

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, free_port};
use crate::support::regress::{PREPARATIONS, Statement, scripts, statements};
use crate::support::reply::Reply;
use crate::support::session::{CopyIn, Endpoint, Session};
use pgwarden::test_cluster::Cluster;

/// Of all statements, at most so many in a thousand may fail through pgwarden alone.
const BOUND: usize = 20;

/// Not of a database: what it makes keeps the server from dropping one.
const SKIPPED: &str = "subscription";

const SETTINGS: &str = "SET statement_timeout = '5s'; SET client_min_messages = error";

/// What a statement is for: the database, the server, or whom the session acts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Database,
    /// Roles, databases and the like: no tenant's business. They are made past pgwarden, for the statements that follow.
    Server,
    /// Refused, and nothing can stand for it.
    Session,
}

fn is_for(sql: &str) -> For {
    let upper = sql.to_uppercase();
    let words: Vec<&str> = upper.split_whitespace().map(|it| it.trim_end_matches(';')).collect();
    let server = [
        "ROLE",
        "USER",
        "GROUP",
        "DATABASE",
        "TABLESPACE",
        "SUBSCRIPTION",
        "PUBLICATION",
        "SERVER",
        "FOREIGN",
        "SYSTEM",
        "LANGUAGE",
        "ACCESS",
        "PARAMETER",
    ];
    let names_server = |words: &[&str]| words.iter().any(|it| server.contains(it));
    let untrusted = Regex::new(r"\bLANGUAGE\s+'?(C|INTERNAL)\b").unwrap();
    match words.as_slice() {
        ["CREATE", "FUNCTION", ..] | ["CREATE", "OR", "REPLACE", "FUNCTION", ..] if untrusted.is_match(&upper) => {
            For::Server
        }
        ["COMMENT", "ON", what, ..] | ["CREATE" | "ALTER" | "DROP" | "IMPORT", what, ..] if names_server(&[what]) => {
            For::Server
        }
        ["CREATE", "OR" | "TRUSTED", rest @ ..] if names_server(rest.get(..3).unwrap_or(rest)) => For::Server,
        ["GRANT" | "REVOKE", rest @ ..] => match rest.iter().position(|it| *it == "ON") {
            Some(at) if !names_server(rest.get(at..at + 2).unwrap_or_default()) => For::Database,
            Some(_) | None => For::Server,
        },
        ["DROP" | "REASSIGN", "OWNED", ..] | ["LOAD", ..] => For::Server,
        ["SET" | "RESET", "ROLE" | "SESSION", ..] | ["SET", "LOCAL", "ROLE", ..] => For::Session,
        _ => For::Database,
    }
}

/// RESET ROLE and its kin.
fn gives_role_back(sql: &str) -> bool {
    let last = sql.trim_end_matches(';').split_whitespace().last().unwrap_or_default().to_uppercase();
    sql.to_uppercase().starts_with("RESET") || last == "DEFAULT" || last == "NONE"
}

/// Sends a script's statements one by one; a connection that was lost is made again. Where `past` is another session, what is for
/// the server goes there, and nothing is sent that another role should run.
fn replies(end: &Endpoint, mut past: Option<Session>, statements: &[Statement]) -> Vec<Option<Reply>> {
    let open = || {
        let mut session = end.connect();
        session.simple(SETTINGS);
        session
    };
    let mut session: Session = open();
    let mut as_another = false;
    let send = |statement: &Statement| {
        let is_for = is_for(&statement.sql);
        if let Some(past) = past.as_mut().filter(|_| is_for != For::Database || as_another) {
            match is_for {
                For::Server => drop(past.simple(&statement.sql)),
                For::Session => as_another = !gives_role_back(&statement.sql),
                For::Database => {}
            }
            return None;
        }
        session.copy_in = CopyIn::Data(statement.data.clone());
        let reply = session.simple(&statement.sql);
        if reply.closed || reply.timed_out {
            session = open();
        }
        Some(reply)
    };
    statements.iter().map(send).collect()
}

fn drop_database(lab: &Lab, database: &str) {
    let mut superuser = lab.superuser("postgres");
    let left = format!("SELECT gid FROM pg_prepared_xacts WHERE database = '{database}'");
    for gid in superuser.simple(left).ok().first_column() {
        lab.superuser(database).simple(format!("ROLLBACK PREPARED '{gid}'")).ok();
    }
    superuser.simple(format!("DROP DATABASE {database} WITH (FORCE)")).ok();
    // What is left of the server's, for the next one to make.
    for role in
        superuser.simple("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname LIKE 'regress%'").ok().first_column()
    {
        superuser.simple(format!("DROP ROLE {role}"));
    }
}

fn failed(reply: &Reply) -> bool {
    reply.closed || reply.timed_out || !reply.errors.is_empty()
}

/// What a failure is, without what it is about.
fn kind(reply: &Reply) -> String {
    if reply.errors.is_empty() {
        return if reply.closed { "closed" } else { "timed out" }.to_owned();
    }
    let names = Regex::new("\"[^\"]*\"|[0-9]+").unwrap();
    let message = reply.errors[0].get(&'M').map_or("", String::as_str);
    format!("{} {}", reply.sqlstate(), names.replace_all(message, "_"))
}

#[derive(Default)]
struct Figures {
    sent: usize,
    /// Failed both ways.
    failed: usize,
    /// For the server, or for another role to run: not sent through pgwarden.
    aside: usize,
    /// All others, by kind, with an example.
    kinds: BTreeMap<String, (usize, String)>,
    /// Failed directly alone.
    passed: usize,
    log: String,
}

impl Figures {
    fn take(&mut self, file: &str, statements: &[Statement], directly: &[Option<Reply>], through: &[Option<Reply>]) {
        for ((statement, directly), through) in statements.iter().zip(directly).zip(through) {
            let (Some(directly), Some(through)) = (directly, through) else {
                self.aside += 1;
                continue;
            };
            self.sent += 1;
            let sql: String =
                statement.sql.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
            match (failed(directly), failed(through)) {
                (false, false) => {}
                (true, true) => self.failed += 1,
                (true, false) => {
                    self.passed += 1;
                    let _ = writeln!(self.log, "{file}: directly alone: {}: {sql}", kind(directly));
                }
                (false, true) => {
                    let _ = writeln!(self.log, "{file}: {}: {sql}", kind(through));
                    self.kinds.entry(kind(through)).or_insert_with(|| (0, sql)).0 += 1;
                }
            }
        }
    }

    fn print(&self) -> usize {
        let lost: usize = self.kinds.values().map(|(count, _)| count).sum();
        println!("statements sent both ways:        {}", self.sent);
        println!("  fail either way:                {}", self.failed);
        println!("  fail directly alone:            {}", self.passed);
        println!("not sent: for the server, or for another role to run: {}", self.aside);
        println!("  fail through pgwarden alone:    {lost}");
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (kind, (count, example)) in kinds.iter().take(60) {
            println!("    {count:>5} {kind}   {}", example.chars().take(100).collect::<String>());
        }
        lost
    }
}

fn proxy(lab: &Lab) -> Proxy {
    let port = free_port();
    let config = format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n[upstream.main]\nurl = \"postgres://{}@127.0.0.1:{}/postgres\"\npassword = \"{}\"\n\
         [tenancy]\nupstream = \"main\"\n[tenancy.pattern]\ndatabase = \"through_{{name}}\"\n\
         [[login]]\nname = \"app\"\npassword = \"app_pw\"\ntenants = \"*\"\n",
        Cluster::SUPERUSER,
        lab.cluster.port(),
        lab.cluster.password(),
    );
    Proxy::launch(&config, port)
}

#[test]
#[ignore = "needs Postgres's source: make test-regress"]
fn a_database_of_ones_own_takes_what_postgres_takes() {
    let tree = std::env::var_os("PGWARDEN_REGRESS").expect("PGWARDEN_REGRESS names a source tree of Postgres");
    let only = std::env::var("PGWARDEN_REGRESS_ONLY").unwrap_or_default();
    let only: Vec<&str> = only.split_whitespace().collect();
    let lab = Lab::general();
    let folder = Path::new(&tree).join("src/test/regress/sql");
    lab.create("regress", None);
    let mut session = lab.superuser("regress");
    session.simple(SETTINGS);
    for file in PREPARATIONS {
        for statement in statements(&folder.join(file)) {
            session.copy(&statement.sql, &statement.data);
        }
    }
    drop(session);
    let proxy = proxy(lab);
    let mut figures = Figures::default();
    for path in scripts(Path::new(&tree)) {
        let name = path.file_stem().unwrap().to_str().unwrap().replace('.', "_");
        if name == SKIPPED || (!only.is_empty() && !only.contains(&name.as_str())) {
            continue;
        }
        let statements = statements(&path);
        let run = |database: &str, end: Endpoint, directly: bool| {
            lab.comes_to_rest("regress");
            lab.create(database, Some("regress"));
            let past = (!directly).then(|| lab.superuser(database));
            let replies = replies(&end, past, &statements);
            drop_database(lab, database);
            replies
        };
        let direct = format!("direct_{name}");
        let superuser = Endpoint::new(lab.cluster.port(), Cluster::SUPERUSER, lab.cluster.password(), &direct);
        let directly = run(&direct, superuser, true);
        let through = run(&format!("through_{name}"), Endpoint::new(proxy.port, "app", "app_pw", &name), false);
        figures.take(&name, &statements, &directly, &through);
        if let Some(log) = std::env::var_os("PGWARDEN_REGRESS_LOG") {
            std::fs::write(log, &figures.log).unwrap();
        }
    }
    let lost = figures.print();
    // A few files may have more of what fails in them.
    assert!(
        figures.sent > 0 && (!only.is_empty() || lost * 1_000 <= figures.sent * BOUND),
        "{lost} of {} are lost",
        figures.sent
    );
}
