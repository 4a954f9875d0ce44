//! Findings for tables made by hand.

use super::*;
use crate::base::oid::INT4;
use crate::catalog::RelKind;
use crate::guard::fixture;

fn relation(row_security: bool, force_row_security: bool, owned: bool, policies: &[RowPolicy]) -> Relation {
    Relation {
        row_security,
        force_row_security,
        row_security_active: row_security && (force_row_security || !owned),
        owned,
        policies: policies.to_vec(),
        ..fixture::table("orders", &[("tenant_id", INT4)])
    }
}

fn policy(command: PolicyCommand, using: Option<&str>, check: Option<&str>) -> RowPolicy {
    let text = |it: Option<&str>| it.map(str::to_owned);
    RowPolicy { name: "p".to_owned(), permissive: true, command, using: text(using), check: text(check) }
}

fn catalog() -> Catalog {
    let mut catalog = Catalog { types: fixture::types(&[(INT4, "int4")]), ..Catalog::default() };
    catalog.role.name = "app".to_owned();
    catalog
}

fn ask(relation: &Relation) -> Vec<String> {
    shortfalls(&catalog(), relation, &fixture::tenant_table("tenant_id"), "app.tenant_id")
}

/// As Postgres prints the generated one.
const OURS: &str =
    "(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::integer AS \"nullif\"))";

#[test]
fn what_is_missing() {
    use PolicyCommand::{All, Select};
    let ours = policy(All, Some(OURS), None);
    let none: Vec<String> = Vec::new();
    assert_eq!(ask(&relation(true, true, true, &[policy(All, Some(OURS), Some(OURS))])), none);
    assert_eq!(ask(&relation(true, true, true, std::slice::from_ref(&ours))), none);
    assert_eq!(ask(&relation(true, false, false, std::slice::from_ref(&ours))), none);
    assert_eq!(ask(&relation(true, false, true, std::slice::from_ref(&ours))).len(), 1);
    assert_eq!(ask(&relation(false, true, true, std::slice::from_ref(&ours))).len(), 1);
    assert_eq!(ask(&relation(true, true, true, &[])).len(), 4);
    assert_eq!(ask(&relation(true, true, true, &[policy(Select, Some(OURS), None)])).len(), 3);
    let writes = ask(&relation(true, true, true, &[policy(All, Some(OURS), Some("true"))]));
    assert!(writes.iter().all(|it| it.starts_with("INSERT") || it.starts_with("UPDATE")), "{writes:?}");
    let beside = ask(&relation(true, true, true, &[ours, policy(Select, Some("true"), None)]));
    assert_eq!(beside, ["SELECT: policy \"p\" lets rows through without the setting"]);
}

#[test]
fn a_restrictive_policy_is_enough_beside_loose_ones() {
    let restrictive = RowPolicy { permissive: false, ..policy(PolicyCommand::All, Some(OURS), None) };
    let loose = policy(PolicyCommand::All, Some("true"), None);
    assert_eq!(ask(&relation(true, true, true, &[restrictive, loose])), Vec::<String>::new());
}

#[test]
fn rows_of_everybody_are_read_by_a_policy_of_their_own() {
    let everybody = || policy(PolicyCommand::Select, Some("(tenant_id IS NULL)"), None);
    let table = TenantTable { null_is_shared: true, ..fixture::tenant_table("tenant_id") };
    let own = || policy(PolicyCommand::All, Some(OURS), None);
    let ask_of =
        |policies: &[RowPolicy]| shortfalls(&catalog(), &relation(true, true, true, policies), &table, "app.tenant_id");
    assert_eq!(ask_of(&[own(), everybody()]), Vec::<String>::new());
    assert_eq!(ask_of(&[everybody()]).len(), 4);
    assert_eq!(ask(&relation(true, true, true, &[own(), everybody()])).len(), 1);
    for loose in ["(other IS NULL)", "(tenant_id IS NOT NULL)", "((tenant_id IS NULL) OR true)"] {
        assert_eq!(ask_of(&[own(), policy(PolicyCommand::Select, Some(loose), None)]).len(), 1, "{loose}");
    }
    for command in [PolicyCommand::All, PolicyCommand::Update, PolicyCommand::Delete] {
        assert!(!ask_of(&[own(), RowPolicy { command, ..everybody() }]).is_empty(), "{command:?}");
    }
}

