use super::world::{World, q};
use super::*;

impl World {
    /// Adds a view of this query, with what it reads.
    fn view(self, name: &str, columns: &[(&str, u32)], query: &str, reads: &[&str]) -> Self {
        let mut it = self.relation(name, RelKind::View, columns, &[]);
        let reads = reads.iter().map(|read| it.catalog.relations[&q(read)].oid).collect();
        it.catalog.reads.insert(it.catalog.relations[&q(name)].oid, reads);
        it.catalog.views.insert(q(name), View { query: query.to_owned(), plain: true });
        it
    }

    /// The views that stand for their queries, by name.
    fn written_out(&self) -> Vec<String> {
        let mut names: Vec<String> = self.build().0.views.keys().map(|it| it.name.clone()).collect();
        names.sort();
        names
    }
}

fn with_orders() -> World {
    World::new()
        .table("public.orders", &[("id", INT4), ("tenant_id", INT4), ("note", TEXT)])
        .table("public.tags", &[("order_id", INT4)])
}

#[test]
fn a_view_stands_for_its_query_where_all_that_it_reads_has_a_rule() {
    let it = with_orders()
        .view("public.upper", &[("id", INT4)], " SELECT inner_v.id\n   FROM public.inner_v;", &[])
        .view("public.inner_v", &[("id", INT4)], " SELECT orders.id\n   FROM public.orders;", &["public.orders"])
        .view("public.tagged", &[("id", INT4)], "SELECT tags.order_id AS id FROM public.tags;", &["public.tags"])
        .view("public.one", &[("one", INT4)], " SELECT 1 AS one;", &[])
        .view("globex.own", &[("id", INT4)], " SELECT orders.id FROM public.orders;", &["public.orders"])
        .view("public.pgwarden_v", &[("id", INT4)], " SELECT orders.id FROM public.orders;", &["public.orders"])
        .view(
            "public.listed",
            &[("tenant_id", INT4)],
            " SELECT orders.tenant_id FROM public.orders;",
            &["public.orders"],
        )
        .over("public.listed", None, None)
        .schema_tenant("globex", "globex");
    let mut it = it;
    let (upper, inner) = (it.catalog.relations[&q("public.upper")].oid, it.catalog.relations[&q("public.inner_v")].oid);
    it.catalog.reads.insert(upper, vec![inner]);
    assert_eq!(it.written_out(), ["inner_v", "one", "upper"]);
    // Others' policies may bind the view's owner, and not the role of the upstream.
    it.catalog.relations.get_mut(&q("public.orders")).unwrap().row_security_active = true;
    assert_eq!(it.written_out(), ["one"]);
    it.catalog.relations.get_mut(&q("public.inner_v")).unwrap().security_invoker = true;
    assert_eq!(it.written_out(), ["inner_v", "one", "upper"]);
    it.catalog.search_path = vec!["public".to_owned(), "pg_catalog".to_owned()];
    assert_eq!(it.written_out(), [] as [&str; 0]);
}

