//! A place of the tenant's own: made with the definitions of where it lives, before its gate is shut.

use super::MoveRequest;
use super::copy::{Arrival, Way};
use super::destination::{Destination, Ends};
use crate::config::{Layout, Upstream};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::create::{Made, database, describe};
use crate::lifecycle::ddl::{Definitions, script};
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::export::{EXTENSIONS, Extension, Source, Sources};
use crate::sql::{quote_identifier, quote_literal};

/// What the new place is made of.
pub(super) struct Own {
    /// Schemas as they are called there, and what is in them.
    schemas: Vec<(String, Definitions)>,
    /// The schema that a tenant with one has.
    schema: Option<String>,
    extensions: Vec<Extension>,
    /// What ALTER DATABASE is to set.
    settings: Vec<String>,
    /// Row-level security kept tenants apart, who is alone now.
    without_policies: bool,
    /// Whose it all is.
    owner: String,
    template: Option<String>,
    /// The tenant's value of the tenant columns: statements need not give it, as before.
    defaults: Vec<String>,
}

impl Own {
    /// Reads what is to be made, and refuses what cannot be.
    pub async fn plan(
        lifecycle: &Lifecycle,
        (request, to): (&MoveRequest, &Destination),
        ends: &Ends,
        (holder, sources): (&Admin, &Sources),
        notes: &mut Vec<String>,
    ) -> Result<Self, LifecycleError> {
        let exists = lifecycle.is_there(&ends.to).await?;
        if exists {
            return Err(LifecycleError::refused(
                format!("{} is there already", describe(&ends.to)),
                "a move makes the new place itself: name another, or drop what is there",
            ));
        }
        if ends.from.layout != Layout::Shared && !request.trust {
            return Err(LifecycleError::refused(
                format!(
                    "the definitions may be tenant \"{}\"'s own work, and would run with the admin role's rights",
                    request.name
                ),
                "look at them for what does not belong there (pgwarden tenant export writes them to schema/), and say --trust",
            ));
        }
        let schema = match &ends.to.layout {
            Layout::Schema { schema, .. } => Some(schema.to_string()),
            Layout::Shared | Layout::Database => None,
        };
        let owner = match &ends.to.layout {
            Layout::Schema { role: Some(role), .. } => role.to_string(),
            _ => ends.to.upstream.user.clone(),
        };
        let mut own = Self {
            schemas: Vec::new(),
            extensions: Vec::new(),
            settings: Vec::new(),
            without_policies: ends.from.layout == Layout::Shared,
            owner,
            template: to.template.clone(),
            defaults: Vec::new(),
            schema,
        };
        let mut missing = own.definitions(holder, sources, notes).await?;
        if own.schema.is_none() {
            missing.extend(own.database(ends, holder).await?);
        }
        own.defaults = sources.tables.iter().filter_map(|source| own.default_of(source)).collect();
        match (missing.is_empty(), request.leave_out) {
            (true, _) => Ok(own),
            (false, true) => {
                notes.push(format!("left out: {}", missing.join(", ")));
                Ok(own)
            }
            (false, false) => Err(LifecycleError::refused(
                format!("the new place would be without: {}", missing.join(", ")),
                "--leave-out says that the tenant can do without; extensions may come with --template, a database that has them",
            )),
        }
    }

    /// Reads the definitions. Returns what cannot be made.
    async fn definitions(
        &mut self,
        holder: &Admin,
        sources: &Sources,
        notes: &mut Vec<String>,
    ) -> Result<Vec<String>, LifecycleError> {
        if let (Some(schema), true) = (&self.schema, sources.schemas.len() > 1) {
            let names: Vec<_> = sources.schemas.iter().map(String::as_str).collect();
            return Err(LifecycleError::refused(
                format!("the tenant's tables are in several schemas ({}), and \"{schema}\" is one", names.join(", ")),
                "move it to a database of its own",
            ));
        }
        let mut missing = Vec::new();
        for name in &sources.schemas {
            let Some(definitions) = Definitions::read(holder, name, &sources.not_of_it).await? else { continue };
            let there = self.schema.clone().unwrap_or_else(|| name.clone());
            if there != *name && !definitions.fixed.is_empty() {
                return Err(LifecycleError::refused(
                    format!(
                        "in schema \"{there}\" these definitions would still name \"{name}\": {}",
                        definitions.fixed.join(", ")
                    ),
                    "move it to a database of its own, where schemas keep their names; or let them name the schema no more",
                ));
            }
            missing.extend(definitions.left_out.iter().map(|it| format!("{it} in schema {name}")));
            if self.without_policies && !definitions.policies.is_empty() {
                notes.push(format!("row-level security of schema {name} is not made: the tenant is alone there"));
            }
            self.schemas.push((there, definitions));
        }
        Ok(missing)
    }