#[test]
fn sound_expressions() {
    for sound in [
        "(tenant_id = (current_setting('app.tenant_id'::text))::integer)",
        "(tenant_id = (current_setting('app.tenant_id'::text, true))::integer)",
        "((current_setting('app.tenant_id'::text, true))::integer = tenant_id)",
        "((tenant_id)::text = current_setting('app.tenant_id'::text, true))",
        "((tenant_id)::text = (current_setting('App.Tenant_ID'::text, true))::text)",
        "((tenant_id = (current_setting('app.tenant_id'::text))::integer) AND (NOT deleted))",
        "(tenant_id = ( SELECT (current_setting('app.tenant_id'::text, true))::integer AS current_setting))",
        OURS,
    ] {
        let policies = [policy(PolicyCommand::All, Some(sound), None)];
        assert_eq!(ask(&relation(true, true, true, &policies)), Vec::<String>::new(), "{sound}");
    }
}

#[test]
fn weak_expressions() {
    for weak in [
        "true",
        "((tenant_id = (current_setting('app.tenant_id'::text))::integer) OR (tenant_id IS NULL))",
        "((tenant_id = (current_setting('app.tenant_id'::text))::integer) IS NOT NULL)",
        "(NOT (tenant_id = (current_setting('app.tenant_id'::text))::integer))",
        "(tenant_id <> (current_setting('app.tenant_id'::text))::integer)",
        "(tenant_id OPERATOR(public.=) (current_setting('app.tenant_id'::text))::integer)",
        "(tenant_id = COALESCE((current_setting('app.tenant_id'::text, true))::integer, tenant_id))",
        "CASE WHEN true THEN true ELSE (tenant_id = (current_setting('app.tenant_id'::text))::integer) END",
        "(tenant_id = (current_setting('other.setting'::text))::integer)",
        "(other = (current_setting('app.tenant_id'::text))::integer)",
        // Types of fewer values, and modifiers that cut
        "((tenant_id)::boolean = (current_setting('app.tenant_id'::text))::boolean)",
        "(tenant_id = ((current_setting('app.tenant_id'::text))::boolean)::integer)",
        "((tenant_id)::character varying(1) = current_setting('app.tenant_id'::text))",
        "(tenant_id = ANY (ARRAY[(current_setting('app.tenant_id'::text))::integer, 2]))",
        "(tenant_id = ( SELECT (current_setting('app.tenant_id'::text))::integer FROM orders o))",
        "(tenant_id = public.current_setting('app.tenant_id'::text)::integer)",
        "(tenant_id = 1); SELECT (tenant_id = (current_setting('app.tenant_id'::text))::integer)",
    ] {
        let policies = [policy(PolicyCommand::All, Some(weak), None)];
        assert!(!ask(&relation(true, true, true, &policies)).is_empty(), "{weak}");
    }
}

#[test]
fn what_is_wrong_with_the_role() {
    let tables = HashMap::from([(
        QualifiedName::new("public", "orders"),
        TableRule::Tenant(fixture::tenant_table("tenant_id")),
    )]);
    let ask = |catalog: &Catalog| role_shortfalls(catalog, "App.tenant_id", &tables);
    let mut it = catalog();
    assert_eq!(ask(&it), Vec::<String>::new());
    it.role.settings = vec!["app.other".to_owned()];
    assert_eq!(ask(&it), Vec::<String>::new());
    it.role.settings = vec!["app.tenant_id".to_owned()];
    it.role.superuser = true;
    it.role.bypasses_rls = true;
    let said = ask(&it);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains("ALTER ROLE \"app\" NOSUPERUSER;") && said[2].contains("RESET app.tenant_id"), "{said:?}");
}

