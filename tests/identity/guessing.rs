//! Allow lists, and failed tries: how they are answered, and when no more of them are looked at.

use std::time::{Duration, Instant};

use super::*;
use crate::support::session::Endpoint;

const LOGINS: &str = r#"
[[login]]
name = "app"
password = "app_pw"
tenants = ["a", "b"]
[[login]]
name = "spare"
password = "spare_pw"
tenants = ["a"]
[[login]]
name = "inside"
password = "inside_pw"
tenants = ["a"]
allow_from = ["127.0.0.0/8"]
[[login]]
name = "outside"
password = "outside_pw"
tenants = ["a"]
allow_from = ["10.0.0.0/8", "fd00::/8"]
[[tenant]]
name = "far"
key = 4
keys = { uuid = "dddddddd-0000-4000-8000-00000000000d", account = "delta" }
allow_from = "10.0.0.0/8"
[[login]]
name = "both"
password = "both_pw"
tenants = ["a", "far"]
[[login]]
name = "only_far"
password = "only_far_pw"
tenants = ["far"]
"#;

fn start(auth: &str) -> Proxy {
    Setup { more: &format!("{LOGINS}[auth]\n{auth}\n"), ..Setup::default() }.start()
}

fn end(proxy: &Proxy, user: &str, password: &str) -> Endpoint {
    Endpoint::new(proxy.port, user, password, "shared")
}

/// What a client is told, with the user's name taken out.
fn told(proxy: &Proxy, user: &str, password: &str) -> String {
    let (_, reply) = end(proxy, user, password).try_connect();
    format!("{} {}", reply.sqlstate(), reply.text()).replace(user, "USER")
}

#[test]
fn addresses() {
    let proxy = start("");
    end(&proxy, "inside", "inside_pw").connect().simple("SELECT 1").ok();
    // The right password from the wrong place is answered like a wrong one.
    let right = told(&proxy, "outside", "outside_pw");
    assert!(right.starts_with("28P01"), "{right}");
    assert_eq!(right, told(&proxy, "outside", "wrong"));
    assert!(proxy.log().contains("the address is not in the login's allow_from"), "{}", proxy.log());
    // A tenant's list looks like a tenant that there is not.
    for tenant in ["far", "nowhere"] {
        let answer = told(&proxy, &format!("both@{tenant}"), "both_pw").replace(tenant, "TENANT");
        assert!(answer.starts_with("28000") && answer.contains("may not act for tenant"), "{answer}");
    }
    assert!(told(&proxy, "only_far", "only_far_pw").starts_with("28000"));
    // Nor can it be switched to.
    let mut session = end(&proxy, "both", "both_pw").connect();
    session.simple("SET app.tenant_id = 'a'").ok();
    session.simple("SET app.tenant_id = 'far'").refused("28000");
    session.simple("/* tenant='far' */ SELECT count(*) FROM customers").refused("28000");
}

/// The texts and the exchange are the same, whether there is such a login or not.
#[test]
fn unknown_logins_unknown_tenants_and_wrong_passwords_look_alike() {
    let proxy = start("failure_delay = \"0ms\"\naddress_failures = 0");
    let known = told(&proxy, "app@a", "wrong");
    assert!(known.starts_with("28P01"), "{known}");
    for user in ["app@nowhere", "nobody", "nobody@a", "nobody@nowhere", "outside"] {
        assert_eq!(told(&proxy, user, "wrong"), known, "{user}");
    }
    let time = |user: &str| {
        let start = Instant::now();
        told(&proxy, user, "wrong");
        start.elapsed()
    };
    // The best of many runs each, in turns: they differ by less than what a hash of a password would take.
    let times: Vec<_> = (0..25).map(|_| (time("app@a"), time("nobody@a"))).collect();
    let known = times.iter().map(|it| it.0).min().unwrap();
    let unknown = times.iter().map(|it| it.1).min().unwrap();
    let difference = known.max(unknown) - known.min(unknown);
    assert!(difference < Duration::from_millis(3), "{known:?} {unknown:?}");
}