#[test]
fn a_view_whose_names_could_be_anothers_does_not() {
    let named_beside = |equality_of, query: &str| {
        let mut it = with_orders().view("public.v", &[("id", INT4)], query, &["public.orders"]);
        it.catalog.types.insert(9001, TypeInfo { oid: 9001, name: q("public.citext"), typtype: 'b', base: 9001 });
        let catalog = fixture::catalog(
            [],
            [
                fixture::function("public.lower", Volatility::Stable),
                fixture::function("elsewhere.upper", Volatility::Stable),
            ],
            [
                fixture::operator("public.=", equality_of, equality_of, false),
                fixture::operator("public.<", TEXT, TEXT, false),
                fixture::operator("public.~~~", 0, TEXT, false),
            ],
        );
        it.catalog.functions = catalog.functions;
        it.catalog.operators = catalog.operators;
        !it.written_out().is_empty()
    };
    let named = |query: &str| named_beside(9001, query);
    for query in [
        "SELECT o.id FROM public.orders o JOIN public.orders p USING (note)",
        "SELECT id FROM public.orders WHERE CASE note WHEN 'x'::text THEN true ELSE false END",
    ] {
        assert!(named(query) && !named_beside(TEXT, query), "{query}");
    }
    for query in [
        "SELECT id FROM public.orders WHERE note = 'x'::text",
        "SELECT id FROM public.orders WHERE note OPERATOR(public.<) 'x'::text",
        "SELECT id FROM public.orders WHERE upper(note) IS NULL",
        "SELECT id FROM public.orders WHERE public.lower(note) IS NULL",
    ] {
        assert!(named(query), "{query}");
    }
    for query in [
        "SELECT id FROM public.orders WHERE '$1'::money > '$2'::money",
        "SELECT id FROM public.orders WHERE lower(note) IS NULL",
        "SELECT id FROM public.orders WHERE note < 'x'::text",
        "SELECT id FROM public.orders WHERE (~~~ note) IS NULL",
        "SELECT id FROM public.orders WHERE note < ANY (SELECT o.note FROM public.orders o)",
        "SELECT id FROM public.orders ORDER BY note USING <",
        "SELECT 1; SELECT 2",
        "DELETE FROM public.orders",
        "SELECT FROM",
    ] {
        assert!(!named(query), "{query}");
    }
}

#[test]
fn a_view_is_written_through_where_it_passes_the_tenant_column_on_once() {
    let rule = |query: &str, plain: bool| {
        let columns = &[("id", INT4), ("tenant_id", INT4), ("owner", INT4)];
        let mut it = with_orders().view("public.v", columns, query, &["public.orders"]);
        it.catalog.views.get_mut(&q("public.v")).unwrap().plain = plain;
        match it.build().0.tables.remove(&q("public.v")) {
            Some(TableRule::Tenant(table)) => table.column,
            Some(TableRule::Shared(_)) => "shared".to_owned(),
            None => String::new(),
        }
    };
    for (query, column) in [
        ("SELECT orders.id, orders.tenant_id FROM public.orders;", "tenant_id"),
        ("SELECT o.id, o.tenant_id AS owner FROM public.orders o WHERE o.id > 5 AND NOT o.note IS NULL", "owner"),
        ("SELECT id, tenant_id FROM public.orders WHERE (note)::text = ANY (ARRAY['a'::text, 'b'::text])", "tenant_id"),
    ] {
        assert_eq!(rule(query, true), column, "{query}");
        assert_eq!(rule(query, false), "", "{query}");
    }
    for query in [
        "SELECT id FROM public.orders",
        "SELECT id, tenant_id, tenant_id AS owner FROM public.orders",
        "SELECT id, tenant_id + 0 AS tenant_id FROM public.orders",
        "SELECT id, tenant_id, 1 / id AS owner FROM public.orders",
        "SELECT id, tenant_id FROM public.orders WHERE 1 / id > 0",
        "SELECT id, tenant_id FROM public.orders WHERE id = tenant_id",
        "SELECT id, tenant_id FROM public.orders WHERE note ~~ 'a%'::text",
        "SELECT id, tenant_id FROM public.orders WHERE (note)::integer = 1",
        "SELECT id, tenant_id FROM public.orders LIMIT 5",
        "SELECT DISTINCT id, tenant_id FROM public.orders",
        "SELECT id, tenant_id FROM public.orders UNION ALL SELECT 1, 2",
        "SELECT o.id, o.tenant_id FROM public.orders o, public.orders p",
        "SELECT id, tenant_id FROM public.orders GROUP BY id, tenant_id",
        "WITH w AS (SELECT 1) SELECT id, tenant_id FROM public.orders",
        "SELECT order_id AS id, order_id AS tenant_id FROM public.tags",
        "SELECT id, tenant_id FROM orders",
    ] {
        assert_eq!(rule(query, true), "", "{query}");
    }
}
