//! The configuration as text, each guess with its reason above it.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use super::files::{Contents, Files};
use super::roles::{Roles, sql};
use super::secrets::{Secrets, verifier};
use crate::base::{QualifiedName, Secret};
use crate::catalog::Catalog;
use crate::checks::init::{Certainty, Facts, Guess, Plan, Rule, Tenants};
use crate::cli::text::Quoted;
use crate::config::{Upstream, percent, url_of};

/// Remarks are broken into lines of about this length.
const WIDTH: usize = 118;

/// All that the files are made of.
pub(super) struct Made<'a> {
    pub plan: &'a Plan,
    pub catalog: &'a Catalog,
    pub facts: &'a Facts,
    pub upstream: &'a Upstream,
    pub listen: SocketAddr,
    pub files: &'a Files,
    pub secrets: &'a Secrets,
}

impl Made<'_> {
    /// The texts of the files, in their order.
    pub fn contents(&self) -> Contents {
        let roles = Roles::of(&self.upstream.database);
        let line = |secret: &Secret| format!("{}\n", secret.expose());
        let mut config = String::new();
        // Writing to a String cannot fail.
        let _ = self.config(&roles, &mut config);
        [config, sql(self, &roles), line(&self.secrets.tenants), line(&self.secrets.operator), self.logins()]
    }

    fn config(&self, roles: &Roles, out: &mut String) -> fmt::Result {
        let place = format!("{}, database {}", self.upstream.address, self.upstream.database);
        remark(
            out,
            &format!(
                "Written by pgwarden init for {place}. Each guess has its reason above it. DECIDE marks what the database does not tell: \
                 until you decide, tenants are refused it, or it is as it stands. {} makes the two roles below; {} has the passwords of \
                 the two logins.",
                file_name(&self.files.sql),
                file_name(&self.files.logins),
            ),
        );
        writeln!(out, "\n[listen]\naddress = \"{}\"\n", self.listen)?;
        remark(out, "The tenants' role: it reads and writes rows of the tables below, and owns nothing.");
        let enforcement = match &self.plan.setting {
            Some(_) => "enforcement = \"rewrite+rls\"   # policies of the app's own hold besides\n",
            None => "",
        };
        self.upstream_section(out, "main", &roles.tenants, &self.files.tenants, enforcement)?;
        remark(out, "The operators' role: migrations and support.");
        self.upstream_section(out, "operator", &roles.operator, &self.files.operator, "")?;
        self.tenancy(out)?;
        self.tenants(out)?;
        for (about, login, rest, password) in [
            (
                "The app, for whichever tenant it names when it connects or as it goes.",
                "app",
                "tenants = \"*\"",
                &self.secrets.app,
            ),
            (
                "Migrations and support: not guarded, every statement audited.",
                "migrations",
                "role = \"operator\"\nupstream = \"operator\"",
                &self.secrets.migrations,
            ),
        ] {
            remark(out, about);
            let verifier = verifier(password);
            writeln!(out, "[[login]]\nname = \"{login}\"\npassword = {}\n{rest}\n", Quoted(verifier.expose()))?;
        }
        out.truncate(out.trim_end().len());
        writeln!(out)
    }

    fn upstream_section(&self, out: &mut String, name: &str, role: &str, password: &Path, rest: &str) -> fmt::Result {
        let url = url_of(self.upstream, role, None, &[]);
        let password = file_name(password);
        writeln!(out, "[upstream.{name}]\nurl = {}\npassword_file = {}\n{rest}", Quoted(&url), Quoted(&password))
    }

    fn tenancy(&self, out: &mut String) -> fmt::Result {
        let plan = self.plan;
        writeln!(out, "[tenancy]\nupstream = \"main\"")?;
        remark(out, &plan.choice.why);
        if let Some(rival) = &plan.choice.rival {
            remark(out, &format!("DECIDE: or is it {rival}? Then: pgwarden init --force --tenant-column ..."));
        }
        writeln!(out, "column = {}", Quoted(&plan.choice.column))?;
        if let Some(setting) = &plan.setting {
            remark(out, "The policies of tenants' tables read it.");
            writeln!(out, "setting = {}", Quoted(setting))?;
        }
        remark(out, "Where names without a schema are looked for, as the role that init connected as has it.");
        let path: Vec<String> = plan.search_path.iter().map(|it| Quoted(it).to_string()).collect();
        writeln!(out, "search_path = [{}]", path.join(", "))?;
        let is_shared = |guess: &Guess| proposed(guess) == &Rule::Shared;
        remark(out, "Read by all tenants, written by none.");
        list(out, "shared_tables", plan.relations.iter().filter(|(_, it)| is_shared(it)))?;
        if !plan.functions.is_empty() {
            remark(out, "Functions that tenants may call, besides those that pgwarden sees into by itself.");
            list(out, "allow_functions", plan.functions.iter())?;
        }
        writeln!(out)?;
        let plain =
            plan.relations.iter().filter(|(_, it)| it.rule == Rule::ByColumn && it.certainty == Certainty::Sure);
        let plain: Vec<String> = plain.map(|(name, _)| name.to_string()).collect();
        remark(
            out,
            &format!("Tenant tables by {} alone, which need no line: {}.", plan.choice.column, plain.join(", ")),
        );
        writeln!(out, "[tenancy.tables]")?;
        for (name, guess) in plan.relations.iter().filter(|(_, it)| !is_shared(it)) {
            table(out, name, guess)?;
        }
        writeln!(out)
    }

    fn tenants(&self, out: &mut String) -> fmt::Result {
        for text in &self.plan.remarks {
            remark(out, &format!("DECIDE: {text}"));
        }
        match &self.plan.tenants {
            Tenants::Query { query, by_operator, why } => {
                remark(out, &format!("{why}. Read every half minute; with channel = \"...\", at once after a NOTIFY."));
                writeln!(out, "[tenants_from]")?;
                if *by_operator {
                    remark(out, "Row-level security keeps its rows from the tenants' role.");
                    writeln!(out, "upstream = \"operator\"")?;
                }
                writeln!(out, "query = {}\n", Quoted(query))
            }
            Tenants::Pattern { why } => {
                remark(out, &format!("DECIDE: {why}."));
                writeln!(out, "[tenancy.pattern]\nkey = \"{{name}}\"\n")
            }
        }
    }

    fn logins(&self) -> String {
        let url = |login: &str, secret: &Secret, database: &str| {
            format!("postgres://{login}:{}@{}/{}", secret.expose(), self.listen, percent(database))
        };
        format!(
            "# Secrets: URLs of the two logins. The database names the tenant, here NAME; without it, the app names one as it goes:\n\
             # SET LOCAL {} = 'NAME'\n\
             DATABASE_URL={}\nMIGRATIONS_DATABASE_URL={}\n",
            self.plan.setting.as_deref().unwrap_or("app.tenant_id"),
            url("app", &self.secrets.app, "NAME"),
            url("migrations", &self.secrets.migrations, &self.upstream.database),
        )
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What stands, or what would stand if somebody said so.
fn proposed(guess: &Guess) -> &Rule {
    match &guess.certainty {
        Certainty::Open(Some(rule)) => rule,
        Certainty::Open(None) | Certainty::Sure | Certainty::Look => &guess.rule,
    }
}

/// A key with a list of names, those that are open as remarks.
fn list<'g>(out: &mut String, key: &str, guesses: impl Iterator<Item = (&'g QualifiedName, &'g Guess)>) -> fmt::Result {
    let mut guesses = guesses.peekable();
    if guesses.peek().is_none() {
        return writeln!(out, "{key} = []");
    }
    writeln!(out, "{key} = [")?;
    for (name, guess) in guesses {
        let stands = guess.rule == Rule::Shared;
        let mark = if guess.certainty == Certainty::Sure { "" } else { "DECIDE: " };
        let not = if stands || proposed(guess) == &Rule::Shared { "" } else { "is refused: " };
        let mut text = String::new();
        match (stands, not.is_empty()) {
            (_, true) => remark(&mut text, &format!("{mark}{}", guess.why)),
            (_, false) => remark(&mut text, &format!("{mark}{name} {not}{}", guess.why)),
        }
        if not.is_empty() {
            writeln!(text, "{}{},", if stands { "" } else { "# " }, Quoted(&toml_name(name)))?;
        }
        text.lines().try_for_each(|line| writeln!(out, "    {line}"))?;
    }
    writeln!(out, "]")
}

