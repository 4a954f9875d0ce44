//! Any text as a statement, in each layout and protocol: no panic, and nothing goes out that the verifier would refuse.

use std::sync::{Arc, LazyLock};

use pgwarden::base::{Mode, TenantKeys};
use pgwarden::guard::{Guard, Names, Policy, Protocol, plan_statements, recheck};

static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| Arc::new(super::policy::policy()));

/// The first byte chooses whether the text is asked for twice, as another text of its shape.
pub fn guard(data: &[u8]) {
    let Some((how, text)) = data.split_first() else { return };
    let Ok(sql) = std::str::from_utf8(text) else { return };
    for mode in [Mode::Shared, Mode::Schema("public".into()), Mode::Database, Mode::Operator] {
        for protocol in [Protocol::Simple, Protocol::Extended { param_types: &[23, 0] }] {
            let Ok(plans) = plan_statements(&POLICY, &mode, protocol, sql) else { continue };
            if mode == Mode::Shared {
                for plan in &plans {
                    recheck(&POLICY, plan, protocol)
                        .unwrap_or_else(|what| panic!("{what}: {sql:?} as {:?}", plan.pieces));
                }
            }
        }
    }
    if how & 1 == 1 {
        shapes(sql);
    }
}

/// A shape that was learnt from one text says of another what the guard says of it by itself.
fn shapes(sql: &str) {
    let guard = Guard::new(POLICY.clone(), plan_statements);
    let keys = TenantKeys {
        default: Some("1".into()),
        named: [("uuid".into(), OWN_UUID.into())].into(),
        ..TenantKeys::default()
    };
    let other: String = sql.chars().map(|c| if c == '5' { '1' } else { c }).collect();
    for text in [sql, sql, &other, sql] {
        let cached = guard.plan(&Mode::Shared, Protocol::Simple, text).and_then(|script| script.bind(&keys));
        let alone = guard.plan_whole(Names::Catalog, &Mode::Shared, text).and_then(|script| script.bind(&keys));
        match (cached, alone) {
            (Ok(cached), Ok(alone)) => assert_eq!(cached.text(), alone.text(), "{text:?}"),
            (Err(cached), Err(alone)) => assert_eq!(cached.error.code, alone.error.code, "{text:?}"),
            (cached, alone) => panic!("{text:?}: {:?} from the cache, {:?} alone", cached.is_ok(), alone.is_ok()),
        }
    }
}

const OWN_UUID: &str = "00000000-0000-4000-8000-00000000000a";
