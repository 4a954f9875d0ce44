//! Where sequences run: pgwarden with one server connection, the same database without it, and a neighbour.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::pair::Pair;
use super::step::{COMMON, Ending, Sequence, Step};
use super::{Kind, Outcome, trouble};
use crate::support::lab::Lab;
use crate::support::message;
use crate::support::proxy::{Proxy, Setup};
use crate::support::reply::Reply;
use crate::support::session::Session;

/// Nobody waits longer for an answer. (It is there at once; the machine may be busy.)
const SOON: Duration = Duration::from_secs(6);
/// The same while a failure is made small.
const VERY_SOON: Duration = Duration::from_millis(1_500);

/// Rows of two tenants, as every sequence finds them.
const ROWS: &str = "DELETE FROM model_rows; INSERT INTO model_rows VALUES (1, 1, 'a1'), (1, 2, 'a2'), (1, 3, 'a3')";
const NEIGHBOURS_ROWS: &str = "; INSERT INTO model_rows VALUES (2, 1, 'b1'), (2, 2, 'b2')";

/// What a new session must find as it was: all that a tenant may read of it.
const SETTINGS: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "role",
    "row_security",
    "search_path",
    "session_authorization",
    "standard_conforming_strings",
    "statement_timeout",
    "synchronous_commit",
    "timezone",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "work_mem",
];

/// What a new client of the neighbour's asks.
fn probes() -> Vec<Vec<u8>> {
    let shows: Vec<_> = SETTINGS.iter().map(|name| format!("SHOW {name}")).collect();
    let mut probes = vec![message::query("SELECT 1"), message::query(shows.join("; "))];
    probes.extend(["FETCH ALL FROM c1", "FETCH ALL FROM c2", "EXECUTE q1", "SELECT x FROM mine"].map(message::query));
    let synced = |message: Vec<u8>| [message, message::sync()].concat();
    probes.extend(["", "s1", "s2"].map(|statement| synced(message::bind("", statement, &[], &[]))));
    probes.extend(["", "p1"].map(|portal| synced(message::execute(portal, 0))));
    probes.extend(COMMON.iter().map(|text| synced(message::extended(text, &values(text)))));
    probes
}

fn values(text: &str) -> Vec<Option<&'static str>> {
    if text.contains("$1") { vec![Some("1")] } else { Vec::new() }
}

/// One text for comparing.
fn answer(reply: &Reply) -> String {
    format!("{} {}", reply.states, reply.text())
}

pub struct Stage {
    setup: Setup,
    solo: String,
    proxy: Proxy,
    /// Past pgwarden.
    admin: Session,
    solo_admin: Session,
    /// Another tenant, connected all the time.
    neighbour: Session,
    patience: Duration,
    /// What a new client and the neighbour were answered when pgwarden was new.
    virgin: Option<(Vec<String>, Vec<String>)>,
    inserted: u32,
    /// Why sequences could not be compared to their end, and how often.
    pub excuses: BTreeMap<String, usize>,
}

impl Stage {
    pub fn new(name: &str) -> Self {
        let lab = Lab::general();
        let [shared, solo] = ["shared", "solo"].map(|side| format!("model_{name}_{side}"));
        for database in [&shared, &solo] {
            lab.copy_of_shop(database);
            let table = "CREATE TABLE model_rows (tenant_id int NOT NULL, id int NOT NULL, v text, PRIMARY KEY (tenant_id, id))";
            lab.run(database, &format!("{table}; ALTER TABLE model_rows OWNER TO app_owner"));
        }
        lab.run(&solo, "ALTER TABLE model_rows ALTER tenant_id SET DEFAULT 1");
        let pool = r#"{ mode = "transaction", size = 1, wait_timeout = "20s" }"#.to_owned();
        let setup = Setup { database: shared.clone(), pool, ..Setup::default() };
        let proxy = Proxy::start(lab, &setup);
        let neighbour = proxy.b().connect();
        let mut stage = Self {
            setup,
            admin: lab.superuser(&shared),
            solo_admin: lab.superuser(&solo),
            solo,
            proxy,
            neighbour,
            patience: SOON,
            virgin: None,
            inserted: 0,
            excuses: BTreeMap::new(),
        };
        stage.restore();
        stage.prepare_neighbour();
        let mut client = stage.proxy.b().connect();
        stage.virgin = Some((stage.probe(&mut client).expect("answers"), stage.run_kept().expect("answers")));
        stage
    }

    /// Another process, after a failure. Nothing of the old one is left on the servers.
    pub fn renew(&mut self, patient: bool) {
        let lab = Lab::general();
        self.patience = if patient { SOON } else { VERY_SOON };
        self.proxy = Proxy::start(lab, &self.setup);
        for database in [&self.setup.database, &self.solo] {
            lab.comes_to_rest(database);
        }
        self.neighbour = self.proxy.b().connect();
        self.prepare_neighbour();
    }

    fn restore(&mut self) {
        let within = "SET lock_timeout = '10s'; ";
        self.admin.simple(format!("{within}{ROWS}{NEIGHBOURS_ROWS}")).ok();
        self.solo_admin.simple(format!("{within}{ROWS}")).ok();
    }

    /// The neighbour's own names for statements that all have.
    fn prepare_neighbour(&mut self) {
        for (n, text) in COMMON.iter().enumerate() {
            self.neighbour.exchange(&[message::parse(&format!("k{n}"), text, &[]), message::sync()], 1).ok();
        }
    }

