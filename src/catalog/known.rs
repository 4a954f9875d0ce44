//! Equal catalogs are one in memory, and read once: a thousand tenants with a database each have a thousand times the same
//! tables.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;

use super::model::Catalog;

/// A digest of what a catalog was made of.
type Digest = Vec<u8>;

/// Catalogs in use by their digests; several of one digest differ in what their servers say of themselves.
static KNOWN: LazyLock<Mutex<HashMap<Digest, Vec<Weak<Catalog>>>>> = LazyLock::new(Mutex::default);

/// The catalog with this digest, if one that is `fit` is in use.
pub(super) fn find(digest: &[u8], fit: impl Fn(&Catalog) -> bool) -> Option<Arc<Catalog>> {
    let known = KNOWN.lock();
    known.get(digest)?.iter().filter_map(Weak::upgrade).find(|catalog| fit(catalog))
}

/// Lets others find the catalog as long as it is in use. Of equal ones that were read at the same time, all get the first.
pub(super) fn keep(digest: Digest, catalog: Catalog) -> Arc<Catalog> {
    let mut known = KNOWN.lock();
    known.retain(|_, list| {
        list.retain(|weak| weak.strong_count() > 0);
        !list.is_empty()
    });
    let list = known.entry(digest).or_default();
    if let Some(same) = list.iter().filter_map(Weak::upgrade).find(|other| **other == catalog) {
        return same;
    }
    let new = Arc::new(catalog);
    list.push(Arc::downgrade(&new));
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(schema: &str) -> Catalog {
        Catalog { search_path: vec![schema.to_owned()], ..Catalog::default() }
    }

    #[test]
    fn equal_catalogs_are_one_as_long_as_they_are_in_use() {
        let (first, other) = (keep(vec![1], catalog("a")), keep(vec![1], catalog("b")));
        assert!(Arc::ptr_eq(&first, &keep(vec![1], catalog("a"))));
        assert!(!Arc::ptr_eq(&first, &other));
        let found = |digest: u8| find(&[digest], |it| it.search_path == ["a"]);
        assert!(found(1).is_some_and(|it| Arc::ptr_eq(&it, &first)));
        assert!(found(2).is_none());
        drop((first, other));
        assert!(found(1).is_none());
    }
}
