//! What the query gives: columns told apart by name, and the login that a row says.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use tokio_postgres::types::{FromSql, Type};

use super::Kind;
use crate::auth::{Md5Verifier, Method, ScramVerifier, StoredPassword, VerifierError};
use crate::base::{AllowList, LoginName, Secret, TenantName, is_tenant_name, parse_network};
use crate::config::{AuthQuery, Login, LoginAuth, Role, TenantScope};

/// From the epoch of Unix to that of Postgres.
const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);

/// The columns of a result. Names as in `pg_shadow` and `pg_authid` are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    name: usize,
    password: usize,
    valid_until: Option<usize>,
    tenants: Option<usize>,
    allow_from: Option<usize>,
    role: Option<usize>,
}

const COLUMNS: [&[&str]; 6] = [
    &["name", "usename", "rolname"],
    &["password", "passwd", "rolpassword"],
    &["valid_until", "valuntil", "rolvaliduntil"],
    &["tenants"],
    &["allow_from"],
    &["role"],
];

/// The query's columns are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// One that means nothing.
    #[error(
        "the query has a column \"{0}\", which means nothing: it may have name, password, valid_until, tenants, allow_from, role"
    )]
    Unknown(String),
    /// One comes twice.
    #[error("the query has two columns for \"{0}\"")]
    Twice(&'static str),
    /// One that must be there.
    #[error("the query has no column \"{0}\"")]
    Missing(&'static str),
    /// Nothing says whom its logins may act for.
    #[error(
        "the query has no column \"tenants\", and [auth_query] has no \"tenants\" either: its logins could do nothing"
    )]
    NoTenants,
    /// One is of another type.
    #[error("column \"{column}\" of the query is of type {found}: it must be {wanted}")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
}

impl Shape {
    /// The shape of a result with these columns.
    ///
    /// # Errors
    /// As [`ShapeError`] says.
    pub fn new<'n>(
        columns: impl IntoIterator<Item = (&'n str, &'n Type)>,
        default_tenants: bool,
    ) -> Result<Self, ShapeError> {
        let mut found = [None; COLUMNS.len()];
        for (at, (name, of_type)) in columns.into_iter().enumerate() {
            let mut places = COLUMNS.iter().zip(&mut found);
            let place = places.find(|(names, _)| names.contains(&name));
            let Some((names, place)) = place else { return Err(ShapeError::Unknown(name.to_owned())) };
            let field = names.first().copied().unwrap_or_default();
            check_type(field, name, of_type)?;
            if place.replace(at).is_some() {
                return Err(ShapeError::Twice(field));
            }
        }
        let [name, password, valid_until, tenants, allow_from, role] = found;
        let (Some(name), Some(password)) = (name, password) else {
            return Err(ShapeError::Missing(if name.is_none() { "name" } else { "password" }));
        };
        if tenants.is_none() && !default_tenants {
            return Err(ShapeError::NoTenants);
        }
        Ok(Self { name, password, valid_until, tenants, allow_from, role })
    }

    /// A row of that shape.
    ///
    /// # Errors
    /// A value that cannot be read.
    pub fn read(&self, row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
        let text = |at: usize| Ok::<_, tokio_postgres::Error>(row.try_get::<_, Option<&str>>(at)?.map(str::to_owned));
        let list = |at: Option<usize>| match at {
            Some(at) => Ok(Column::Is(row.try_get::<_, Option<Texts>>(at)?.map(|texts| texts.0))),
            None => Ok::<_, tokio_postgres::Error>(Column::Missing),
        };
        Ok(Row {
            name: text(self.name)?,
            password: text(self.password)?.map(Secret::new),
            valid_until: match self.valid_until {
                Some(at) => row.try_get::<_, Option<Micros>>(at)?.map(|micros| micros.0),
                None => None,
            },
            tenants: list(self.tenants)?,
            allow_from: list(self.allow_from)?,
            role: self.role.map(text).transpose()?.flatten(),
        })
    }
}

fn check_type(field: &str, column: &str, found: &Type) -> Result<(), ShapeError> {
    let (fits, wanted) = match field {
        "valid_until" => (Micros::accepts(found), "timestamp with time zone"),
        "tenants" | "allow_from" => (Texts::accepts(found), "text[] or text"),
        _ => (<&str>::accepts(found), "text"),
    };
    match fits {
        true => Ok(()),
        false => Err(ShapeError::Type { column: column.to_owned(), found: found.to_string(), wanted }),
    }
}

/// `timestamptz` in microseconds from Postgres's epoch; the ends of the range are the infinities.
struct Micros(i64);

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(found: &Type) -> bool {
        *found == Type::TIMESTAMPTZ
    }
}

/// A list of texts, or one text alone.
struct Texts(Vec<Option<String>>);

impl<'a> FromSql<'a> for Texts {
    fn from_sql(found: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match <&str>::accepts(found) {
            true => Ok(Self(vec![Some(String::from_sql(found, raw)?)])),
            false => Ok(Self(Vec::from_sql(found, raw)?)),
        }
    }

