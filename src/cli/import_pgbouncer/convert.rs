//! Writes our configuration from PgBouncer's.

use std::fmt::{self, Write as _};

use super::ini::{Ini, Words};
use super::keys::{DATABASE, Fate, SETTINGS, USER, fate};
use crate::auth::ScramVerifier;
use crate::base::is_tenant_name;
use crate::cli::text::Quoted;
use crate::config::percent;

/// What was made, and what somebody must look at.
#[derive(Debug, Default)]
pub(super) struct Imported {
    /// Our configuration, in TOML.
    pub toml: String,
    /// What was not carried over, and what must be filled in.
    pub notes: Vec<String>,
}

/// A user of the userlist.
pub(super) type User = (String, String);

/// The configuration that does the same.
pub(super) fn convert(ini: &Ini, users: &[User]) -> Imported {
    let mut import = Import { ini, users, out: Imported::default() };
    // Writing to a String cannot fail.
    let _ = import.write();
    import.note_keys();
    import.out
}

struct Import<'a> {
    ini: &'a Ini,
    users: &'a [User],
    out: Imported,
}

impl<'a> Import<'a> {
    fn note(&mut self, note: impl Into<String>) {
        self.out.notes.push(note.into());
    }

    fn setting(&self, key: &str) -> Option<&'a str> {
        self.ini.settings.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A line `key = "15s"` of a number of seconds.
    fn seconds(&mut self, key: &str, text: Option<&str>) -> fmt::Result {
        let Some(text) = text else { return Ok(()) };
        match duration(text) {
            Some(duration) => writeln!(self.out.toml, "{key} = \"{duration}\""),
            None => {
                self.note(format!("{text} is no number of seconds: {key} was left out"));
                Ok(())
            }
        }
    }

    fn number(&mut self, key: &str, text: Option<&str>) -> fmt::Result {
        let Some(text) = text else { return Ok(()) };
        match text.parse::<u64>() {
            // No bound, to PgBouncer.
            Ok(0) => Ok(()),
            Ok(number) => writeln!(self.out.toml, "{key} = {number}"),
            Err(_) => {
                self.note(format!("{text} is no number: {key} was left out"));
                Ok(())
            }
        }
    }

    fn write(&mut self) -> fmt::Result {
        self.listen()?;
        let databases: Vec<_> = self.ini.databases.iter().filter(|(name, _)| name != "*").collect();
        let fallback = self.ini.databases.iter().find(|(name, _)| name == "*").map(|(_, words)| words);
        for (name, words) in &databases {
            self.upstream(name, words, words.get("dbname").map_or(name.as_str(), String::as_str))?;
        }
        if let Some(words) = fallback {
            self.upstream("fallback", words, "postgres")?;
        }
        let first = databases.first().map_or("fallback", |(name, _)| name.as_str());
        write!(self.out.toml, "\n[tenancy]\nupstream = {}\n", Quoted(first))?;
        self.out.toml.push_str("column = \"tenant_id\"   # of tables that tenants share: see docs/configuration.md\n");
        if fallback.is_some() {
            self.out.toml.push_str(
                "\n# [tenancy.pattern]   # databases that are named nowhere, as * was: their names must begin alike\n\
                 # upstream = \"fallback\"\n# database = \"app_{name}\"\n",
            );
            self.note("the line * leads to any database there is: name each as a [[tenant]] of upstream \"fallback\", or a pattern for them");
        }
        self.limits()?;
        self.logins()?;
        for (name, words) in databases {
            self.tenant(name, words)?;
        }
        Ok(())
    }

    fn listen(&mut self) -> fmt::Result {
        let port = self.setting("listen_port").unwrap_or("6432");
        let hosts = self.setting("listen_addr").unwrap_or("localhost");
        let mut addresses = Vec::new();
        for host in hosts.split(',').map(str::trim) {
            match host {
                "*" => addresses.extend([format!("0.0.0.0:{port}"), format!("[::]:{port}")]),
                "localhost" => addresses.push(format!("127.0.0.1:{port}")),
                host if host.contains(':') => addresses.push(format!("[{host}]:{port}")),
                host => addresses.push(format!("{host}:{port}")),
            }
        }
        let addresses: Vec<_> = addresses.iter().map(|it| Quoted(it).to_string()).collect();
        writeln!(self.out.toml, "[listen]\naddress = [{}]", addresses.join(", "))?;
        self.number("max_connections", self.setting("max_client_conn"))?;
        self.seconds("login_timeout", self.setting("client_login_timeout"))?;
        self.seconds("idle_timeout", self.setting("client_idle_timeout"))?;
        self.number("max_message_bytes", self.setting("max_packet_size").filter(|it| *it != "2147483647"))?;
        if self.setting("so_reuseport") == Some("1") {
            self.out.toml.push_str("reuse_port = true\n");
        }
        self.listen_tls()
    }

