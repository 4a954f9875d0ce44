use proptest::prelude::*;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn applied(pairs: &[(&str, &str)]) -> AppliedSettings {
    map(pairs).into()
}

fn row(name: &str, value: &str, is_default: bool) -> SettingRow {
    SettingRow { name: name.into(), value: Some(value.into()), is_default }
}

#[test]
fn nothing_is_sent_where_it_already_holds() {
    let mut settings = Settings::new(map(&[("app.tenant_id", "42")]), map(&[("timezone", "UTC")]));
    assert_eq!(settings.difference(&mut applied(&[("app.tenant_id", "42"), ("timezone", "UTC")])), None);
    assert_eq!(Settings::default().difference(&mut applied(&[])), None);
}

#[test]
fn another_clients_settings_are_reset_and_ours_set() {
    let mut settings = Settings::new(map(&[("app.tenant_id", "4'2")]), map(&[]));
    let difference = settings.difference(&mut applied(&[("app.tenant_id", "1"), ("my.\"x", "1")])).unwrap();
    let expected = "RESET \"my\".\"\"\"x\"; SELECT pg_catalog.set_config('app.tenant_id', '4''2', false)";
    assert_eq!(difference.sql, expected);
    assert_eq!(difference.changes, [("my.\"x".into(), None), ("app.tenant_id".into(), Some("4'2".into()))]);
    assert!(!difference.critical);
}

#[test]
fn nothing_is_left_of_another_clients_value() {
    let mut settings = Settings::new(map(&[]), map(&[("datestyle", "ISO")]));
    let difference = settings.difference(&mut applied(&[("datestyle", "SQL, DMY")])).unwrap();
    assert_eq!(difference.sql, "RESET \"datestyle\"; SELECT pg_catalog.set_config('datestyle', 'ISO', false)");
    assert_eq!(difference.changes, [("datestyle".to_owned(), Some("ISO".to_owned()))]);
}

#[test]
fn search_path_is_critical() {
    let mut settings = Settings::new(map(&[("search_path", "globex")]), map(&[]));
    assert!(settings.difference(&mut applied(&[])).unwrap().critical);
    assert!(Settings::default().difference(&mut applied(&[("role", "x")])).unwrap().critical);
}

#[test]
fn the_outcome_decides() {
    let mut settings = Settings::new(map(&[("search_path", "own")]), map(&[("timezone", "UTC")]));
    let mut server = applied(&[("search_path", "own"), ("timezone", "UTC")]);
    assert_eq!(settings.question(&server), None);
    settings.touch("timezone");
    settings.touch("work_mem");
    let question = settings.question(&server).unwrap();
    assert!(question.contains("ARRAY['timezone', 'work_mem']"), "{question}");
    assert_eq!(settings.question(&server), None);
    settings.learn(vec![row("timezone", "GMT", true), row("work_mem", "8MB", false)], &mut server);
    assert_eq!(*server, *applied(&[("search_path", "own"), ("work_mem", "8MB")]));
    // RESET goes back to what the client connected with, which the next difference sets again.
    let difference = settings.difference(&mut server).unwrap();
    assert_eq!(difference.changes, [("timezone".to_owned(), Some("UTC".to_owned()))]);
}

#[test]
fn reset_all_goes_back_to_what_the_client_connected_with() {
    let mut settings = Settings::new(map(&[("app.tenant_id", "1")]), map(&[("datestyle", "German")]));
    let mut server = applied(&[("app.tenant_id", "1"), ("datestyle", "German")]);
    settings.touch("work_mem");
    settings.reset_sent();
    settings.touch("timezone");
    let put_back = settings.put_back().unwrap();
    let rows = "('datestyle', NULL), ('work_mem', NULL), ('datestyle', 'German'), ('pgwarden.reset_all', 'done')";
    assert!(put_back.contains(rows), "{put_back}");
    assert_eq!(settings.put_back(), None, "once");
    let question = settings.question(&server).unwrap();
    assert!(question.ends_with("; RESET \"pgwarden\".\"reset_all\""), "{question}");
    let value = |name: &str, value| row(name, value, false);
    let rows = vec![value("datestyle", "German"), value("timezone", "GMT"), row("work_mem", "4MB", true)];
    settings.learn(rows, &mut server);
    assert_eq!(settings.difference(&mut server), None);
    assert_eq!(*server, *applied(&[("app.tenant_id", "1"), ("datestyle", "German"), ("timezone", "GMT")]));
}

