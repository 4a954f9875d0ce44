//! What views read, what functions do beyond their callers' rights, and who may create where. As in `queries`, all names are the system's.

use tokio_postgres::{Row, Transaction};

use super::LoadError;
use super::queries::{CallRow, ReadRow, name, query};
use crate::base::QualifiedName;
use crate::catalog::model::{ReaderKind, Setter, SettingReader};

pub(super) const READS: &str = r"
    SELECT DISTINCT r.ev_class, d.refobjid
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class AND c.relkind IN ('v', 'm')
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    WHERE r.rulename = '_RETURN' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2";
/// As the server keeps them: calls, operators, aggregates and window functions; a cast is told by how it is to be printed.
pub(super) const CALLS: &str = r"
    WITH views AS (
        SELECT r.ev_class, r.ev_action::text AS query
        FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class AND c.relkind IN ('v', 'm')
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE r.rulename = '_RETURN' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ), found AS (
        SELECT v.ev_class, m.it[2]::oid AS function, m.it[1] = 'opfuncid' AS is_operator
        FROM views v, regexp_matches(v.query, ':(funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') m(it)
    ), casts AS (
        SELECT v.ev_class, m.it[1]::oid AS function
        FROM views v, regexp_matches(
            v.query, ':funcid (\d+) :funcresulttype \d+ :funcretset \w+ :funcvariadic \w+ :funcformat [12]\M', 'g') m(it)
    )
    SELECT DISTINCT f.ev_class, n.nspname, p.proname AS name
    FROM found f JOIN pg_proc p ON p.oid = f.function JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname <> 'pg_catalog'
       OR (p.provolatile <> 'i' AND NOT f.is_operator
           AND NOT EXISTS (SELECT FROM casts c WHERE c.ev_class = f.ev_class AND c.function = f.function))
    ORDER BY 1, 2, 3";
pub(super) const SETTERS: &str = r"
    SELECT n.nspname, p.proname AS name,
           concat((SELECT string_agg('SET ' || s.it || '; ', '') FROM unnest(p.proconfig) s(it)), p.prosrc) AS text
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
      AND (p.prosrc ~* '\m(set_config|reset|discard)\M' OR p.prosrc ~* '\mset\s+(local\s+|session\s+)?\S+\.'
           OR EXISTS (SELECT FROM unnest(p.proconfig) s(it) WHERE strpos(split_part(s.it, '=', 1), '.') > 0))
    ORDER BY 1, 2, p.oid";
pub(super) const UNBOUND_DEFINERS: &str = r"
    SELECT DISTINCT n.nspname, p.proname AS name
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND p.prosecdef
      AND EXISTS (SELECT FROM pg_roles o WHERE o.oid = p.proowner AND (o.rolsuper OR o.rolbypassrls))
    ORDER BY 1, 2";
