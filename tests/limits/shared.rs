//! Rates that several proxies hold together, with a Redis server that counts, dies, hangs and comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::lives;
use crate::identity::papers::{Authority, Folder};
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup, free_port};
use crate::support::redis::Redis;
use crate::support::session::Endpoint;

fn setup(database: &str, limits: &str, shared: &str) -> Setup {
    let more = format!("[limits]\n{limits}\n[limits.shared]\n{shared}\n");
    Setup { database: database.to_owned(), more, ..Setup::default() }
}

fn two(database: &str, limits: &str, shared: &str) -> [Proxy; 2] {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    [(); 2].map(|()| Proxy::start(lab, &setup(database, limits, shared)))
}

/// Statements that go through in this time, of clients that try all the time.
fn passed(ends: &[Endpoint], time: Duration) -> u32 {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = ends
            .iter()
            .map(|end| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut session = end.connect();
                    let mut passed = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let reply = session.simple("SELECT 1");
                        if reply.errors.is_empty() {
                            passed += 1;
                        } else {
                            super::told(&reply.refused("53400"), "statements_per_second", "20");
                            std::thread::sleep(Duration::from_millis(3));
                        }
                    }
                    passed
                })
            })
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

#[test]
fn two_proxies_hold_one_rate() {
    let redis = Redis::start();
    let limits = "statements_per_second = 20\nburst = 40\non_limit = \"reject\"";
    let proxies = two("shared_rate", limits, &format!("url = \"{}\"", redis.url()));
    let ends: Vec<_> = proxies.iter().flat_map(|proxy| [proxy.a(), proxy.a()]).collect();
    let began = Instant::now();
    let count = passed(&ends, Duration::from_secs(4));
    let most = 40.0 + 20.0 * began.elapsed().as_secs_f64();
    // Each proxy may be ahead by a lease, which is two statements here. By themselves they would let through twice as many.
    assert!(f64::from(count) <= most + 4.0, "{count} of {most}");
    assert!(count >= 100, "{count} of {most}");
    // Another tenant has a rate of its own; and a third proxy finds the first one's used up.
    lives_as_b(&proxies[0]);
    let third = Proxy::start(Lab::general(), &setup("shared_rate", limits, &format!("url = \"{}\"", redis.url())));
    let mut late = third.a().connect();
    let through = (0..40).filter(|_| late.simple("SELECT 1").errors.is_empty()).count();
    assert!(through < 35, "{through}");
}

fn lives_as_b(proxy: &Proxy) {
    assert_eq!(proxy.b().connect().simple("SELECT min(name) FROM customers").ok().value(), "CANARY_B_name_1");
}

/// Clients that wait for their turn take turns over both proxies.
#[test]
fn turns_are_waited_for_over_two_proxies() {
    let redis = Redis::start();
    let limits = "statements_per_second = 20\nburst = 1";
    let proxies = two("shared_wait", limits, &format!("url = \"{}\"\nprefix = \"waits:\"", redis.url()));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for proxy in &proxies {
            scope.spawn(move || {
                let mut a = proxy.a().connect();
                (0..20).for_each(|_| drop(a.simple("SELECT 1").ok()));
            });
        }
    });
    // Forty statements, a burst of one and a lease of one for each proxy: 37 turns of 50 ms.
    assert!(began.elapsed() >= Duration::from_millis(1_850), "{:?}", began.elapsed());
    for proxy in &proxies {
        lives(&mut proxy.a().connect());
    }
}

/// The limit of a login in a tenant is shared too.
#[test]
fn a_logins_rate_is_shared() {
    let redis = Redis::start();
    let login = "[[login]]\nname = \"small\"\npassword = \"small_pw\"\ntenants = [\"a\"]\n\
                 limits = { statements_per_second = 1, burst = 10, on_limit = \"reject\" }\n";
    let shared = format!("{login}[limits.shared]\nurl = \"{}\"", redis.url());
    let lab = Lab::general();
    lab.copy_of_shop("shared_login");
    let setup = Setup { database: "shared_login".to_owned(), more: shared, ..Setup::default() };
    let proxies = [(); 2].map(|()| Proxy::start(lab, &setup));
    let mut first = proxies[0].login("small").connect();
    while first.simple("SELECT 1").errors.is_empty() {}
    let mut second = proxies[1].login("small").connect();
    let through = (0..10).filter(|_| second.simple("SELECT 1").errors.is_empty()).count();
    assert!(through <= 5, "{through}");
    let refused = second.simple("SELECT 1").refused("53400");
    assert!(refused.errors[0][&'D'].contains("login \"small\" in tenant \"a\""), "{}", refused.text());
    lives(&mut proxies[1].a().connect());
}