#[test]
fn what_protects_a_table() {
    let ours = [policy(PolicyCommand::All, Some(OURS), None)];
    let protection = |enforcement, relation: Relation, superuser: bool| {
        let mut catalog = catalog();
        catalog.role.superuser = superuser;
        let name = relation.name.clone();
        catalog.relations.insert(name.clone(), relation);
        let mut tables = HashMap::from([(name.clone(), TableRule::Tenant(fixture::tenant_table("tenant_id")))]);
        let mut notes = Vec::new();
        protect(enforcement, &catalog, "app.tenant_id", &mut tables, &mut notes);
        let errors = notes.iter().filter(|note| note.level() == crate::policy::NoteLevel::Error).count();
        match &tables[&name] {
            TableRule::Tenant(table) => (table.protection.clone(), errors, notes.len()),
            TableRule::Shared(_) => unreachable!(),
        }
    };
    use Enforcement::{Rewrite, RewriteAndRls, Rls};
    let sound = || relation(true, true, true, &ours);
    let bare = || relation(false, false, true, &[]);
    let view = || Relation { kind: RelKind::View, ..bare() };
    assert_eq!(protection(Rewrite, bare(), true), (Protection::Predicate, 0, 0));
    assert_eq!(protection(Rls, sound(), false), (Protection::Policies, 0, 0));
    assert!(matches!(protection(Rls, bare(), false), (Protection::Missing(_), 1, 1)));
    assert!(matches!(protection(Rls, sound(), true), (Protection::Missing(_), 1, 1)));
    assert_eq!(protection(Rls, view(), false), (Protection::Predicate, 0, 0));
    assert_eq!(protection(RewriteAndRls, sound(), false), (Protection::Predicate, 0, 0));
    assert_eq!(protection(RewriteAndRls, bare(), false), (Protection::Predicate, 0, 1));
}

/// As Postgres prints the generated one.
const THROUGH: &str = "(EXISTS ( SELECT\n   FROM public.orders pgwarden_parent1\n  WHERE ((pgwarden_parent1.id = tags.order_id) AND (pgwarden_parent1.tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::integer AS \"nullif\")))))";

#[test]
fn policies_of_tables_that_belong_through_a_foreign_key() {
    let mut catalog = catalog();
    let orders = fixture::table("orders", &[("id", INT4), ("tenant_id", INT4), ("other", INT4)]);
    catalog.relations.insert(orders.name.clone(), orders);
    let table = fixture::through("tags", "order_id", "orders", "id", fixture::tenant_table("tenant_id"));
    let ask = |expression: &str| {
        let policies = vec![policy(PolicyCommand::All, Some(expression), None)];
        let tags = fixture::table("tags", &[("order_id", INT4)]);
        let tags = Relation { row_security: true, force_row_security: true, policies, ..tags };
        shortfalls(&catalog, &tags, &table, "app.tenant_id")
    };
    assert_eq!(ask(THROUGH), Vec::<String>::new());
    assert_eq!(ask(&format!("({THROUGH} AND (tag IS NOT NULL))")), Vec::<String>::new());
    for (part, instead) in [
        ("public.orders", "public.customers"),
        ("pgwarden_parent1.id", "pgwarden_parent1.other"),
        ("tags.order_id", "tags.other"),
        ("tags.order_id", "pgwarden_parent1.id"),
        ("pgwarden_parent1.tenant_id", "pgwarden_parent1.other"),
        (") AND (", ") OR ("),
        ("app.tenant_id", "app.other"),
        ("EXISTS", "NOT EXISTS"),
        ("EXISTS", "TRUE OR EXISTS"),
    ] {
        let weak = THROUGH.replacen(part, instead, 1);
        assert!(weak != THROUGH && !ask(&weak).is_empty(), "{weak}");
    }
    assert!(!ask(OURS).is_empty());
    // Where the parent's rows without a tenant are everybody's, so are those that lead there, for reading.
    let nulls = THROUGH.replace(
        "(pgwarden_parent1.tenant_id = ",
        "((pgwarden_parent1.tenant_id IS NULL) OR (pgwarden_parent1.tenant_id = ",
    );
    let nulls = format!("{nulls})");
    let everybody = TenantTable { null_is_shared: true, ..fixture::tenant_table("tenant_id") };
    let table = fixture::through("tags", "order_id", "orders", "id", everybody);
    let ask = |command, expression: &str| {
        let policies = vec![policy(PolicyCommand::All, Some(THROUGH), None), policy(command, Some(expression), None)];
        let tags = fixture::table("tags", &[("order_id", INT4)]);
        let tags = Relation { row_security: true, force_row_security: true, policies, ..tags };
        shortfalls(&catalog, &tags, &table, "app.tenant_id")
    };
    assert_eq!(ask(PolicyCommand::Select, &nulls), Vec::<String>::new());
    assert_eq!(ask(PolicyCommand::All, &nulls).len(), 3);
    assert_eq!(ask(PolicyCommand::Select, "(order_id IS NULL)").len(), 1);
    assert_eq!(ask(PolicyCommand::Select, &nulls.replace("tenant_id IS NULL", "other IS NULL")).len(), 1);
}
