//! What names tell: of columns that hold tenants, of columns that hold secrets and people, and of frameworks' tables.

use crate::base::Access;

/// What a tenant is called in most apps.
const TENANTS: &[&str] = &[
    "tenant",
    "org",
    "organization",
    "organisation",
    "account",
    "workspace",
    "company",
    "team",
    "shop",
    "store",
    "site",
    "school",
    "clinic",
    "hospital",
    "practice",
    "merchant",
    "agency",
    "firm",
];

/// Who acts within a tenant, or beside all of them: a column that names one is no tenant column by its name.
const PEOPLE: &[&str] = &[
    "user",
    "author",
    "creator",
    "owner",
    "person",
    "people",
    "member",
    "employee",
    "customer",
    "contact",
    "admin",
    "administrator",
    "staff",
    "assignee",
    "sender",
    "recipient",
    "profile",
    "subscriber",
    "visitor",
    "patient",
];

/// Words in the names of columns that no other tenant should read.
const PRIVATE: &[&str] = &[
    "email",
    "mail",
    "phone",
    "mobile",
    "password",
    "passwd",
    "pwd",
    "pass",
    "token",
    "secret",
    "hash",
    "digest",
    "salt",
    "credential",
    "credentials",
    "otp",
    "ssn",
    "iban",
    "card",
    "address",
    "ip",
    "username",
    "login",
    "firstname",
    "lastname",
    "fullname",
    "surname",
    "birthday",
    "salary",
    "session",
    "payload",
    "args",
    "arguments",
    "data",
    "body",
];

