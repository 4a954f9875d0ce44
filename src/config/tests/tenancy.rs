//! [tenancy], logins, tenants.

use super::*;

#[test]
fn admin_roles_and_how_tenants_are_written() {
    let admin = |lines: &str| BASE.replacen("[tenancy]", &format!("[upstream.main.admin]\n{lines}\n[tenancy]"), 1);
    let accepted =
        |lines: &str| parse_text(&admin(lines)).unwrap().config.upstreams[&UpstreamName::new("main")].clone();
    let main = accepted("user = \"boss\"\npassword_env = \"SET\"");
    let boss = main.as_admin().unwrap();
    assert_eq!((boss.user.as_str(), boss.database.as_str()), ("boss", "app"));
    assert_eq!(boss.password.as_ref().map(Secret::expose), Some("secret"));
    assert_eq!((&boss.address, main.admin.as_ref().unwrap().database.as_str()), (&main.address, "postgres"));
    assert!(!format!("{main:?}").contains("secret"));
    let elsewhere = accepted("url = \"postgres://boss:pw@direct:6543/maintenance\"");
    let (boss, role) = (elsewhere.as_admin().unwrap(), elsewhere.admin.as_ref().unwrap());
    assert_eq!(
        (boss.address.to_string(), boss.database, role.database.as_str()),
        ("direct:6543".to_owned(), "app".to_owned(), "maintenance")
    );
    for (lines, part) in [
        ("password_env = \"SET\"", "needs \"user\""),
        ("user = \"x\"\nurl = \"postgres://a@b/c\"", "both \"url\" and \"user\""),
        ("user = \"x\"\nrole = 1", "unknown key \"role\""),
    ] {
        let error = only_error(&admin(lines));
        assert!(error.contains(part), "{error}");
    }
    let own =
        parse_text(&format!("{BASE}[tenants_from]\ntable = \"ops.tenants\"\n")).unwrap().config.tenants_from.unwrap();
    assert_eq!(own.channel.as_deref(), Some("pgwarden_tenants"));
    assert!(
        own.query.starts_with("SELECT name, key, ") && own.query.ends_with(" FROM \"ops\".\"tenants\""),
        "{}",
        own.query
    );
    appended("[tenants_from]\ntable = \"x.t\"\nquery = \"SELECT 1\"\n", &["both \"table\" and \"query\""]);
    appended("[tenants_from]\ntable = \"tenants\"\n", &["\"tenants\""]);
    appended("[tenants_from]\nquery = \"x\"\nwrite = { insert = \"x\" }\n", &["unknown key \"insert\""]);
    assert_eq!((line_of_tenant(BASE, "acme"), line_of_tenant(BASE, "acne")), (Some(11), None));
}

#[test]
fn tenants_do_not_write_what_tenants_come_from() {
    let own = BASE.replacen(
        "key = 1",
        "layout = \"database\"\nupstream = { url = \"postgres://app@127.0.0.1:5432/app\" }",
        1,
    );
    let error = only_error(&format!("{own}[tenants_from]\nquery = \"SELECT name FROM orgs\"\n"));
    assert!(error.contains("[tenants_from] looks for tenants in the database of tenant \"acme\""), "{error}");
    let warned = |rule: &str| {
        let text = format!(
            "{BASE}[tenancy.tables]\n\"public.orgs\" = {rule}\n[tenants_from]\nquery = \"SELECT slug AS name, id AS key FROM public.orgs\"\n"
        );
        let warnings = parse_text(&text).unwrap().warnings;
        warnings.iter().any(|it| it.to_string().contains("tenants may write public.orgs"))
    };
    assert!(warned("{ column = \"id\" }") && warned("{ access = \"write\" }"));
    assert!(!warned("{ column = \"id\", write = false }") && !warned("{ access = \"read\" }"));
}

