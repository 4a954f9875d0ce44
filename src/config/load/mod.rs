//! From the file to the model. One file a section; each reads on after an error, so that one run reports them all.

mod admin;
mod auth;
mod auth_query;
mod checks;
mod doctor;
mod jwt;
mod limits;
mod listen;
mod log;
mod login;
mod metrics;
mod moves;
mod pattern;
mod quota;
mod readers;
mod row;
mod shared;
mod tenancy;
mod tenant;
mod tenant_settings;
mod tenants_from;
mod tls;
mod upstream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::GateTables;
use super::diagnostics::{ConfigErrors, Diagnostic, Findings, Span};
use super::model::{Config, Upstream};
use super::section::{self, Keys, Section};
use crate::base::{Secret, UpstreamName};
pub use row::{TERM_COLUMNS, terms_of_row};
pub use tenant::{TenantTerms, line_of_tenant};
pub use upstream::upstream_at;

/// Where environment variables come from; a function so that tests need not change the process's own.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A configuration that was accepted.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is legal but probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// Where a configuration comes from that is not there.
const MISSING: &str =
    "--config names another file; pgwarden init --url postgres://... asks a database and writes a first one";

/// Reads and validates a configuration file, with the process's environment.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigErrors {
        errors: vec![Diagnostic {
            file: path.to_owned(),
            line: 0,
            column: 0,
            message: format!("cannot be read: {error}"),
            hint: (error.kind() == std::io::ErrorKind::NotFound).then(|| MISSING.to_owned()),
        }],
        warnings: Vec::new(),
    })?;
    parse(&text, path, &|name| std::env::var(name).ok())
}

/// Validates the text of a configuration; relative paths in it are taken from `path`'s directory.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str, path: &Path, env: Env<'_>) -> Result<Loaded, ConfigErrors> {
    let findings = Findings::new(path, text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        findings.error(&error.span().unwrap_or(0..0), error.message());
    }
    let config = if syntax.is_empty() {
        let root = Section::new(section::ROOT, 0..0, document.get_ref(), &findings);
        let context = Context { findings: &findings, base: path.parent().unwrap_or(Path::new("")), env };
        read_root(&context, root, path)
    } else {
        // What follows from a broken line would only bury it.
        None
    };
    let has_errors = findings.has_errors();
    let (errors, warnings) = findings.finish();
    match config {
        Some(config) if !has_errors => Ok(Loaded { config, warnings }),
        _ => Err(ConfigErrors { errors, warnings }),
    }
}

/// What the readers of sections share.
struct Context<'a> {
    findings: &'a Findings<'a>,
    base: &'a Path,
    env: Env<'a>,
}

impl Context<'_> {
    /// A path as written, from the configuration's directory.
    fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// The value of an environment variable named by `key`.
    fn secret_from_env(&self, section: &Section<'_>, key: &str) -> Option<Secret> {
        let name = section.nonempty(key)?;
        let value = (self.env)(name.value);
        match value {
            Some(value) if !value.is_empty() => Some(Secret::new(value)),
            Some(_) => {
                self.findings.error(&name.span, format!("environment variable {} is empty", name.value));
                None
            }
            None => {
                self.findings.error_hint(
                    &name.span,
                    format!("environment variable {} is not set", name.value),
                    format!("\"{key}\" is the name of a variable that holds the password"),
                );
                None
            }
        }
    }

    /// The first line of a file named by `key`.
    fn secret_from_file(&self, section: &Section<'_>, key: &str) -> Option<Secret> {
        let name = section.nonempty(key)?;
        let path = self.path(name.value);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Secret::new(text),
            Err(error) => {
                self.findings.error(&name.span, format!("{}: {error}", path.display()));
                return None;
            }
        };
        let line = text.expose().lines().next().unwrap_or_default();
        if line.is_empty() {
            self.findings.error(&name.span, format!("the first line of {} is empty", path.display()));
            return None;
        }
        Some(Secret::new(line))
    }

    /// The one of these keys that is set; more than one is an error.
    fn at_most_one<'k>(&self, section: &Section<'_>, keys: &[&'k str]) -> Option<&'k str> {
        let mut set = keys.iter().filter(|k| section.has(k));
        let first = set.next()?;
        for other in set {
            self.findings.error_hint(
                &section.span_of(other),
                format!("{} has both \"{first}\" and \"{other}\"", section.title),
                "give the password in one place only",
            );
        }
        Some(first)
    }
}

const ROOT_KEYS: Keys = Keys {
    known: &[
        "listen",
        "auth",
        "auth_query",
        "jwt",
        "upstream",
        "pool",
        "tenancy",
        "login",
        "tenant",
        "tenants_from",
        "moves",
        "admin",
        "limits",
        "log",
        "quota",
        "metrics",
        "doctor",
    ],
    later: &[],
};