/// The server dies in mid-flight: each proxy holds the limit by itself, nothing that was shut opens, and when the server is
/// back, empty, they share again.
#[test]
fn without_the_server_each_proxy_holds_the_limit_itself() {
    let mut redis = Redis::start();
    let limits = "statements_per_second = 20\nburst = 40\non_limit = \"reject\"";
    let proxies = two("shared_away", limits, &format!("url = \"{}\"\ntimeout = \"1s\"", redis.url()));
    let mut sessions = [proxies[0].a().connect(), proxies[1].a().connect()];
    for session in &mut sessions {
        while session.simple("SELECT 1").errors.is_empty() {}
    }
    redis.kill();
    // Used up stays used up.
    let through = (0..40).filter(|_| sessions[0].simple("SELECT 1").errors.is_empty()).count();
    assert!(through < 35, "{through}");
    for proxy in &proxies {
        proxy.wait_for("word of it", |proxy| proxy.log().contains("each proxy holds the whole limit by itself"));
    }
    let ends: Vec<_> = proxies.iter().map(Proxy::a).collect();
    let began = Instant::now();
    let count = passed(&ends, Duration::from_secs(3));
    let each = 40.0 + 20.0 * began.elapsed().as_secs_f64();
    assert!(f64::from(count) <= 2.0 * each + 2.0 && count > 60, "{count}, {each} each");
    redis.restart();
    for proxy in &proxies {
        proxy.wait_for("a return", |proxy| proxy.log().matches("the server counts for all proxies").count() == 2);
        assert_eq!(proxy.log().matches("limits are not shared").count(), 1);
    }
    // The new server knows nothing of the burst that is used up; the proxies do.
    let began = Instant::now();
    let count = passed(&ends, Duration::from_secs(3));
    let most = 20.0 * began.elapsed().as_secs_f64();
    assert!(f64::from(count) <= most + 40.0 + 4.0 && count > 20, "{count} of {most}");
}

/// Where the configuration says so, nobody who has such a limit gets anything without the server. Others do.
#[test]
fn without_the_server_statements_may_be_refused() {
    let mut redis = Redis::start();
    let limits = "";
    let shared = format!("url = \"{}\"\nwhen_away = \"refuse\"\ntimeout = \"200ms\"", redis.url());
    let lab = Lab::general();
    lab.copy_of_shop("shared_refuse");
    let setup = Setup {
        tenant_a: "limits = { statements_per_second = 1000 }".to_owned(),
        ..setup("shared_refuse", limits, &shared)
    };
    let proxy = Proxy::start(lab, &setup);
    let mut a = proxy.a().connect();
    let mut b = proxy.b().connect();
    a.simple("BEGIN").ok();
    lives(&mut a);
    redis.kill();
    proxy.wait_for("word of it", |proxy| proxy.log().contains("statements of those who have such a limit are refused"));
    let refused = a.simple("SELECT 1").refused("53400");
    let error = &refused.errors[0];
    assert!(error[&'M'].contains("cannot be counted") && error[&'H'].contains("Try again"), "{}", refused.text());
    assert!(error[&'D'].contains("statements_per_second") && error[&'D'].contains("1000"), "{}", refused.text());
    // What was begun can be ended; who has no such limit is not concerned; nobody is let in by connecting anew.
    assert_eq!(a.simple("ROLLBACK").ok().states, "I");
    a.extended("SELECT 1", &[]).refused("53400");
    b.simple("SELECT 1").ok();
    proxy.a().connect().simple("SELECT 1").refused("53400");
    redis.restart();
    proxy.wait_for("a return", |proxy| proxy.log().matches("the server counts for all proxies").count() == 2);
    lives(&mut a);
    // A server that hangs is as one that is away.
    redis.freeze(true);
    proxy.wait_for("word of it", |proxy| proxy.log().matches("limits are not shared").count() == 2);
    a.simple("SELECT 1").refused("53400");
    redis.freeze(false);
    proxy.wait_for("a return", |proxy| proxy.log().matches("the server counts for all proxies").count() == 3);
    lives(&mut a);
}

