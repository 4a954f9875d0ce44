//! Columns and rows; the look-ups themselves are tested in front of a real Postgres.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio_postgres::types::Type;

use super::row::{Column, Row, Shape, ShapeError};
use super::*;
use crate::auth::Method;
use crate::base::{Secret, TenantName};
use crate::config::{Role, TenantScope, parse};

const MD5: &str = "md50123456789abcdef0123456789abcdef";

fn config(more: &str) -> Arc<AuthQuery> {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:6432\"\n[upstream.main]\nurl = \"postgres://app@127.0.0.1:5432/app\"\n\
         [tenancy]\nupstream = \"main\"\n[[tenant]]\nname = \"acme\"\nkey = 1\n[auth_query]\n{more}"
    );
    let loaded = parse(&text, Path::new("t/pgwarden.toml"), &|_| None).map_err(|found| found.errors).unwrap();
    loaded.config.auth_query.unwrap()
}

fn row() -> Row {
    let tenants = Column::Is(Some(vec![Some("acme".to_owned()), Some("new".to_owned())]));
    Row { name: Some("app".to_owned()), password: Some(Secret::new(MD5)), tenants, ..Row::default() }
}

fn shape(columns: &[(&str, Type)], default: bool) -> Result<Shape, ShapeError> {
    Shape::new(columns.iter().map(|(name, found)| (*name, found)), default)
}

#[test]
fn columns() {
    let basic = [("usename", Type::NAME), ("passwd", Type::TEXT)];
    assert_eq!(shape(&basic, false), Err(ShapeError::NoTenants));
    assert!(shape(&basic, true).is_ok());
    let with = |column: &'static str, found: Type| {
        shape(&[("name", Type::TEXT), ("password", Type::VARCHAR), (column, found)], true)
    };
    for (column, found) in [
        ("valid_until", Type::TIMESTAMPTZ),
        ("rolvaliduntil", Type::TIMESTAMPTZ),
        ("tenants", Type::TEXT_ARRAY),
        ("tenants", Type::TEXT),
        ("allow_from", Type::TEXT_ARRAY),
        ("role", Type::TEXT),
    ] {
        assert!(with(column, found).is_ok(), "{column}");
    }
    for (column, found) in [
        ("valid_until", Type::TIMESTAMP),
        ("valid_until", Type::DATE),
        ("tenants", Type::INT4_ARRAY),
        ("allow_from", Type::CIDR),
        ("role", Type::BOOL),
    ] {
        assert!(matches!(with(column, found), Err(ShapeError::Type { .. })), "{column}");
    }
    assert_eq!(with("colour", Type::TEXT), Err(ShapeError::Unknown("colour".to_owned())));
    assert_eq!(with("usename", Type::TEXT), Err(ShapeError::Twice("name")));
    assert_eq!(shape(&[("password", Type::TEXT)], true), Err(ShapeError::Missing("name")));
    assert_eq!(shape(&[("name", Type::TEXT)], true), Err(ShapeError::Missing("password")));
}

#[test]
fn a_row_says_a_login() {
    let login = row().login("app", &config("")).unwrap();
    assert_eq!((login.method, login.kind(), &login.login.role), (Method::Md5, Kind::Md5, &Role::Tenant));
    let tenants = TenantScope::Only(["acme", "new"].map(TenantName::new).into_iter().collect::<BTreeSet<_>>());
    assert_eq!(login.login.tenants, tenants);
    assert!(login.login.allow_from.is_none());
    let all = Row { tenants: Column::Is(Some(vec![Some("*".to_owned())])), ..row() };
    assert_eq!(all.login("app", &config("")).unwrap().login.tenants, TenantScope::All);
    let default = Row { tenants: Column::Missing, ..row() }.login("app", &config("tenants = \"acme\"")).unwrap();
    assert!(matches!(&default.login.tenants, TenantScope::Only(names) if names.len() == 1));
    let from = Row { allow_from: Column::Is(Some(vec![Some("10.0.0.0/8".to_owned())])), ..row() };
    let list = from.login("app", &config("")).unwrap().login.allow_from.clone().unwrap();
    assert!(list.contains("10.1.1.1".parse().unwrap()) && !list.contains("11.1.1.1".parse().unwrap()));
}

/// Default deny: what a row leaves open is not allowed.
#[test]
fn rows_that_say_none() {
    let some = |texts: &[Option<&str>]| Column::Is(Some(texts.iter().map(|it| it.map(str::to_owned)).collect()));
    for (bad, why) in [
        (Row { name: Some("App".to_owned()), ..row() }, "another name"),
        (Row { name: None, ..row() }, "another name"),
        (Row { password: None, ..row() }, "no password"),
        (Row { password: Some(Secret::new("plain")), ..row() }, "neither"),
        (Row { password: Some(Secret::new("")), ..row() }, "neither"),
        (Row { password: Some(Secret::new("SCRAM-SHA-256$4096:x$y:z")), ..row() }, "neither"),
        (Row { tenants: Column::Missing, ..row() }, "no tenants"),
        (Row { tenants: Column::Is(None), ..row() }, "no tenants"),
        (Row { tenants: some(&[]), ..row() }, "no tenants"),
        (Row { tenants: some(&[None]), ..row() }, "no name"),
        (Row { tenants: some(&[Some("acme"), Some("*")]), ..row() }, "no name"),
        (Row { tenants: some(&[Some("a/b")]), ..row() }, "no name"),
        (Row { role: Some("operator".to_owned()), ..row() }, "operator"),
        (Row { role: Some("admin".to_owned()), ..row() }, "admin"),
        (Row { role: Some(String::new()), ..row() }, "role"),
        (Row { allow_from: some(&[Some("here")]), ..row() }, "allow_from"),
        (Row { allow_from: some(&[None]), ..row() }, "allow_from"),
    ] {
        let said = bad.login("app", &config("")).map(drop).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    // NULL is no leave to fall back on the default.
    assert!(Row { tenants: Column::Is(None), ..row() }.login("app", &config("tenants = \"acme\"")).is_err());
}

#[test]
fn validity() {
    let until = |micros: Option<i64>| Row { valid_until: micros, ..row() }.login("app", &config("")).unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800 + 1_000);
    for (micros, expired) in [
        (None, false),
        (Some(i64::MAX), false),
        (Some(i64::MIN), true),
        (Some(999_999_999), true),
        (Some(1_000_000_000), true),
        (Some(1_000_000_001), false),
        (Some(-5), true),
    ] {
        assert_eq!(until(micros).has_expired(now), expired, "{micros:?}");
    }
    assert!(until(Some(5)).has_expired(SystemTime::UNIX_EPOCH));
    assert!(!until(None).has_expired(SystemTime::UNIX_EPOCH));
}
