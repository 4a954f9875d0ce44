//! Tenant A attacks, with full SQL and over every path of the protocol: nothing of B or C may reach it, and nothing of
//! theirs may change. One test a family of attacks; the corpus is in `corpus/`.

mod attack;
mod canary;
mod predicates;
pub mod state;

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use regex::Regex;

use self::attack::{Attack, Seen, attacks, families};
use self::state::{Layout, Watch};
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup};
use crate::support::reply::Reply;
use crate::support::script::{self, Act, Connect, Protocol, Step, Victim};
use crate::support::session::{self, Endpoint, Session};

/// Who connects where.
struct Ends {
    a: Endpoint,
    b: Endpoint,
    direct: Box<dyn Fn() -> Session + Send>,
}

/// One attack under way.
struct Field<'a> {
    ends: &'a Ends,
    protocol: Protocol,
    clients: BTreeMap<String, Session>,
    crowd: Vec<Session>,
    seen: Vec<Seen>,
    /// How B was harmed.
    complaints: Vec<String>,
}

impl<'a> Field<'a> {
    fn new(ends: &'a Ends, protocol: Protocol) -> Self {
        Self { ends, protocol, clients: BTreeMap::new(), crowd: Vec::new(), seen: Vec::new(), complaints: Vec::new() }
    }

    fn endpoint(&self, name: &str) -> &'a Endpoint {
        if name.starts_with('B') { &self.ends.b } else { &self.ends.a }
    }

    fn client(&mut self, name: &str) -> Option<&mut Session> {
        if !self.clients.contains_key(name) {
            let session = if name == "S" {
                (self.ends.direct)()
            } else {
                let (session, reply) = self.endpoint(name).try_connect();
                if reply.closed || !reply.errors.is_empty() {
                    return None;
                }
                session
            };
            self.clients.insert(name.to_owned(), session);
        }
        self.clients.get_mut(name)
    }

    fn connect(&mut self, name: &str, how: &Connect) -> Reply {
        let mut endpoint = self.endpoint(name).clone();
        if let Some(user) = &how.user {
            endpoint.user = user.replace("$USER_B", &self.ends.b.user);
        }
        if let Some(password) = &how.password {
            endpoint.password.clone_from(password);
        }
        if let Some(database) = &how.database {
            endpoint.database.clone_from(database);
        }
        endpoint.startup.extend(how.startup.iter().map(|(name, value)| (name.clone(), value.clone())));
        let (session, reply) = match &how.raw {
            None => endpoint.try_connect(),
            Some(bytes) => {
                let mut session = Session::over(session::open(endpoint.port));
                session.send(&script::unhex(bytes));
                let reply = session.collect_within(1, std::time::Duration::from_secs(1));
                (session, reply)
            }
        };
        self.clients.insert(name.to_owned(), session);
        reply
    }

    fn step(&mut self, number: usize, step: &Step) {
        let name = step.on.as_str();
        let reply = match &step.act {
            Act::Sleep(time) => {
                std::thread::sleep(*time);
                return;
            }
            Act::Vanish => {
                self.clients.remove(name);
                return;
            }
            Act::Cancel { of, pid_offset, key_offset } => {
                self.cancel(of, *pid_offset, *key_offset);
                return;
            }
            Act::Flood { clients, sql } => {
                for _ in 0..*clients {
                    let (mut session, _) = self.endpoint(name).try_connect();
                    session.send(&crate::support::message::query(sql));
                    self.crowd.push(session);
                }
                return;
            }
            Act::Connect(how) => self.connect(name, how),
            _ => {
                let protocol = if name.starts_with('A') { self.protocol } else { Protocol::Simple };
                match self.client(name) {
                    Some(session) => script::perform(session, step, protocol).expect("a step that sends"),
                    None => Reply { closed: true, ..Reply::default() },
                }
            }
        };
        if name.starts_with('B') {
            self.hear(number, step, &reply);
        }
        self.seen.push(Seen { step: number, client: name.to_owned(), reply });
    }

    fn cancel(&mut self, of: &str, pid_offset: i32, key_offset: i32) {
        let port = self.endpoint(of).port;
        let Some((pid, key)) = self.client(of).and_then(|it| it.cancel_key.clone()) else { return };
        let mut key = key;
        if let Some(last) = key.last_mut() {
            *last = last.wrapping_add(key_offset as u8);
        }
        session::cancel(port, pid.wrapping_add_signed(pid_offset), &key);
    }

    /// What B has to say about its answer.
    fn hear(&mut self, number: usize, step: &Step, reply: &Reply) {
        let text = reply.text();
        // "Simple protocol output" of B as the corpus spells it: rows first, then errors.
        let matches = |it: &str| Regex::new(&format!("(?ms){it}")).expect("a regular expression").is_match(&text);
        let late = reply.timed_out || reply.closed;
        let harmed = match step.victim {
            None => false,
            Some(Victim::Served) => late,
            Some(Victim::Unharmed) => late || !reply.errors.is_empty(),
        };
        let unexpected = step.expect.as_ref().is_some_and(|it| !matches(it));
        let forbidden = step.forbid.as_ref().is_some_and(|it| matches(it));
        if harmed || unexpected || forbidden {
            self.complaints.push(format!("step {number}: B got {text:?}"));
        }
    }

    /// How the attack succeeded, if it did.
    fn verdict(&self, attack: &Attack) -> Option<String> {
        let of_a = || self.seen.iter().filter(|it| it.client.starts_with('A'));
        let sent: String =
            attack.steps.iter().filter(|it| it.on.starts_with('A')).map(|it| it.source.as_str()).collect();
        let received: String = of_a().map(|it| it.reply.text() + "\n").collect();
        let mut canaries = canary::leaked(&received, &sent);
        if attack.reads_c {
            canaries.retain(|mark| !canary::is_of_c(mark));
        }
        if !attack.canaries_expected && !canaries.is_empty() {
            return Some(format!("A saw {canaries:?} in\n{received}"));
        }
        if let Some(what) = attack.leak.iter().find_map(|it| it.found(&self.seen)) {
            return Some(what);
        }
        if !self.complaints.is_empty() {
            return Some(self.complaints.join("; "));
        }
        let refusal = of_a().find(|it| it.reply.closed || !it.reply.errors.is_empty());
        match (refusal, &attack.sqlstate) {
            (None, _) if attack.must_fail => Some(format!("was not refused: {received}")),
            // Several statements in one Parse are a syntax error before they are anything else.
            (Some(it), _) if self.protocol == Protocol::Extended && it.reply.sqlstate() == "42601" => None,
            // What a reader may not send at all is refused for that.
            (Some(it), _) if attack.reads_c && it.reply.sqlstate() == "25006" => None,
            (Some(it), Some(state)) if !it.reply.closed && it.reply.sqlstate() != state => {
                Some(format!("refused with {} instead of {state}: {}", it.reply.sqlstate(), it.reply.text()))
            }
            _ => None,
        }
    }
}

