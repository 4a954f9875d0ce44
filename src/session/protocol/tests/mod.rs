//! The session with a scripted server: what goes out on both sides for what comes in.

use std::future::Future;
use std::pin::Pin as Pinned;
use std::sync::Mutex;

use bytes::{BufMut, BytesMut};

use super::*;
use crate::base::{Mode, Refusal, RefusalKind, SqlState};
use crate::control::Notifications;
use crate::guard::{
    CopyFormat, CopyIn, CopyTenant, Deallocate, Effect, Guard, Plan, Planner, Policy, Protocol, StatementKind,
    TenantCheck, TenantSlot,
};
use crate::pool::{KnownState, PreparedSet};
use crate::session::CatalogHook;
use crate::wire::backend::{Report, TransactionStatus};
use crate::wire::encode::{backend, frontend};
use crate::wire::frame::{LARGE_LIMIT, take_frame};
use crate::wire::frontend::{ExtraParam, Format, FrontendMessage, Target};

mod circumstances;
mod copy;
mod dropping;
mod errors;
mod limits;
mod moving;
mod prepared;
mod protocol;
mod reading;
mod settings;
mod usage;

/// A guard's stand-in: the first word decides.
fn planner(_: &Policy, _: &Mode, protocol: Protocol<'_>, sql: &str) -> Result<Vec<Plan>, Refusal> {
    sql.split(';').map(str::trim).filter(|text| !text.is_empty()).map(|text| plan(text, protocol)).collect()
}

fn plan(text: &str, protocol: Protocol<'_>) -> Result<Plan, Refusal> {
    use crate::guard::Piece::{Slot, Text};
    let mut plan = crate::guard::test_plan(text);
    let words: Vec<&str> = text.rsplit("*/ ").next().unwrap_or_default().split(' ').collect();
    match words.as_slice() {
        ["REFUSED", ..] => {
            return Err(Refusal::new(RefusalKind::Statement, SqlState::INSUFFICIENT_PRIVILEGE, "not allowed"));
        }
        ["UNKNOWN", ..] => {
            return Err(Refusal::new(RefusalKind::Undefined, SqlState::UNDEFINED_TABLE, "relation does not exist"));
        }
        ["BEGIN" | "COMMIT" | "ROLLBACK"] => plan.kind = StatementKind::Transaction,
        ["SET", name, ..] => plan.effects.push(Effect::Setting((*name).to_owned())),
        ["OBJECTIONABLE", ..] => plan.objection = Some("orders stands alone".into()),
        ["PREPARE", ..] => plan.effects.push(Effect::Pin(PinReason::Prepare)),
        ["LISTEN", ..] => plan.effects.push(Effect::Pin(PinReason::Listen)),
        ["CREATE", ..] => plan.effects.push(Effect::CatalogChanged),
        ["RESET", "ALL"] => plan.effects.push(Effect::ResetOwn),
        ["DISCARD", "ALL"] => plan.effects.push(Effect::DiscardAll),
        ["DEALLOCATE", "ALL"] => plan.effects.push(Effect::Deallocate(Deallocate::All)),
        ["DEALLOCATE", name] => plan.effects.push(Effect::Deallocate(Deallocate::Name((*name).to_owned()))),
        ["COPY", ..] => plan.kind = StatementKind::CopyIn,
        ["LOAD", ..] => {
            plan.kind = StatementKind::CopyIn;
            plan.slots.push(slot());
            plan.copy_in = Some(CopyIn {
                format: CopyFormat::Text { delimiter: b'\t', null: "\\N".into(), header: false },
                client_columns: 2,
                tenant: CopyTenant::Check(0),
                slot: 0,
                by: crate::guard::CopyBy::Copy,
            });
        }
        // `TENANT n`: a statement of n parameters on a tenant table.
        ["TENANT", params, ..] => {
            plan.client_params = params.parse().unwrap();
            plan.pieces = vec![Text(text.into()), Text(" = ".into()), Slot(0)];
            plan.slots.push(slot());
            plan.rewritten = true;
            if matches!(protocol, Protocol::Extended { .. }) && plan.client_params > 0 {
                plan.checks.push(TenantCheck::Param { slot: 0, number: 1 });
            }
        }
        _ => {}
    }
    Ok(plan)
}

