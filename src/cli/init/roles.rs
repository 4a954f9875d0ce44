//! The SQL that makes the two roles which pgwarden connects as.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::secrets::verifier;
use super::write::{Made, remark_with};
use crate::base::{Access, Oid, QualifiedName, Secret};
use crate::catalog::Relation;
use crate::checks::init::{Certainty, Guess, Owner, Rule};
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

/// Their names.
pub(super) struct Roles {
    /// Acts for tenants.
    pub tenants: String,
    /// Acts for operators.
    pub operator: String,
}

impl Roles {
    /// Roles belong to the whole cluster: the database's name is in theirs.
    pub fn of(database: &str) -> Self {
        let plain = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '_' };
        let stem: String = database.chars().map(plain).take(40).collect();
        Self { tenants: format!("pgwarden_{stem}_tenants"), operator: format!("pgwarden_{stem}_operator") }
    }
}

/// What a role may do on a relation.
const ROWS: &str = "SELECT, INSERT, UPDATE, DELETE";
const ROWS_OF_TENANTS: &str = "SELECT, UPDATE";

/// The file.
pub(super) fn sql(made: &Made<'_>, roles: &Roles) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = Script { made, roles, out: &mut out }.write();
    out
}

struct Script<'a> {
    made: &'a Made<'a>,
    roles: &'a Roles,
    out: &'a mut String,
}