/// How the proxy under attack keeps tenants of the shared layout apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Rewrite,
    Rls,
    Both,
    /// A is a login that reads the tenants A and C at once.
    Reader,
}

impl Mode {
    /// As the configuration spells it.
    pub fn enforcement(self) -> &'static str {
        match self {
            Mode::Rewrite | Mode::Reader => "rewrite",
            Mode::Rls => "rls",
            Mode::Both => "rewrite+rls",
        }
    }

    /// The other layouts are the same in every mode.
    fn tries(self, layout: Layout) -> bool {
        self == Mode::Rewrite || layout == Layout::Shared
    }

    /// Whether policies are there.
    pub fn is_policed(self) -> bool {
        matches!(self, Mode::Rls | Mode::Both)
    }

    /// The proxy's configuration, over this database.
    pub fn setup(self, database: &str) -> Setup {
        let more = if self == Mode::Reader { READER } else { "" };
        Setup { more: more.to_owned(), ..Setup::enforcing(self.enforcement(), database) }
    }
}

/// The login that attacks in [`Mode::Reader`].
const READER: &str = r#"
[[tenant]]
name = "c"
key = "3"
keys = { uuid = "cccccccc-0000-4000-8000-00000000000c", account = "charlie" }

[[login]]
name = "reader_ac"
password = "reader_ac_pw"
role = "reader"
tenants = ["a", "c"]
"#;

struct Arena {
    lab: &'static Lab,
    proxies: BTreeMap<Mode, Proxy>,
    watches: BTreeMap<&'static str, Watch>,
}

impl Arena {
    /// Attacks write: one at a time. Those on a database with policies run beside the others, on a cluster of their own.
    fn of(mode: Mode) -> &'static Mutex<Self> {
        static PLAIN: OnceLock<Mutex<Arena>> = OnceLock::new();
        static POLICED: OnceLock<Mutex<Arena>> = OnceLock::new();
        let new = |lab| Mutex::new(Arena { lab, proxies: BTreeMap::new(), watches: BTreeMap::new() });
        match mode {
            Mode::Rewrite | Mode::Reader => PLAIN.get_or_init(|| new(Lab::battlefield())),
            Mode::Rls | Mode::Both => POLICED.get_or_init(|| new(Lab::policed_battlefield())),
        }
    }

    fn proxy(&mut self, mode: Mode) -> &mut Proxy {
        // Databases are copied while nobody is connected to them.
        for layout in [Layout::Shared, Layout::Schema, Layout::Database] {
            self.watch(layout);
        }
        let lab = self.lab;
        self.proxies.entry(mode).or_insert_with(|| Proxy::start(lab, &mode.setup("shared")))
    }

    fn watch(&mut self, layout: Layout) -> &mut Watch {
        let (lab, database) = (self.lab, layout.database());
        self.watches.entry(database).or_insert_with(|| Watch::over(lab, database, layout))
    }

    fn ends(&mut self, mode: Mode, layout: Layout) -> Ends {
        let (a, b) = match layout {
            Layout::Shared if mode == Mode::Reader => ("reader_ac", "tenant_b"),
            Layout::Shared => ("tenant_a", "tenant_b"),
            Layout::Schema => ("schema_a", "schema_b"),
            Layout::Database => ("database_a", "database_b"),
        };
        let lab = self.lab;
        let proxy = self.proxy(mode);
        Ends { a: proxy.login(a), b: proxy.login(b), direct: Box::new(move || lab.superuser(layout.database())) }
    }
}

