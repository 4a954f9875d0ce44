//! What the server stores in the tenant column: what the statement gives it, and nothing that it makes up.

use pg_query::protobuf::{OverridingKind, RangeVar};

use super::{Outcome, Verifier, any_tenant_table};
use crate::catalog::{Generated, Identity};

impl Verifier<'_, '_> {
    /// What an INSERT gives is what is stored: no sequence's next value takes the tenant's place.
    pub(super) fn keeps_given(&self, overriding: i32, target: &RangeVar) -> Outcome {
        let gives_way = OverridingKind::try_from(overriding) == Ok(OverridingKind::OverridingUserValue);
        let stays = any_tenant_table(self.policy, target).is_some_and(|(relation, table)| {
            relation.kind.is_table()
                && relation.column(&table.column).is_some_and(|column| column.identity == Identity::No)
        });
        if gives_way && !stays { Err("OVERRIDING USER VALUE may change the tenant column".to_owned()) } else { Ok(()) }
    }

    /// No change of another column changes the tenant column.
    pub(super) fn keeps_tenant(&self, target: &RangeVar) -> Outcome {
        let found = any_tenant_table(self.policy, target);
        let generated =
            found.and_then(|(relation, table)| relation.column(&table.column)).map(|column| column.generated);
        match generated {
            Some(Generated::No) => Ok(()),
            Some(Generated::Stored | Generated::Virtual) | None => {
                Err("an UPDATE may change the tenant column, which is generated".to_owned())
            }
        }
    }
}
