//! The queries, and their rows as they come. Temporary schemas are left out: nothing in them may stand for a tenant.

use tokio_postgres::{Row, Transaction};

use super::{LoadError, code, row, views};
use crate::base::{Oid, QualifiedName};
use crate::catalog::model::{
    Cast, Catalog, ForeignKey, Function, Generated, Identity, Operator, RelKind, RowPolicy, Setter, SettingReader,
    Texts, UpstreamRole, View,
};

/// What the server says of itself and of our role.
pub(super) struct Server {
    pub(super) version: u32,
    pub(super) search_path: Vec<String>,
    pub(super) role: UpstreamRole,
    pub(super) texts: Texts,
}

impl Server {
    /// Whether a catalog is of a server that says the same of itself and of our role.
    pub(super) fn says_the_same(&self, catalog: &Catalog) -> bool {
        let Self { version, search_path, role, texts } = self;
        *version == catalog.server_version_num
            && *search_path == catalog.search_path
            && *role == catalog.role
            && *texts == catalog.texts
    }
}

/// A row of `pg_policy`.
pub(super) struct PolicyRow {
    pub(super) relation: Oid,
    pub(super) policy: RowPolicy,
}

/// A row of `pg_type`.
pub(super) struct TypeRow {
    pub(super) oid: Oid,
    pub(super) name: QualifiedName,
    pub(super) typtype: u8,
    /// 0 for all but domains.
    pub(super) base: Oid,
}

/// A row of `pg_class`.
pub(super) struct RelationRow {
    pub(super) oid: Oid,
    pub(super) name: QualifiedName,
    pub(super) kind: RelKind,
    pub(super) is_partition: bool,
    pub(super) row_security: bool,
    pub(super) force_row_security: bool,
    pub(super) row_security_active: bool,
    pub(super) owned: bool,
    pub(super) security_invoker: bool,
    pub(super) extension: Option<String>,
}

/// A row of `pg_inherits`.
pub(super) struct ParentRow {
    pub(super) child: Oid,
    pub(super) parent: Oid,
}

/// A row of `pg_constraint`.
pub(super) struct ForeignKeyRow {
    pub(super) relation: Oid,
    pub(super) key: ForeignKey,
}

/// A row of `pg_index`.
pub(super) struct UniqueKeyRow {
    pub(super) relation: Oid,
    pub(super) columns: Vec<String>,
}

/// A row of `pg_attribute`.
pub(super) struct ColumnRow {
    pub(super) relation: Oid,
    pub(super) name: String,
    pub(super) attnum: i16,
    pub(super) type_oid: Oid,
    pub(super) type_name: String,
    pub(super) not_null: bool,
    pub(super) has_default: bool,
    pub(super) generated: Generated,
    pub(super) identity: Identity,
    pub(super) loose: bool,
}

/// A row of `pg_proc`.
pub(super) struct FunctionRow {
    /// All but `takes_one` and `takes_row`.
    pub(super) function: Function,
    /// How many arguments a call must give.
    pub(super) required_args: i16,
}

/// All of it.
pub(super) struct Raw {
    pub(super) schemas: Vec<String>,
    pub(super) creators: Vec<(String, String)>,
    pub(super) memberships: Vec<(String, String)>,
    pub(super) types: Vec<TypeRow>,
    pub(super) relations: Vec<RelationRow>,
    pub(super) parents: Vec<ParentRow>,
    pub(super) foreign_keys: Vec<ForeignKeyRow>,
    pub(super) unique_keys: Vec<UniqueKeyRow>,
    pub(super) policies: Vec<PolicyRow>,
    pub(super) columns: Vec<ColumnRow>,
    pub(super) functions: Vec<FunctionRow>,
    pub(super) operators: Vec<Operator>,
    pub(super) casts: Vec<Cast>,
    pub(super) reads: Vec<ReadRow>,
    pub(super) calls: Vec<CallRow>,
    pub(super) views: Vec<(QualifiedName, View)>,
    pub(super) setters: Vec<Setter>,
    pub(super) unbound_definers: Vec<QualifiedName>,
    pub(super) setting_readers: Vec<SettingReader>,
    pub(super) modules: Vec<String>,
    pub(super) code_words: Vec<String>,
    pub(super) temporary_makers: Vec<QualifiedName>,
}