    fn accepts(found: &Type) -> bool {
        <&str>::accepts(found) || <Vec<Option<String>>>::accepts(found)
    }
}

/// A column that a query may leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Column<T> {
    /// It does.
    #[default]
    Missing,
    /// The value.
    Is(Option<T>),
}

/// A row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// `name`
    pub name: Option<String>,
    /// `password`
    pub password: Option<Secret>,
    /// `valid_until`, in microseconds from Postgres's epoch.
    pub valid_until: Option<i64>,
    /// `tenants`
    pub tenants: Column<Vec<Option<String>>>,
    /// `allow_from`
    pub allow_from: Column<Vec<Option<String>>>,
    /// `role`
    pub role: Option<String>,
}

/// A login that the query gave, and how it proves itself.
#[derive(Clone, Debug)]
pub struct QueriedLogin {
    /// The login.
    pub login: Arc<Login>,
    /// How it is asked.
    pub method: Method,
    /// What is stored of its password.
    pub password: StoredPassword,
    valid_until: i64,
}

impl QueriedLogin {
    /// How it is asked for its proof.
    pub fn kind(&self) -> Kind {
        match &self.password {
            StoredPassword::Scram(verifier) => Kind::Scram(verifier.iterations()),
            StoredPassword::Md5(_) | StoredPassword::Plain(_) => Kind::Md5,
        }
    }

    /// Whether VALID UNTIL has passed.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        let epoch = SystemTime::UNIX_EPOCH + POSTGRES_EPOCH;
        match self.valid_until {
            i64::MAX => false,
            micros => match now.duration_since(epoch) {
                Ok(since) => i64::try_from(since.as_micros()).is_ok_and(|now| micros <= now),
                // A clock of the last century: nothing can be said to hold still.
                Err(_) => true,
            },
        }
    }
}

impl Row {
    /// The login that the row says.
    ///
    /// # Errors
    /// Why it says none, in words for an operator.
    pub fn login(self, asked: &str, query: &AuthQuery) -> Result<QueriedLogin, String> {
        if self.name.as_deref() != Some(asked) {
            return Err("the row is of another name".to_owned());
        }
        match self.role.as_deref() {
            None | Some("tenant") => {}
            Some(other) => {
                return Err(format!("its role is \"{other}\": only logins of the file can be more than \"tenant\""));
            }
        }
        let (method, password) = stored(self.password.as_ref())?;
        let login = Login {
            name: LoginName::new(asked),
            auth: LoginAuth::Queried,
            tenants: scope(self.tenants, query.tenants.as_ref())?,
            role: Role::Tenant,
            allow_from: networks(self.allow_from)?,
            limits: query.limits.clone(),
        };
        let valid_until = self.valid_until.unwrap_or(i64::MAX);
        Ok(QueriedLogin { login: Arc::new(login), method, password, valid_until })
    }
}

fn stored(password: Option<&Secret>) -> Result<(Method, StoredPassword), String> {
    let text = password.ok_or("it has no password")?.expose();
    match ScramVerifier::parse(text) {
        Ok(verifier) => return Ok((Method::Scram, StoredPassword::Scram(verifier))),
        Err(error @ VerifierError::TooManyIterations) => {
            return Err(format!("its SCRAM verifier is of no use: {error}"));
        }
        Err(VerifierError::Form | VerifierError::Iterations | VerifierError::Salt | VerifierError::Key) => {}
    }
    match Md5Verifier::parse(text) {
        Some(hash) => Ok((Method::Md5, StoredPassword::Md5(hash))),
        None => Err("its password is neither a SCRAM verifier nor an md5 hash".to_owned()),
    }
}

/// Whom it may act for: nobody, unless the row says so, or the configuration where rows cannot.
fn scope(column: Column<Vec<Option<String>>>, default: Option<&TenantScope>) -> Result<TenantScope, String> {
    let names = match column {
        Column::Missing => return default.cloned().ok_or_else(|| "it has no tenants".to_owned()),
        Column::Is(names) => names.unwrap_or_default(),
    };
    if let [Some(all)] = names.as_slice()
        && all == "*"
    {
        return Ok(TenantScope::All);
    }
    let mut tenants = BTreeSet::new();
    for name in names {
        match name {
            Some(name) if is_tenant_name(&name) => tenants.insert(TenantName::new(name)),
            Some(_) | None => return Err("\"tenants\" has something in it that is no name of a tenant".to_owned()),
        };
    }
    if tenants.is_empty() { Err("it has no tenants".to_owned()) } else { Ok(TenantScope::Only(tenants)) }
}

fn networks(column: Column<Vec<Option<String>>>) -> Result<Option<AllowList>, String> {
    let Column::Is(Some(networks)) = column else { return Ok(None) };
    let read = |text: Option<String>| parse_network(text.as_deref().unwrap_or_default());
    let networks: Result<Vec<IpNet>, String> = networks.into_iter().map(read).collect();
    networks
        .map(AllowList::new)
        .map(Some)
        .map_err(|wanted| format!("\"allow_from\" has something in it that is not {wanted}"))
}
