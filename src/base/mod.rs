//! Values that every room knows: names, numbers, keys, secrets, and the errors that clients get. Imports no other room.

mod allow;
mod custom_setting;
mod enforcement;
mod hex;
mod ids;
mod keys;
pub mod oid;
mod pattern;
mod pgerror;
mod qualified_name;
mod refusal;
mod secret;
mod tenant_name;

pub use allow::{AllowList, parse_network};
pub use custom_setting::is_custom_setting;
pub use enforcement::{Access, Enforcement, Mode, Witness};
pub use hex::hex;
pub use ids::{LoginName, SessionId, TenantName, UpstreamName};
pub use keys::{Arity, KeyName, TenantKeys, key_setting};
pub use oid::Oid;
pub use pattern::{Found, NamePattern};
pub use pgerror::{PgError, Severity, SqlState};
pub use qualified_name::QualifiedName;
pub use refusal::{FOREIGN_PARENT, FOREIGN_ROW, OWN_VALUE_ONLY, Refusal, RefusalKind};
pub use secret::Secret;
pub use tenant_name::{CONSOLE_DATABASE, MAX_TENANT_NAME, is_tenant_name};