#[test]
fn reset_all_is_undone_with_its_transaction() {
    for (mark, style) in [("on", "German"), ("", "ISO, DMY")] {
        let mut settings = Settings::new(map(&[]), map(&[("datestyle", "German")]));
        let mut server = applied(&[("datestyle", "ISO, DMY")]);
        settings.touch("datestyle");
        settings.reset_sent();
        assert!(settings.question(&server).unwrap().contains("ARRAY['datestyle', 'pgwarden.reset_all']"));
        settings.learn(vec![row("datestyle", "ISO, DMY", false), row(RESET_MARK, mark, false)], &mut server);
        assert_eq!(settings.own().collect::<Vec<_>>(), [(&"datestyle".to_owned(), &style.to_owned())]);
        assert_eq!(*server, *applied(&[("datestyle", "ISO, DMY")]));
    }
}

#[test]
fn sealed_settings_come_back_when_a_client_changed_them() {
    let mut settings = Settings::new(map(&[("search_path", "own, more")]), map(&[]));
    let mut server = applied(&[("search_path", "own, more")]);
    settings.touch("search_path");
    assert!(settings.question(&server).is_some());
    settings.learn(vec![row("search_path", "own", false)], &mut server);
    let difference = settings.difference(&mut server).unwrap();
    assert_eq!(difference.changes, [("search_path".to_owned(), Some("own, more".to_owned()))]);
}

#[test]
fn sealed_settings_come_back_after_reset_all() {
    let mut settings = Settings::new(map(&[("search_path", "own")]), map(&[]));
    let mut server = applied(&[("search_path", "own"), ("work_mem", "8MB")]);
    settings.touch_all();
    let question = settings.question(&server).unwrap();
    assert!(question.contains("ARRAY['search_path', 'work_mem']"), "{question}");
    settings.learn(vec![row("search_path", "public", true), row("work_mem", "4MB", true)], &mut server);
    assert!(server.is_empty());
    assert!(settings.difference(&mut server).unwrap().critical);
}

/// What may happen to one of three clients' settings and three connections.
fn happening() -> impl Strategy<Value = (usize, usize, u8, &'static str, &'static str)> {
    let name = prop::sample::select(vec!["search_path", "timezone", "work_mem"]);
    let value = prop::sample::select(vec!["a", "b"]);
    (0..3_usize, 0..3_usize, 0..7_u8, name, value)
}

proptest! {
    /// A difference that is not looked for, because of a mark, is none.
    #[test]
    fn what_was_compared_is_as_if_compared_anew(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut clients: Vec<_> =
            (0..3).map(|_| Settings::new(map(&[("search_path", "a")]), map(&[("timezone", "a")]))).collect();
        let mut servers: Vec<_> = (0..3).map(|_| AppliedSettings::default()).collect();
        for (client, server, what, name, value) in happenings {
            let (client, server) = (&mut clients[client], &mut servers[server]);
            match what {
                0 => client.seal(map(&[(name, value)])),
                1 => client.seal_path(value.to_owned()),
                2 => client.withhold(|it, _| it == name),
                3 => client.discard(),
                4 => server.clear(),
                5 => {
                    client.touch(name);
                    let _asked = client.question(server);
                    client.learn(vec![row(name, value, false)], server);
                }
                _ => {
                    let anew = client.compare(server);
                    prop_assert_eq!(client.difference(server), anew);
                    let changes = client.difference(server).map(|it| it.changes).unwrap_or_default();
                    changes.into_iter().for_each(|(name, value)| server.set(name, value));
                    prop_assert_eq!(client.compare(server), None);
                }
            }
        }
    }
}
