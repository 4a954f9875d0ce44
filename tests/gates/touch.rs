//! A proxy that has lost touch with the table of tenants.

use super::*;

#[test]
fn a_proxy_without_its_lease_refuses_what_could_move() {
    let stage = Stage::new("gate_touch", "registry", "3s");
    let proxy = stage.proxy();
    let (mut idle, mut running) = (login(&proxy, "mover").connect(), login(&proxy, "mover").connect());
    // Whose statement may be under way just then: what runs ends.
    let mut busy = login(&proxy, "mover").connect();
    idle.simple("INSERT INTO items (id, note) VALUES (1, 'x')").ok();
    running.simple("BEGIN").ok();
    running.simple("INSERT INTO items (id, note) VALUES (2, 'x')").ok();
    let lab = Lab::general();
    let cut = |off: bool| {
        lab.run("postgres", &format!("ALTER DATABASE gate_touch_registry ALLOW_CONNECTIONS {}", !off));
    };
    cut(true);
    lab.run("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'gate_touch_registry'");
    let lost = Instant::now();
    let end = lost + Duration::from_secs(20);
    loop {
        let reply = busy.simple("SELECT count(*) FROM items");
        if !reply.errors.is_empty() {
            reply.refused("57P03");
            break;
        }
        assert!(Instant::now() < end, "it serves on");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Before others stop to rely on it.
    assert!(lost.elapsed() < Duration::from_secs(3), "{:?}", lost.elapsed());
    idle.simple("SELECT count(*) FROM items").refused("57P03");
    // What runs has ended, and left nothing.
    let reply = running.simple("COMMIT");
    assert_eq!(reply.sqlstate(), "57P03", "{}", reply.text());
    lab.comes_to_rest("gate_touch_main");
    login(&proxy, "mover").try_connect().1.refused("57P03");
    cut(false);
    proxy.wait_for("lease", |proxy| login(proxy, "mover").try_connect().1.errors.is_empty());
    assert_eq!(idle.simple("SELECT count(*) FROM items").ok().value(), "1");
}