    fn listen_tls(&mut self) -> fmt::Result {
        let mode = self.setting("client_tls_sslmode").unwrap_or("disable");
        if mode == "disable" {
            return Ok(());
        }
        self.out.toml.push_str("\n[listen.tls]\n");
        for (key, from) in [("cert", "client_tls_cert_file"), ("key", "client_tls_key_file")] {
            match self.setting(from) {
                Some(path) => writeln!(self.out.toml, "{key} = {}", Quoted(path))?,
                None => self.note(format!("client_tls_sslmode = {mode} needs {from}: [listen.tls] {key} is missing")),
            }
        }
        writeln!(self.out.toml, "required = {}", !matches!(mode, "allow" | "prefer"))?;
        let verifies = mode.starts_with("verify");
        if verifies {
            if let Some(path) = self.setting("client_tls_ca_file") {
                writeln!(self.out.toml, "client_ca = {}\nclient_cert = \"require\"", Quoted(path))?;
            }
            self.note("client certificates are asked for: client_patterns of [listen.tls] say whom they name");
        }
        Ok(())
    }

    fn upstream(&mut self, name: &str, words: &Words, database: &str) -> fmt::Result {
        let word = |key: &str| words.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let user = word("user").map_or_else(|| self.app_user(name), str::to_owned);
        let host = word("host").unwrap_or("/var/run/postgresql").split(',').next().unwrap_or_default().to_owned();
        if word("host").is_some_and(|host| host.contains(',')) {
            self.note(format!("database {name}: of several hosts the first was taken"));
        }
        let port = word("port").unwrap_or("5432");
        let url = if host.starts_with('/') {
            format!("postgres://{}@localhost:{port}/{}?host={host}", percent(&user), percent(database))
        } else {
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            format!("postgres://{}@{host}:{port}/{}", percent(&user), percent(database))
        };
        writeln!(self.out.toml, "\n[upstream.{}]\nurl = {}", Quoted(name), Quoted(&url))?;
        let known = self.users.iter().find(|(known, _)| *known == user).map(|(_, secret)| secret.clone());
        match word("password").map(str::to_owned).or(known.filter(|secret| is_plain(secret))) {
            Some(password) => writeln!(self.out.toml, "password = {}", Quoted(&password))?,
            None => {
                self.out.toml.push_str("# password = \"...\"   # or password_env, password_file: that of its role\n");
                self.note(format!("upstream {name}: the password of role {user} is not known in clear: fill it in"));
            }
        }
        self.seconds("connect_timeout", self.setting("server_connect_timeout"))?;
        self.upstream_tls()?;
        self.pool(name, words)
    }

    /// The role for a database whose line names none: to PgBouncer that is whoever the client is.
    fn app_user(&mut self, database: &str) -> String {
        let admins: Vec<&str> = self.admins().collect();
        let mut users = self.users.iter().map(|(name, _)| name.as_str()).filter(|name| !admins.contains(name));
        let first = users.next().unwrap_or("app").to_owned();
        let one = users.next().is_none();
        if !one || self.users.is_empty() {
            self.note(format!(
                "database {database}: its line names no user, and pgwarden connects as one role for all logins: is {first} the right one?"
            ));
        }
        first
    }

    fn admins(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.setting("admin_users").into_iter().flat_map(|names| names.split(',')).map(str::trim)
    }