fn slot() -> TenantSlot {
    TenantSlot { key: None, arity: crate::base::Arity::One, type_oid: 23, type_name: "pg_catalog.int4".into() }
}

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn refused(&self, refusal: &Refusal, _: &str) {
        self.0.lock().unwrap().push(format!("refused {}", refusal.kind.as_str()));
    }

    fn objected(&self, objection: &str, _: &str) {
        self.0.lock().unwrap().push(format!("objected {objection}"));
    }

    fn operator_statement(&self, sql: &str) {
        self.0.lock().unwrap().push(format!("operator {sql}"));
    }

    fn looked_up(&self, sql: &str) {
        self.0.lock().unwrap().push(format!("looked up {sql}"));
    }

    fn would_refuse(&self, refusal: &Refusal, _: &str) {
        let object = refusal.object.as_deref().unwrap_or("-");
        self.0.lock().unwrap().push(format!("would refuse {} {object}", refusal.kind.as_str()));
    }

    fn not_judged(&self) {
        self.0.lock().unwrap().push("not judged".to_owned());
    }

    fn acts_for(&self, tenant: Option<&crate::base::TenantName>) {
        self.0.lock().unwrap().push(format!("acts for {tenant:?}"));
    }

    fn pinned(&self, reason: PinReason) {
        self.0.lock().unwrap().push(format!("pinned by {reason}"));
    }
}

impl CatalogHook for Seen {
    fn objection(&self, _: &crate::base::TenantName) -> Option<String> {
        None
    }

    fn changed(&self) {
        self.0.lock().unwrap().push("catalog".to_owned());
    }

    fn is_fresh(&self) -> bool {
        true
    }

    fn look(&self) -> Pinned<Box<dyn Future<Output = Result<(), PgError>> + Send>> {
        Box::pin(async { Ok(()) })
    }

    fn refresh(&self) -> Pinned<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async {})
    }
}

/// A place of this mode in a database of this name.
fn backend(database: &str, pool_mode: PoolMode, mode: Mode, seen: &Arc<Seen>) -> Arc<Backend> {
    const CONFIG: &str = include_str!("../../../../config/minimal.toml");
    let loaded = crate::config::parse(CONFIG, std::path::Path::new("test.toml"), &|_| Some("secret".into()));
    let upstream = crate::config::Upstream::clone(loaded.unwrap().config.upstreams.values().next().unwrap());
    let upstream = Arc::new(crate::config::Upstream { database: database.to_owned(), ..upstream });
    let policy = Policy { epoch: 1, ..Policy::empty() };
    Arc::new(Backend {
        database: upstream.database.clone(),
        guard: Arc::new(Guard::new(Arc::new(policy), planner as Planner)),
        catalog: seen.clone(),
        notifications: Notifications::new(Arc::clone(&upstream)),
        upstream,
        planning_context: format!("test {mode:?}").into(),
        observed: false,
        mode,
        pool_mode,
    })
}

struct Bench {
    session: Session,
    seen: Arc<Seen>,
    refreshes: usize,
    /// Long texts that were read ahead.
    reads: usize,
    /// Server connections are given when asked for.
    servers: bool,
}

impl Bench {
    fn new() -> Self {
        Self::with(PoolMode::Transaction, Mode::Shared, Settings::default())
    }

    fn with(pool_mode: PoolMode, mode: Mode, settings: Settings) -> Self {
        let seen = Arc::new(Seen::default());
        let backend = backend("app", pool_mode, mode, &seen);
        let env = Env {
            keys: TenantKeys { default: Some("42".into()), ..TenantKeys::default() },
            shared: Arc::default(),
            planners: PlannerPool::new(1),
            limits: ClientLimits { copy_data: LARGE_LIMIT, ..ClientLimits::default() },
            account: Arc::new(Account::new(None)),
            observer: seen.clone(),
        };
        Self {
            session: Session::new(env, backend, settings, Arc::default()),
            seen,
            refreshes: 0,
            reads: 0,
            servers: true,
        }
    }

    /// The client sends; the session goes as far as it can.
    fn client(&mut self, write: impl FnOnce(&mut BytesMut)) -> Wait {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.session.client_bytes(&bytes);
        self.pump()
    }

    fn pump(&mut self) -> Wait {
        loop {
            match self.session.pump() {
                Wait::Server if self.servers => self.session.attach(link()),
                Wait::Look(_) => self.session.looked(Ok(())),
                Wait::Refresh(_) => {
                    self.refreshes += 1;
                    self.session.refreshed();
                }
                Wait::Read(reading) => {
                    self.reads += 1;
                    self.session.have_read(reading.run());
                }
                wait => return wait,
            }
        }
    }

    fn query(&mut self, sql: &str) -> Wait {
        self.client(|out| frontend::query(out, sql).unwrap())
    }

    /// The server sends.
    fn server(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.session.server_bytes(&bytes).unwrap();
        self.pump();
    }

