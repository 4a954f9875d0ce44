use super::column::NoColumn;
use super::facts::{Names, Table};
use super::fixture::{catalog, facts};
use super::*;
use crate::base::oid::{TEXT, UUID};
use crate::catalog::{Column, Function, FunctionKind, Volatility};
use crate::guard::fixture::{function, relation};

fn plan(catalog: &Catalog, facts: &Facts) -> Plan {
    let choice = choose(catalog, &Wanted::default()).unwrap();
    decide(catalog, facts, choice, &mut |_| None)
}

/// The rule of a table in short.
fn rule(plan: &Plan, table: &str) -> String {
    let guess = &plan.relations[&QualifiedName::new("public", table)];
    let rule = |rule: &Rule| match rule {
        Rule::ByColumn => "by column".to_owned(),
        Rule::Column { column, key: None } => column.clone(),
        Rule::Column { column, key: Some(key) } => format!("{column}/{key}"),
        Rule::Tenants(column) => format!("tenants {}", column.as_deref().unwrap_or("by column")),
        Rule::Through(column) => format!("> {column}"),
        Rule::Shared => "shared".to_owned(),
        Rule::Open(access) => access.as_str().to_owned(),
        Rule::Refused => "refused".to_owned(),
    };
    match &guess.certainty {
        Certainty::Sure => rule(&guess.rule),
        Certainty::Look => format!("{}?", rule(&guess.rule)),
        Certainty::Open(None) => "-".to_owned(),
        Certainty::Open(Some(open)) => format!("- {}", rule(open)),
    }
}

#[test]
fn the_column_that_most_tables_have() {
    let catalog = catalog(&[
        "orgs: id slug!",
        "teams: id org_id>orgs.id",
        "users: id org_id>orgs.id",
        "posts: id org_id>orgs.id user_id>users.id team_id>teams.id",
        "likes: id post_id>posts.id user_id>users.id",
        "reads: id user_id>users.id",
        "views: id user_id>users.id",
        "pins: id user_id>users.id",
    ]);
    let choice = choose(&catalog, &Wanted::default()).unwrap();
    assert_eq!((choice.column.as_str(), choice.rival), ("org_id", None));
    assert_eq!(choice.root, Some((QualifiedName::new("public", "orgs"), "id".to_owned())));
    let wanted = Wanted { column: Some("user_id".to_owned()), table: None };
    assert_eq!(choose(&catalog, &wanted).unwrap().root.unwrap().0.name, "users");
}

#[test]
fn another_that_nearly_as_many_have_is_told() {
    let catalog = catalog(&["a: org_id", "b: org_id", "c: team_id", "d: team_id", "e: org_id"]);
    let choice = choose(&catalog, &Wanted::default()).unwrap();
    assert_eq!(
        (choice.column.as_str(), choice.rival.as_deref(), choice.root),
        ("org_id", Some("team_id, which 2 tables have"), None)
    );
}

#[test]
fn without_foreign_keys_names_tell() {
    let catalog = catalog(&["organizations: id slug!", "a: org_id", "b: org_id"]);
    assert_eq!(
        choose(&catalog, &Wanted::default()).unwrap().root.unwrap(),
        (QualifiedName::new("public", "organizations"), "id".to_owned())
    );
    let mut other = catalog.clone();
    other.relations.get_mut(&QualifiedName::new("public", "organizations")).unwrap().columns[0].base_type_oid = UUID;
    assert_eq!(choose(&other, &Wanted::default()).unwrap().root, None, "no value of the one is one of the other");
}

#[test]
fn no_column_is_an_error() {
    let found = |tables: &[&str]| choose(&catalog(tables), &Wanted::default()).unwrap_err();
    assert_eq!(found(&["a: id order_id", "b: order_id"]), NoColumn::NotFound(vec![("order_id".to_owned(), 2)]));
    assert_eq!(found(&["schema_migrations: version"]), NoColumn::NoTables);
    let mut many = Catalog::default();
    for schema in ["t_a", "t_b", "t_c"] {
        for table in ["orders", "lines"] {
            let name = QualifiedName::new(schema, table);
            many.relations.insert(
                name.clone(),
                Relation { oid: 1, ..relation(&format!("{schema}.{table}"), RelKind::Table, []) },
            );
        }
    }
    assert_eq!(choose(&many, &Wanted::default()).unwrap_err(), NoColumn::Schemas { count: 3 });
}

