//! Tables that belong through a foreign key.

use super::*;

/// Orders, their tags, notes on tags; and a log that belongs to nobody.
fn with_tags() -> World {
    World::new()
        .table("public.orders", &[("id", INT4), ("tenant_id", INT4)])
        .table("public.tags", &[("order_id", INT4), ("tag", TEXT)])
        .table("public.notes", &[("tag_id", INT4), ("log_id", INT4), ("other", INT4)])
        .table("public.log", &[("id", INT4)])
        .foreign_key("public.tags", "order_id", "public.orders", "id")
        .foreign_key("public.notes", "log_id", "public.log", "id")
        .foreign_key("public.notes", "tag_id", "public.tags", "order_id")
}

/// Why a relation has no rule is known to the guard, for its hint; and pgwarden's own tables are nothing to tell of.
#[test]
fn what_is_left_out_says_why() {
    let own = [("billing.usage", "count"), ("billing.usage_writers", "name"), ("public.pgwarden_tenants", "name")];
    let own = own.iter().fold(with_tags(), |world, (name, column)| world.table(name, &[(column, TEXT)]));
    let (policy, notes) = own.through("public.notes", "other").shared("public.log").build();
    let why = |name: &str| policy.left_out.get(&q(name)).map(|why| why.to_string()).unwrap_or_default();
    assert!(why("public.tags").contains("{ through = \"order_id\" }"), "{}", why("public.tags"));
    assert!(why("public.notes").contains("no foreign key of \"other\""), "{}", why("public.notes"));
    assert_eq!((why("public.log").as_str(), why("public.orders").as_str()), ("", ""));
    assert!(!notes.iter().any(|note| note.to_string().contains("usage") || note.to_string().contains("pgwarden_")));
}

#[test]
fn tables_belong_through_a_foreign_key() {
    let orders = ("public.orders", "tenant_id:pg_catalog.int4:-");
    let log = "public.log has no tenant column and is not listed";
    with_tags()
        .expect(&[orders], &[log, "public.notes has no tenant column", "\"public.tags\" = { through = \"order_id\" }"]);
    // In whatever order they are listed.
    with_tags().through("public.notes", "tag_id").through("public.tags", "order_id").expect(
        &[("public.notes", "tag_id:pg_catalog.int4:-"), orders, ("public.tags", "order_id:pg_catalog.int4:-")],
        &[log],
    );
    let (policy, _) = with_tags().through("public.notes", "tag_id").through("public.tags", "order_id").build();
    let (_, notes) = policy.tables[&q("public.notes")].through().unwrap();
    assert_eq!((notes.parent.to_string().as_str(), notes.key.as_str()), ("public.tags", "order_id"));
    assert_eq!(notes.rule.through.as_ref().unwrap().constraint, "order_id_fkey");
}

#[test]
fn keys_that_lead_to_no_tenant_lead_nowhere() {
    let orders = ("public.orders", "tenant_id:pg_catalog.int4:-");
    let nowhere = |column: &str, world: World| {
        let note = format!("public.notes has no foreign key of \"{column}\" alone");
        let (rules, notes) = world.through("public.notes", column).outcome();
        assert!(!rules.iter().any(|(name, _)| name == "public.notes"), "{rules:?}");
        assert!(notes.iter().any(|it| it.contains(&note)), "{notes:?}");
    };
    // The parent is nobody's; no key; the parent is not listed.
    nowhere("log_id", with_tags());
    nowhere("other", with_tags());
    nowhere("tag_id", with_tags());
    with_tags()
        .through("public.tags", "gone")
        .expect(&[orders], &["public.tags has no column \"gone\"", "public.log has no", "public.notes has no"]);
    // A key that leads to the table itself, and two that lead to each other.
    nowhere("other", with_tags().foreign_key("public.notes", "other", "public.notes", "tag_id"));
    let circle = with_tags().foreign_key("public.log", "id", "public.notes", "log_id").through("public.log", "id");
    nowhere("log_id", circle);
    // Inheritance children may have rows of the same key.
    let heirs = with_tags().through("public.tags", "order_id").relation(
        "public.heir",
        RelKind::Table,
        &[("id", INT4), ("tenant_id", INT4)],
        &["public.orders"],
    );
    let (rules, notes) = heirs.outcome();
    assert!(!rules.iter().any(|(name, _)| name == "public.tags"), "{rules:?}");
    assert!(notes.iter().any(|it| it.contains("public.tags has no foreign key")), "{notes:?}");
}

/// Where two tenants are one, so they are behind a foreign key.
#[test]
fn a_table_loses_its_rule_with_its_parent() {
    let world = with_tags().tenant("alpha", "01").through("public.tags", "order_id");
    let (rules, _) = world.outcome();
    assert_eq!(rules, []);
}