#[test]
fn moves_need_a_table_that_is_out_of_tenants_reach() {
    let own = "[tenants_from]\ntable = \"public.pgwarden_tenants\"\n[moves]\n";
    let lease = |lines: &str| parse_text(&format!("{BASE}{own}{lines}")).unwrap().config.moves.unwrap().lease;
    assert_eq!(lease(""), Duration::from_secs(10));
    assert_eq!(lease("lease = \"3s\""), Duration::from_secs(3));
    appended(&format!("{own}lease = \"10ms\"\n"), &["must be at least 1s"]);
    appended("[moves]\n", &["[moves] needs a table of tenants that can be written"]);
    appended("[tenants_from]\nquery = \"SELECT 1\"\n[moves]\n", &["[moves] needs a table"]);
    appended(
        &format!("[tenancy.tables]\n\"public.pgwarden_gates\" = {{ access = \"read\" }}\n{own}"),
        &["tenants may use \"public.pgwarden_gates\""],
    );
}

#[test]
fn tenancy() {
    let line = "upstream = \"main\"\n";
    let with = |more: &str| format!("{line}{more}\n");
    replaced(line, "upstream = \"mian\"\n", &["6:12 ", "no upstream \"mian\"", "did you mean \"main\"?"]);
    replaced(line, "", &["5:1 ", "[tenancy] needs \"upstream\""]);
    replaced(line, &with("column = \"\""), &["7:10 ", "must not be empty"]);
    replaced(line, &with(&format!("column = \"{}\"", "x".repeat(64))), &["longer than 63 bytes"]);
    replaced(line, &with("setting = \"tenant_id\""), &["7:11 ", "no name for a setting"]);
    replaced(line, &with("identify = [\"usr\"]"), &["7:13 ", "did you mean \"user\"?"]);
    replaced(line, &with("identify = [\"user\", \"user\"]"), &["listed twice"]);
    replaced(line, &with("shared_tables = [\"countries\"]"), &["7:18 ", "not a schema and a name", "public.countries"]);
    replaced(line, &with("shared_tables = [\"a.b\", \"a.b\"]"), &["listed twice"]);
    replaced(line, &with("allow_functions = [\"f\"]"), &["7:20 ", "not a schema and a name"]);
    for (entry, complaint) in [
        ("\"x*\" = true", "no name of a setting"),
        ("\"a b\" = true", "no name of a setting"),
        ("work_mem = \"much\"", "must be true, false or a greatest value"),
        ("work_mem = [1]", "must be true, false or a greatest value"),
        ("\"App.tenant_id\" = true", "pgwarden alone sets it"),
    ] {
        replaced(line, &with(&format!("settings = {{ {entry} }}")), &["7:", complaint]);
    }
    replaced(line, &with("catalog_refresh = \"0s\""), &["at least 1s"]);
    replaced(line, &with("catalog_max_age = \"0s\""), &["at least 100ms"]);
    replaced(line, &with("witness = \"enforced\""), &["7:11 ", "did you mean", "enforce"]);
    replaced(line, &with("witness = \"silent\""), &["one of \"enforce\", \"report\", \"off\""]);
    replaced(line, &with("search_path = []"), &["\"search_path\" is empty"]);
    replaced(line, &with("search_path = [\"$user\"]"), &["cannot stand in the pinned search path"]);
    replaced(line, &with("[tenancy.tables]\nx = {}"), &["8:1 ", "not a schema and a name"]);
    replaced(line, &with("[tenancy.tables]\n\"a.b\" = \"c\""), &["8:9 ", "must be a table, not a string"]);
    let table = |entry: &str| with(&format!("[tenancy.tables]\n\"a.b\" = {entry}"));
    replaced(line, &table("{ access = \"all\" }"), &["8:20 ", "one of \"read\", \"insert\", \"write\""]);
    replaced(line, &table("{ access = \"write\", key = \"k\" }"), &["\"key\" goes with a table of tenants"]);
    replaced(line, &table("{ null = \"all\" }"), &["8:18 ", "\"shared\": all tenants read them"]);
    replaced(
        line,
        &table("{ through = \"x\", column = \"y\" }"),
        &["\"column\" goes with a table that has the tenant"],
    );
    replaced(line, &table("{ through = \"x\", access = \"read\" }"), &["\"through\" goes with a table of tenants"]);
    let warnings = |entry: &str| parse_text(&BASE.replacen(line, &table(entry), 1)).unwrap().warnings;
    assert!(warnings("{ access = \"read\" }").is_empty() && warnings("{ write = false }").is_empty());
    for (access, said) in [("insert", "may add rows to a.b"), ("write", "change and delete every row of a.b")] {
        let warnings = warnings(&format!("{{ access = \"{access}\" }}"));
        assert!(matches!(warnings.as_slice(), [it] if it.message.contains(said)), "{warnings:?}");
    }
    replaced(
        line,
        &with("shared_tables = [\"a.b\"]\n[tenancy.tables]\n\"a.b\" = {}"),
        &["stands in \"shared_tables\" too"],
    );
}