#[test]
fn tables_and_whose_they_are() {
    let catalog = catalog(&[
        "orgs: id slug! plan_id?>plans.id uuid!",
        "plans: id name",
        "users: id org_id>orgs.id",
        "orders: id org_id>orgs.id",
        "items: id order_id>orders.id",
        "order_notes: id user_id>users.id order_id>orders.id",
        "item_parts: id item_id>items.id note_id?>order_notes.id",
        "drafts: id order_id?>orders.id",
        "deals: id buyer_id>orgs.id seller_id>orgs.id",
        "signups: id by_id>orgs.id",
        "keys: id holder>orgs.uuid",
        "members: id current_org_id?>orgs.id",
        "ring_a: id b_id>ring_b.id order_id?>orders.id",
        "ring_b: id a_id>ring_a.id",
        "island: id",
        "pings: id order_id",
        "leads: id email",
        "sessions: id",
        "schema_migrations: version",
        "knex_migrations: id",
        "tree: id tree_id?>tree.id",
    ]);
    let plan = plan(&catalog, &facts(&catalog, 3));
    for (table, expected) in [
        ("orgs", "tenants id"),
        ("plans", "shared"),
        ("users", "by column"),
        ("items", "> order_id"),
        ("order_notes", "> order_id"),
        ("item_parts", "> item_id"),
        ("drafts", "> order_id?"),
        ("deals", "-"),
        ("signups", "by_id"),
        ("keys", "holder/uuid"),
        ("members", "- current_org_id"),
        ("pings", "-"),
        ("ring_a", "> order_id?"),
        ("ring_b", "> a_id"),
        ("island", "- shared"),
        ("leads", "-"),
        ("sessions", "- write"),
        ("schema_migrations", "shared"),
        ("knex_migrations", "refused"),
        ("tree", "- shared"),
    ] {
        assert_eq!(rule(&plan, table), expected, "{table}");
    }
    let Tenants::Query { query, .. } = &plan.tenants else { panic!("{:?}", plan.tenants) };
    assert_eq!(
        query,
        "SELECT \"id\"::text AS name, \"id\" AS key, jsonb_build_object('uuid', \"uuid\") AS keys FROM \"public\".\"orgs\""
    );
}

/// What opens a table to all tenants needs all of the evidence.
#[test]
fn a_table_is_shared_only_where_much_speaks_for_it() {
    let catalog = catalog(&["orgs: id", "orders: id org_id>orgs.id kind_id>kinds.id", "kinds: id name"]);
    let kinds = |facts: &Facts| rule(&plan(&catalog, facts), "kinds");
    assert_eq!(kinds(&facts(&catalog, 3)), "shared");
    for (rows, changes) in [(None, 0), (Some(0), 0), (Some(1001), 0), (Some(3), 4)] {
        let mut facts = facts(&catalog, 3);
        facts.tables.values_mut().for_each(|it| *it = Table { rows, changes, has_null_keys: false });
        assert_eq!(kinds(&facts), "- shared", "{rows:?} {changes}");
    }
    for table in ["kinds: id api_token", "users: id name", "kinds: id name_of_login"] {
        let name = table.split(':').next().unwrap();
        let orders = format!("orders: id org_id>orgs.id kind_id>{name}.id");
        let catalog = super::fixture::catalog(&["orgs: id", &orders, table]);
        assert_eq!(rule(&plan(&catalog, &facts(&catalog, 3)), name), "-", "{table}");
    }
}

#[test]
fn answers_stand() {
    let catalog = catalog(&["orgs: id", "orders: id org_id>orgs.id", "flags: id", "hints: id", "sessions: id"]);
    let choice = choose(&catalog, &Wanted::default()).unwrap();
    let mut asked = Vec::new();
    let plan = decide(&catalog, &facts(&catalog, 3), choice, &mut |question| {
        asked.push(question.name.name.clone());
        match question.name.name.as_str() {
            "flags" => Some(true),
            "hints" => Some(false),
            _ => None,
        }
    });
    assert_eq!(["flags", "hints", "sessions"].map(|it| rule(&plan, it)), ["shared", "refused", "- write"]);
    assert_eq!(asked, ["flags", "hints", "sessions"]);
}

