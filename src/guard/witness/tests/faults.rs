//! What the rewriter leaves out on purpose, with the verifier asleep: the witness alone finds it.

use super::*;
use crate::guard::fault::{Fault, with};
use crate::guard::rewrite::tests::faults::STATEMENTS;
use crate::guard::rewrite::tests::fixture::{plan, text};

/// What it does not look for: where a condition may be moved to depends on what the planner makes of a query.
fn is_beyond_it(fault: Fault) -> bool {
    match fault {
        Fault::Fence => true,
        // Nor what a condition without columns could fail with.
        Fault::Trial | Fault::ParamTypes => true,
        // The gate's alone, and those of readers. The fixture's server has no MERGE ... BY SOURCE.
        Fault::Mask | Fault::LockKeys | Fault::Channels | Fault::Functions | Fault::Explain => true,
        Fault::Verifier | Fault::Witness | Fault::MergeBySource => true,
        // Of readers of several tenants: they have tests of their own.
        Fault::Any | Fault::Reads => true,
        Fault::Where
        | Fault::On
        | Fault::Inside
        | Fault::TargetWhere
        | Fault::MergeOn
        | Fault::ConflictWhere
        | Fault::Case
        | Fault::CaseOnQuery
        | Fault::Having
        | Fault::Defer
        | Fault::OwnValue
        | Fault::Assignment => false,
    }
}

#[test]
fn the_witness_finds_what_rewriter_and_verifier_do_not() {
    for fault in Fault::ALL.iter().copied().filter(|it| !is_beyond_it(*it)) {
        let (mut missing, mut passed) = (0, Vec::new());
        for sql in STATEMENTS {
            let whole = plan(sql).ok().map(|plan| text(&plan));
            let faulty = with(&[fault, Fault::Verifier, Fault::Witness], || plan(sql)).ok().map(|plan| text(&plan));
            if faulty.is_none() || faulty == whole {
                continue;
            }
            missing += 1;
            match with(&[fault, Fault::Verifier], || plan(sql)) {
                Err(refusal) if refusal.kind == RefusalKind::Witness => {}
                outcome => passed.push(format!("{sql}: {:?}", outcome.map(|plan| text(&plan)))),
            }
        }
        println!("{}: {} of {missing} found", fault.as_str(), missing - passed.len());
        assert!(missing > 0, "no statement here needs what {} leaves out", fault.as_str());
        assert!(passed.is_empty(), "{} passes:\n{}", fault.as_str(), passed.join("\n"));
    }
}