/// A view, and a relation that it reads.
pub(super) struct ReadRow {
    pub(super) view: Oid,
    pub(super) relation: Oid,
}

/// A view, and a function that it calls.
pub(super) struct CallRow {
    pub(super) view: Oid,
    pub(super) function: QualifiedName,
}

const SCHEMAS: &str = r"SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'";
const TYPES: &str = r"
    SELECT t.oid, n.nspname, t.typname AS name, t.typtype, t.typbasetype
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname !~ '^pg_(toast_)?temp_'";
const RELATIONS: &str = r"
    SELECT c.oid, n.nspname, c.relname AS name, c.relkind, c.relispartition, c.relrowsecurity, c.relforcerowsecurity,
           CASE WHEN c.relrowsecurity THEN row_security_active(c.oid) ELSE false END AS row_security_active,
           pg_has_role(c.relowner, 'USAGE') AS owned,
           coalesce((SELECT o.option_value::bool FROM pg_options_to_table(c.reloptions) o
                     WHERE o.option_name = 'security_invoker'), false) AS security_invoker,
           e.extname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
                         AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
    WHERE n.nspname !~ '^pg_(toast_)?temp_'";
const PARENTS: &str = "SELECT inhrelid, inhparent, inhseqno FROM pg_inherits ORDER BY inhrelid, inhseqno";
const FOREIGN_KEYS: &str = "
    SELECT c.conrelid, c.conname, c.confrelid,
           ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(n, i)
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n ORDER BY k.i) AS columns,
           ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(n, i)
                 JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n ORDER BY k.i) AS parent_columns
    FROM pg_constraint c WHERE c.contype = 'f' ORDER BY c.conrelid, c.conname";
const UNIQUE_KEYS: &str = "
    SELECT i.indrelid, i.indexrelid,
           ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(n, i)
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
                 WHERE k.i <= indnkeyatts ORDER BY k.i) AS columns
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
      AND i.indrelid >= 16384 AND c.relpersistence <> 't'
    ORDER BY i.indrelid, i.indexrelid";
const POLICIES: &str = "
    SELECT p.polrelid, p.polname, p.polpermissive, p.polcmd,
           pg_get_expr(p.polqual, p.polrelid) AS using, pg_get_expr(p.polwithcheck, p.polrelid) AS check
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE c.relrowsecurity
      AND EXISTS (SELECT FROM unnest(p.polroles) r(oid) WHERE r.oid = 0 OR pg_has_role(r.oid, 'USAGE'))
    ORDER BY p.polrelid, p.polname";
const COLUMNS: &str = r"
    SELECT a.attrelid, a.attname, a.attnum, a.atttypid, format_type(a.atttypid, a.atttypmod) AS type_name,
           a.attnotnull, a.atthasdef AND a.attgenerated = '' AS has_default, a.attgenerated, a.attidentity,
           NOT coalesce(co.collisdeterministic, true) AS loose
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_collation co ON co.oid = a.attcollation
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind NOT IN ('i', 'I', 't')
    ORDER BY a.attrelid, a.attnum";
const FUNCTIONS: &str = r"
    SELECT p.oid, n.nspname, p.proname AS name, p.prokind, p.provolatile, p.proleakproof, p.prosecdef, l.lanname,
           p.proargtypes::oid[] AS arg_types, p.prorettype,
           CASE WHEN l.lanname = 'sql' AND p.prokind = 'f' AND n.nspname <> 'pg_catalog' AND e.extname IS NULL
                THEN nullif(p.prosrc, '') END AS body, p.pronargs - p.pronargdefaults AS required_args, e.extname
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
    WHERE n.nspname !~ '^pg_(toast_)?temp_'";