#[test]
fn what_a_column_does_not_say() {
    let mut catalog = catalog(&[
        "orgs: id",
        "billing: id",
        "a: org_id>orgs.id",
        "b: org_id>orgs.id",
        "c: org_id>billing.id",
        "d: org_id",
        "e: org_id>orgs.id",
    ]);
    let column = |catalog: &mut Catalog, table: &str, oid| {
        let column = &mut catalog.relations.get_mut(&QualifiedName::new("public", table)).unwrap().columns[0];
        (column.type_oid, column.base_type_oid) = (oid, oid);
    };
    column(&mut catalog, "d", UUID);
    let mut facts = facts(&catalog, 3);
    let e = catalog.relations[&QualifiedName::new("public", "e")].oid;
    facts.tables.get_mut(&e).unwrap().has_null_keys = true;
    let plan = plan(&catalog, &facts);
    assert_eq!(["a", "c", "d", "e"].map(|it| rule(&plan, it)), ["by column", "by column?", "by column?", "by column?"]);
}

#[test]
fn views_show_what_they_read() {
    let mut catalog = catalog(&[
        "orgs: id",
        "kinds: id",
        "users: id org_id>orgs.id",
        "orders: id org_id>orgs.id kind_id>kinds.id",
        "flags: id",
        "other: id",
    ]);
    let mut facts = facts(&catalog, 3);
    let view = |catalog: &mut Catalog,
                facts: &mut Facts,
                oid: Oid,
                (name, reads, columns, text): (&str, &[&str], &[&str], &str)| {
        let mut view = Relation { oid, ..relation(name, RelKind::View, []) };
        let column = &catalog.relations[&QualifiedName::new("public", "orders")].columns[1];
        view.columns = columns.iter().map(|it| Column { name: (*it).to_owned(), ..column.clone() }).collect();
        let reads = reads.iter().map(|it| catalog.relations[&QualifiedName::new("public", *it)].oid).collect();
        catalog.reads.insert(oid, reads);
        catalog.relations.insert(view.name.clone(), view);
        facts.views.insert(oid, text.to_owned());
    };
    let views: [(&str, &[&str], &[&str], &str); 7] = [
        (
            "v_plain",
            &["orders", "kinds"],
            &["org_id"],
            "SELECT o.org_id FROM orders o JOIN kinds k ON k.id = o.kind_id",
        ),
        ("v_window", &["orders"], &["org_id"], "SELECT org_id, count(*) OVER () FROM orders"),
        ("v_two", &["orders", "users"], &["org_id"], "SELECT o.org_id FROM orders o, users u"),
        ("v_without", &["orders"], &["n"], "SELECT count(*) AS n FROM orders"),
        ("v_shared", &["kinds"], &["id"], "SELECT id FROM kinds"),
        ("v_unknown", &["flags"], &["id"], "SELECT id FROM flags"),
        ("v_view", &["v_plain"], &["org_id"], "SELECT org_id FROM v_plain"),
    ];
    for (oid, definition) in (200..).zip(views) {
        view(&mut catalog, &mut facts, oid, definition);
    }
    let plan = plan(&catalog, &facts);
    for (name, expected) in [
        ("v_plain", "org_id"),
        ("v_window", "- org_id"),
        ("v_two", "- org_id"),
        ("v_without", "-"),
        ("v_shared", "shared"),
        ("v_unknown", "-"),
        ("v_view", "- org_id"),
    ] {
        assert_eq!(rule(&plan, name), expected, "{name}");
    }
}

#[test]
fn views_that_call_what_nobody_sees_into() {
    let mut catalog = catalog(&["orgs: id", "kinds: id", "orders: id org_id>orgs.id kind_id>kinds.id"]);
    let mut facts = facts(&catalog, 3);
    let kinds = catalog.relations[&QualifiedName::new("public", "kinds")].oid;
    let views = [
        (300, "v_dump", "query_to_xml", vec![]),
        (301, "v_kinds", "crosstab", vec![kinds]),
        (302, "v_now", "now", vec![kinds]),
        (303, "v_none", "now", vec![]),
    ];
    let now = Function { language: "internal".to_owned(), ..function("pg_catalog.now", Volatility::Stable) };
    catalog.functions.insert("now".to_owned(), vec![now]);
    for (oid, name, called, reads) in views {
        let view = Relation { oid, ..relation(name, RelKind::View, []) };
        catalog.relations.insert(view.name.clone(), view);
        catalog.reads.insert(oid, reads);
        catalog.calls.insert(oid, vec![QualifiedName::new("pg_catalog", called)]);
        facts.views.insert(oid, format!("SELECT {called}('SELECT 1')"));
    }
    let plan = plan(&catalog, &facts);
    assert_eq!(["v_dump", "v_kinds", "v_now", "v_none"].map(|it| rule(&plan, it)), ["-", "-", "shared", "- shared"]);
}