#[test]
fn failures_are_answered_later_and_later_and_then_not_looked_at() {
    let proxy =
        start("failure_delay = \"200ms\"\nmax_failure_delay = \"500ms\"\naddress_failures = 4\nblock_for = \"2s\"");
    // Known before the guessing begins: it goes on.
    end(&proxy, "app@a", "app_pw").connect();
    let mut times = Vec::new();
    for _ in 0..4 {
        let start = Instant::now();
        assert!(told(&proxy, "spare", "wrong").starts_with("28P01"));
        times.push(start.elapsed());
    }
    assert!(times[0] >= Duration::from_millis(200) && times[1] >= Duration::from_millis(400), "{times:?}");
    assert!(times[2] >= Duration::from_millis(500), "{times:?}");
    // The right password does not help now, and the name does not matter.
    for (user, password) in [("spare", "spare_pw"), ("nobody", "x"), ("both", "both_pw")] {
        let start = Instant::now();
        let answer = told(&proxy, user, password);
        assert!(answer.starts_with("28000") && answer.contains("too many failed"), "{answer}");
        assert!(start.elapsed() < Duration::from_millis(200), "it is not worth a delay");
    }
    end(&proxy, "app@a", "app_pw").connect().simple("SELECT 1").ok();
    std::thread::sleep(Duration::from_millis(2_100));
    end(&proxy, "spare", "spare_pw").connect().simple("SELECT 1").ok();
}

/// Guesses made all at once count one after the other: the right one among them is not let in once there were too many.
#[test]
fn guesses_at_the_same_moment_do_not_get_round_the_count() {
    let proxy = start("failure_delay = \"0ms\"\naddress_failures = 3\nblock_for = \"1min\"");
    let port = proxy.port;
    let sessions: Vec<_> =
        (0..40).map(|number| std::thread::spawn(move || told_by(port, &format!("wrong{number}")))).collect();
    let answers: Vec<_> = sessions.into_iter().map(|it| it.join().unwrap()).collect();
    assert!(answers.iter().all(|it| it == "28P01" || it == "28000"), "{answers:?}");
    // The one that was too many, and those after it, are not told from a right one.
    assert!(answers.iter().filter(|it| *it == "28P01").count() <= 6, "{answers:?}");
    assert_eq!(told_by(port, "spare_pw"), "28000");
}

fn told_by(port: u16, password: &str) -> String {
    let (_, reply) = Endpoint::new(port, "spare", password, "shared").try_connect();
    reply.sqlstate().to_owned()
}

/// A connection from one of the many addresses of this machine.
fn from(address: [u8; 4], port: u16) -> std::net::TcpStream {
    use socket2::{Domain, Socket, Type};
    use std::net::SocketAddr;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.into()
}

/// Guesses from one address block the address, whatever they guess at; guesses from many block the login, but not where it is
/// known from.
#[test]
fn guesses_from_one_address_and_from_many() {
    let proxy = start("failure_delay = \"0ms\"\naddress_failures = 4\nlogin_failures = 8\nblock_for = \"1min\"");
    let try_from = |last: u8, user: &str, password: &str| {
        let (_, reply) = end(&proxy, user, password).try_connect_over(from([127, 0, 0, last], proxy.port));
        if reply.errors.is_empty() { "ok".to_owned() } else { reply.sqlstate().to_owned() }
    };
    // Known from 2, and from 3.
    assert_eq!((try_from(2, "app@a", "app_pw"), try_from(3, "spare", "spare_pw")), ("ok".into(), "ok".into()));
    // One address, several names.
    for user in ["app@a", "nobody", "spare", "both@a"] {
        assert_eq!(try_from(10, user, "wrong"), "28P01");
    }
    for (user, password) in [("app@a", "app_pw"), ("inside", "inside_pw"), ("nobody", "x")] {
        assert_eq!(try_from(10, user, password), "28000", "{user}: the address is blocked");
        assert_eq!(try_from(11, user, password), if user == "nobody" { "28P01" } else { "ok" }, "{user}: no other is");
    }
    // One login, many addresses; one that does not exist is no exception.
    for last in 20..27 {
        assert_eq!(try_from(last, "spare", "wrong"), "28P01");
        try_from(last, "nobody", "wrong");
    }
    assert_eq!(try_from(30, "spare", "spare_pw"), "28000", "it is not known from there");
    assert_eq!(try_from(30, "nobody", "x"), "28000");
    assert_eq!(try_from(3, "spare", "spare_pw"), "ok", "it is known from there");
    assert_eq!((try_from(30, "app@a", "app_pw"), try_from(20, "inside", "inside_pw")), ("ok".into(), "ok".into()));
    // Guesses from where it is known lock out that place.
    for _ in 0..4 {
        try_from(3, "spare", "wrong");
    }
    assert_eq!(try_from(3, "spare", "spare_pw"), "28000");
}
