//! Equal catalogs are one in memory: a thousand tenants with a database each have a thousand times the same tables.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::model::Catalog;

/// So many different ones are looked through, the latest first: what is not found there is kept twice, no more.
const KEPT: usize = 16;

static KNOWN: Mutex<Vec<Weak<Catalog>>> = Mutex::new(Vec::new());

/// The catalog, or an equal one that is in use already.
pub(super) fn shared(catalog: Catalog) -> Arc<Catalog> {
    let mut known = KNOWN.lock();
    known.retain(|weak| weak.strong_count() > 0);
    if let Some(same) = known.iter().rev().filter_map(Weak::upgrade).find(|other| **other == catalog) {
        return same;
    }
    if known.len() >= KEPT {
        known.remove(0);
    }
    let new = Arc::new(catalog);
    known.push(Arc::downgrade(&new));
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(schema: &str) -> Catalog {
        Catalog { search_path: vec![schema.to_owned()], ..Catalog::default() }
    }

    #[test]
    fn equal_catalogs_are_one() {
        let (first, other) = (shared(catalog("known")), shared(catalog("another")));
        assert!(Arc::ptr_eq(&first, &shared(catalog("known"))));
        assert!(!Arc::ptr_eq(&first, &other));
    }
}