#[test]
fn logins() {
    let name = "name = \"app\"";
    let password = "password = \"md50123456789abcdef0123456789abcdef\"";
    replaced(name, "name = \"a/b\"", &["8:8 ", "no name for a login"]);
    replaced(name, "", &["7:1 ", "[[login]] needs \"name\""]);
    replaced(password, "", &["7:1 ", "needs \"password\", \"password_env\"", "hash-password"]);
    replaced(password, &format!("{password}\nauth = \"scram\""), &["9:12 ", "cannot use this kind"]);
    replaced(password, &format!("{password}\nauth = \"trust\""), &["does nothing with auth = \"trust\""]);
    replaced(password, &format!("{password}\nauth = \"scrum\""), &["10:8 ", "did you mean \"scram\"?"]);
    replaced(password, "password = \"SCRAM-SHA-256$4096:x$y:z\"", &["9:12 ", "malformed"]);
    replaced(password, &format!("{password}\npassword_file = \"x\""), &["has both"]);
    replaced("tenants = [\"acme\"]", "", &["needs \"tenants\""]);
    replaced("[\"acme\"]", "[]", &["10:11 ", "could do nothing"]);
    replaced("[\"acme\"]", "[\"acme\", \"acmee\"]", &["10:20 ", "no tenant \"acmee\"", "did you mean \"acme\"?"]);
    replaced("[\"acme\"]", "[\"acme\", \"*\"]", &["tenants = \"*\" alone"]);
    replaced(password, &format!("{password}\nrole = \"operater\""), &["did you mean \"operator\"?"]);
    replaced(password, &format!("{password}\nupstream = \"main\""), &["is for operators"]);
    replaced(password, &format!("{password}\nrole = \"operator\"\nupstream = \"x\""), &["11:12 ", "no upstream \"x\""]);
    let login = &BASE[BASE.find("[[login]]").unwrap()..BASE.find("[[tenant]]").unwrap()];
    appended(login, &["15:8 ", "login \"app\" is configured twice"]);
}

#[test]
fn ways_to_authenticate() {
    let password = "password = \"md50123456789abcdef0123456789abcdef\"";
    let auth = |to: &str| {
        let loaded = parse_text(&BASE.replacen(password, to, 1)).unwrap();
        (loaded.config.logins[0].auth.clone(), loaded.warnings.len())
    };
    assert!(matches!(auth("password = \"x\""), (LoginAuth::ScramPlain(s), 1) if s.expose() == "x"));
    assert!(matches!(auth("password_env = \"SET\""), (LoginAuth::ScramPlain(s), 0) if s.expose() == "secret"));
    assert!(matches!(auth("password_env = \"SET\"\nauth = \"md5\""), (LoginAuth::Md5Plain(_), 0)));
    assert!(matches!(auth("auth = \"trust\""), (LoginAuth::Trust, 0)));
    let minimal = include_str!("../../../config/minimal.toml");
    let verifier = minimal.split('"').find(|p| p.starts_with("SCRAM")).unwrap();
    assert!(matches!(auth(&format!("password = \"{verifier}\"")), (LoginAuth::ScramVerifier(_), 0)));
    let error =
        only_error(&BASE.replacen(password, "auth = \"trust\"", 1).replacen("127.0.0.1:6432", "0.0.0.0:6432", 1));
    assert!(error.contains("auth = \"trust\", but pgwarden listens on 0.0.0.0:6432"), "{error}");
}