/// Runs one attack; what went wrong, if it succeeded.
fn run(attack: &Attack, ends: &Ends, protocol: Protocol) -> Option<String> {
    let mut field = Field::new(ends, protocol);
    for (number, step) in attack.steps.iter().enumerate() {
        field.step(number, step);
    }
    field.verdict(attack)
}

/// Once more in the extended protocol, where A's steps are plain SQL.
fn protocols(attack: &Attack) -> &'static [Protocol] {
    let plain = |it: &Step| matches!(it.act, Act::Sql { data: None, .. });
    if attack.steps.iter().all(plain) { &[Protocol::Simple, Protocol::Extended] } else { &[Protocol::Simple] }
}

fn family(name: &str, mode: Mode) {
    let mut arena = Arena::of(mode).lock().unwrap_or_else(PoisonError::into_inner);
    let (mut failures, mut count) = (Vec::new(), 0);
    for attack in attacks(name).into_iter().filter(|it| mode == Mode::Reader || !it.readers_only) {
        let mut attack = attack.in_mode(mode);
        attack.reads_c = mode == Mode::Reader;
        for layout in attack.layouts.iter().filter(|it| mode.tries(**it)) {
            let ends = arena.ends(mode, *layout);
            for protocol in protocols(&attack) {
                count += 1;
                arena.watch(*layout);
                for sql in &attack.setup {
                    let mut superuser = arena.lab.superuser(layout.database());
                    superuser.simple(sql);
                }
                let mut found = run(&attack, &ends, *protocol);
                let watch = arena.watch(*layout);
                if attack.setup.is_empty() {
                    let harm = watch.settle().filter(|_| !attack.others_write);
                    found = found.or(harm.map(|it| format!("changed: {it}")));
                } else {
                    watch.rebuild();
                }
                if !arena.proxy(mode).is_alive() {
                    arena.proxies.remove(&mode);
                    found = Some("pgwarden has ended".to_owned());
                }
                match found {
                    Some(what) if attack.residual => println!("residual: {} {}: {what}", attack.id, attack.title),
                    Some(what) => {
                        failures.push(format!("{} ({layout:?}, {protocol:?}) {}\n  {what}", attack.id, attack.title))
                    }
                    None => {}
                }
            }
        }
    }
    assert!(count > 0 || mode != Mode::Rewrite || name == "readers");
    assert!(failures.is_empty(), "{} of {count} succeeded:\n\n{}", failures.len(), failures.join("\n\n"));
}

macro_rules! families {
    ($($name:ident)*) => {
        $(#[test] fn $name() { family(stringify!($name), Mode::Rewrite); })*

        /// The same attacks where policies alone keep tenants apart.
        mod rls {
            $(#[test] fn $name() { super::family(stringify!($name), super::Mode::Rls); })*
        }

        /// ... and where statements are rewritten besides.
        mod rewrite_and_rls {
            $(#[test] fn $name() { super::family(stringify!($name), super::Mode::Both); })*
        }

        /// ... and by a login that reads A and C at once.
        mod readers {
            $(#[test] fn $name() { super::family(stringify!($name), super::Mode::Reader); })*
        }

        #[test]
        fn every_family_is_tried() {
            let mut tried = vec![$(stringify!($name).to_owned()),*];
            tried.sort();
            assert_eq!(families(), tried);
        }
    };
}

families! {
    access_levels advisory_locks cancel_requests catalog_statistics channels common_schemas copy cte cursors_portals custom_settings
    database_mode ddl delete_truncate direct_read dos error_oracles explain inheritance_partitions insert leaky_predicates merge
    names_aliases null_rows plain_conditions plan_time pool_state_leftover
    protocol_messages readers schema_mode sequence_memory server_file_program session_guc_role set_operations side_channels
    sql_running_functions startup_auth subquery_position temporary_tables through_tables timing update views_rules_foreign
    where_precedence
}

/// The corpus bites: on plain Postgres, as the owner of the tables, most reads of others succeed.
#[test]
fn plain_postgres_leaks() {
    let lab = Lab::battlefield();
    lab.copy_of_shop("bare");
    let owner = lab.owner("bare");
    let ends = Ends { a: owner.clone(), b: owner, direct: Box::new(|| Lab::battlefield().superuser("bare")) };
    let readers = ["direct_read", "subquery_position", "where_precedence", "cte", "set_operations"];
    let tried: Vec<Attack> = readers.iter().flat_map(|it| attacks(it)).collect();
    let leaks = tried.iter().filter(|it| run(it, &ends, Protocol::Simple).is_some()).count();
    assert!(leaks * 10 > tried.len() * 9, "{leaks} of {}", tried.len());
}