/// A name as its words, in small letters: `billingAccount_ID` is billing, account, id.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_is_small = false;
    for letter in name.chars() {
        let starts = letter.is_uppercase() && before_is_small;
        before_is_small = letter.is_lowercase() || letter.is_numeric();
        if starts || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().into_iter().for_each(|word| word.extend(letter.to_lowercase()));
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What a column refers to by its name: `org` of `org_id`, `orgId`, `org_uuid` and `org`. Nothing of `id`.
pub(super) fn referred(column: &str) -> Option<String> {
    let mut words = words(column);
    if words.last().is_some_and(|it| matches!(it.as_str(), "id" | "uuid" | "guid" | "key" | "code" | "slug")) {
        words.pop();
    }
    (!words.is_empty()).then(|| words.join("_"))
}

/// One of what a table holds many of, as far as English is regular.
pub(super) fn singular(name: &str) -> String {
    let name = words(name).join("_");
    if let Some(stem) = name.strip_suffix("ies") {
        return format!("{stem}y");
    }
    for ending in ["sses", "shes", "ches", "xes"] {
        if name.ends_with(ending) {
            return name.strip_suffix("es").unwrap_or(&name).to_owned();
        }
    }
    match name.strip_suffix('s') {
        Some(stem) if !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => name,
    }
}

/// Whether a column is called as tenants usually are.
pub(super) fn is_tenants(column: &str) -> bool {
    referred(column).is_some_and(|word| TENANTS.contains(&word.as_str()))
}

/// Whether a table or a column is called after people who act within a tenant.
pub(super) fn is_people(name: &str) -> bool {
    let stem = referred(name).unwrap_or_default();
    stem.split('_').map(singular).any(|word| PEOPLE.contains(&word.as_str()))
}

/// Whether a column's name says that it holds what is not for all.
pub(super) fn is_private(column: &str) -> bool {
    words(column).iter().any(|word| PRIVATE.contains(&word.as_str()))
}

/// Whether a table may be what a column's name refers to: `orgs`, `Organization` for `org_id`.
pub(super) fn may_be_table_of(table: &str, column: &str) -> bool {
    let (table, referred) = (singular(table), referred(column).unwrap_or_default());
    let long = |word: &str| if matches!(word, "org" | "organisation") { "organization" } else { word }.to_owned();
    !referred.is_empty() && long(&table) == long(&referred)
}

/// A table that a framework makes, and what tenants may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framework {
    /// Nothing in it is anybody's: all may read it.
    Open(&'static str),
    /// Migrations keep their books in it: the operator's login uses it, and no tenant.
    Books(&'static str),
    /// Rows of all tenants in one table without saying whose: somebody must decide.
    Mixed(&'static str, Option<Access>),
}

const SESSIONS: &str = "web sessions, kept before it is known whose they are: keep them in cookies or a cache, or use a login of their own; \
                        opened, every tenant could read and take over the sessions of all";
const JOBS: &str = "a job queue with the jobs of all tenants: give the workers a login of their own; opened, every tenant could read and \
                    change the jobs of all";
const CACHE: &str = "a cache with entries of all tenants: opened, every tenant could read and change all of them";
const POLYMORPHIC: &str = "rows belong by a type and an id, without a foreign key: add the tenant column to it";

/// What is known of a table by its name alone.
pub(super) fn framework(table: &str) -> Option<Framework> {
    let name = table.to_lowercase();
    Some(match name.as_str() {
        "schema_migrations" => {
            Framework::Open("numbers of migrations (Rails, golang-migrate): nothing that is a tenant's")
        }
        "ar_internal_metadata" => Framework::Open("the name of the environment (Rails)"),
        "django_migrations" => Framework::Open("names of migrations (Django)"),
        "django_content_type" | "auth_permission" => {
            Framework::Open("names of models and permissions (Django): the same for all")
        }
        "django_site" => Framework::Mixed("the sites of this installation (Django)", Some(Access::Read)),
        "spatial_ref_sys" => Framework::Open("coordinate systems (PostGIS)"),
        "flipper_features" | "flipper_gates" => {
            Framework::Mixed("feature flags (Flipper): their gates may name tenants and users", Some(Access::Read))
        }
        "_prisma_migrations"
        | "alembic_version"
        | "flyway_schema_history"
        | "databasechangelog"
        | "databasechangeloglock"
        | "knex_migrations"
        | "knex_migrations_lock"
        | "sequelizemeta"
        | "typeorm_metadata"
        | "migrations"
        | "goose_db_version"
        | "__efmigrationshistory"
        | "__diesel_schema_migrations"
        | "_sqlx_migrations"
        | "__drizzle_migrations"
        | "schema_version"
        | "phinxlog"
        | "doctrine_migration_versions"
        | "mikro_orm_migrations"
        | "refinery_schema_history"
        | "atlas_schema_revisions"
        | "schemaversions" => Framework::Books("the books of migrations, which the operator's login runs"),
        "django_session" | "sessions" | "session" | "user_sessions" => Framework::Mixed(SESSIONS, Some(Access::Write)),
        "delayed_jobs" | "good_jobs" | "que_jobs" | "oban_jobs" | "jobs" | "failed_jobs" | "job_batches"
        | "procrastinate_jobs" | "oban_peers" => Framework::Mixed(JOBS, Some(Access::Write)),
        _ if name.starts_with("solid_queue_") => Framework::Mixed(JOBS, Some(Access::Write)),
        "cache" | "cache_locks" | "solid_cache_entries" | "django_cache" => {
            Framework::Mixed(CACHE, Some(Access::Write))
        }
        "active_storage_blobs"
        | "active_storage_attachments"
        | "action_text_rich_texts"
        | "versions"
        | "audits"
        | "taggings"
        | "friendly_id_slugs"
        | "pg_search_documents" => Framework::Mixed(POLYMORPHIC, None),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        for (name, expected) in [
            ("org_id", "org id"),
            ("organizationId", "organization id"),
            ("billingAccount_ID", "billing account id"),
            ("UserProfile", "user profile"),
            ("__EFMigrationsHistory", "efmigrations history"),
            ("", ""),
        ] {
            assert_eq!(words(name).join(" "), expected, "{name}");
        }
    }

    #[test]
    fn columns_of_tenants() {
        for column in ["org_id", "orgId", "tenant_id", "tenant", "organizationId", "account_uuid", "workspace_slug"] {
            assert!(is_tenants(column), "{column}");
        }
        for column in ["id", "user_id", "billing_account_id", "order_id", "customer_id", "organ_id", "teams_count"] {
            assert!(!is_tenants(column), "{column}");
        }
        assert!(
            is_people("user_id") && is_people("created_by_user_id") && is_people("auth_users") && is_people("Customer")
        );
        assert!(!is_people("order_id") && !is_people("id"));
    }

    #[test]
    fn tables_of_tenants() {
        for (table, column) in [
            ("orgs", "org_id"),
            ("organizations", "org_id"),
            ("Organization", "organizationId"),
            ("companies", "company_id"),
            ("tenant", "tenant_id"),
            ("businesses", "business_id"),
            ("organisations", "organization_id"),
        ] {
            assert!(may_be_table_of(table, column), "{table} {column}");
        }
        assert!(!may_be_table_of("users", "org_id") && !may_be_table_of("id", "id"));
        assert_eq!(
            ["status", "boxes", "classes", "analysis", "Categories"].map(singular).join(" "),
            "status box class analysis category"
        );
    }

    #[test]
    fn what_is_not_for_all() {
        for column in ["email", "password_hash", "apiToken", "first_name_digest", "ip", "card_number"] {
            assert!(is_private(column), "{column}");
        }
        for column in ["id", "name", "code", "price", "currency", "zip", "description", "shipped"] {
            assert!(!is_private(column), "{column}");
        }
        assert_eq!(
            framework("SequelizeMeta"),
            Some(Framework::Books("the books of migrations, which the operator's login runs"))
        );
        assert!(matches!(framework("solid_queue_ready_executions"), Some(Framework::Mixed(_, Some(Access::Write)))));
        assert_eq!(framework("orders"), None);
    }
}
