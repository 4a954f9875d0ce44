//! `[upstream.*]`, a tenant's own upstream, `[pool]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use toml::de::DeValue;

use super::{Context, Upstreams};
use crate::base::{Secret, UpstreamName};
use crate::config::diagnostics::{Span, did_you_mean};
use crate::config::model::{
    Address, Enforcement, GlobalPool, PoolMode, PoolSettings, TlsMode, Upstream, UpstreamAdmin, UpstreamTls,
};
use crate::config::section::{Keys, Section, value_type};
use crate::config::url::{TLS_MODES, UpstreamUrl, parse_tls_mode, parse_url};

/// Keys of an upstream.
pub(super) const UPSTREAM: Keys = Keys {
    known: &[
        "url",
        "password",
        "password_env",
        "password_file",
        "tls",
        "pool",
        "connect_timeout",
        "enforcement",
        "admin",
    ],
    later: &["replicas", "health_check"],
};
const ADMIN: Keys =
    Keys { known: &["url", "user", "password", "password_env", "password_file", "database"], later: &[] };
const TLS: Keys = Keys { known: &["mode", "root_cert"], later: &["cert", "key"] };
const POOL: Keys = Keys {
    known: &[
        "mode",
        "size",
        "min_idle",
        "wait_timeout",
        "idle_timeout",
        "lifetime",
        "max_prepared",
        "kept_for_others",
        "contended_idle_timeout",
    ],
    later: &[],
};
const GLOBAL: Keys = Keys { known: &["max_server_connections"], later: &[] };

