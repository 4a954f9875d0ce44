//! A catalog, and the rules for it.

use super::*;

pub(super) fn q(text: &str) -> QualifiedName {
    let (schema, name) = text.split_once('.').unwrap();
    QualifiedName::new(schema, name)
}

pub(super) struct World {
    pub(super) catalog: Catalog,
    pub(super) tenancy: Tenancy,
    pub(super) tenants: Vec<Arc<Tenant>>,
    pub(super) enforcement: Enforcement,
}

impl World {
    pub(super) fn new() -> Self {
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

    pub(super) fn tenant_with(mut self, name: &str, layout: Layout, keys: TenantKeys) -> Self {
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

    pub(super) fn tenant(self, name: &str, key: &str) -> Self {
        let keys = TenantKeys {
            default: Some(key.into()),
            named: HashMap::from([("uuid".into(), uuid(key).into())]),
            ..TenantKeys::default()
        };
        self.tenant_with(name, Layout::Shared, keys)
    }

    pub(super) fn schema_tenant(self, name: &str, schema: &str) -> Self {
        let layout = Layout::Schema { schema: schema.into(), role: None };
        self.tenant_with(name, layout, TenantKeys::default())
    }

    /// Adds a relation with these columns (name, type) below these parents.
    pub(super) fn relation(mut self, name: &str, kind: RelKind, columns: &[(&str, u32)], parents: &[&str]) -> Self {
        let parents = parents.iter().map(|p| self.catalog.relations[&q(p)].oid).collect();
        let relation = Relation {
            oid: 10_000 + u32::try_from(self.catalog.relations.len()).unwrap(),
            parents,
            ..fixture::relation(name, kind, columns.iter().map(|(name, type_oid)| fixture::column(name, *type_oid)))
        };
        self.catalog.relations.insert(q(name), relation);
        self
    }

    pub(super) fn table(self, name: &str, columns: &[(&str, u32)]) -> Self {
        self.relation(name, RelKind::Table, columns, &[])
    }

    pub(super) fn over(mut self, name: &str, column: Option<&str>, key: Option<&str>) -> Self {
        let over = TableOverride::Tenant {
            column: column.map(str::to_owned),
            key: key.map(Arc::from),
            null_is_shared: false,
            access: Access::Write,
        };
        self.tenancy.tables.insert(q(name), over);
        self
    }

    pub(super) fn foreign_key(mut self, name: &str, column: &str, parent: &str, parent_column: &str) -> Self {
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

    pub(super) fn through(mut self, name: &str, column: &str) -> Self {
        let over = TableOverride::Through { column: column.to_owned(), access: Access::Write };
        self.tenancy.tables.insert(q(name), over);
        self
    }

    pub(super) fn shared(mut self, name: &str) -> Self {
        self.tenancy.shared_tables.push(q(name));
        self
    }

    pub(super) fn build(&self) -> (Policy, Vec<PolicyNote>) {
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
    pub(super) fn outcome(&self) -> (Vec<(String, String)>, Vec<String>) {
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
    pub(super) fn expect(&self, rules: &[(&str, &str)], notes: &[&str]) {
        let (got_rules, got_notes) = self.outcome();
        let rules: Vec<_> = rules.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(got_rules, rules, "{got_notes:#?}");
        assert_eq!(got_notes.len(), notes.len(), "{got_notes:#?}");
        for part in notes {
            assert!(got_notes.iter().any(|n| n.contains(part)), "{part:?} is not in {got_notes:#?}");
        }
    }
}

pub(super) fn uuid(key: &str) -> String {
    format!("00000000-0000-0000-0000-{key:0>12}")
}
