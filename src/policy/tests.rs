use std::collections::HashMap;

use super::*;
use crate::base::oid::{INT4, TEXT, UUID};
use crate::base::{Access, QualifiedName, TenantKeys, TenantName};
use crate::catalog::*;
use crate::config::{Address, PoolSettings, TableOverride, TlsMode, Upstream, UpstreamTls};
use crate::guard::{TableRule, fixture};

fn q(text: &str) -> QualifiedName {
    let (schema, name) = text.split_once('.').unwrap();
    QualifiedName::new(schema, name)
}

struct World {
    catalog: Catalog,
    tenancy: Tenancy,
    tenants: Vec<Arc<Tenant>>,
    enforcement: Enforcement,
}

impl World {
    fn new() -> Self {
        let text = "[listen]\naddress = \"127.0.0.1:1\"\n[upstream.main]\nurl = \"postgres://a@h/d\"\n\
                    [tenancy]\nupstream = \"main\"\n[[login]]\nname = \"a\"\nauth = \"trust\"\ntenants = \"*\"\n";
        let config = crate::config::parse(text, std::path::Path::new("x"), &|_| None).unwrap().config;
        let mut catalog = Catalog {
            server_version_num: 150_000,
            search_path: vec!["public".to_owned()],
            schemas: ["public", "pg_catalog", "globex"].map(str::to_owned).into(),
            ..Catalog::default()
        };
        catalog.types = fixture::types(&[(INT4, "int4"), (TEXT, "text"), (UUID, "uuid")]);
        catalog.types.insert(9000, TypeInfo { oid: 9000, name: q("public.Odd\"Id"), typtype: 'b', base: 9000 });
        Self { catalog, tenancy: config.tenancy, tenants: vec![], enforcement: Enforcement::Rewrite }
            .tenant("acme", "1")
            .tenant("bravo", "2")
    }

    fn tenant_with(mut self, name: &str, layout: Layout, keys: TenantKeys) -> Self {
        let upstream = Arc::new(Upstream {
            name: UpstreamName::new("main"),
            address: Address::Tcp { host: "h".to_owned(), port: 1 },
            user: "a".to_owned(),
            database: "d".to_owned(),
            password: None,
            tls: UpstreamTls { mode: TlsMode::Disable, root_cert: None },
            pool: PoolSettings::default(),
            connect_timeout: std::time::Duration::from_secs(1),
            enforcement: Enforcement::Rewrite,
            admin: None,
        });
        let name = TenantName::new(name);
        self.tenants.push(Arc::new(Tenant {
            name,
            layout,
            keys,
            upstream,
            suspended: false,
            allow_from: None,
            limits: Default::default(),
            share: Default::default(),
            quota: None,
        }));
        self
    }

    fn tenant(self, name: &str, key: &str) -> Self {
        let keys = TenantKeys {
            default: Some(key.into()),
            named: HashMap::from([("uuid".into(), uuid(key).into())]),
            ..TenantKeys::default()
        };
        self.tenant_with(name, Layout::Shared, keys)
    }

    fn schema_tenant(self, name: &str, schema: &str) -> Self {
        let layout = Layout::Schema { schema: schema.into(), role: None };
        self.tenant_with(name, layout, TenantKeys::default())
    }

    /// Adds a relation with these columns (name, type) below these parents.
    fn relation(mut self, name: &str, kind: RelKind, columns: &[(&str, u32)], parents: &[&str]) -> Self {
        let parents = parents.iter().map(|p| self.catalog.relations[&q(p)].oid).collect();
        let relation = Relation {
            oid: 10_000 + u32::try_from(self.catalog.relations.len()).unwrap(),
            parents,
            ..fixture::relation(name, kind, columns.iter().map(|(name, type_oid)| fixture::column(name, *type_oid)))
        };
        self.catalog.relations.insert(q(name), relation);
        self
    }

    fn table(self, name: &str, columns: &[(&str, u32)]) -> Self {
        self.relation(name, RelKind::Table, columns, &[])
    }

    fn over(mut self, name: &str, column: Option<&str>, key: Option<&str>) -> Self {
        let over = TableOverride::Tenant {
            column: column.map(str::to_owned),
            key: key.map(Arc::from),
            null_is_shared: false,
            access: Access::Write,
        };
        self.tenancy.tables.insert(q(name), over);
        self
    }

    fn foreign_key(mut self, name: &str, column: &str, parent: &str, parent_column: &str) -> Self {
        let parent = self.catalog.relations[&q(parent)].oid;
        let child = self.catalog.relations.get_mut(&q(name)).unwrap();
        child.foreign_keys.push(ForeignKey {
            name: format!("{column}_fkey"),
            columns: vec![column.to_owned()],
            parent,
            parent_columns: vec![parent_column.to_owned()],
        });
        self
    }

    fn through(mut self, name: &str, column: &str) -> Self {
        let over = TableOverride::Through { column: column.to_owned(), access: Access::Write };
        self.tenancy.tables.insert(q(name), over);
        self
    }

    fn shared(mut self, name: &str) -> Self {
        self.tenancy.shared_tables.push(q(name));
        self
    }

    fn build(&self) -> (Policy, Vec<PolicyNote>) {
        let input = PolicyInput {
            tenancy: &self.tenancy,
            tenants: &self.tenants,
            derives_shared: false,
            enforcement: self.enforcement,
            usage_table: Some(&q("billing.usage")),
            limits: StatementLimits::default(),
        };
        build_policy(&input, Arc::new(self.catalog.clone()), 7)
    }