impl Script<'_> {
    fn remark(&mut self, text: &str) {
        remark_with(self.out, "--", text);
    }

    fn write(&mut self) -> fmt::Result {
        self.remark(
            "Written by pgwarden init: the roles that pgwarden connects as. Run it as a superuser, or as a role that may create roles and \
             owns the tables. It may be run again. It holds verifiers of passwords, not passwords.",
        );
        writeln!(self.out, "BEGIN;\n")?;
        self.tenants()?;
        self.operator()?;
        writeln!(self.out, "\nCOMMIT;")
    }

    fn role(&mut self, name: &str, password: &Secret) -> fmt::Result {
        if self.made.facts.roles.contains(name) {
            self.remark(&format!("The role {name} is there already: it gets a new password."));
        }
        let (literal, quoted, verifier) = (quote_literal(name), quote_identifier(name), verifier(password));
        writeln!(
            self.out,
            "DO $make$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal}) THEN CREATE ROLE {quoted}; END IF; END $make$;\n\
             ALTER ROLE {quoted} LOGIN PASSWORD {};\n\
             GRANT CONNECT ON DATABASE {} TO {quoted};",
            quote_literal(verifier.expose()),
            quote_identifier(&self.made.upstream.database),
        )?;
        if self.made.plan.search_path != ["public"] {
            let path: Vec<String> = self.made.plan.search_path.iter().map(|it| quote_identifier(it)).collect();
            writeln!(self.out, "ALTER ROLE {quoted} SET search_path = {};", path.join(", "))?;
        }
        Ok(())
    }

    fn tenants(&mut self) -> fmt::Result {
        let role = quote_identifier(&self.roles.tenants);
        self.remark(
            "For tenants: rows of tenants' tables, and what all may read. Nothing else, and no table is its own.",
        );
        self.role(&self.roles.tenants, &self.made.secrets.tenants)?;
        let Made { plan, catalog, .. } = self.made;
        let used = |guess: &Guess| guess.rule != Rule::Refused;
        let schemas: BTreeSet<&str> =
            plan.relations.iter().filter(|(_, it)| used(it)).map(|(name, _)| name.schema.as_str()).collect();
        for schema in &schemas {
            writeln!(self.out, "GRANT USAGE ON SCHEMA {} TO {role};", quote_identifier(schema))?;
        }
        for wanted in [ROWS, ROWS_OF_TENANTS, "SELECT", "SELECT, INSERT"] {
            let names = plan.relations.iter().filter(|(name, guess)| {
                catalog.relations.get(name).and_then(|it| rights(it, &guess.rule)) == Some(wanted)
            });
            let mut names: Vec<String> = names.map(|(name, _)| quote_qualified(name)).collect();
            if wanted == ROWS {
                names.extend(self.parts().map(|it| quote_qualified(&it.name)));
            }
            if !names.is_empty() {
                writeln!(self.out, "GRANT {wanted} ON\n    {}\n    TO {role};", names.join(",\n    "))?;
            }
        }
        self.proposed(&role)?;
        for (name, function) in self.written_by_triggers() {
            self.remark(&format!(
                "The trigger function {function} names it; triggers run with the rights of who fires them."
            ));
            writeln!(self.out, "GRANT {ROWS} ON {} TO {role};", quote_qualified(&name))?;
        }
        for schema in &schemas {
            writeln!(self.out, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {} TO {role};", quote_identifier(schema))?;
        }
        self.remark("Tables that migrations make later: pgwarden refuses tenants those that no rule covers.");
        for (owner, schemas) in self.owners() {
            let owner = quote_identifier(&owner.role);
            for schema in schemas {
                let of = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {}", quote_identifier(&schema));
                writeln!(self.out, "{of} GRANT {ROWS} ON TABLES TO {role};\n{of} GRANT USAGE ON SEQUENCES TO {role};")?;
            }
        }
        for policed in &self.made.facts.policy_roles {
            self.remark(&format!("DECIDE: policies are for the role {policed}, and no row passes without one. To make them hold for this role:"));
            writeln!(self.out, "-- GRANT {} TO {role};", without_controls(&quote_identifier(policed)))?;
        }
        for schema in &schemas {
            if self.made.catalog.creators.get(*schema).is_some_and(|it| it.iter().any(String::is_empty)) {
                self.remark(&format!("DECIDE: every role may create in schema {schema}, this one too. If no other role of yours needs that:"));
                writeln!(self.out, "-- REVOKE CREATE ON SCHEMA {} FROM PUBLIC;", quote_identifier(schema))?;
            }
        }
        writeln!(self.out)
    }

    /// Partitions and inheritance children of tenants' tables: they are served by their own names, too.
    fn parts(&self) -> impl Iterator<Item = &Relation> {
        let Made { plan, catalog, .. } = self.made;
        let mut whole: BTreeSet<Oid> = plan
            .relations
            .iter()
            .filter_map(|(name, guess)| catalog.relations.get(name).filter(|it| rights(it, &guess.rule) == Some(ROWS)))
            .map(|it| it.oid)
            .collect();
        let mut parts: BTreeMap<&QualifiedName, &Relation> = BTreeMap::new();
        let is_part = |it: &&Relation, whole: &BTreeSet<Oid>| {
            !it.parents.is_empty() && it.parents.iter().all(|it| whole.contains(it))
        };
        loop {
            let before = parts.len();
            for part in catalog.relations.values().filter(|it| is_part(it, &whole)).collect::<Vec<_>>() {
                whole.insert(part.oid);
                parts.insert(&part.name, part);
            }
            if parts.len() == before {
                return parts.into_values();
            }
        }
    }

    /// Rights on what is marked in the configuration, for when it is decided.
    fn proposed(&mut self, role: &str) -> fmt::Result {
        let Made { plan, catalog, .. } = self.made;
        let open = plan.relations.iter().filter_map(|(name, guess)| match &guess.certainty {
            Certainty::Open(Some(rule)) => Some((name, rights(catalog.relations.get(name)?, rule)?)),
            Certainty::Open(None) | Certainty::Sure | Certainty::Look => None,
        });
        let open: Vec<(&QualifiedName, &str)> = open.collect();
        if !open.is_empty() {
            self.remark("For what is marked in the configuration, when you have decided so there.");
        }
        open.iter().try_for_each(|(name, rights)| {
            writeln!(self.out, "-- GRANT {rights} ON {} TO {role};", without_controls(&quote_qualified(name)))
        })
    }

    fn operator(&mut self) -> fmt::Result {
        let role = quote_identifier(&self.roles.operator);
        self.remark("For operators: migrations and support.");
        self.role(&self.roles.operator, &self.made.secrets.operator)?;
        let owners = self.owners();
        let most = owners.iter().filter(|(owner, _)| !owner.superuser).max_by_key(|(_, schemas)| schemas.len());
        for (owner, schemas) in &owners {
            let name = quote_identifier(&owner.role);
            if !owner.superuser {
                writeln!(self.out, "GRANT {name} TO {role};")?;
                continue;
            }
            self.remark(&format!(
                "DECIDE: tables belong to the superuser {}, and whoever alters them must be one too. This role reads and writes them, and runs \
                 no migrations on them; give them to a role of their own (ALTER TABLE ... OWNER TO) and write this file again.",
                owner.role
            ));
            for schema in schemas {
                let schema = quote_identifier(schema);
                writeln!(
                    self.out,
                    "GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};\nGRANT {ROWS}, TRUNCATE ON ALL TABLES IN SCHEMA {schema} TO {role};\n\
                     GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO {role};"
                )?;
            }
        }
        if let Some((owner, _)) = most {
            self.remark("It acts as the tables' owner, so that what migrations make is the owner's.");
            writeln!(self.out, "ALTER ROLE {role} SET role = {};", quote_literal(&owner.role))?;
        }
        Ok(())
    }

    /// Owners of the app's relations, with the schemas of these.
    fn owners(&self) -> BTreeMap<OwnerKey, BTreeSet<String>> {
        let Made { plan, catalog, facts, .. } = self.made;
        let mut owners: BTreeMap<OwnerKey, BTreeSet<String>> = BTreeMap::new();
        for name in plan.relations.keys() {
            let owner = catalog.relations.get(name).and_then(|it| facts.owners.get(&it.oid));
            if let Some(Owner { role, superuser }) = owner {
                let key = OwnerKey { role: role.clone(), superuser: *superuser };
                owners.entry(key).or_default().insert(name.schema.clone());
            }
        }
        owners
    }

    /// Tables that tenants are refused and that trigger functions name: their statements fire them.
    fn written_by_triggers(&self) -> BTreeMap<QualifiedName, String> {
        let Made { plan, catalog, facts, .. } = self.made;
        let triggers = facts.bodies.iter().filter(|it| it.trigger && !it.definer);
        let refused = || {
            plan.relations.iter().filter(|(name, it)| it.rule == Rule::Refused && catalog.relations.contains_key(name))
        };
        let names = |text: &str, name: &str| {
            text.split(|it: char| !(it.is_alphanumeric() || it == '_')).any(|word| word.eq_ignore_ascii_case(name))
        };
        let found = triggers.flat_map(|body| {
            let named = refused().filter(|(name, _)| names(&body.text, &name.name));
            named.map(|(name, _)| (name.clone(), body.name.to_string()))
        });
        found.collect()
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct OwnerKey {
    role: String,
    superuser: bool,
}

/// What tenants' statements need on a relation of that rule.
fn rights(relation: &Relation, rule: &Rule) -> Option<&'static str> {
    let table = relation.kind.is_table();
    match rule {
        Rule::ByColumn | Rule::Column { .. } | Rule::Through(_) if table => Some(ROWS),
        Rule::ByColumn | Rule::Column { .. } | Rule::Through(_) | Rule::Shared | Rule::Open(Access::Read) => {
            Some("SELECT")
        }
        // Its own row is locked, and triggers count in it.
        Rule::Tenants(_) => Some(ROWS_OF_TENANTS),
        Rule::Open(Access::Insert) => Some("SELECT, INSERT"),
        Rule::Open(Access::Write) => Some(ROWS),
        Rule::Refused => None,
    }
}

/// A name may hold a line's end, and what is behind it is no remark.
fn without_controls(name: &str) -> String {
    name.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}
