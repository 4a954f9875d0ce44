//! One-letter columns of the system catalogs as enums.

use super::LoadError;
use crate::catalog::model::{FunctionKind, Generated, Identity, PolicyCommand, RelKind, Volatility};

fn unexpected(catalog: &'static str, column: &str, letter: u8) -> LoadError {
    LoadError::Unexpected { catalog, what: format!("{column} {:?}", char::from(letter)) }
}

pub(super) fn rel_kind(letter: u8) -> Result<RelKind, LoadError> {
    Ok(match letter {
        b'r' => RelKind::Table,
        b'p' => RelKind::PartitionedTable,
        b'v' => RelKind::View,
        b'm' => RelKind::MaterializedView,
        b'f' => RelKind::ForeignTable,
        b'S' => RelKind::Sequence,
        b'i' | b'I' => RelKind::Index,
        b't' => RelKind::Toast,
        b'c' => RelKind::CompositeType,
        other => return Err(unexpected("pg_class", "relkind", other)),
    })
}

/// The letter is 0 for an ordinary column (an empty `"char"`).
pub(super) fn generated(letter: u8) -> Result<Generated, LoadError> {
    Ok(match letter {
        0 => Generated::No,
        b's' => Generated::Stored,
        b'v' => Generated::Virtual,
        other => return Err(unexpected("pg_attribute", "attgenerated", other)),
    })
}

pub(super) fn identity(letter: u8) -> Result<Identity, LoadError> {
    Ok(match letter {
        0 => Identity::No,
        b'a' => Identity::Always,
        b'd' => Identity::ByDefault,
        other => return Err(unexpected("pg_attribute", "attidentity", other)),
    })
}

pub(super) fn function_kind(letter: u8) -> Result<FunctionKind, LoadError> {
    Ok(match letter {
        b'f' => FunctionKind::Function,
        b'p' => FunctionKind::Procedure,
        b'a' => FunctionKind::Aggregate,
        b'w' => FunctionKind::Window,
        other => return Err(unexpected("pg_proc", "prokind", other)),
    })
}

pub(super) fn volatility(letter: u8) -> Result<Volatility, LoadError> {
    Ok(match letter {
        b'i' => Volatility::Immutable,
        b's' => Volatility::Stable,
        b'v' => Volatility::Volatile,
        other => return Err(unexpected("pg_proc", "provolatile", other)),
    })
}

pub(super) fn policy_command(letter: u8) -> Result<PolicyCommand, LoadError> {
    Ok(match letter {
        b'*' => PolicyCommand::All,
        b'r' => PolicyCommand::Select,
        b'a' => PolicyCommand::Insert,
        b'w' => PolicyCommand::Update,
        b'd' => PolicyCommand::Delete,
        other => return Err(unexpected("pg_policy", "polcmd", other)),
    })
}