/// Where the server is cannot be changed while pgwarden runs, and that is said; limits can.
#[test]
fn a_reload_changes_limits_but_not_who_counts() {
    let redis = Redis::start();
    let lab = Lab::general();
    lab.copy_of_shop("shared_reload");
    let limits = "statements_per_second = 1\nburst = 6\non_limit = \"reject\"";
    let proxy = Proxy::start(lab, &setup("shared_reload", limits, &format!("url = \"{}\"", redis.url())));
    let mut a = proxy.a().connect();
    while a.simple("SELECT 1").errors.is_empty() {}
    let change =
        |text: String| text.replace("burst = 6", "burst = 600").replace("redis://127.0.0.1", "redis://127.0.0.2");
    proxy.reload(change);
    let said = proxy.log();
    assert!(said.contains("only after a restart") && said.contains("limits.shared"), "{said}");
    for _ in 0..100 {
        a.simple("SELECT 1").ok();
    }
    assert_eq!(said.matches("limits are not shared").count(), 0, "{said}");
}

/// A proxy that starts without the server says so, and does as the configuration says.
#[test]
fn a_start_without_the_server() {
    let mut redis = Redis::start();
    redis.kill();
    let lab = Lab::general();
    lab.copy_of_shop("shared_start");
    let limits = "statements_per_second = 100";
    let shared = format!("url = \"{}\"\nwhen_away = \"refuse\"", redis.url());
    let strict = Proxy::start(lab, &setup("shared_start", limits, &shared));
    let mut a = strict.a().connect();
    a.simple("SELECT 1").refused("53400");
    redis.restart();
    strict.wait_for("a server", |proxy| proxy.log().contains("the server counts for all proxies"));
    lives(&mut a);
}

/// Password and TLS towards the server; a wrong password, and a server of another authority, are no server.
#[test]
fn the_server_proves_itself_and_so_does_pgwarden() {
    let folder = Folder::new();
    let authority = Authority::new("the counting server's authority");
    authority.issue(&folder, "server", &["localhost"]);
    folder.write("ca.crt", &authority.pem());
    folder.write("other.crt", &Authority::new("another authority").pem());
    let [cert, key, ca, other] = ["server.crt", "server.key", "ca.crt", "other.crt"].map(|name| folder.at(name));
    let tls_port = free_port();
    let port = tls_port.to_string();
    let arguments = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let more = ["--tls-auth-clients", "no", "--requirepass", "counts"];
    let _redis = Redis::with(&[&arguments[..], &more[..]].concat());
    let lab = Lab::general();
    lab.copy_of_shop("shared_tls");
    let start = |trusted: &str, password: &str| {
        let shared = format!(
            "url = \"rediss://localhost:{tls_port}\"\nroot_cert = \"{trusted}\"\npassword = \"{password}\"\ntimeout = \"5s\""
        );
        Proxy::start(lab, &setup("shared_tls", "statements_per_second = 100", &shared))
    };
    let good = start(&ca, "counts");
    good.wait_for("a server", |proxy| proxy.log().contains("the server counts for all proxies"));
    lives(&mut good.a().connect());
    for (trusted, password) in [(&other, "counts"), (&ca, "wrong")] {
        let proxy = start(trusted, password);
        proxy.wait_for("word of it", |proxy| proxy.log().contains("limits are not shared"));
        assert!(!proxy.log().contains("counts for all proxies\n") && !proxy.log().contains("wrong"), "{}", proxy.log());
        lives(&mut proxy.a().connect());
    }
}