/// All sections `[upstream.*]`.
pub(super) fn read_all(context: &Context<'_>, root: &Section<'_>) -> Upstreams {
    let mut upstreams = BTreeMap::new();
    let section = root.open_table("upstream");
    for (name, value) in section.iter().flat_map(Section::entries) {
        let upstream = match value.value {
            DeValue::Table(table) => {
                let title = format!("[upstream.{}]", name.value);
                let section = Section::new(title, value.span, table, context.findings).expect_keys(&UPSTREAM);
                read(context, &section, UpstreamName::new(name.value))
            }
            other => {
                context.findings.error_hint(
                    &name.span,
                    format!("\"{}\" in [upstream] is {}", name.value, value_type(other)),
                    "each upstream has a name: [upstream.main]",
                );
                continue;
            }
        };
        if !is_name(name.value) {
            context.findings.error_hint(
                &name.span,
                format!("\"{}\" is no name for an upstream", name.value),
                "letters, digits, _ and -",
            );
        }
        upstreams.insert(UpstreamName::new(name.value), (name.span, upstream));
    }
    if upstreams.is_empty() && (section.is_some() || !root.has("upstream")) {
        context.findings.error_hint(
            &root.span_of("upstream"),
            "no upstream is configured",
            "[upstream.main]\n          url = \"postgres://app@127.0.0.1:5432/app\"",
        );
    }
    Upstreams(upstreams)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// An upstream that a tenants' table names by its url: all that the url does not say is as in `base`.
///
/// # Errors
/// What is wrong with the url.
pub fn upstream_at(url: &str, name: UpstreamName, base: &Upstream) -> Result<Upstream, String> {
    // It may hold a password: the text itself is not repeated.
    let url = parse_url(url).map_err(|reason| format!("its url cannot be read: {reason}"))?;
    let tls = match url.sslmode {
        Some(mode) => UpstreamTls { mode, ..base.tls.clone() },
        None => base.tls.clone(),
    };
    let password = url.password.map(Secret::new);
    // Another server's admin is somebody else there.
    let admin = base.admin.clone().filter(|_| url.address == base.address);
    Ok(Upstream {
        name,
        address: url.address,
        user: url.user,
        database: url.database,
        password,
        tls,
        admin,
        ..base.clone()
    })
}

/// One upstream.
pub(super) fn read(context: &Context<'_>, section: &Section<'_>, name: UpstreamName) -> Option<Arc<Upstream>> {
    let url = read_url(context, section);
    let url_password = url.as_ref().and_then(|u| u.password.clone());
    let password = read_password(context, section, url_password);
    let tls = read_tls(context, section, url.as_ref());
    let pool = read_pool(context, section);
    let connect_timeout =
        section.duration("connect_timeout", Duration::from_millis(100)).unwrap_or(Duration::from_secs(5));
    let enforcement = read_enforcement(context, section);
    let admin = section.table("admin", &ADMIN);
    let (url, tls) = (url?, tls?);
    let admin = match admin {
        Some(admin) => Some(Arc::new(read_admin(context, &admin, &url, &tls)?)),
        None => None,
    };
    Some(Arc::new(Upstream {
        name,
        address: url.address,
        user: url.user,
        database: url.database,
        password,
        tls,
        pool,
        connect_timeout,
        enforcement,
        admin,
    }))
}

/// `[upstream.*.admin]`: a role at the same place, or a URL of its own.
fn read_admin(
    context: &Context<'_>,
    section: &Section<'_>,
    upstream: &UpstreamUrl,
    tls: &UpstreamTls,
) -> Option<UpstreamAdmin> {
    let database = match section.has("database") {
        true => section.nonempty("database")?.value.to_owned(),
        false => "postgres".to_owned(),
    };
    if !section.has("url") {
        let user = section.required("user", "\"pgwarden_admin\", or url = \"postgres://...\"");
        let password = read_password(context, section, None);
        let (address, user) = (upstream.address.clone(), user?.value.to_owned());
        return Some(UpstreamAdmin { address, user, password, tls: tls.clone(), database });
    }
    for key in ["user", "database"] {
        if section.has(key) {
            let message = format!("{} has both \"url\" and \"{key}\"", section.title);
            context.findings.error_hint(&section.span_of(key), message, "the url says it");
        }
    }
    let url = read_url(context, section)?;
    let password = read_password(context, section, url.password.clone());
    let UpstreamUrl { address, user, database, sslmode, sslrootcert, password: _ } = url;
    let tls = UpstreamTls {
        mode: sslmode.unwrap_or(tls.mode),
        root_cert: sslrootcert.map(|path| context.base.join(path)).or_else(|| tls.root_cert.clone()),
    };
    Some(UpstreamAdmin { address, user, password, tls, database })
}

fn read_enforcement(context: &Context<'_>, section: &Section<'_>) -> Enforcement {
    let Some(written) = section.nonempty("enforcement") else { return Enforcement::default() };
    Enforcement::ALL.into_iter().find(|it| it.as_str() == written.value).unwrap_or_else(|| {
        let names = Enforcement::ALL.map(Enforcement::as_str);
        let hint = did_you_mean(written.value, names)
            .unwrap_or_else(|| format!("one of {}", names.map(|it| format!("\"{it}\"")).join(", ")));
        context.findings.error_hint(&written.span, format!("\"{}\" is no enforcement mode", written.value), hint);
        Enforcement::default()
    })
}

fn read_url(context: &Context<'_>, section: &Section<'_>) -> Option<UpstreamUrl> {
    let text = section.required("url", "\"postgres://app@127.0.0.1:5432/app\"")?;
    parse_url(text.value)
        .map_err(|reason| {
            context.findings.error_hint(
                &text.span,
                format!("\"url\" in {} cannot be read: {reason}", section.title),
                "postgres://user@host:port/database, special characters written as %XX",
            );
        })
        .ok()
}

fn read_password(context: &Context<'_>, section: &Section<'_>, from_url: Option<String>) -> Option<Secret> {
    let key = context.at_most_one(section, &["password", "password_env", "password_file"]);
    if let (Some(key), Some(_)) = (key, &from_url) {
        context.findings.error_hint(
            &section.span_of(key),
            format!("{} has both \"{key}\" and a password in its url", section.title),
            "give the password in one place only",
        );
    }
    match key {
        Some("password") => section.nonempty("password").map(|p| Secret::new(p.value)),
        Some("password_env") => context.secret_from_env(section, "password_env"),
        Some(_) => context.secret_from_file(section, "password_file"),
        None => from_url.map(Secret::new),
    }
}

fn read_tls(context: &Context<'_>, section: &Section<'_>, url: Option<&UpstreamUrl>) -> Option<UpstreamTls> {
    let table = section.table("tls", &TLS);
    let written = table.as_ref().and_then(|t| t.nonempty("mode"));
    let from_url = url.and_then(|u| u.sslmode);
    if let (Some(written), Some(_)) = (&written, from_url) {
        context.findings.error_hint(
            &written.span,
            format!("{} has both \"tls.mode\" and sslmode in its url", section.title),
            "keep one of them",
        );
    }
    let mode = match &written {
        Some(text) => parse_tls_mode(text.value).or_else(|| {
            let hint =
                did_you_mean(text.value, TLS_MODES).unwrap_or_else(|| format!("one of {}", TLS_MODES.join(", ")));
            let message = format!("\"{}\" is no TLS mode", text.value);
            context.findings.error_hint(&text.span, message, hint);
            None
        })?,
        None => from_url.unwrap_or(TlsMode::Prefer),
    };
    let root_cert = match table.as_ref().and_then(|t| t.nonempty("root_cert")) {
        Some(path) => Some((context.path(path.value), path.span)),
        None => url.and_then(|u| u.sslrootcert.as_ref()).map(|path| (context.base.join(path), section.span_of("url"))),
    };
    if let Some((path, span)) = &root_cert {
        check_root(context, path, span, mode);
    }
    if mode != TlsMode::Disable && written.is_some() && matches!(url.map(|u| &u.address), Some(Address::Unix(_))) {
        context.findings.error_hint(&section.span_of("tls"), "a Unix socket has no TLS", "remove \"tls\"");
    }
    Some(UpstreamTls { mode, root_cert: root_cert.map(|(path, _)| path) })
}

fn check_root(context: &Context<'_>, path: &std::path::Path, span: &Span, mode: TlsMode) {
    if mode == TlsMode::Disable {
        let message = "\"root_cert\" does nothing with TLS mode disable";
        context.findings.error_hint(span, message, "remove it, or use mode \"verify-full\"");
    }
    let roots = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match roots {
        Ok(roots) if roots.is_empty() => {
            context.findings.error(span, format!("{} holds no certificate", path.display()))
        }
        Ok(_) => {}
        Err(error) => context.findings.error(span, format!("{}: {error}", path.display())),
    }
}

fn read_pool(context: &Context<'_>, section: &Section<'_>) -> PoolSettings {
    let defaults = PoolSettings::default();
    let Some(table) = section.table("pool", &POOL) else {
        return defaults;
    };
    let mode = table.nonempty("mode").and_then(|mode| match mode.value {
        "transaction" => Some(PoolMode::Transaction),
        "session" => Some(PoolMode::Session),
        other => {
            let hint = did_you_mean(other, ["transaction", "session"])
                .unwrap_or_else(|| "\"transaction\" or \"session\"".to_owned());
            let message = format!("\"{other}\" is no pool mode");
            context.findings.error_hint(&mode.span, message, hint);
            None
        }
    });
    let size = table.number("size", 1..=10_000).map_or(defaults.size, |n| n.value);
    let min_idle = table.number("min_idle", 0..=10_000);
    if let Some(min_idle) = &min_idle
        && min_idle.value > size
    {
        context.findings.error(
            &min_idle.span,
            format!("\"min_idle\" ({}) is larger than the pool's \"size\" ({size})", min_idle.value),
        );
    }
    let kept = table.number("kept_for_others", 0..=10_000);
    if let Some(kept) = &kept
        && kept.value >= size
    {
        let message = format!("\"kept_for_others\" ({}) leaves nothing of the pool's \"size\" ({size})", kept.value);
        context.findings.error(&kept.span, message);
    }
    let second = Duration::from_secs(1);
    PoolSettings {
        mode: mode.unwrap_or(defaults.mode),
        size,
        min_idle: min_idle.map_or(defaults.min_idle, |n| n.value),
        wait_timeout: table.duration("wait_timeout", Duration::from_millis(1)).unwrap_or(defaults.wait_timeout),
        idle_timeout: table.duration("idle_timeout", second).unwrap_or(defaults.idle_timeout),
        lifetime: table.duration("lifetime", second).unwrap_or(defaults.lifetime),
        max_prepared: table.number("max_prepared", 1..=100_000).map_or(defaults.max_prepared, |n| n.value),
        kept_for_others: kept.map_or_else(|| PoolSettings::kept_of(size), |n| n.value),
        contended_idle_timeout: table
            .duration("contended_idle_timeout", Duration::ZERO)
            .unwrap_or(defaults.contended_idle_timeout),
    }
}

/// `[pool]`
pub(super) fn read_global(root: &Section<'_>) -> GlobalPool {
    let section = root.table("pool", &GLOBAL);
    let cap = section.and_then(|s| s.number("max_server_connections", 1..=100_000));
    GlobalPool { max_server_connections: cap.map_or(500, |n| n.value) }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 5] = [&UPSTREAM, &ADMIN, &TLS, &POOL, &GLOBAL];
