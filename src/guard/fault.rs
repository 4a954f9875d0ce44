//! Planted faults: parts of the guard left out on purpose, to see that tests and the other readers notice. An ordinary
//! build can plant none: [`planted`] is `false`, and the compiler drops what depends on it.
//!
//! Unit tests plant with `with`; a pgwarden built with the feature `planted-faults` (`scripts/faults`) reads
//! `PGWARDEN_FAULTS`.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// What can be left out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Fault {
            $($(#[$doc])* $name,)*
        }

        #[cfg(any(test, feature = "planted-faults"))]
        impl Fault {
            /// All of them.
            pub(crate) const ALL: &[Fault] = &[$(Fault::$name),*];

            /// As `PGWARDEN_FAULTS` spells it.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Fault::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    /// The predicate of a table in WHERE.
    Where "where",
    /// The predicate of a table in the ON of an outer join.
    On "on",
    /// The predicate in a subquery that takes a table's place.
    Inside "inside",
    /// The predicate of the target of an UPDATE or DELETE.
    TargetWhere "target-where",
    /// The predicate of a MERGE's target in ON.
    MergeOn "merge-on",
    /// The predicate in WHEN NOT MATCHED BY SOURCE.
    MergeBySource "merge-by-source",
    /// The predicate in the WHERE of ON CONFLICT DO UPDATE.
    ConflictWhere "conflict-where",
    /// ANY in the predicate of a reader of several tenants.
    Any "any",
    /// What readers may not send.
    Reads "reads",
    /// The CASE on predicates around conditions.
    Case "case",
    /// The CASE on a query around conditions.
    CaseOnQuery "case-on-query",
    /// The fence in a subquery or common table expression.
    Fence "fence",
    /// The CASE that keeps conditions in HAVING.
    Having "having",
    /// The late evaluation of a query that is compared with.
    Defer "defer",
    /// The trial of an operand before any row is read.
    Trial "trial",
    /// The types that parameters have before they are cast.
    ParamTypes "param-types",
    /// The comparison of a value for the tenant column.
    OwnValue "own-value",
    /// The check of assignments to the tenant column.
    Assignment "assignment",
    /// The tenant's key in the keys of advisory locks.
    LockKeys "lock-keys",
    /// The tenant's key in the names of channels.
    Channels "channels",
    /// The masks of system relations.
    Mask "mask",
    /// The rules for functions.
    Functions "functions",
    /// The rules for EXPLAIN's options.
    Explain "explain",
    /// All of the verifier.
    Verifier "verifier",
    /// All of the witness.
    Witness "witness",
}

/// Whether the fault is planted: never, in an ordinary build.
#[cfg(not(any(test, feature = "planted-faults")))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(any(test, feature = "planted-faults"))]
pub(crate) use enabled::planted;
#[cfg(test)]
pub(crate) use enabled::with;

#[cfg(any(test, feature = "planted-faults"))]
mod enabled {
    use std::cell::RefCell;
    use std::sync::LazyLock;

    use super::Fault;

    static FROM_ENVIRONMENT: LazyLock<Vec<Fault>> = LazyLock::new(|| {
        let names = std::env::var("PGWARDEN_FAULTS").unwrap_or_default();
        let named = |name: &str| Fault::ALL.iter().copied().find(|fault| fault.as_str() == name);
        names.split(',').filter_map(named).collect()
    });

    thread_local! {
        static HERE: RefCell<Vec<Fault>> = const { RefCell::new(Vec::new()) };
    }

    /// Whether the fault is planted.
    pub(crate) fn planted(fault: Fault) -> bool {
        FROM_ENVIRONMENT.contains(&fault) || HERE.with_borrow(|here| here.contains(&fault))
    }

    /// Runs something on this thread with faults.
    #[cfg(test)]
    pub(crate) fn with<T>(faults: &[Fault], run: impl FnOnce() -> T) -> T {
        HERE.set(faults.to_vec());
        let outcome = run();
        HERE.set(Vec::new());
        outcome
    }
}
