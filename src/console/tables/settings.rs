//! SHOW CONFIG, SHOW VERSION

use crate::config::{AuditSink, Config, LogFormat, PoolMode, Source};
use crate::console::table::{Cell, Column, Plain, Rows, View, text};

const CONFIG_COLUMNS: &[Column] = &[text("key"), text("value"), text("changeable")];

pub(super) const CONFIG: Plain = Plain {
    name: "CONFIG",
    about: "the configuration in force, without secrets; whether RELOAD can change it",
    columns: CONFIG_COLUMNS,
    rows: config_rows,
};

pub(super) const VERSION: Plain = Plain {
    name: "VERSION",
    about: "the version of pgwarden",
    columns: &[text("version")],
    rows: |_| vec![vec![Cell::text(concat!("pgwarden ", env!("CARGO_PKG_VERSION")))]],
};

fn config_rows(view: &View) -> Rows {
    let mut rows = Rows::new();
    let mut say = |key: String, value: String, changeable: bool| {
        rows.push(vec![Cell::Text(key), Cell::Text(value), Cell::yes(changeable)]);
    };
    general(&view.config, &mut say);
    tenancy(&view.config, &mut say);
    upstreams(&view.config, &mut say);
    rows
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|it| it.to_string()).collect::<Vec<_>>().join(", ")
}

fn general(config: &Config, say: &mut impl FnMut(String, String, bool)) {
    let listen = &config.listen;
    say("config_file".to_owned(), config.path.display().to_string(), false);
    say("listen.address".to_owned(), list(&listen.addresses), false);
    say("listen.observe".to_owned(), listen.observe.to_string(), true);
    say("listen.login_timeout".to_owned(), format!("{:?}", listen.login_timeout), true);
    say("listen.buffer_memory".to_owned(), listen.buffer_memory.to_string(), false);
    say("listen.max_logins".to_owned(), listen.max_logins.to_string(), false);
    say("listen.max_connections".to_owned(), listen.max_connections.to_string(), false);
    say("listen.max_message_bytes".to_owned(), listen.max_message_bytes.to_string(), true);
    say("pool.max_server_connections".to_owned(), config.pool.max_server_connections.to_string(), true);
    let format = match config.log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    say("log.format".to_owned(), format.to_owned(), false);
    say("log.level".to_owned(), config.log.level.clone(), true);
    let audit = match &config.log.audit {
        AuditSink::Log => "log".to_owned(),
        AuditSink::File(path) => path.display().to_string(),
    };
    say("log.audit".to_owned(), audit, false);
    say("logins".to_owned(), config.logins.len().to_string(), true);
    say("tenants".to_owned(), config.tenants.len().to_string(), true);
}

fn tenancy(config: &Config, say: &mut impl FnMut(String, String, bool)) {
    let tenancy = &config.tenancy;
    say("tenancy.upstream".to_owned(), tenancy.upstream.to_string(), true);
    say("tenancy.column".to_owned(), tenancy.column.clone(), true);
    say("tenancy.setting".to_owned(), tenancy.setting.clone(), false);
    let source = |source: &Source| match source {
        Source::Sni => "sni",
        Source::User => "user",
        Source::Database => "database",
        Source::Option => "option",
        Source::Certificate => "certificate",
    };
    say("tenancy.identify".to_owned(), list(tenancy.identify.iter().map(source)), true);
    say("tenancy.shared_tables".to_owned(), list(&tenancy.shared_tables), true);
    let without_tenant: Vec<String> = tenancy.without_tenant.iter().map(ToString::to_string).collect();
    say("tenancy.without_tenant".to_owned(), without_tenant.join(", "), true);
    say("tenancy.complete_conflict_targets".to_owned(), tenancy.complete_conflict_targets.to_string(), true);
    say("tenancy.allow_functions".to_owned(), list(&tenancy.allow_functions), true);
    let settings = tenancy.settings.iter().map(|it| if it.prefix { format!("{}*", it.name) } else { it.name.clone() });
    say("tenancy.settings".to_owned(), list(settings), true);
    say("tenancy.catalog_max_age".to_owned(), format!("{:?}", tenancy.catalog_max_age), true);
    say("tenancy.catalog_refresh".to_owned(), format!("{:?}", tenancy.catalog_refresh), true);
    say("tenancy.witness".to_owned(), tenancy.witness.as_str().to_owned(), true);
}

fn upstreams(config: &Config, say: &mut impl FnMut(String, String, bool)) {
    for (name, upstream) in &config.upstreams {
        let mut of = |key: &str, value: String| say(format!("upstream.{name}.{key}"), value, true);
        of("address", upstream.address.to_string());
        of("user", upstream.user.clone());
        of("database", upstream.database.clone());
        of("tls", format!("{:?}", upstream.tls.mode));
        of("connect_timeout", format!("{:?}", upstream.connect_timeout));
        let mode = match upstream.pool.mode {
            PoolMode::Transaction => "transaction",
            PoolMode::Session => "session",
        };
        of("pool.mode", mode.to_owned());
        of("pool.size", upstream.pool.size.to_string());
        of("pool.min_idle", upstream.pool.min_idle.to_string());
        of("pool.wait_timeout", format!("{:?}", upstream.pool.wait_timeout));
        of("pool.idle_timeout", format!("{:?}", upstream.pool.idle_timeout));
        of("pool.lifetime", format!("{:?}", upstream.pool.lifetime));
        of("pool.kept_for_others", upstream.pool.kept_for_others.to_string());
        of("pool.contended_idle_timeout", format!("{:?}", upstream.pool.contended_idle_timeout));
        of("pool.max_prepared", upstream.pool.max_prepared.to_string());
    }
}