    /// What a database has besides. Returns the extensions that cannot be made.
    async fn database(&mut self, ends: &Ends, holder: &Admin) -> Result<Vec<String>, LifecycleError> {
        let failed = |error| holder.failed(error);
        self.settings = database::settings(holder, &holder.at.database).await?;
        if let Layout::Schema { schema, .. } = &ends.from.layout {
            // Where bare names led.
            self.settings.retain(|it| !it.starts_with("search_path="));
            self.settings.push(format!("search_path={}, public", quote_identifier(schema)));
        }
        for row in holder.rows(EXTENSIONS, &[]).await? {
            let (name, schema) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            self.extensions.push(Extension { name, schema });
        }
        let beside = Admin::beside(&ends.to.upstream).await?;
        self.refuse_other_encoding(holder, &beside).await?;
        let names: Vec<&str> = self.extensions.iter().map(|it| it.name.as_str()).collect();
        let sql = "SELECT DISTINCT v.name::text FROM pg_available_extension_versions v WHERE v.name = ANY ($1) \
                   AND (v.trusted OR NOT v.superuser OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))";
        let mut there = texts(&beside, sql, &names).await?;
        if let Some(template) = &self.template {
            let template = Upstream { database: template.clone(), ..Upstream::clone(&ends.to.upstream) };
            let template = Admin::connect(&template).await?;
            there.extend(
                texts(&template, "SELECT extname::text FROM pg_extension WHERE extname = ANY ($1)", &names).await?,
            );
        }
        let (made, missing): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.extensions).into_iter().partition(|it| there.contains(&it.name));
        self.extensions = made;
        Ok(missing.into_iter().map(|it| format!("extension {}", it.name)).collect())
    }

    /// Texts are stored and sorted in the new database as in the old one.
    async fn refuse_other_encoding(&self, holder: &Admin, beside: &Admin) -> Result<(), LifecycleError> {
        let sql = "SELECT format('%s, %s, %s', pg_encoding_to_char(encoding), datcollate, datctype) FROM pg_database WHERE datname = $1";
        let template = self.template.as_deref().unwrap_or("template1");
        let here = holder.value::<String>(sql, &[&holder.at.database]).await?.unwrap_or_default();
        let there = beside.value::<String>(sql, &[&template]).await?.unwrap_or_default();
        match here == there {
            true => Ok(()),
            false => Err(LifecycleError::refused(
                format!(
                    "texts are stored and sorted otherwise there: {there} in database \"{template}\", {here} where the tenant lives"
                ),
                "--template names a database of the new server with the same encoding and locale",
            )),
        }
    }

    /// The schema that a table goes to.
    fn schema_of<'s>(&'s self, source: &'s Source) -> &'s str {
        self.schema.as_deref().unwrap_or(&source.schema)
    }

    fn default_of(&self, source: &Source) -> Option<String> {
        let (column, value) = (source.tenant_column.as_ref()?, source.tenant_value.as_ref()?);
        let table = format!("{}.{}", quote_identifier(self.schema_of(source)), quote_identifier(&source.table));
        let column = quote_identifier(column);
        (!source.everybodys).then(|| format!("ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {value};\n"))
    }

    /// Tables of the new place, and the rows that go into them.
    pub fn arrivals(&self, sources: &Sources) -> Vec<Arrival> {
        let mut arrivals: Vec<Arrival> = Vec::new();
        for source in &sources.tables {
            let into = format!("{}.{}", quote_identifier(self.schema_of(source)), quote_identifier(&source.table));
            let way = Way::of(source);
            match arrivals.iter_mut().find(|it| it.into == into) {
                Some(arrival) => arrival.ways.push(way),
                None => arrivals.push(Arrival {
                    from: if source.from.starts_with("ONLY ") { format!("ONLY {into}") } else { into.clone() },
                    into,
                    condition: "true".to_owned(),
                    tenant_column: source.tenant_column.clone(),
                    ways: vec![way],
                }),
            }
        }
        arrivals
    }

    /// Makes the place, and all that can be there before the rows are.
    pub async fn make(&self, ends: &Ends, mark: &str) -> Result<(), LifecycleError> {
        Made::place(&ends.to, self.template.as_deref()).await?;
        let (kind, name) = match &self.schema {
            Some(schema) => ("SCHEMA", schema.as_str()),
            None => ("DATABASE", ends.to.upstream.database.as_str()),
        };
        let admin = Admin::connect(&ends.to.upstream).await?;
        let mark = quote_literal(mark);
        admin.run(&format!("COMMENT ON {kind} {} IS {mark}", quote_identifier(name))).await?;
        if self.schema.is_none() {
            let settings = database::set(&ends.to.upstream.database, &self.settings);
            Admin::beside(&ends.to.upstream).await?.run(&settings).await?;
        }
        admin.run("BEGIN").await?;
        for schema in self.extensions.iter().map(|it| &it.schema).chain(self.schemas.iter().map(|(name, _)| name)) {
            self.schema_there(&admin, schema).await?;
        }
        for it in &self.extensions {
            let (name, schema) = (quote_identifier(&it.name), quote_identifier(&it.schema));
            admin.run(&format!("CREATE EXTENSION IF NOT EXISTS {name} SCHEMA {schema}")).await?;
        }
        admin.run("SET LOCAL check_function_bodies = off").await?;
        for (schema, it) in &self.schemas {
            in_schema(&admin, schema, &script(&it.before)).await?;
        }
        for (schema, it) in &self.schemas {
            in_schema(&admin, schema, &script(&it.after)).await?;
        }
        admin.run(&self.defaults.concat()).await?;
        admin.run("COMMIT").await
    }

    async fn schema_there(&self, admin: &Admin, schema: &str) -> Result<(), LifecycleError> {
        let there = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
        if admin.value::<bool>(there, &[&schema]).await? == Some(true) {
            return Ok(());
        }
        let (schema, owner) = (quote_identifier(schema), quote_identifier(&self.owner));
        admin.run(&format!("CREATE SCHEMA {schema} AUTHORIZATION {owner}")).await
    }

    /// What is only right when the rows are there, and whose it all is: in the transaction that copied them.
    pub async fn complete(&self, admin: &Admin, sources: &Admin, names: &Sources) -> Result<(), LifecycleError> {
        admin.run("SET LOCAL check_function_bodies = off").await?;
        for (schema, it) in &self.schemas {
            in_schema(admin, schema, &script(&it.last)).await?;
        }
        self.sequences(admin, sources, names).await?;
        for (schema, it) in &self.schemas {
            if !self.without_policies {
                in_schema(admin, schema, &script(&it.policies)).await?;
            }
            in_schema(admin, schema, &it.give_to(&self.owner)).await?;
        }
        Ok(())
    }

    /// Sequences go on where they were.
    async fn sequences(&self, admin: &Admin, source: &Admin, names: &Sources) -> Result<(), LifecycleError> {
        let sql = "SELECT n.nspname::text, c.relname::text, pg_sequence_last_value(c.oid), has_sequence_privilege(c.oid, 'USAGE, SELECT') \
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND n.nspname = ANY ($1)";
        let schemas: Vec<&String> = names.schemas.iter().collect();
        let failed = |error| source.failed(error);
        for row in source.rows(sql, &[&schemas]).await? {
            let (schema, name): (String, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            if !row.try_get::<_, bool>(3).map_err(failed)? {
                return Err(LifecycleError::refused(
                    format!("the admin role may not read sequence {schema}.{name}"),
                    "GRANT SELECT ON SEQUENCE ... to it, or the rights of its owner",
                ));
            }
            let Some(value) = row.try_get::<_, Option<i64>>(2).map_err(failed)? else { continue };
            let there =
                format!("{}.{}", quote_identifier(self.schema.as_ref().unwrap_or(&schema)), quote_identifier(&name));
            // One of pgwarden's own is not there.
            let set = "SELECT setval(to_regclass($1), $2) WHERE to_regclass($1) IS NOT NULL";
            admin.rows(set, &[&there, &value]).await?;
        }
        Ok(())
    }
}

/// Runs definitions with a schema alone in the search path.
async fn in_schema(admin: &Admin, schema: &str, statements: &str) -> Result<(), LifecycleError> {
    let path = quote_identifier(schema);
    admin.run(&format!("SET LOCAL search_path = {path};\n{statements}\nSET LOCAL search_path = ''")).await
}

async fn texts(admin: &Admin, sql: &str, names: &[&str]) -> Result<Vec<String>, LifecycleError> {
    let rows = admin.rows(sql, &[&names]).await?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}