const OPERATORS: &str = r"
    SELECT n.nspname, o.oprname AS name, o.oprleft, o.oprright, coalesce(p.proleakproof, false) AS leakproof, o.oprresult,
           coalesce(p.provolatile, 'v') AS volatile, e.extname
    FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
    LEFT JOIN pg_proc p ON p.oid = o.oprcode
    LEFT JOIN pg_depend d ON d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
    WHERE n.nspname !~ '^pg_(toast_)?temp_'";

const CASTS: &str = r"
    SELECT tn.nspname AS target_schema, t.typname AS target, n.nspname, p.proname AS name, c.castcontext <> 'e' AS unwritten
    FROM pg_cast c JOIN pg_type t ON t.oid = c.casttarget JOIN pg_namespace tn ON tn.oid = t.typnamespace
    JOIN pg_proc p ON p.oid = c.castfunc JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname <> 'pg_catalog'";

/// All that makes a catalog but what the server says of itself.
pub(super) const PARTS: [&str; 23] = [
    SCHEMAS,
    code::CREATORS,
    code::MEMBERSHIPS,
    TYPES,
    RELATIONS,
    PARENTS,
    FOREIGN_KEYS,
    UNIQUE_KEYS,
    POLICIES,
    COLUMNS,
    FUNCTIONS,
    OPERATORS,
    CASTS,
    code::READS,
    code::CALLS,
    views::VIEWS,
    views::LABELS,
    code::SETTERS,
    code::UNBOUND_DEFINERS,
    code::SETTING_READERS,
    code::MODULES,
    code::CODE_WORDS,
    code::TEMPORARY_MAKERS,
];

/// A digest of all rows of the other queries: equal ones stand for equal catalogs. Hundreds of databases made alike have
/// one, and seldom does one change; the server makes it in a fraction of the time that reading all rows takes here.
pub(super) async fn digest(transaction: &Transaction<'_>) -> Result<Vec<u8>, LoadError> {
    let part = |sql: &&str| {
        format!(
            "sha256(convert_to((SELECT coalesce(string_agg(d, E'\\n'), '') \
             FROM (SELECT q::text AS d FROM ({sql}) q ORDER BY q::text COLLATE \"C\") s), 'UTF8'))"
        )
    };
    let parts = PARTS.iter().map(part).collect::<Vec<_>>().join(" || ");
    Ok(transaction.query_one(&format!("SELECT {parts}"), &[]).await?.try_get(0)?)
}

/// `"char"` as its byte.
fn letter(row: &Row, column: &str) -> Result<u8, LoadError> {
    Ok(row.try_get::<_, i8>(column)?.cast_unsigned())
}

pub(super) fn name(row: &Row) -> Result<QualifiedName, LoadError> {
    Ok(QualifiedName { schema: row.try_get("nspname")?, name: row.try_get("name")? })
}

pub(super) async fn query<T>(
    transaction: &Transaction<'_>,
    sql: &str,
    read: impl Fn(&Row) -> Result<T, LoadError>,
) -> Result<Vec<T>, LoadError> {
    transaction.query(sql, &[]).await?.iter().map(read).collect()
}