/// A line of `[tenancy.tables]`.
fn table(out: &mut String, name: &QualifiedName, guess: &Guess) -> fmt::Result {
    let mark = if guess.certainty == Certainty::Sure { "" } else { "DECIDE: " };
    let line = entry(name, proposed(guess));
    match (&guess.rule, line) {
        (Rule::ByColumn, _) if guess.certainty == Certainty::Sure => {}
        (Rule::ByColumn, _) => remark(out, &format!("{mark}{name}: {}", guess.why)),
        (Rule::Refused, None) => remark(out, &format!("{mark}{name} is refused: {}", guess.why)),
        (Rule::Refused, Some(line)) => {
            remark(out, &format!("{mark}{}", guess.why));
            writeln!(out, "# {line}")?;
        }
        (_, Some(line)) => {
            remark(out, &format!("{mark}{}", guess.why));
            writeln!(out, "{line}")?;
        }
        (_, None) => {}
    }
    Ok(())
}

fn entry(name: &QualifiedName, rule: &Rule) -> Option<String> {
    let value = match rule {
        Rule::Column { column, key: None } => format!("column = {}", Quoted(column)),
        Rule::Column { column, key: Some(key) } => format!("column = {}, key = {}", Quoted(column), Quoted(key)),
        Rule::Tenants(Some(column)) => format!("column = {}, write = false", Quoted(column)),
        Rule::Tenants(None) => "write = false".to_owned(),
        Rule::Through(column) => format!("through = {}", Quoted(column)),
        Rule::Open(access) => format!("access = \"{}\"", access.as_str()),
        Rule::ByColumn | Rule::Shared | Rule::Refused => return None,
    };
    Some(format!("{} = {{ {value} }}", Quoted(&toml_name(name))))
}