/// `current_setting` has the oids 2077 and 3294.
pub(super) const SETTING_READERS: &str = r"
    SELECT 'p'::text AS kind, n.nspname, c.relname AS name, NULL::text AS part,
           concat_ws(' ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) AS text
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE concat(p.polqual::text, p.polwithcheck::text) ~ ':funcid (2077|3294) '
    UNION ALL
    SELECT 'v', n.nspname, c.relname, NULL, pg_get_ruledef(r.oid)
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND concat(r.ev_qual::text, r.ev_action::text) ~ ':funcid (2077|3294) '
    UNION ALL
    SELECT 'd', n.nspname, c.relname, a.attname, pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    JOIN pg_class c ON c.oid = d.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND d.adbin::text ~ ':funcid (2077|3294) '
    UNION ALL
    SELECT CASE WHEN p.prorettype = 'trigger'::regtype AND l.lanname = 'plpgsql' THEN 't' ELSE 'f' END,
           n.nspname, p.proname, NULL,
           CASE WHEN p.prosrc = '' THEN pg_get_functiondef(p.oid) ELSE p.prosrc END
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND p.prokind IN ('f', 'p')
      AND CASE WHEN p.prosrc = '' THEN l.lanname = 'sql' AND pg_get_functiondef(p.oid) ~* 'current_setting'
               ELSE p.prosrc ~* 'current_setting|\mshow\M' END
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    ORDER BY 1, 2, 3, 4, 5";
pub(super) const MODULES: &str = r"
    SELECT lower(extname) FROM pg_extension
    UNION SELECT lower(split_part(name, '.', 1)) FROM pg_settings WHERE strpos(name, '.') > 0
    ORDER BY 1";
/// Functions whose text is read when they run.
macro_rules! from_texts {
    () => {
        "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND l.lanname NOT IN ('internal', 'c')
           AND NOT EXISTS (SELECT FROM pg_depend d
                           WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')"
    };
}
pub(super) const CODE_WORDS: &str = concat!(
    r"SELECT DISTINCT lower(w.found[1]) AS word
      FROM (SELECT p.prosrc ",
    from_texts!(),
    r") t, regexp_matches(t.prosrc, '[[:alpha:]_][[:alnum:]_$]*', 'g') w(found) ORDER BY 1"
);
pub(super) const TEMPORARY_MAKERS: &str = concat!(
    "SELECT DISTINCT n.nspname, p.proname AS name ",
    from_texts!(),
    r" AND p.prosrc ~* '\mexecute\M' AND p.prosrc ~* '\m(temp|temporary|pg_temp)\M' ORDER BY 1, 2"
);
/// Owners may give themselves the right.
pub(super) const CREATORS: &str = r"
    SELECT n.nspname, r.rolname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION
    SELECT n.nspname, coalesce(r.rolname, '')
    FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND a.privilege_type = 'CREATE'
    ORDER BY 1, 2";
/// Of pg_database_owner the database's owner is a member, without being listed.
pub(super) const MEMBERSHIPS: &str = r"
    SELECT m.rolname AS member, r.rolname
    FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid
    UNION
    SELECT o.rolname, 'pg_database_owner'
    FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba WHERE d.datname = current_database()
    ORDER BY 1, 2";

/// In the order of oids.
pub(super) async fn reads(transaction: &Transaction<'_>) -> Result<Vec<ReadRow>, LoadError> {
    let read = |row: &Row| Ok(ReadRow { view: row.try_get(0)?, relation: row.try_get(1)? });
    query(transaction, READS, read).await
}

/// In the order of oids, then names.
pub(super) async fn calls(transaction: &Transaction<'_>) -> Result<Vec<CallRow>, LoadError> {
    let read = |row: &Row| Ok(CallRow { view: row.try_get(0)?, function: name(row)? });
    query(transaction, CALLS, read).await
}

/// By name. The text is looked at where it is known which setting matters.
pub(super) async fn setters(transaction: &Transaction<'_>) -> Result<Vec<Setter>, LoadError> {
    let read = |row: &Row| Ok(Setter { name: name(row)?, text: row.try_get("text")? });
    query(transaction, SETTERS, read).await
}

/// By schema, or by member.
pub(super) async fn pairs(transaction: &Transaction<'_>, sql: &str) -> Result<Vec<(String, String)>, LoadError> {
    query(transaction, sql, |row| Ok((row.try_get(0)?, row.try_get(1)?))).await
}

/// Their owners see every row, whatever the policies.
pub(super) async fn unbound_definers(transaction: &Transaction<'_>) -> Result<Vec<QualifiedName>, LoadError> {
    query(transaction, UNBOUND_DEFINERS, name).await
}

/// By kind and name.
pub(super) async fn setting_readers(transaction: &Transaction<'_>) -> Result<Vec<SettingReader>, LoadError> {
    let read = |row: &Row| {
        let kind = match row.try_get::<_, &str>("kind")? {
            "p" => ReaderKind::Policy,
            "v" => ReaderKind::View,
            "d" => ReaderKind::Default(row.try_get::<_, Option<String>>("part")?.unwrap_or_default()),
            "t" => ReaderKind::Trigger,
            _ => ReaderKind::Function,
        };
        Ok(SettingReader { kind, name: name(row)?, text: row.try_get("text")? })
    };
    query(transaction, SETTING_READERS, read).await
}

/// Of settings, the first parts of the names that modules have defined, and the names of extensions.
pub(super) async fn modules(transaction: &Transaction<'_>) -> Result<Vec<String>, LoadError> {
    query(transaction, MODULES, |row| Ok(row.try_get(0)?)).await
}

/// All of them, each once.
pub(super) async fn code_words(transaction: &Transaction<'_>) -> Result<Vec<String>, LoadError> {
    query(transaction, CODE_WORDS, |row| Ok(row.try_get(0)?)).await
}

/// By name.
pub(super) async fn temporary_makers(transaction: &Transaction<'_>) -> Result<Vec<QualifiedName>, LoadError> {
    query(transaction, TEMPORARY_MAKERS, name).await
}