    /// Rules as `column:type:key` or `shared`, and the notes as text.
    fn outcome(&self) -> (Vec<(String, String)>, Vec<String>) {
        let (policy, notes) = self.build();
        let mut rules: Vec<_> = policy
            .tables
            .iter()
            .map(|(name, rule)| {
                let rule = match rule {
                    TableRule::Shared(Access::Read) => "shared".to_owned(),
                    TableRule::Shared(access) => format!("shared:{}", access.as_str()),
                    TableRule::Tenant(t) => {
                        format!("{}:{}:{}", t.column, t.type_name, t.key.as_deref().unwrap_or("-"))
                    }
                };
                (name.to_string(), rule)
            })
            .collect();
        rules.sort();
        (rules, notes.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn expect(&self, rules: &[(&str, &str)], notes: &[&str]) {
        let (got_rules, got_notes) = self.outcome();
        let rules: Vec<_> = rules.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(got_rules, rules, "{got_notes:#?}");
        assert_eq!(got_notes.len(), notes.len(), "{got_notes:#?}");
        for part in notes {
            assert!(got_notes.iter().any(|n| n.contains(part)), "{part:?} is not in {got_notes:#?}");
        }
    }
}

fn uuid(key: &str) -> String {
    format!("00000000-0000-0000-0000-{key:0>12}")
}

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

/// Schemas of a world with a tenant of the schema layout behind its own, and what is told of them.
fn common(world: World) -> (Vec<String>, Vec<String>) {
    let (policy, notes) = world.build();
    let told = notes.iter().map(ToString::to_string).filter(|it| it.contains("schema")).collect();
    (policy.common_schemas, told)
}

fn with_extensions() -> World {
    let mut world = World::new().schema_tenant("globex", "globex");
    let of = |name: &str, extension: Option<&str>| Function {
        extension: extension.map(str::to_owned),
        ..fixture::function(name, Volatility::Immutable)
    };
    for function in [
        of("ext.similarity", Some("pg_trgm")),
        of("jobs.schedule", Some("pg_cron")),
        of("public.citext_eq", Some("citext")),
        of("public.slugify", None),
    ] {
        world.catalog.schemas.insert(function.name.schema.clone());
        world.catalog.functions.entry(function.name.name.clone()).or_default().push(function);
    }
    world.catalog.role.name = "app".to_owned();
    world
}

#[test]
fn schemas_of_extensions_alone_are_common() {
    let (common_schemas, told) = common(with_extensions());
    assert_eq!(common_schemas, ["ext"]);
    assert!(
        told.iter().any(|it| it.contains("extension citext lies in schema \"public\" beside other things")),
        "{told:?}"
    );
    assert_eq!(common(World::new()).0, [""; 0], "nobody has a schema of their own");
    let (common_schemas, _) = common(with_extensions().table("ext.notes", &[("x", TEXT)]));
    assert_eq!(common_schemas, [""; 0]);
}

#[test]
fn no_schema_is_common_that_a_tenant_could_create_in() {
    let with = |creators: &[&str], edit: fn(&mut World)| {
        let mut world = with_extensions();
        world.catalog.creators.insert("ext".to_owned(), creators.iter().map(|it| (*it).to_owned()).collect());
        edit(&mut world);
        common(world)
    };
    assert_eq!(with(&["owner"], |_| ()).0, ["ext"]);
    for (creators, role) in [(&["owner", ""][..], "PUBLIC"), (&["app"], "app")] {
        let (common_schemas, told) = with(creators, |_| ());
        assert_eq!(common_schemas, [""; 0]);
        assert!(told.iter().any(|it| it.contains(&format!("{role} may create in it"))), "{told:?}");
    }
    // By membership, over a step between; as a superuser
    let member = |world: &mut World| {
        let of = |role: &str| vec![role.to_owned()];
        world.catalog.memberships.extend([("app".to_owned(), of("staff")), ("staff".to_owned(), of("owner"))]);
    };
    assert_eq!(with(&["owner"], member).0, [""; 0]);
    assert_eq!(with(&["owner"], |world| world.catalog.role.superuser = true).0, [""; 0]);
    // It is the tenant's own role that counts where it has one.
    let own = |world: &mut World| {
        world.catalog.role.superuser = true;
        world.tenants.pop();
        let layout = Layout::Schema { schema: "globex".into(), role: Some("globex_role".into()) };
        *world = std::mem::replace(world, World::new()).tenant_with("globex", layout, TenantKeys::default());
    };
    assert_eq!(with(&["app"], own).0, ["ext"]);
    assert_eq!(with(&["globex_role"], own).0, [""; 0]);
}

#[test]
fn listed_schemas_are_common_in_their_order() {
    let listed = |schemas: &[&str]| {
        let mut world = with_extensions();
        world.tenancy.common_schemas = Some(schemas.iter().map(|it| (*it).to_owned()).collect());
        common(world)
    };
    assert_eq!(listed(&["public", "ext"]).0, ["public", "ext"]);
    assert_eq!(listed(&[]).0, [""; 0]);
    let (common_schemas, told) = listed(&["ext", "nosuch", "globex"]);
    assert_eq!(common_schemas, ["ext"]);
    assert_eq!(told.len(), 2, "{told:?}");
}

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

#[test]
fn what_is_pgwardens_own_is_no_tenants() {
    let mut world = World::new().table("public.pgwarden_gates", &[("tenant_id", INT4)]);
    assert!(world.build().0.tables.contains_key(&q("public.pgwarden_gates")));
    world.tenancy.own_tables = vec![q("public.pgwarden_gates")];
    assert!(world.build().0.tables.is_empty());
}