    /// Runs a sequence, and looks at what it leaves behind.
    pub fn run(&mut self, sequence: &Sequence) -> Outcome {
        self.restore();
        let mut pair = Pair::connect(&self.proxy.a(), &Lab::general().owner(&self.solo));
        for step in &sequence.steps {
            self.step(&mut pair, *step)?;
            if pair.is_over() {
                break;
            }
        }
        let left = self.end(pair, sequence.ending)?;
        self.examine()?;
        if let Some(mut pair) = left {
            // It is as alive as before.
            pair.settle(self.patience)?;
        }
        Ok(())
    }

    fn step(&mut self, pair: &mut Pair, step: Step) -> Outcome {
        if let Some(bytes) = step.message() {
            pair.add(step, &bytes);
            return if step == Step::Terminate { pair.settle(self.patience) } else { Ok(()) };
        }
        pair.settle(self.patience)?;
        match step {
            Step::Neighbour if pair.rests() => self.examine_neighbour(),
            Step::Cancel => {
                pair.cancel(&self.proxy);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The client's end; it is given back if it stays and needs no server connection.
    fn end(&mut self, mut pair: Pair, ending: Ending) -> Result<Option<Pair>, super::Trouble> {
        match ending {
            Ending::Stays if !pair.is_over() => pair.settle(self.patience)?,
            Ending::Stays => {}
            Ending::Leaves => {
                pair.add(Step::Terminate, &message::terminate());
                pair.send_part(100);
            }
            Ending::Dies(after) => {
                pair.send_part(100);
                std::thread::sleep(Duration::from_millis(after));
            }
            Ending::Breaks(percent) => pair.send_part(percent),
            Ending::Cancels => {
                pair.send_part(100);
                pair.cancel(&self.proxy);
            }
        }
        if let Some(why) = pair.excuse() {
            *self.excuses.entry(why.to_owned()).or_default() += 1;
        }
        let stays = ending == Ending::Stays && !pair.is_over() && pair.rests();
        Ok(stays.then_some(pair))
    }

    /// The next clients must find all as on a new connection.
    fn examine(&mut self) -> Outcome {
        let mut client = self.proxy.b().connect();
        let got = self.probe(&mut client)?;
        let wanted = self.virgin.iter().flat_map(|(fresh, _)| fresh);
        for (got, wanted) in got.iter().zip(wanted) {
            if got != wanted {
                return trouble(Kind::Leaks, format!("the next client is answered\n  {got}\ninstead of\n  {wanted}"));
            }
        }
        self.examine_insert(&mut client)?;
        self.examine_neighbour()?;
        self.examine_server()
    }

    fn probe(&mut self, client: &mut Session) -> Result<Vec<String>, super::Trouble> {
        let mut answers = Vec::new();
        for (n, bytes) in probes().iter().enumerate() {
            client.send(bytes);
            let reply = client.collect_within(1, self.patience);
            if reply.timed_out || reply.closed {
                trouble(Kind::Hangs, format!("the next client has no answer to its probe {n}: {}", reply.text()))?;
            }
            answers.push(answer(&reply));
        }
        Ok(answers)
    }

    /// What the next client writes is written.
    fn examine_insert(&mut self, client: &mut Session) -> Outcome {
        self.inserted += 1;
        let id = (1_000 + self.inserted).to_string();
        let insert = "INSERT INTO model_rows (id, v) VALUES ($1, 'of the next')";
        client.send(&[message::extended(insert, &[Some(&id)]), message::sync()].concat());
        let reply = client.collect_within(1, self.patience);
        // It is taken away again, so that the neighbour's rows stay the same.
        let gone = format!("DELETE FROM model_rows WHERE tenant_id = 2 AND id = {id} RETURNING 1");
        let count = format!("WITH gone AS ({gone}) SELECT count(*) FROM gone");
        let count = self.admin.simple(count).ok().value();
        if reply.tags != ["INSERT 0 1"] || reply.states != "I" || count != "1" {
            return trouble(Kind::Leaks, format!("the next client's INSERT gave {count} rows: {}", answer(&reply)));
        }
        Ok(())
    }

    /// The neighbour's statements give what they always gave.
    fn examine_neighbour(&mut self) -> Outcome {
        let got = self.run_kept()?;
        let wanted = self.virgin.iter().flat_map(|(_, kept)| kept);
        for ((got, wanted), text) in got.iter().zip(wanted).zip(COMMON) {
            if got != wanted {
                let text = format!("the neighbour's statement \"{text}\" gives\n  {got}\ninstead of\n  {wanted}");
                return trouble(Kind::Leaks, text);
            }
        }
        Ok(())
    }

    fn run_kept(&mut self) -> Result<Vec<String>, super::Trouble> {
        let mut answers = Vec::new();
        for (n, text) in COMMON.iter().enumerate() {
            let bind = message::bind("", &format!("k{n}"), &values(text), &[]);
            let messages = [bind, message::describe('P', ""), message::execute("", 0), message::sync()];
            self.neighbour.send(&messages.concat());
            let reply = self.neighbour.collect_within(1, self.patience);
            if reply.timed_out || reply.closed {
                let text = format!("the neighbour has no answer to \"{text}\": {}", reply.text());
                trouble(Kind::Hangs, text)?;
            }
            answers.push(answer(&reply));
        }
        Ok(answers)
    }

    /// No transaction, and no lock of a session, is left on the server once the client's connection is at rest or closed.
    fn examine_server(&mut self) -> Outcome {
        let left =
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'app_owner'
                AND (state LIKE 'idle in%' OR state = 'active'))
            + (SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                WHERE datname = current_database() AND locktype = 'advisory')";
        let deadline = Instant::now() + self.patience;
        while self.admin.simple(left).ok().value() != "0" {
            if Instant::now() > deadline {
                return trouble(Kind::Leaks, "a transaction or a lock is left on the server".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}