    fn upstream_tls(&mut self) -> fmt::Result {
        let Some(mode) = self.setting("server_tls_sslmode") else { return Ok(()) };
        let mode = if mode == "allow" { "prefer" } else { mode };
        match self.setting("server_tls_ca_file") {
            Some(path) => {
                writeln!(self.out.toml, "tls = {{ mode = {}, root_cert = {} }}", Quoted(mode), Quoted(path))
            }
            None => writeln!(self.out.toml, "tls = {{ mode = {} }}", Quoted(mode)),
        }
    }

    fn pool(&mut self, name: &str, words: &Words) -> fmt::Result {
        let word = |key: &str| words.get(key).map(String::as_str);
        writeln!(self.out.toml, "[upstream.{}.pool]", Quoted(name))?;
        match word("pool_mode").or_else(|| self.setting("pool_mode")).unwrap_or("session") {
            "session" => self.out.toml.push_str("mode = \"session\"\n"),
            "statement" => {
                self.note(format!(
                    "database {name}: pool_mode = statement refuses transactions; here it is \"transaction\""
                ));
                self.out.toml.push_str("mode = \"transaction\"\n");
            }
            _ => self.out.toml.push_str("mode = \"transaction\"\n"),
        }
        let of = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).filter(|it| *it > 0);
        let size = of(word("pool_size").or_else(|| self.setting("default_pool_size"))).unwrap_or(20);
        let bound = of(word("max_db_connections").or_else(|| self.setting("max_db_connections"))).unwrap_or(size);
        writeln!(self.out.toml, "size = {}", size.min(bound))?;
        self.number("min_idle", word("min_pool_size").or_else(|| self.setting("min_pool_size")))?;
        self.seconds("wait_timeout", word("query_wait_timeout").or_else(|| self.setting("query_wait_timeout")))?;
        self.seconds("idle_timeout", self.setting("server_idle_timeout"))?;
        self.seconds("lifetime", word("server_lifetime").or_else(|| self.setting("server_lifetime")))?;
        self.number("max_prepared", self.setting("max_prepared_statements"))
    }

    fn limits(&mut self) -> fmt::Result {
        let keys = [
            ("transaction_timeout", "transaction_timeout"),
            ("statement_timeout", "query_timeout"),
            ("idle_in_transaction_timeout", "idle_transaction_timeout"),
        ];
        let set = |text: &str| text.parse::<f64>().is_ok_and(|it| it > 0.0);
        if keys.iter().any(|(_, from)| self.setting(from).is_some_and(set)) {
            self.out.toml.push_str("\n[limits]\n");
            for (key, from) in keys {
                self.seconds(key, self.setting(from).filter(|it| set(it)))?;
            }
        }
        if self.setting("max_user_client_connections").is_some_and(set) {
            self.out.toml.push_str("\n[limits.login]\n");
            self.number("connections", self.setting("max_user_client_connections"))?;
        }
        Ok(())
    }

    fn logins(&mut self) -> fmt::Result {
        let admins: Vec<&str> = self.admins().collect();
        let trusts = matches!(self.setting("auth_type"), Some("trust" | "any"));
        for (name, secret) in self.users {
            writeln!(self.out.toml, "\n[[login]]\nname = {}", Quoted(name))?;
            if trusts {
                self.note(format!(
                    "login {name}: auth_type lets it in without a password; here it has that of the userlist"
                ));
            }
            self.password(name, secret)?;
            if admins.contains(&name.as_str()) {
                self.out.toml.push_str("role = \"admin\"\n");
                self.note(format!("login {name}: it uses the console (database \"pgwarden\") and nothing else"));
                continue;
            }
            self.out.toml.push_str("tenants = \"*\"   # or a list of those that it may act for\n");
            if let Some((_, words)) = self.ini.users.iter().find(|(known, _)| known == name) {
                self.login_limits(words)?;
            }
        }
        let listed = |name: &str| self.users.iter().any(|(known, _)| known == name);
        let missing = admins.into_iter().filter(|name| !listed(name));
        for name in missing {
            self.note(format!("admin_users names {name}, whose password is not in the userlist: no login was made"));
        }
        if self.users.is_empty() {
            self.out.toml.push_str(
                "\n# [[login]]   # nobody could connect: name users in a userlist, or write them here\n# name = \"app\"\n# password = \"...\"   # by: pgwarden hash-password\n# tenants = \"*\"\n",
            );
            self.note("no user is known: without a [[login]] nobody could connect");
        }
        Ok(())
    }

    /// A password in clear is turned into a verifier; one of SCRAM or md5 is taken as it is.
    fn password(&mut self, name: &str, secret: &str) -> fmt::Result {
        if secret.is_empty() {
            self.note(format!("login {name}: it has no password in the userlist: fill one in"));
            return writeln!(self.out.toml, "# password = \"...\"   # by: pgwarden hash-password");
        }
        let stored = match is_plain(secret) {
            true => ScramVerifier::from_password(secret).to_text().expose().to_owned(),
            false => secret.to_owned(),
        };
        writeln!(self.out.toml, "password = {}", Quoted(&stored))
    }

    fn login_limits(&mut self, words: &Words) -> fmt::Result {
        let mut limits = Vec::new();
        if let Some(count) = words.get("max_user_client_connections") {
            limits.push(format!("connections = {count}"));
        }
        for (key, from) in [("statement_timeout", "query_timeout"), ("transaction_timeout", "transaction_timeout")] {
            if let Some(duration) = words.get(from).and_then(|text| duration(text)) {
                limits.push(format!("{key} = \"{duration}\""));
            }
        }
        if limits.is_empty() { Ok(()) } else { writeln!(self.out.toml, "limits = {{ {} }}", limits.join(", ")) }
    }

    fn tenant(&mut self, name: &str, words: &Words) -> fmt::Result {
        if !is_tenant_name(name) {
            self.note(format!(
                "database {name}: this is no name for a tenant: name one, and what clients are to call it"
            ));
            return Ok(());
        }
        let quoted = Quoted(name);
        writeln!(
            self.out.toml,
            "\n[[tenant]]   # clients go on naming the database\nname = {quoted}\nlayout = \"database\"\nupstream = {quoted}"
        )?;
        let bound = words.get("max_client_connections").map(String::as_str);
        let bound = bound.or_else(|| self.setting("max_db_client_connections")).and_then(|it| it.parse::<u64>().ok());
        match bound.filter(|it| *it > 0) {
            Some(bound) => writeln!(self.out.toml, "limits = {{ connections = {bound} }}"),
            None => Ok(()),
        }
    }

    /// What was written in PgBouncer's files and is not in ours.
    fn note_keys(&mut self) {
        let mut notes = Vec::new();
        let mut look = |place: &str, of: &[(&str, Fate)], key: &str| match fate(of, key) {
            Some(Fate::Carried(_) | Fate::Needless(_)) => {}
            Some(Fate::Missing(instead)) => notes.push(format!("{place}{key} was not carried over: {instead}")),
            None => notes.push(format!("{place}{key} is not known, and was not carried over")),
        };
        self.ini.settings.iter().filter(|(_, value)| !value.is_empty()).for_each(|(key, _)| look("", SETTINGS, key));
        for (name, words) in &self.ini.databases {
            words.keys().for_each(|key| look(&format!("database {name}: "), DATABASE, key));
        }
        for (name, words) in &self.ini.users {
            words.keys().for_each(|key| look(&format!("user {name}: "), USER, key));
        }
        notes.extend(self.ini.includes.iter().map(|path| format!("%include {path} was not followed: import it, too")));
        if self.ini.peers > 0 {
            notes.push(
                "[peers] was not carried over: cancel requests must reach the process that the client is connected to"
                    .to_owned(),
            );
        }
        self.out.notes.extend(notes);
    }
}

/// Whether a secret of the userlist is a password and no verifier of one.
fn is_plain(secret: &str) -> bool {
    let is_md5 =
        secret.len() == 35 && secret.starts_with("md5") && secret.bytes().skip(3).all(|it| it.is_ascii_hexdigit());
    !secret.is_empty() && !is_md5 && !secret.starts_with("SCRAM-SHA-256$")
}

/// PgBouncer's seconds, perhaps with a fraction.
fn duration(text: &str) -> Option<String> {
    let seconds: f64 = text.parse().ok().filter(|it: &f64| it.is_finite() && *it >= 0.0)?;
    let milliseconds = std::time::Duration::try_from_secs_f64(seconds).ok()?.as_millis();
    Some(if milliseconds % 1000 == 0 { format!("{}s", milliseconds / 1000) } else { format!("{milliseconds}ms") })
}