    /// The server answers a Query with this tag and status.
    fn done(&mut self, tag: &str, status: TransactionStatus) {
        self.server(|out| {
            backend::command_complete(out, tag).unwrap();
            backend::ready_for_query(out, status);
        });
    }

    /// What went to the server since the last look.
    fn sent(&mut self) -> Vec<String> {
        frames(&mut self.session.server.out, sent_text)
    }

    /// What went to the client since the last look.
    fn told(&mut self) -> Vec<String> {
        frames(&mut self.session.client.out, told_text)
    }

    /// The server's state, if it is given back once it has taken all bytes.
    fn released(&mut self) -> Option<ServerState> {
        self.session.server.out.clear();
        self.session.detach_if_done()
    }
}

fn link() -> ServerState {
    ServerState::new(BytesMut::new(), Box::new(KnownState::new(BTreeMap::new(), PreparedSet::new(2))))
}

fn frames(buffer: &mut BytesMut, text: fn(u8, &[u8]) -> String) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(frame) = take_frame(buffer, &crate::wire::frame::AnyTag(LARGE_LIMIT)).unwrap() {
        found.push(text(frame.tag(), frame.body()));
    }
    assert!(buffer.is_empty(), "half a message was written");
    found
}

fn sent_text(tag: u8, body: &[u8]) -> String {
    match FrontendMessage::read(tag, body).unwrap() {
        FrontendMessage::Query(sql) => format!("Query {sql}"),
        FrontendMessage::Parse(parse) => {
            let types: Vec<_> = parse.param_types.iter().collect();
            format!("Parse {} {} {types:?}", parse.name, parse.sql)
        }
        FrontendMessage::Bind(bind) => {
            let values = bind.params.iter().map(|v| String::from_utf8_lossy(v.unwrap_or(b"NULL")).into_owned());
            let codes: Vec<_> = bind.formats.iter().collect();
            format!("Bind {} {} {codes:?} {}", bind.portal, bind.statement, values.collect::<Vec<_>>().join(","))
        }
        FrontendMessage::Describe(Target::Statement(name)) => format!("Describe statement {name}"),
        FrontendMessage::Describe(Target::Portal(name)) => format!("Describe portal {name}"),
        FrontendMessage::Close(Target::Statement(name)) => format!("Close statement {name}"),
        FrontendMessage::Close(Target::Portal(name)) => format!("Close portal {name}"),
        FrontendMessage::Execute(execute) => format!("Execute {} {}", execute.portal, execute.max_rows),
        FrontendMessage::CopyData(data) => format!("CopyData {}", String::from_utf8_lossy(data)),
        FrontendMessage::CopyFail(reason) => format!("CopyFail {reason}"),
        other => format!("{other:?}"),
    }
}

fn told_text(tag: u8, body: &[u8]) -> String {
    match tag {
        b'E' => {
            let report = Report::read(body).unwrap();
            let detail = report.field(b'D').map(|_| " detail").unwrap_or_default();
            let position = report.field(b'P').map(|_| " position").unwrap_or_default();
            let severity = report.log_text(b'S');
            format!("{severity} {} {}{detail}{position}", report.sqlstate().unwrap(), report.log_text(b'M'))
        }
        b'Z' => format!("Ready {}", char::from(body[0])),
        b'C' => format!("Complete {}", String::from_utf8_lossy(&body[..body.len() - 1])),
        b'S' => format!("Setting {}", String::from_utf8_lossy(body).replace('\0', " ").trim_end()),
        b't' => format!("Parameters {}", body.len() / 4),
        tag => char::from(tag).to_string(),
    }
}

fn error(out: &mut BytesMut, code: &[u8; 5], message: &str) {
    let error = PgError::error(SqlState(*code), message.to_owned()).detail("Key (id)=(1) exists.").position(3);
    backend::error_response(out, &error);
}

fn row(out: &mut BytesMut, value: &[u8]) {
    backend::data_row(out, &[Some(value)]).unwrap();
}

/// Parse, Bind, Execute of the unnamed statement and portal.
fn one_shot(out: &mut BytesMut, sql: &str) {
    frontend::parse(out, "", sql, &[]).unwrap();
    frontend::bind(out, "", "", &[], Format::Text).unwrap();
    frontend::execute(out, "", 0).unwrap();
}

/// The server's replies to [`one_shot`] without its Sync.
fn one_shot_replies(out: &mut BytesMut) {
    backend::parse_complete(out);
    backend::bind_complete(out);
    backend::command_complete(out, "SELECT 0").unwrap();
}

const I: TransactionStatus = TransactionStatus::Idle;
const T: TransactionStatus = TransactionStatus::Active;
const E: TransactionStatus = TransactionStatus::Failed;
