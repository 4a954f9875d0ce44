//! Allowances and the book: whose limit is felt, and what a reload changes.

use std::sync::Arc;
use std::time::Duration;

use super::limiter::Kind;
use super::*;
use crate::base::SqlState;
use crate::config::{Config, Limits, OnLimit, parse};
use crate::tenant::Registry;

fn config(limits: &str, login: &str) -> Config {
    let text = format!(
        r#"
        [listen]
        address = "127.0.0.1:6432"
        [upstream.main]
        url = "postgres://app@127.0.0.1:5432/app"
        [tenancy]
        upstream = "main"
        column = "tenant_id"
        [limits]
        {limits}
        [[tenant]]
        name = "acme"
        key = 1
        [[tenant]]
        name = "globex"
        key = 2
        limits = {{ connections = 0 }}
        [[login]]
        name = "app"
        password = "x"
        tenants = "*"
        {login}
        [[login]]
        name = "job"
        password = "x"
        tenants = "*"
        [[login]]
        name = "ops"
        password = "x"
        role = "operator"
        tenants = "*"
        "#
    );
    parse(&text, std::path::Path::new("t.toml"), &|_| None).unwrap().config
}

struct Desk {
    book: Arc<Limiters>,
    registry: Registry,
}

impl Desk {
    fn new(limits: &str, login: &str) -> Self {
        let mut desk = Self { book: Limiters::new(Duration::ZERO, None), registry: Registry::new(&config("", "")) };
        desk.reload(limits, login);
        desk
    }

    fn reload(&mut self, limits: &str, login: &str) {
        self.registry = Registry::new(&config(limits, login));
        self.book.apply(&self.registry, Duration::ZERO);
    }

    fn of(&self, login: &str, tenant: Option<&str>) -> Arc<Allowance> {
        let tenant = tenant.map(|name| Arc::clone(self.registry.tenant(name).unwrap()));
        self.book.allowance(self.registry.login(login).unwrap(), tenant.as_deref())
    }
}

#[test]
fn logins_share_what_their_tenant_may_take() {
    let desk = Desk::new("connections = 3", "limits = { connections = 2 }");
    let (app, job) = (desk.of("app", Some("acme")), desk.of("job", Some("acme")));
    let held = [app.connect().unwrap(), app.connect().unwrap()];
    let error = app.connect().unwrap_err();
    assert_eq!(error.code, SqlState::TOO_MANY_CONNECTIONS);
    assert_eq!(error.message, "too many connections for login \"app\" in tenant \"acme\"");
    assert_eq!(error.detail.unwrap(), "The limit connections of login \"app\" in tenant \"acme\" is 2.");
    let third = job.connect().unwrap();
    assert_eq!(job.connect().unwrap_err().message, "too many connections for tenant \"acme\"");
    // The other tenant has its own count, and none of this limit; an operator has no part in it.
    let other = desk.of("job", Some("globex"));
    let _many: Vec<_> = (0..10).map(|_| other.connect().unwrap()).collect();
    assert!(desk.of("ops", Some("acme")).connect().is_ok());
    drop((held, third));
    assert!(app.connect().is_ok());
}

