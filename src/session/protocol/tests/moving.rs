//! A session whose tenants live in several places: BEGIN waits for the place, and the place for the end of the transaction.

use std::collections::HashMap;

use super::*;

struct Three(HashMap<&'static str, Arc<TenantContext>>);

impl Tenants for Three {
    fn resolve(&self, name: &str) -> Result<Arc<TenantContext>, PgError> {
        let unknown = || PgError::error(SqlState::INVALID_AUTHORIZATION, "not yours");
        self.0.get(name).cloned().ok_or_else(unknown)
    }

    fn of_path(&self, _: &[String]) -> Option<crate::base::TenantName> {
        None
    }

    fn nobody(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

pub(super) fn bench(pool_mode: PoolMode) -> Bench {
    let mut bench = Bench::with(pool_mode, Mode::Shared, Settings::default());
    let seen = Arc::clone(&bench.seen);
    let home = Arc::clone(bench.session.backend());
    let at = |name: &'static str, backend: &Arc<Backend>| {
        let keys = TenantKeys { default: Some(name.into()), ..TenantKeys::default() };
        let sealed = BTreeMap::from([("app.tenant_id".to_owned(), name.to_owned())]);
        let account = Arc::new(Account::new(None));
        let tenant = crate::base::TenantName::new(name);
        (
            name,
            Arc::new(TenantContext {
                name: tenant,
                keys,
                sealed,
                account,
                backend: Arc::clone(backend),
                allowance: Arc::default(),
            }),
        )
    };
    let own = backend("own", pool_mode, Mode::Database, &seen);
    let tenants = HashMap::from([at("a", &home), at("b", &home), at("d", &own)]);
    bench.session = bench.session.switching(Arc::new(Three(tenants)));
    bench
}

impl Bench {
    /// The server answers a Query of pgwarden's own.
    fn own_done(&mut self, status: TransactionStatus) {
        self.done("DONE", status);
    }

    fn database(&self) -> &str {
        &self.session.backend().database
    }
}

#[test]
fn begin_is_sent_with_the_first_statement() {
    let mut bench = bench(PoolMode::Transaction);
    bench.query("BEGIN");
    assert_eq!(bench.told(), ["Complete BEGIN", "Ready T"]);
    assert!(!bench.session.attached() && !bench.session.idle());
    bench.query("SET LOCAL app.tenant_id = 'd'");
    assert_eq!(bench.database(), "own");
    let sent = bench.sent();
    assert!(sent[0].contains("set_config('app.tenant_id', 'd', false)"), "{sent:?}");
    assert_eq!(sent[1..], ["Query BEGIN", "Query SET LOCAL \"app\".\"tenant_id\" TO 'd'"]);
    bench.own_done(I);
    assert!(!bench.session.between_transactions());
    bench.own_done(T);
    bench.done("SET", T);
    assert_eq!(bench.told(), ["Complete SET", "Ready T"]);
    bench.query("COMMIT");
    bench.sent();
    bench.done("COMMIT", I);
    assert_eq!(bench.told(), ["Complete COMMIT", "Ready I"]);
    assert!(bench.released().is_some());
}

/// The reply to the connection's settings comes between the Bind that was answered here and the portal's Execute.
#[test]
fn a_portal_of_begin_outlives_the_replies_to_settings() {
    let mut bench = bench(PoolMode::Transaction);
    bench.query("SET app.tenant_id = 'a'");
    bench.own_done(I);
    bench.done("SET", I);
    bench.released();
    bench.told();
    bench.sent();
    bench.client(|out| {
        frontend::parse(out, "begin", "BEGIN", &[]).unwrap();
        frontend::bind(out, "p", "begin", &[], Format::Text).unwrap();
        one_shot(out, "SELECT 1");
    });
    assert!(bench.sent()[0].contains("set_config"));
    bench.own_done(I);
    bench.client(|out| {
        frontend::describe(out, Target::Portal("p")).unwrap();
        frontend::execute(out, "p", 0).unwrap();
        frontend::sync(out);
    });
    let sent = bench.sent();
    assert!(sent.contains(&"Execute p 0".to_owned()), "{sent:?}");
    let told = bench.told();
    assert!(!told.iter().any(|it| it.starts_with("ERROR")), "{told:?}");
}

#[test]
fn a_transaction_of_nothing_takes_no_server() {
    let mut bench = bench(PoolMode::Transaction);
    for (end, tag) in [("COMMIT", "Complete COMMIT"), ("ROLLBACK", "Complete ROLLBACK")] {
        bench.query("BEGIN");
        bench.query(end);
        assert_eq!(bench.told(), ["Complete BEGIN", "Ready T", tag, "Ready I"]);
    }
    bench.client(|out| {
        one_shot(out, "BEGIN");
        frontend::sync(out);
        one_shot(out, "COMMIT");
        frontend::sync(out);
    });
    assert_eq!(bench.told(), ["1", "2", "Complete BEGIN", "Ready T", "1", "2", "Complete COMMIT", "Ready I"]);
    assert!(!bench.session.attached() && bench.sent().is_empty());
}

#[test]
fn an_error_before_the_first_statement_fails_it() {
    let mut bench = bench(PoolMode::Transaction);
    bench.query("BEGIN");
    bench.query("REFUSED");
    assert_eq!(bench.told(), ["Complete BEGIN", "Ready T", "ERROR 42501 not allowed", "Ready E"]);
    // The server fails it too, before it sees anything else.
    bench.query("SELECT 1");
    assert_eq!(bench.sent(), ["Query BEGIN", "Query refused by pgwarden", "Query SELECT 1"]);
    bench.own_done(T);
    bench.server(|out| {
        error(out, b"42601", "syntax error");
        backend::ready_for_query(out, E);
    });
    assert!(bench.told().is_empty());
    bench.server(|out| {
        error(out, b"25P02", "aborted");
        backend::ready_for_query(out, E);
    });
    assert_eq!(bench.told()[1], "Ready E");
    bench.query("ROLLBACK");
    assert_eq!(bench.sent(), ["Query ROLLBACK"]);
    bench.done("ROLLBACK", I);
    bench.told();
    bench.query("BEGIN");
    bench.query("REFUSED");
    bench.query("COMMIT");
    assert_eq!(bench.told()[4..], ["Complete ROLLBACK", "Ready I"]);
}

#[test]
fn no_server_to_be_had_fails_it() {
    let mut bench = bench(PoolMode::Transaction);
    bench.servers = false;
    bench.query("BEGIN");
    assert_eq!(bench.query("SELECT 1"), Wait::Server);
    // What ends the session of one upstream is one tenant's trouble here.
    bench.session.deny(PgError::fatal(SqlState::CONNECTION_FAILURE, "down"));
    bench.pump();
    assert_eq!(bench.told()[2..], ["ERROR 08006 down", "Ready E"]);
    bench.query("ROLLBACK");
    assert_eq!(bench.told(), ["Complete ROLLBACK", "Ready I"]);
}

#[test]
fn begin_with_options_is_waited_for() {
    let mut bench = bench(PoolMode::Transaction);
    bench.query("BEGIN READ WRITE");
    assert_eq!(bench.query("SELECT 1"), Wait::Replies);
    assert_eq!(bench.sent(), ["Query BEGIN READ WRITE"]);
    bench.own_done(T);
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
    // Nothing runs outside of a transaction that the client believes to be in.
    let mut bench = self::bench(PoolMode::Transaction);
    bench.query("BEGIN READ WRITE");
    bench.query("SELECT 1");
    bench.sent();
    bench.server(|out| {
        error(out, b"25006", "cannot set transaction read-write mode during recovery");
        backend::ready_for_query(out, I);
    });
    assert!(bench.session.closed() && bench.sent().is_empty());
    assert!(bench.session.detach().is_some_and(|(link, _)| link.poisoned));
}

#[test]
fn the_server_is_given_back_before_another_place() {
    for pool_mode in [PoolMode::Transaction, PoolMode::Session] {
        let mut bench = bench(pool_mode);
        bench.query("/* tenant='a' */ SELECT 1");
        bench.own_done(I);
        bench.done("SELECT 1", I);
        bench.sent();
        bench.told();
        assert_eq!(bench.query("/* tenant='d' */ SELECT 2"), Wait::Elsewhere);
        let link = bench.session.detach_to_move().unwrap();
        assert_eq!(link.known.needs_reset, pool_mode == PoolMode::Session);
        bench.pump();
        assert_eq!(bench.database(), "own");
        assert_eq!(bench.sent()[1..], ["Query /* tenant='d' */ SELECT 2"]);
    }
}

#[test]
fn replies_come_before_the_session_moves() {
    let mut bench = bench(PoolMode::Transaction);
    bench.query("/* tenant='a' */ SELECT 1");
    bench.sent();
    assert_eq!(bench.query("/* tenant='d' */ SELECT 2"), Wait::Replies);
    assert!(bench.session.detach_to_move().is_none());
    bench.own_done(I);
    bench.done("SELECT 1", I);
    assert_eq!(bench.pump(), Wait::Elsewhere);
}

#[test]
fn what_stays_on_a_server_keeps_the_session_there() {
    for pool_mode in [PoolMode::Transaction, PoolMode::Session] {
        let mut bench = bench(pool_mode);
        bench.query("/* tenant='d' */ LISTEN x");
        bench.own_done(I);
        bench.done("LISTEN", I);
        bench.sent();
        bench.told();
        bench.query("/* tenant='a' */ SELECT 1");
        assert!(bench.told()[0].starts_with("ERROR 25001"));
        assert!(bench.session.detach_to_move().is_none());
        bench.query("DISCARD ALL");
        assert_eq!(bench.sent(), ["Query DISCARD ALL"]);
        bench.done("DISCARD ALL", I);
        assert_eq!(bench.query("/* tenant='a' */ SELECT 1"), Wait::Elsewhere);
    }
}
