//! Object identifiers, and those of the types that pgwarden treats of: fixed numbers of `pg_type.dat`.

/// An object identifier of Postgres (`oid`): a type, relation or function of one database.
pub type Oid = u32;

/// `bool`
pub const BOOL: Oid = 16;
/// `name`
pub const NAME: Oid = 19;
/// `int8`
pub const INT8: Oid = 20;
/// `int2`
pub const INT2: Oid = 21;
/// `int4`
pub const INT4: Oid = 23;
/// `text`
pub const TEXT: Oid = 25;
/// `float8`
pub const FLOAT8: Oid = 701;
/// `bpchar`: `char(n)`
pub const BPCHAR: Oid = 1042;
/// `varchar`
pub const VARCHAR: Oid = 1043;
/// `date`
pub const DATE: Oid = 1082;
/// `timestamp`
pub const TIMESTAMP: Oid = 1114;
/// `timestamptz`
pub const TIMESTAMPTZ: Oid = 1184;
/// `numeric`
pub const NUMERIC: Oid = 1700;
/// `uuid`
pub const UUID: Oid = 2950;
