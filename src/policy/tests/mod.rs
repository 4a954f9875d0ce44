mod common;
mod through;
mod views;
mod world;

use std::collections::HashMap;

use super::*;
use crate::base::oid::{INT4, TEXT, UUID};
use crate::base::{Access, QualifiedName, TenantKeys, TenantName};
use crate::catalog::*;
use crate::config::{Address, PoolSettings, TableOverride, TlsMode, Upstream, UpstreamTls};
use crate::guard::{TableRule, fixture};
use world::{World, q};

#[test]
fn tables_with_the_column_are_tenant_tables() {
    let world = World::new()
        .table("public.orders", &[("id", INT4), ("tenant_id", INT4)])
        .table("public.tags", &[("id", INT4)])
        .table("public.countries", &[("code", TEXT)])
        .table("pg_catalog.pg_odd", &[("tenant_id", INT4)])
        .relation("public.v", RelKind::View, &[("tenant_id", INT4)], &[])
        .relation("public.m", RelKind::MaterializedView, &[("tenant_id", INT4)], &[])
        .relation("public.f", RelKind::ForeignTable, &[("tenant_id", INT4)], &[])
        .shared("public.countries");
    world.expect(
        &[("public.countries", "shared"), ("public.orders", "tenant_id:pg_catalog.int4:-")],
        &["public.tags has no tenant column", "public.v is a view", "public.m is a view", "public.f is a view"],
    );
    let (policy, _) = world.build();
    assert_eq!((policy.epoch, policy.search_path), (7, vec!["public".to_owned()]));
}

#[test]
fn listed_tables_and_views() {
    World::new()
        .table("public.invoices", &[("org_id", UUID), ("tenant_id", INT4)])
        .relation("public.v", RelKind::View, &[("tenant_id", INT4)], &[])
        .relation("public.w", RelKind::View, &[("x", INT4)], &[])
        .relation("public.s", RelKind::Sequence, &[], &[])
        .over("public.invoices", Some("org_id"), Some("uuid"))
        .over("public.v", None, None)
        .over("public.w", None, None)
        .over("public.s", None, None)
        .over("public.gone", None, None)
        .shared("public.lost")
        .expect(
            &[("public.invoices", "org_id:pg_catalog.uuid:uuid"), ("public.v", "tenant_id:pg_catalog.int4:-")],
            &[
                "[tenancy.tables] public.w has no column \"tenant_id\"",
                "[tenancy.tables] names public.s, which is no table",
                "[tenancy.tables] names public.gone, which does not exist",
                "shared_tables names public.lost, which does not exist",
            ],
        );
}

#[test]
fn children_are_guarded_as_their_parents() {
    World::new()
        .relation("public.p", RelKind::PartitionedTable, &[("org_id", UUID)], &[])
        .relation("public.p1", RelKind::PartitionedTable, &[("org_id", UUID)], &["public.p"])
        .table("public.extra", &[("tenant_id", INT4)])
        .relation("public.p2", RelKind::Table, &[("org_id", UUID), ("tenant_id", INT4)], &["public.p1"])
        .relation("public.p3", RelKind::ForeignTable, &[("org_id", UUID)], &["public.p1"])
        .over("public.p", Some("org_id"), Some("uuid"))
        .expect(
            &[
                ("public.extra", "tenant_id:pg_catalog.int4:-"),
                ("public.p", "org_id:pg_catalog.uuid:uuid"),
                ("public.p1", "org_id:pg_catalog.uuid:uuid"),
                ("public.p2", "org_id:pg_catalog.uuid:uuid"),
                ("public.p3", "org_id:pg_catalog.uuid:uuid"),
            ],
            &[],
        );
}