/// What the login may not have is not taken from the tenant either, and the other way round.
#[test]
fn a_rejection_takes_nothing() {
    let desk = Desk::new(
        "statements_per_second = 1\nburst = 5\non_limit = \"reject\"",
        "limits = { statements_per_second = 1, burst = 2, on_limit = \"reject\" }",
    );
    let (app, job) = (desk.of("app", Some("acme")), desk.of("job", Some("acme")));
    assert_eq!([app.charge(), app.charge()], [Charge::Go, Charge::Go]);
    for _ in 0..50 {
        let Charge::Rejected(error) = app.charge() else { panic!("not rejected") };
        assert_eq!(error.code, SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        assert!(error.hint.unwrap().starts_with("Try again in "));
    }
    assert_eq!([job.charge(), job.charge(), job.charge()], [Charge::Go, Charge::Go, Charge::Go]);
    assert!(matches!(job.charge(), Charge::Rejected(_)));
}

#[test]
fn statements_wait_in_turn() {
    let desk = Desk::new("statements_per_second = 10\nburst = 1\nmax_wait = \"250ms\"", "");
    let app = desk.of("app", Some("acme"));
    assert_eq!(app.charge(), Charge::Go);
    let waits: Vec<_> = (0..2).map(|_| app.charge()).collect();
    let Charge::Wait(first) = waits[0] else { panic!("{waits:?}") };
    let Charge::Wait(second) = waits[1] else { panic!("{waits:?}") };
    assert!(first < second && second <= Duration::from_millis(200), "{waits:?}");
    assert!(matches!(app.charge(), Charge::Rejected(_)));
}

#[test]
fn a_reload_changes_limits_of_those_who_are_connected() {
    let mut desk = Desk::new("", "");
    let app = desk.of("app", Some("acme"));
    let unbound = desk.of("app", None);
    assert!(!app.is_armed() && !unbound.is_armed());
    let held = [app.connect().unwrap(), app.connect().unwrap()];
    desk.reload("connections = 2\nresult_rows = 7", "");
    assert!(app.is_armed() && unbound.is_armed() && !desk.of("ops", None).is_armed());
    assert!(app.connect().is_err());
    let mut view = Arc::default();
    app.view(&mut view);
    assert_eq!(view.result_rows.as_ref().unwrap().value, 7);
    assert_eq!(view.result_rows.as_ref().unwrap().whose.to_string(), "tenant \"acme\"");
    // The tighter one holds.
    desk.reload("connections = 2\nresult_rows = 7", "limits = { result_rows = 5 }");
    app.view(&mut view);
    assert_eq!(view.result_rows.as_ref().unwrap().whose.to_string(), "login \"app\" in tenant \"acme\"");
    drop(held);
    desk.reload("", "");
    assert!(!app.is_armed());
}

#[test]
fn what_is_felt_is_told() {
    let desk = Desk::new("connections = 1\ntransactions = 1\nstatement_timeout = \"2s\"\non_limit = \"reject\"", "");
    let app = desk.of("app", Some("acme"));
    let _held = app.connect().unwrap();
    assert!(app.connect().is_err());
    let permit = app.try_permit().unwrap().unwrap();
    assert_eq!(app.try_permit().unwrap_err().code, SqlState::CONFIGURATION_LIMIT_EXCEEDED);
    let line = |kind| desk.book.lines().into_iter().find(|line| line.kind == kind).unwrap();
    let connections = line(Kind::Connections);
    assert_eq!((connections.value.as_str(), connections.in_use, connections.rejections), ("1", Some(1), 1));
    assert_eq!(line(Kind::Transactions).in_use, Some(1));
    assert_eq!(line(Kind::StatementTime).value, "2s");
    let totals = |kind| desk.book.totals().find(|it| it.0 == kind).unwrap();
    assert_eq!(totals(Kind::Connections), (Kind::Connections, 0, 1));
    assert_eq!(totals(Kind::Transactions), (Kind::Transactions, 0, 1));
    drop(permit);
    assert_eq!(line(Kind::Transactions).in_use, Some(0));
    assert!(app.try_permit().unwrap().is_some());
}

/// Ten thousand logins that came and went leave nothing behind; one whose burst is used up stays.
#[test]
fn who_is_gone_is_forgotten() {
    let desk = Desk::new("", "");
    let template = Arc::clone(desk.registry.login("app").unwrap());
    let limits = Limits { statements_per_second: Some(1), on_limit: Some(OnLimit::Reject), ..Limits::default() };
    let spender = crate::config::Login { name: crate::base::LoginName::new("spender"), limits, ..(*template).clone() };
    desk.book.allowance(&spender, None).debit(1_000);
    for n in 0..10_000 {
        let login =
            crate::config::Login { name: crate::base::LoginName::new(format!("login{n}")), ..(*template).clone() };
        let _ = desk.book.allowance(&login, None);
    }
    assert!(desk.book.len() <= 1_100, "{}", desk.book.len());
    assert!(matches!(desk.book.allowance(&spender, None).charge(), Charge::Rejected(_)));
}
