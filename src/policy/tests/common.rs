//! Schemas that tenants share.

use super::*;

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