/// Runs with the role's own search path: nothing in it that an object there could stand for.
pub(super) async fn server(transaction: &Transaction<'_>) -> Result<Server, LoadError> {
    let sql = "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_schemas(false), \
                      current_user::pg_catalog.text, r.rolsuper, r.rolbypassrls, \
                      ARRAY(SELECT pg_catalog.lower(pg_catalog.split_part(s.it, '=', 1)) \
                            FROM pg_catalog.pg_db_role_setting d, pg_catalog.unnest(d.setconfig) s(it) \
                            WHERE d.setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, r.oid]) \
                              AND d.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, \
                                  (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())]) \
                              AND pg_catalog.strpos(pg_catalog.split_part(s.it, '=', 1), '.') OPERATOR(pg_catalog.>) 0 \
                            ORDER BY 1), \
                      pg_catalog.getdatabaseencoding()::pg_catalog.text OPERATOR(pg_catalog.=) 'UTF8', \
                      EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_collation c \
                              ON c.oid OPERATOR(pg_catalog.=) a.attcollation WHERE NOT c.collisdeterministic), \
                      (SELECT pg_catalog.hashtextextended(coalesce(pg_catalog.string_agg( \
                                  pg_catalog.concat_ws(' ', d.setdatabase OPERATOR(pg_catalog.=) '0', d.setrole OPERATOR(pg_catalog.=) '0', \
                                      d.setconfig), ' ' ORDER BY d.setdatabase, d.setrole), ''), 0) \
                         FROM pg_catalog.pg_db_role_setting d \
                        WHERE d.setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, r.oid]) \
                          AND d.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, \
                              (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())])) \
               FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user";
    let row = transaction.query_one(sql, &[]).await?;
    let version: &str = row.try_get(0)?;
    let search_path: Vec<String> = row.try_get(1)?;
    let version = version
        .parse()
        .map_err(|_| LoadError::Unexpected { catalog: "server_version_num", what: format!("{version:?}") })?;
    let role = UpstreamRole {
        name: row.try_get(2)?,
        superuser: row.try_get(3)?,
        bypasses_rls: row.try_get(4)?,
        settings: row.try_get(5)?,
        defaults: row.try_get(8)?,
    };
    let texts = Texts { utf8: row.try_get(6)?, loose_collations: row.try_get(7)? };
    Ok(Server { version, search_path, role, texts })
}

pub(super) async fn schemas(transaction: &Transaction<'_>) -> Result<Vec<String>, LoadError> {
    query(transaction, SCHEMAS, |row| Ok(row.try_get(0)?)).await
}

pub(super) async fn types(transaction: &Transaction<'_>) -> Result<Vec<TypeRow>, LoadError> {
    let read = |row: &Row| {
        Ok(TypeRow {
            oid: row.try_get("oid")?,
            name: name(row)?,
            typtype: letter(row, "typtype")?,
            base: row.try_get("typbasetype")?,
        })
    };
    query(transaction, TYPES, read).await
}

pub(super) async fn relations(transaction: &Transaction<'_>) -> Result<Vec<RelationRow>, LoadError> {
    let read = |row: &Row| {
        Ok(RelationRow {
            oid: row.try_get("oid")?,
            name: name(row)?,
            kind: row::rel_kind(letter(row, "relkind")?)?,
            is_partition: row.try_get("relispartition")?,
            row_security: row.try_get("relrowsecurity")?,
            force_row_security: row.try_get("relforcerowsecurity")?,
            row_security_active: row.try_get("row_security_active")?,
            owned: row.try_get("owned")?,
            security_invoker: row.try_get("security_invoker")?,
            extension: row.try_get("extname")?,
        })
    };
    query(transaction, RELATIONS, read).await
}

/// In the order of inheritance.
pub(super) async fn parents(transaction: &Transaction<'_>) -> Result<Vec<ParentRow>, LoadError> {
    let read = |row: &Row| Ok(ParentRow { child: row.try_get(0)?, parent: row.try_get(1)? });
    query(transaction, PARENTS, read).await
}

/// In the order of their names.
pub(super) async fn foreign_keys(transaction: &Transaction<'_>) -> Result<Vec<ForeignKeyRow>, LoadError> {
    let read = |row: &Row| {
        let key = ForeignKey {
            name: row.try_get("conname")?,
            columns: row.try_get("columns")?,
            parent: row.try_get("confrelid")?,
            parent_columns: row.try_get("parent_columns")?,
        };
        Ok(ForeignKeyRow { relation: row.try_get("conrelid")?, key })
    };
    query(transaction, FOREIGN_KEYS, read).await
}