#[test]
fn contradicting_families_are_refused() {
    let two = World::new()
        .table("public.a", &[("tenant_id", INT4), ("org_id", UUID)])
        .table("public.b", &[("tenant_id", INT4), ("org_id", UUID)])
        .relation("public.ab", RelKind::Table, &[("tenant_id", INT4), ("org_id", UUID)], &["public.a", "public.b"])
        .over("public.b", Some("org_id"), Some("uuid"));
    let rules = [("public.a", "tenant_id:pg_catalog.int4:-"), ("public.b", "org_id:pg_catalog.uuid:uuid")];
    let (got, notes) = two.outcome();
    assert_eq!(got, rules.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert!(notes[0].contains("public.ab and the tables it inherits from are guarded differently"), "{notes:?}");

    let (got, _) = World::new()
        .table("public.a", &[("tenant_id", INT4)])
        .relation("public.c", RelKind::Table, &[("tenant_id", INT4), ("org", UUID)], &["public.a"])
        .over("public.c", Some("org"), None)
        .outcome();
    assert_eq!(got, [("public.a".to_owned(), "tenant_id:pg_catalog.int4:-".to_owned())]);
}

#[test]
fn shared_tables_show_no_tenants_rows() {
    World::new().table("public.x", &[("tenant_id", INT4)]).shared("public.x").expect(
        &[("public.x", "tenant_id:pg_catalog.int4:-")],
        &["public.x is listed as shared, and has the tenant column: it stays a tenant table"],
    );
    // A grandchild's rows are read through its grandparent. A foreign table is no tenant table by itself, but has rows.
    for kind in [RelKind::Table, RelKind::ForeignTable] {
        let world = World::new()
            .table("public.p", &[("a", INT4)])
            .relation("public.c", RelKind::Table, &[("a", INT4)], &["public.p"])
            .relation("public.g", kind, &[("a", INT4), ("tenant_id", INT4)], &["public.c"])
            .shared("public.p");
        let (policy, notes) = world.build();
        assert!(!policy.tables.contains_key(&q("public.p")), "{notes:?}");
        assert!(!policy.tables.contains_key(&q("public.c")), "{notes:?}");
        assert!(notes.iter().any(|n| matches!(n, PolicyNote::SharedHasTenantChild { .. })));
    }
    World::new()
        .table("public.p", &[("a", INT4)])
        .relation("public.c", RelKind::Table, &[("a", INT4)], &["public.p"])
        .shared("public.p")
        .expect(&[("public.c", "shared"), ("public.p", "shared")], &[]);
}

#[test]
fn a_tenants_own_schema_is_nobody_elses() {
    let world = World::new()
        .schema_tenant("globex", "globex")
        .schema_tenant("hooli", "hooli")
        .table("globex.orders", &[("tenant_id", INT4)])
        .table("globex.tags", &[("a", INT4)])
        .shared("globex.tags");
    world.expect(
        &[],
        &[
            "shared_tables names globex.tags, which lies in a tenant's own schema",
            "\"hooli\" of tenant \"hooli\" does not exist",
        ],
    );
    let mut world = World::new().schema_tenant("globex", "globex");
    world.tenancy.search_path = Some(vec!["globex".to_owned(), "nowhere".to_owned()]);
    world.expect(&[], &["belongs to tenant \"globex\" alone", "names schema \"nowhere\", which does not exist"]);
}

#[test]
fn keys_must_fit_their_columns() {
    let world = World::new().tenant("charlie", "three").table("public.t", &[("tenant_id", INT4)]);
    world.expect(
        &[("public.t", "tenant_id:pg_catalog.int4:-")],
        &["tenant \"charlie\" has no usable key for public.t: \"three\" is no pg_catalog.int4"],
    );
    World::new()
        .tenant_with("charlie", Layout::Shared, TenantKeys { default: Some("3".into()), ..TenantKeys::default() })
        .table("public.t", &[("u", UUID)])
        .over("public.t", Some("u"), Some("uuid"))
        .expect(&[("public.t", "u:pg_catalog.uuid:uuid")], &["no usable key \"uuid\" for public.t: it has none"]);
    // As text these are two keys, as numbers one.
    World::new()
        .tenant("charlie", "01")
        .table("public.n", &[("tenant_id", INT4)])
        .table("public.t", &[("tenant_id", TEXT)])
        .expect(
            &[("public.t", "tenant_id:pg_catalog.text:-")],
            &["tenants \"acme\" and \"charlie\" is the same value for public.n"],
        );
}

#[test]
fn types_are_printed_so_that_they_read_back() {
    World::new()
        .table("public.t", &[("tenant_id", 9000)])
        .expect(&[("public.t", "tenant_id:\"public\".\"Odd\"\"Id\":-")], &[]);
}

#[test]
fn casts_that_nobody_writes_are_named() {
    let mut world = World::new().table("public.t", &[("tenant_id", INT4)]);
    world.expect(&[("public.t", "tenant_id:pg_catalog.int4:-")], &[]);
    let cast = |unwritten| Cast { target: q("public.box"), function: q("public.to_box"), unwritten };
    let function = || Function {
        oid: 0,
        name: q("public.to_box"),
        kind: FunctionKind::Function,
        volatility: Volatility::Stable,
        leakproof: false,
        security_definer: false,
        language: "plpgsql".to_owned(),
        arg_types: vec![25],
        returns: 25,
        body: None,
        takes_one: false,
        takes_row: false,
        extension: None,
    };
    world.catalog.functions.insert("to_box".to_owned(), vec![function()]);
    world.catalog.casts = vec![cast(false)];
    world.expect(&[("public.t", "tenant_id:pg_catalog.int4:-")], &[]);
    world.catalog.casts = vec![cast(true)];
    world.expect(&[("public.t", "tenant_id:pg_catalog.int4:-")], &["the cast to public.box calls public.to_box"]);
    world.tenancy.allow_functions.push(q("public.to_box"));
    world.expect(&[("public.t", "tenant_id:pg_catalog.int4:-")], &[]);
}

#[test]
fn without_shared_tenants_there_is_nothing_to_say() {
    let mut world = World::new().table("public.t", &[("x", INT4)]).shared("public.gone");
    world.tenancy.allow_functions.push(q("public.f"));
    world.expect(
        &[],
        &["allow_functions names public.f", "public.gone, which does not exist", "public.t has no tenant column"],
    );
    world.tenants.clear();
    world.expect(&[], &[]);
}

#[test]
fn a_shared_view_of_a_tenant_table_is_refused() {
    let with_view = |enforcement, invoker| {
        let mut it = World::new()
            .table("public.orders", &[("id", INT4), ("tenant_id", INT4)])
            .table("public.countries", &[("code", TEXT)])
            .relation("public.inner", RelKind::View, &[("id", INT4)], &[])
            .relation("public.outer", RelKind::View, &[("id", INT4)], &[])
            .relation("public.harmless", RelKind::View, &[("code", TEXT)], &[])
            .shared("public.countries")
            .shared("public.inner")
            .shared("public.outer")
            .shared("public.harmless");
        it.enforcement = enforcement;
        let oid = |it: &World, name: &str| it.catalog.relations[&q(name)].oid;
        for (view, read) in [
            ("public.inner", "public.orders"),
            ("public.outer", "public.inner"),
            ("public.harmless", "public.countries"),
        ] {
            let (view, read) = (oid(&it, view), oid(&it, read));
            it.catalog.reads.entry(view).or_default().push(read);
        }
        for view in ["public.inner", "public.outer"] {
            it.catalog.relations.get_mut(&q(view)).unwrap().security_invoker = invoker;
        }
        let (policy, notes) = it.build();
        let refused: Vec<_> =
            ["public.inner", "public.outer"].into_iter().filter(|it| !policy.tables.contains_key(&q(it))).collect();
        assert!(
            policy.tables.contains_key(&q("public.harmless")) && policy.tables.contains_key(&q("public.countries"))
        );
        let told = notes.iter().filter(|it| matches!(it, PolicyNote::SharedViewOfTenants { .. })).count();
        assert_eq!(told, refused.len());
        refused
    };
    assert_eq!(with_view(Enforcement::Rewrite, false), ["public.inner", "public.outer"]);
    assert_eq!(with_view(Enforcement::Rewrite, true), ["public.inner", "public.outer"]);
    assert_eq!(with_view(Enforcement::RewriteAndRls, false), ["public.inner", "public.outer"]);
    // With its caller's rights the policies hold, as far as it reads tables alone.
    assert_eq!(with_view(Enforcement::Rls, true), [] as [&str; 0]);
}

/// What a function reads that tenants may not call, a view that calls it shows to all of them.
#[test]
fn a_shared_view_that_calls_what_tenants_may_not_is_refused() {
    let names = ["public.tells", "public.outer", "public.computes", "public.listed", "public.gone"];
    let view = |it: World, name: &&str| it.relation(name, RelKind::View, &[("id", INT4)], &[]).shared(name);
    let mut it = names.iter().fold(World::new(), view);
    let system =
        |name: &str| Function { language: "internal".to_owned(), ..fixture::function(name, Volatility::Stable) };
    for function in [
        system("pg_catalog.query_to_xml"),
        system("pg_catalog.now"),
        Function { language: "plpgsql".to_owned(), ..fixture::function("public.report", Volatility::Stable) },
    ] {
        it.catalog.functions.entry(function.name.name.clone()).or_default().push(function);
    }
    it.tenancy.allow_functions.push(q("public.report"));
    let oid = |it: &World, name: &str| it.catalog.relations[&q(name)].oid;
    for (view, function) in [
        ("public.tells", "pg_catalog.query_to_xml"),
        ("public.computes", "pg_catalog.now"),
        ("public.listed", "public.report"),
        ("public.gone", "public.unknown"),
    ] {
        let view = oid(&it, view);
        it.catalog.calls.entry(view).or_default().push(q(function));
    }
    let (outer, tells) = (oid(&it, "public.outer"), oid(&it, "public.tells"));
    it.catalog.reads.insert(outer, vec![tells]);
    let (policy, notes) = it.build();
    let served = names.map(|name| policy.tables.contains_key(&q(name)));
    assert_eq!(served, [false, false, true, true, false]);
    let told: Vec<_> = notes
        .iter()
        .filter_map(|it| match it {
            PolicyNote::SharedViewCalls { name, function } => Some(format!("{name} {function}")),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        ["public.gone public.unknown", "public.outer pg_catalog.query_to_xml", "public.tells pg_catalog.query_to_xml"]
    );
}

#[test]
fn a_listed_function_that_changes_the_tenant_is_refused_where_policies_read_it() {
    let with = |enforcement| {
        let mut it = World::new().table("public.orders", &[("id", INT4), ("tenant_id", INT4)]);
        it.enforcement = enforcement;
        it.tenancy.allow_functions = vec![q("public.become"), q("public.total")];
        let text = "SELECT set_config('app.tenant_id', $1, false)".to_owned();
        it.catalog.setters.push(crate::catalog::Setter { name: q("public.become"), text });
        it.catalog.unbound_definers.insert(q("public.total"));
        let (policy, notes) = it.build();
        let told = |is: fn(&PolicyNote) -> bool| notes.iter().any(is);
        (
            policy.allow_functions.contains(&q("public.become")),
            told(|it| matches!(it, PolicyNote::FunctionChangesTenant { .. })),
            told(|it| matches!(it, PolicyNote::UnboundDefiner { .. })),
        )
    };
    assert_eq!(with(Enforcement::Rewrite), (true, false, false));
    assert_eq!(with(Enforcement::Rls), (false, true, true));
    assert_eq!(with(Enforcement::RewriteAndRls), (true, true, true));
}

#[test]
fn keys_that_may_be_one_value_of_an_unknown_type_are_one() {
    for (one, other, distinct) in
        [("A", "a", false), ("1", "1.0", false), ("1e0", "1", false), ("a", "b", true), ("1", "2", true)]
    {
        let mut it = World::new().table("public.orders", &[("id", INT4), ("tenant_id", 9000)]);
        it.tenants.clear();
        let (policy, _) = it.tenant("acme", one).tenant("bravo", other).build();
        assert_eq!(policy.tables.contains_key(&q("public.orders")), distinct, "{one} and {other}");
    }
}

#[test]
fn a_newer_server_than_tested_is_told_of() {
    let mut world = World::new();
    let told =
        |world: &World| world.build().1.iter().any(|note| matches!(note, PolicyNote::UntestedServer { major: 19 }));
    assert!(!told(&world));
    world.catalog.server_version_num = 190_001;
    assert!(told(&world));
    let note = PolicyNote::UntestedServer { major: 19 };
    assert!(
        note.level() == NoteLevel::Warning && note.to_string().starts_with("Postgres 19 is newer than 18"),
        "{note}"
    );
}

#[test]
fn what_is_pgwardens_own_is_no_tenants() {
    let mut world = World::new().table("public.pgwarden_gates", &[("tenant_id", INT4)]);
    assert!(world.build().0.tables.contains_key(&q("public.pgwarden_gates")));
    world.tenancy.own_tables = vec![q("public.pgwarden_gates")];
    assert!(world.build().0.tables.is_empty());
}

/// Where different texts are equal, the keys of two tenants may be.
#[test]
fn a_tenant_column_of_a_loose_collation_is_refused() {
    let mut it = World::new()
        .table("public.notes", &[("id", INT4), ("tenant_id", TEXT)])
        .table("public.orgs", &[("slug", TEXT)])
        .table("public.exact", &[("id", INT4), ("tenant_id", TEXT)])
        .over("public.orgs", Some("slug"), None);
    for table in ["public.notes", "public.orgs"] {
        for column in &mut it.catalog.relations.get_mut(&q(table)).unwrap().columns {
            column.loose = true;
        }
    }
    let (policy, notes) = it.build();
    let served = ["notes", "orgs", "exact"].map(|name| policy.tables.contains_key(&q(&format!("public.{name}"))));
    assert_eq!(served, [false, false, true]);
    let mut told: Vec<_> = notes
        .iter()
        .filter_map(|it| match it {
            PolicyNote::LooseColumn { name, column } => Some(format!("{name} {column}")),
            _ => None,
        })
        .collect();
    told.sort();
    assert_eq!(told, ["public.notes tenant_id", "public.orgs slug"]);
}