/// A rule in a question.
pub(super) fn spoken(rule: &Rule) -> String {
    match rule {
        Rule::Shared => "May tenants use it".to_owned(),
        Rule::Open(access) => format!("Open it to all tenants (access = \"{}\")", access.as_str()),
        Rule::Column { column, .. } => format!("Is each of its rows the tenant's that {column} says"),
        Rule::Through(column) => format!("Is each of its rows the tenant's that {column} leads to"),
        Rule::ByColumn | Rule::Tenants(_) | Rule::Refused => "Is that so".to_owned(),
    }
}

/// A qualified name as the configuration reads it.
fn toml_name(name: &QualifiedName) -> String {
    let part = |text: &str| match text.contains(['.', '"']) || text.trim() != text {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    format!("{}.{}", part(&name.schema), part(&name.name))
}

/// A remark in lines. Names in it may hold anything.
pub(super) fn remark_with(out: &mut String, sign: &str, text: &str) {
    let text: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.len() + word.len() > WIDTH && !line.is_empty() {
            out.push_str(&format!("{sign} {line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    out.push_str(&format!("{sign} {line}\n"));
}

fn remark(out: &mut String, text: &str) {
    remark_with(out, "#", text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_stay_remarks() {
        let mut out = String::new();
        remark(&mut out, &format!("a\nb = 1\r{}", "word ".repeat(60)));
        assert!(out.lines().count() > 2 && out.lines().all(|it| it.starts_with("# ") && it.len() < 125), "{out}");
    }

    #[test]
    fn names_are_read_back() {
        for (name, expected) in [
            (QualifiedName::new("public", "User"), "public.User"),
            (QualifiedName::new("a.b", "c\"d"), "\"a.b\".\"c\"\"d\""),
        ] {
            assert_eq!(toml_name(&name), expected);
        }
        let guess = |rule| entry(&QualifiedName::new("public", "t"), &rule);
        assert_eq!(guess(Rule::Through("order_id".into())).unwrap(), "\"public.t\" = { through = \"order_id\" }");
        assert_eq!(guess(Rule::Refused), None);
    }
}