fn read_root(context: &Context<'_>, root: Section<'_>, path: &Path) -> Option<Config> {
    let root = root.expect_keys(&ROOT_KEYS);
    let listen = listen::read(context, &root);
    let failures = auth::read(context, &root);
    let tokens = jwt::read(context, &root);
    let mut upstreams = upstream::read_all(context, &root);
    let pool = upstream::read_global(&root);
    let tenancy = tenancy::read(context, &root, &upstreams);
    let limits = limits::read_defaults(context, &root);
    let quota = quota::read(context, &root, tenancy.as_ref(), &upstreams);
    let metrics = metrics::read(context, &root);
    let doctor_accepts = doctor::read(context, &root);
    let tenants = tenant::read_all(context, &root, tenancy.as_ref(), quota.as_ref(), &mut upstreams, &limits.tenant);
    let tenants_from = tenants_from::read(context, &root, tenancy.as_ref(), &upstreams);
    let moves = moves::read(context, &root, tenancy.as_ref(), tenants_from.as_ref());
    let logins = login::read_all(context, &root, tenancy.as_ref(), &tenants, &upstreams, &limits.login);
    let auth_query = auth_query::read(
        context,
        &root,
        &auth_query::Known {
            tenancy: tenancy.as_ref(),
            upstreams: &upstreams,
            tenants: &tenants,
            limits: &limits.login,
        },
    );
    let admin = admin::read(context, &root, &logins);
    let log = log::read(context, &root);
    let (listen, mut tenancy, log) = (listen?, tenancy?, log?);
    tenancy.own_tables = tenants_from.iter().flat_map(|from| GateTables::beside(&from.writes).all()).collect();
    let found = checks::Found {
        listen: &listen,
        pool: &pool,
        tenancy: &tenancy,
        more_tenants: tenants_from.is_some() || tenancy.pattern.is_some(),
        upstreams: &upstreams,
        tenants: &tenants.read,
        logins: &logins,
        tokens: root.has("jwt").then_some(tokens.as_ref()),
        quota: quota.as_ref(),
        auth_query: auth_query.as_ref(),
        tenants_from: tenants_from.as_ref(),
    };
    checks::run(context, &found);
    Some(Config {
        path: path.to_owned(),
        listen,
        failures,
        tokens,
        upstreams: upstreams.into_valid(),
        pool,
        tenancy,
        tenants_from,
        moves,
        limits: limits.tenant,
        login_limits: limits.login,
        shared_limits: limits.shared.map(Arc::new),
        logins: logins.into_iter().map(|l| l.value).collect(),
        auth_query: auth_query.map(Arc::new),
        tenants: tenants.read.into_iter().map(|t| t.value).collect(),
        admin,
        log,
        quota: quota.map(Arc::new),
        metrics,
        doctor_accepts,
    })
}

/// Upstreams by name; `None` for one that is declared, but wrong: naming it is then no further error.
struct Upstreams(BTreeMap<UpstreamName, (Span, Option<Arc<Upstream>>)>);

impl Upstreams {
    /// The upstream of that name; its absence is reported at `span`.
    fn find(&self, context: &Context<'_>, name: &str, span: &Span) -> Option<Arc<Upstream>> {
        match self.0.get(name) {
            Some((_, upstream)) => upstream.clone(),
            None => {
                let names = || self.0.keys().map(UpstreamName::as_str);
                let hint = super::diagnostics::did_you_mean(name, names())
                    .unwrap_or_else(|| format!("add a section [upstream.{name}]"));
                context.findings.error_hint(span, format!("no upstream \"{name}\""), hint);
                None
            }
        }
    }

    fn into_valid(self) -> BTreeMap<UpstreamName, Arc<Upstream>> {
        self.0.into_iter().filter_map(|(name, (_, upstream))| Some((name, upstream?))).collect()
    }
}

/// Every key of every section: each must stand in the full example.
#[cfg(test)]
pub(super) fn known_keys() -> impl Iterator<Item = &'static str> {
    let own = [&ROOT_KEYS].into_iter();
    let all = own
        .chain(listen::ALL)
        .chain(tls::ALL)
        .chain(auth::ALL)
        .chain(auth_query::ALL)
        .chain(jwt::ALL)
        .chain(limits::ALL)
        .chain(shared::ALL)
        .chain(row::ALL)
        .chain(upstream::ALL)
        .chain(tenancy::ALL)
        .chain(tenant::ALL)
        .chain(login::ALL)
        .chain(admin::ALL)
        .chain(tenants_from::ALL)
        .chain(moves::ALL)
        .chain(pattern::ALL)
        .chain(log::ALL)
        .chain(quota::ALL)
        .chain(metrics::ALL)
        .chain(doctor::ALL);
    all.flat_map(|keys| keys.known).copied()
}