fn body(name: &str, language: &str, text: &str) -> Body {
    Body {
        name: QualifiedName::new("public", name),
        language: language.to_owned(),
        volatility: Volatility::Immutable,
        definer: false,
        trigger: false,
        parsed: false,
        text: text.to_owned(),
    }
}

#[test]
fn functions_that_only_compute() {
    let mut catalog = catalog(&["orgs: id", "orders: id org_id>orgs.id"]);
    let system = |name: &str, volatility| Function {
        oid: 1,
        name: QualifiedName::new("pg_catalog", name),
        kind: FunctionKind::Function,
        volatility,
        leakproof: false,
        security_definer: false,
        language: "internal".to_owned(),
        body: None,
        arg_types: Vec::new(),
        returns: TEXT,
        takes_one: false,
        takes_row: false,
        extension: None,
    };
    catalog.functions = [
        ("lower", Volatility::Immutable),
        ("query_to_xml", Volatility::Immutable),
        ("pg_read_file", Volatility::Volatile),
    ]
    .map(|(name, volatility)| (name.to_owned(), vec![system(name, volatility)]))
    .into();
    let mut facts = facts(&catalog, 3);
    let bodies = [
        ("pure", "plpgsql", "BEGIN -- from nowhere\n IF x IS NULL THEN RETURN ''; END IF; RETURN lower(x); END"),
        ("reads", "plpgsql", "BEGIN RETURN (SELECT count(*) FROM orders); END"),
        ("runs", "plpgsql", "BEGIN EXECUTE x; END"),
        ("files", "plpgsql", "BEGIN RETURN pg_read_file(x); END"),
        ("xml", "plpgsql", "BEGIN RETURN query_to_xml(x, true, true, ''); END"),
        ("calls", "plpgsql", "BEGIN RETURN reads(x); END"),
        ("quoted", "plpgsql", "BEGIN RETURN \"lower\"(x); END"),
        ("seen", "sql", "SELECT lower(x)"),
        ("foreign", "plpython3u", "return 1"),
    ];
    facts.bodies = bodies.map(|(name, language, text)| body(name, language, text)).to_vec();
    facts.bodies.push(Body { parsed: true, ..body("standard", "sql", "RETURN lower(x)") });
    facts.bodies.push(Body { definer: true, ..body("definer", "plpgsql", "BEGIN RETURN lower(x); END") });
    facts.bodies.push(Body { trigger: true, ..body("fired", "plpgsql", "BEGIN RETURN NEW; END") });
    // Of two that are called alike, one reads.
    facts.bodies.push(body("twice", "plpgsql", "BEGIN RETURN lower(x); END"));
    facts.bodies.push(body("twice", "plpgsql", "BEGIN RETURN (TABLE orders); END"));
    let plan = plan(&catalog, &facts);
    let allowed: Vec<&str> =
        plan.functions.iter().filter(|(_, it)| it.rule == Rule::Shared).map(|(name, _)| name.name.as_str()).collect();
    assert_eq!(allowed, ["pure", "standard"]);
    let refused: Vec<&str> =
        plan.functions.iter().filter(|(_, it)| it.rule == Rule::Refused).map(|(name, _)| name.name.as_str()).collect();
    assert_eq!(refused, ["calls", "definer", "files", "foreign", "quoted", "reads", "runs", "twice", "xml"]);
}

#[test]
fn a_unique_slug_names_the_tenants() {
    let catalog = catalog(&["orgs: id slug! deleted_at?", "orders: id org_id>orgs.id"]);
    let mut facts = facts(&catalog, 3);
    let query = |facts: &Facts| match plan(&catalog, facts).tenants {
        Tenants::Query { query, .. } => query,
        Tenants::Pattern { why } => why,
    };
    assert_eq!(query(&facts), "SELECT \"id\"::text AS name, \"id\" AS key FROM \"public\".\"orgs\"");
    facts.names = Names { usable: vec!["slug".to_owned()], unusable: Vec::new() };
    assert_eq!(query(&facts), "SELECT \"slug\" AS name, \"id\" AS key FROM \"public\".\"orgs\"");
    assert!(plan(&catalog, &facts).remarks[0].contains("\"deleted_at\" IS NOT NULL AS suspended"));
    let lonely = super::fixture::catalog(&["orders: id org_id"]);
    assert!(matches!(plan(&lonely, &Facts::default()).tenants, Tenants::Pattern { .. }));
}