/// In the order of their indexes.
pub(super) async fn unique_keys(transaction: &Transaction<'_>) -> Result<Vec<UniqueKeyRow>, LoadError> {
    let read = |row: &Row| Ok(UniqueKeyRow { relation: row.try_get("indrelid")?, columns: row.try_get("columns")? });
    query(transaction, UNIQUE_KEYS, read).await
}

/// Those that apply to the role, of relations with row-level security, in the order of their names.
pub(super) async fn policies(transaction: &Transaction<'_>) -> Result<Vec<PolicyRow>, LoadError> {
    let read = |row: &Row| {
        let policy = RowPolicy {
            name: row.try_get("polname")?,
            permissive: row.try_get("polpermissive")?,
            command: row::policy_command(letter(row, "polcmd")?)?,
            using: row.try_get("using")?,
            check: row.try_get("check")?,
        };
        Ok(PolicyRow { relation: row.try_get("polrelid")?, policy })
    };
    query(transaction, POLICIES, read).await
}

/// In the order of `attnum`. Indexes and TOAST tables cannot be queried: their columns are left out.
pub(super) async fn columns(transaction: &Transaction<'_>) -> Result<Vec<ColumnRow>, LoadError> {
    let read = |row: &Row| {
        Ok(ColumnRow {
            relation: row.try_get("attrelid")?,
            name: row.try_get("attname")?,
            attnum: row.try_get("attnum")?,
            type_oid: row.try_get("atttypid")?,
            type_name: row.try_get("type_name")?,
            not_null: row.try_get("attnotnull")?,
            has_default: row.try_get("has_default")?,
            generated: row::generated(letter(row, "attgenerated")?)?,
            identity: row::identity(letter(row, "attidentity")?)?,
            loose: row.try_get("loose")?,
        })
    };
    query(transaction, COLUMNS, read).await
}

pub(super) async fn functions(transaction: &Transaction<'_>) -> Result<Vec<FunctionRow>, LoadError> {
    let read = |row: &Row| {
        let function = Function {
            oid: row.try_get("oid")?,
            name: name(row)?,
            kind: row::function_kind(letter(row, "prokind")?)?,
            volatility: row::volatility(letter(row, "provolatile")?)?,
            leakproof: row.try_get("proleakproof")?,
            security_definer: row.try_get("prosecdef")?,
            language: row.try_get("lanname")?,
            body: row.try_get("body")?,
            arg_types: row.try_get("arg_types")?,
            returns: row.try_get("prorettype")?,
            takes_one: false,
            takes_row: false,
            extension: row.try_get("extname")?,
        };
        Ok(FunctionRow { function, required_args: row.try_get("required_args")? })
    };
    query(transaction, FUNCTIONS, read).await
}

pub(super) async fn operators(transaction: &Transaction<'_>) -> Result<Vec<Operator>, LoadError> {
    let read = |row: &Row| {
        Ok(Operator {
            name: name(row)?,
            left: row.try_get("oprleft")?,
            right: row.try_get("oprright")?,
            leakproof: row.try_get("leakproof")?,
            result: row.try_get("oprresult")?,
            volatility: row::volatility(letter(row, "volatile")?)?,
            extension: row.try_get("extname")?,
        })
    };
    query(transaction, OPERATORS, read).await
}

pub(super) async fn casts(transaction: &Transaction<'_>) -> Result<Vec<Cast>, LoadError> {
    let read = |row: &Row| {
        let target = QualifiedName::new(row.try_get::<_, &str>("target_schema")?, row.try_get::<_, &str>("target")?);
        Ok(Cast { target, function: name(row)?, unwritten: row.try_get("unwritten")? })
    };
    query(transaction, CASTS, read).await
}