#[test]
fn tenants() {
    let name = "name = \"acme\"";
    let key = "key = 1";
    appended("[[tenant]]\nname = \"acme\"\nkey = 2\n", &["15:8 ", "tenant \"acme\" is configured twice"]);
    appended("[[tenant]]\nname = \"a.b\"\nkey = 2\n", &["15:8 ", "no name for a tenant"]);
    replaced(key, "", &["11:1 ", "layout \"shared\" needs \"key\""]);
    for (value, what) in [
        ("1.5", "a fraction"),
        ("true", "true or false"),
        ("\"\"", "empty"),
        ("[1]", "a list"),
        ("2024-01-01", "a date"),
    ] {
        replaced(key, &format!("key = {value}"), &["13:7 ", "cannot be ", what]);
    }
    replaced(key, "key = 1\nlayout = \"shard\"", &["14:10 ", "no layout", "did you mean \"shared\"?"]);
    replaced(key, "layout = \"schema\"", &["13:10 ", "needs \"schema\""]);
    replaced(key, "layout = \"schema\"\nschema = \"pg_x\"", &["14:10 ", "Postgres's own schemas"]);
    replaced(key, "key = 1\nschema = \"x\"", &["14:10 ", "does nothing in layout \"shared\""]);
    replaced(key, "layout = \"schema\"\nschema = \"x\"\nkeys = {}", &["\"keys\" does nothing"]);
    replaced(key, "layout = \"database\"", &["13:10 ", "needs an upstream of its own"]);
    replaced(key, "key = 1\nupstream = \"x\"", &["14:12 ", "no upstream \"x\"", "[upstream.x]"]);
    replaced(key, "key = 1\nupstream = 5", &["14:12 ", "the name of one or a table, not a number"]);
    replaced(
        "[[login]]",
        "[tenancy.tables]\n\"public.t\" = { key = \"uuid\" }\n[[login]]",
        &["13:1 ", "no key \"uuid\", which [tenancy.tables] \"public.t\" asks for"],
    );
    let warnings = parse_text(&BASE.replacen(key, "key = 1\nkeys = { uuid = \"u\" }", 1)).unwrap().warnings;
    assert!(
        matches!(warnings.as_slice(), [w] if w.message.contains("no table of [tenancy.tables] uses")),
        "{warnings:?}"
    );
    let warnings = parse_text(&BASE.replace("acme", "app")).unwrap().warnings;
    assert!(matches!(warnings.as_slice(), [w] if w.message.contains("called like the database")), "{warnings:?}");
    let second = "[[tenant]]\nname = \"globex\"\nlayout = \"database\"\nupstream = { url = \"postgres://x@h/globex\" }\n[[tenant]]\nname = \"initech\"\nlayout = \"database\"\nupstream = { url = \"postgres://x@h/initech\" }\n";
    let warnings = parse_text(&format!("{BASE}{second}")).unwrap().warnings;
    assert!(matches!(warnings.as_slice(), [w] if w.message.contains("the same role \"x\"")), "{warnings:?}");
    assert_eq!(
        parse_text(&format!("{BASE}{}", second.replace("x@h/initech", "y@h/initech"))).unwrap().warnings,
        vec![]
    );
    assert!(
        parse_text(&BASE.replacen(name, "name = \"acme\"\nsuspended = true", 1)).unwrap().config.tenants[0].suspended
    );
}

#[test]
fn what_would_mix_tenants_up() {
    appended("[[tenant]]\nname = \"b\"\nkey = \"1\"\n", &["14:1 ", "\"acme\" and \"b\" have the same key, \"1\""]);
    appended(
        "[[tenant]]\nname = \"b\"\nlayout = \"database\"\nupstream = \"main\"\n",
        &["14:1 ", "layout \"database\", but tenant \"acme\" lives in the same database"],
    );
    let schema = |name: &str| format!("[[tenant]]\nname = \"{name}\"\nlayout = \"schema\"\nschema = \"s\"\n");
    appended(&format!("{}{}", schema("b"), schema("c")), &["18:1 ", "\"b\" and \"c\" have the same schema \"s\""]);
    // The same database under another name is the same database.
    let inline = |name: &str| {
        format!(
            "[[tenant]]\nname = \"{name}\"\nlayout = \"database\"\nupstream = {{ url = \"postgres://{name}@h/own\" }}\n"
        )
    };
    appended(&format!("{}{}", inline("b"), inline("c")), &["18:1 ", "lives in the same database"]);
    // On another upstream the same key is another one.
    let other = "[[tenant]]\nname = \"b\"\nkey = 1\nupstream = { url = \"postgres://app@h/other\" }\n";
    let config = parse_text(&format!("{BASE}{other}")).unwrap().config;
    assert!(config.upstreams.contains_key("tenant/b"));
}
