//! What has brought other poolers down: packets at the wrong moment, lengths and counts that nobody bounds, upstreams that
//! do not keep to the protocol. Each time an error as Postgres words it, or a closed connection; at once, for little memory
//! and processor time; and other clients go on.

use std::time::{Duration, Instant};

use crate::support::lab::Lab;
use crate::support::message::{self, frame, lying_frame, query, startup};
use crate::support::proxy::{Proxy, Setup, Shared};
use crate::support::reply::Reply;
use crate::support::session::{self, Endpoint, Session};
use crate::support::upstream::{challenger, greeter, meddler};

static PROXY: Shared = Shared::over("protocol_advisories");

/// No answer takes longer.
const SOON: Duration = Duration::from_secs(8);

/// What a process has taken of the processor, and its memory in KiB.
fn spent(proxy: &Proxy) -> (Duration, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, in hundredths of a second
    let ticks: u64 = fields[11..13].iter().map(|it| it.parse::<u64>().unwrap()).sum();
    (Duration::from_millis(ticks * 10), proxy.resident_kib())
}

/// Does something that must cost little while another client is served.
#[track_caller]
fn cheaply<T>(proxy: &Proxy, act: impl FnOnce() -> T) -> T {
    let mut other = proxy.b().connect();
    other.simple("SELECT count(*) FROM customers").ok();
    let (time, memory) = spent(proxy);
    let outcome = act();
    let asked = Instant::now();
    assert_eq!(other.simple("SELECT count(*) FROM customers").ok().value(), "8");
    assert!(asked.elapsed() < Duration::from_secs(3), "another client waits");
    let (time, memory) = (spent(proxy).0 - time, spent(proxy).1.saturating_sub(memory));
    assert!(time < Duration::from_secs(3), "it takes {time:?} of the processor");
    assert!(memory < 24 << 10, "it takes {memory} KiB");
    outcome
}

/// A connection on which these bytes were sent, and what came of it.
fn raw(bytes: &[u8]) -> Reply {
    let mut session = Session::over(session::open(PROXY.get().port));
    session.send(bytes);
    session.collect_within(1, SOON)
}

#[track_caller]
fn is_refused(reply: &Reply, what: &str) {
    assert!(reply.closed && reply.states.is_empty() && reply.rows.is_empty(), "{what}: {}", reply.text());
    assert!(reply.errors.len() <= 1, "{what}: {}", reply.text());
    if let Some(fields) = reply.errors.first() {
        assert_eq!(fields[&'S'], "FATAL", "{what}: {}", reply.text());
        assert!(fields.contains_key(&'M'), "{what}: {}", reply.text());
    }
}

fn greeting(end: &Endpoint) -> Vec<u8> {
    startup(196_608, &[("user", &end.user), ("database", &end.database)])
}

fn first_of_scram() -> Vec<u8> {
    let first = b"n,,n=,r=fyko+d2lbbFgONRv9qkxdawL";
    frame(b'p', &[b"SCRAM-SHA-256\0".as_slice(), &(first.len() as u32).to_be_bytes(), first].concat())
}

/// Whoever has begun to log in as one user does not go on as another.
#[test]
fn a_second_startup_packet_ends_the_login() {
    let proxy = PROXY.get();
    let (a, b) = (greeting(&proxy.a()), greeting(&proxy.b()));
    let second = [b.clone(), message::ssl_request(), message::gss_request(), message::cancel(1, &[0; 4])];
    cheaply(proxy, || {
        for second in &second {
            // Right behind the first, and in the middle of SCRAM
            is_refused(&raw(&[a.clone(), second.clone()].concat()), "at once");
            let reply = raw(&[a.clone(), first_of_scram(), second.clone()].concat());
            assert_eq!(reply.kinds, "RRE", "{}", reply.text());
            assert_eq!(reply.sqlstate(), "08P01", "{}", reply.text());
            is_refused(&reply, "in the middle");
        }
        // And once it has its session.
        let mut session = proxy.a().connect();
        session.send(&b);
        let reply = session.collect_within(1, SOON);
        assert_eq!((reply.sqlstate(), reply.closed), ("08P01", true), "{}", reply.text());
    });
}

/// Options that name no setting, or an odd one.
#[test]
fn options_without_a_name_are_refused() {
    let proxy = PROXY.get();
    cheaply(proxy, || {
        for options in ["-c=", "-c =", "-c =x", "-c", "-c ", "--=", "--=x", "--", "-c x", "-c\\ =x", "-c ==", "-", "\\"]
        {
            let (mut session, reply) = proxy.a().with("options", options).try_connect();
            if reply.closed {
                is_refused(&reply, options);
                assert!(matches!(reply.sqlstate(), "42601" | "42501" | "42704"), "{options}: {}", reply.text());
            } else {
                assert_eq!(session.simple("SELECT 1").ok().value(), "1", "{options}");
            }
        }
        let (_, reply) = proxy.a().with("options", "-c=").try_connect();
        assert_eq!(reply.sqlstate(), "42601", "{}", reply.text());
        let (_, reply) = proxy.a().with("", "x").try_connect();
        is_refused(&reply, "a parameter without a name");
        let (_, reply) = proxy.a().with("options", &"-c ".repeat(3_000)).try_connect();
        is_refused(&reply, "many");
    });
}

/// Nothing is allocated for what a packet says of its length, and a length does not turn negative.
#[test]
fn lengths_before_login_are_bounded() {
    let proxy = PROXY.get();
    let greeting = greeting(&proxy.a());
    cheaply(proxy, || {
        for length in [0, 1, 4, 7, 10_001, 0x7fff_ffff, 0x8000_0000, 0x8000_0008, 0xffff_fff0, u32::MAX] {
            let packet = [&length.to_be_bytes()[..], &greeting[4..]].concat();
            let reply = raw(&packet);
            is_refused(&reply, &format!("startup packet of {length:#x}"));
            for rest in [&greeting[..0], &first_of_scram()] {
                // The password, or the second message of SCRAM
                let reply = raw(&[&greeting, rest, &lying_frame(b'p', b"x\0", length)].concat());
                if (5..2_048).contains(&length) {
                    continue;
                }
                is_refused(&reply, &format!("password of {length:#x}"));
            }
        }
    });
}

/// Messages of SCRAM that announce more than they hold, or hold more than anybody needs.
#[test]
fn scram_messages_that_overflow_end_the_login() {
    let proxy = PROXY.get();
    let greeting = greeting(&proxy.a());
    let initial =
        |length: u32, data: &[u8]| frame(b'p', &[b"SCRAM-SHA-256\0".as_slice(), &length.to_be_bytes(), data].concat());
    let whole = |data: &[u8]| initial(data.len() as u32, data);
    let long = |start: &str, length: usize| whole(format!("{start}{}", "x".repeat(length)).as_bytes());
    let firsts = [
        initial(0x7fff_ffff, b"n,,n=,r=abc"),
        initial(0x8000_0000, b"n,,n=,r=abc"),
        initial(0xffff_fffe, b"n,,n=,r=abc"),
        initial(12, b"n,,n=,r=abc"),
        initial(3, b"n,,n=,r=abc"),
        whole(b""),
        whole(b","),
        whole(&b",".repeat(1_900)),
        whole(b"n,,n=,r="),
        whole(b"n,,n=\xff\xfe,r=abc"),
        whole(b"n,,n=,r=a\0b"),
        long("n,,n=,r=", 60_000),
        frame(b'p', b"SCRAM-SHA-256"),
        frame(b'p', b""),
        frame(b'p', &b"S".repeat(2_000)),
    ];
    let finals = [
        b"".to_vec(),
        b",p=".to_vec(),
        b"c=biws,r=abc,p=".to_vec(),
        [b"c=biws,r=abc,p=".as_slice(), &b"A".repeat(1_900)].concat(),
        [b"c=".as_slice(), &b"A".repeat(1_000), b",r=abc,p=AAAA"].concat(),
        [b"c=biws,r=".as_slice(), &b"r".repeat(1_900), b",p=AAAA"].concat(),
        b"p=".repeat(900),
        vec![0xff; 1_000],
        vec![b'A'; 60_000],
    ];
    cheaply(proxy, || {
        for (n, first) in firsts.iter().enumerate() {
            is_refused(&raw(&[greeting.clone(), first.clone()].concat()), &format!("first {n}"));
        }
        for (n, last) in finals.iter().enumerate() {
            let reply = raw(&[greeting.clone(), first_of_scram(), frame(b'p', last)].concat());
            is_refused(&reply, &format!("last {n}"));
            assert!(reply.kinds.starts_with("RR"), "last {n}: {}", reply.text());
        }
        // A nonce as long as a message may be is taken, and the proof is what fails.
        let first = long("n,,n=,r=", 1_500);
        let last = frame(b'p', format!("c=biws,r={},p={}=", "x".repeat(1_500), "A".repeat(43)).as_bytes());
        let reply = raw(&[greeting.clone(), first, last].concat());
        assert_eq!(reply.kinds, "RRE", "{}", reply.text());
        is_refused(&reply, "long nonce");
    });
}

/// pgwarden in front of servers on these ports, for the logins `odd0`, `odd1` ..., besides the usual.
fn in_front_of(database: &'static str, ports: &[u16]) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    let one = |(n, port): (usize, &u16)| {
        format!(
            "[[tenant]]\nname = \"odd{n}\"\nlayout = \"database\"\n\
             upstream = {{ url = \"postgres://app_owner@127.0.0.1:{port}/db_tenant_a\", password = \"app_owner_pw\" }}\n\
             [[login]]\nname = \"odd{n}\"\npassword = \"odd_pw\"\ntenants = [\"odd{n}\"]\n"
        )
    };
    let more = ports.iter().enumerate().map(one).collect();
    Proxy::start(lab, &Setup { database: database.to_owned(), more, ..Setup::default() })
}

fn odd(proxy: &Proxy, n: usize) -> (Session, Reply) {
    let (session, reply) = Endpoint::new(proxy.port, &format!("odd{n}"), "odd_pw", "db_tenant_a").try_connect();
    assert!(reply.elapsed < SOON, "{n}: {:?} {}", reply.elapsed, reply.text());
    (session, reply)
}

/// An upstream that asks for more work than a password is worth, or sends more than a challenge needs.
#[test]
fn challenges_of_an_upstream_are_bounded() {
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    fn challenge(text: &str) -> Vec<u8> {
        frame(b'R', &[&11u32.to_be_bytes(), text.as_bytes()].concat())
    }
    let count = |iterations: &'static str| {
        challenger(move |nonce| challenge(&format!("r={nonce}ours,s={SALT},i={iterations}")))
    };
    let mut ports = ["2000000000", "4294967295", "99999999999999999999", "0", "-1", ""].map(count).to_vec();
    ports.extend([
        challenger(|nonce| challenge(&format!("r={nonce}{},s={SALT},i=4096", "x".repeat(900_000)))),
        challenger(|nonce| challenge(&format!("r={nonce}ours,s={},i=4096", "QUFB".repeat(220_000)))),
        challenger(|nonce| challenge(&format!("r={nonce}ours,s={SALT},i={}1", "0".repeat(900_000)))),
        challenger(|_| challenge(&format!("r=another,s={SALT},i=4096"))),
        challenger(|_| lying_frame(b'R', b"\0\0\0\x0b", 0x7fff_ffff)),
        challenger(|_| lying_frame(b'R', b"\0\0\0\x0b", 0xffff_fff0)),
        challenger(|_| lying_frame(b'R', b"\0\0\0\x0b", 3)),
        challenger(|_| frame(b'R', b"\0\0")),
        challenger(|_| frame(b'R', &[&12u32.to_be_bytes()[..], b"v=AAAA"].concat())),
    ]);
    let proxy = in_front_of("protocol_challenges", &ports);
    for n in 0..ports.len() {
        let (_, reply) = cheaply(&proxy, || odd(&proxy, n));
        is_refused(&reply, &n.to_string());
        assert!(matches!(reply.sqlstate(), "08006" | "58000"), "{n}: {}", reply.text());
    }
    // What is wrong with the server is for the log.
    assert!(proxy.log().contains("iteration count"), "{}", proxy.log());
}

/// The body of an ErrorResponse without some of its fields.
fn without(letters: &[u8], body: &[u8]) -> Vec<u8> {
    let fields = body.split(|byte| *byte == 0).filter(|field| field.first().is_some_and(|it| !letters.contains(it)));
    let mut left: Vec<u8> = fields.flat_map(|field| [field, b"\0"].concat()).collect();
    left.push(0);
    left
}

/// An error of the upstream that lacks what every error has: clients get a whole one.
#[test]
fn errors_of_an_upstream_without_their_fields() {
    let postgres = Lab::general().cluster.port();
    let greetings = [
        frame(b'E', b"\0"),
        frame(b'E', b""),
        frame(b'E', b"SFATAL\0Mno more\0\0"),
        frame(b'E', b"SFATAL\0C\0Mno more\0\0"),
        frame(b'E', b"SFATAL\0C53300x\0Mno more\0\0"),
        frame(b'E', b"SFATAL\0C\xff\xff\xff\xff\xff\0M\xff\xfe\0\0"),
        frame(b'E', b"SFATAL"),
        lying_frame(b'E', b"SFATAL\0", 0x7fff_ffff),
    ];
    let mut ports = greetings.map(greeter).to_vec();
    let scripted = ports.len();
    ports.extend([
        meddler(postgres, |body| without(b"C", &body)),
        meddler(postgres, |body| without(b"CSVM", &body)),
        meddler(postgres, |_| b"\0".to_vec()),
        meddler(postgres, |_| b"MERROR".to_vec()),
    ]);
    let proxy = in_front_of("protocol_errors", &ports);
    for n in 0..scripted {
        let (_, reply) = cheaply(&proxy, || odd(&proxy, n));
        is_refused(&reply, &n.to_string());
        assert_eq!(reply.sqlstate(), "08006", "{n}: {}", reply.text());
    }
    for n in scripted..ports.len() {
        let (mut session, reply) = odd(&proxy, n);
        reply.ok();
        let broken = n == ports.len() - 1;
        for extended in [false, true] {
            let sql = "SELECT nosuch";
            let sent = if extended { [message::extended(sql, &[]), message::sync()].concat() } else { query(sql) };
            session.send(&sent);
            let reply = session.collect_within(1, SOON);
            assert_eq!(reply.errors.len(), 1, "{n}: {}", reply.text());
            for letter in ['S', 'V', 'C', 'M'] {
                assert!(
                    reply.errors[0].get(&letter).is_some_and(|it| !it.is_empty()),
                    "{n} {letter}: {}",
                    reply.text()
                );
            }
            if broken {
                // What cannot be read ends the session.
                assert_eq!((reply.closed, reply.sqlstate()), (true, "08006"), "{}", reply.text());
                break;
            }
            assert_eq!((reply.states.as_str(), reply.sqlstate()), ("I", "XX000"), "{n}: {}", reply.text());
            assert_eq!(session.simple("SELECT 1").ok().value(), "1");
        }
    }
    assert_eq!(proxy.a().connect().simple("SELECT 1").ok().value(), "1");
}

/// What would keep a client or pgwarden itself busy is no verifier: neither of the file, nor of the auth query (see
/// `identity`).
#[test]
fn verifiers_with_endless_counts_are_refused() {
    let lab = Lab::general();
    let keys = "W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    for (count, fits) in
        [("4096", true), ("2000000000", false), ("4294967295", false), ("4294967296", false), ("0", false)]
    {
        let login =
            format!("[[login]]\nname = \"dear\"\npassword = \"SCRAM-SHA-256${count}:{keys}\"\ntenants = [\"a\"]\n");
        let setup = Setup { more: login, ..Setup::default() };
        let (done, said, error) = crate::support::proxy::tool(lab, &setup, &["check"]);
        let said = said + &error;
        assert_eq!(done, fits, "{count}: {said}");
        assert_eq!(!fits, said.contains("pgwarden.toml:") && said.contains("iteration count"), "{count}: {said}");
    }
}

/// Commands of the console are nothing in a tenant's session, and in nobody's before the login is done.
#[test]
fn console_commands_need_the_right_to_them() {
    let lab = Lab::general();
    lab.copy_of_shop("protocol_console");
    let more = "[[login]]\nname = \"boss\"\npassword = \"boss_pw\"\nrole = \"admin\"\n".to_owned();
    let setup = Setup { database: "protocol_console".to_owned(), more, ..Setup::default() };
    let mut proxy = Proxy::start(lab, &setup);
    let mut b = proxy.b().connect();
    let commands = [
        "SHOW CLIENTS",
        "SHOW CONFIG",
        "SHOW HELP",
        "RELOAD",
        "PAUSE",
        "PAUSE main",
        "RESUME",
        "KILL TENANT b",
        "KILL CLIENT 1",
        "SHUTDOWN",
        "SHUTDOWN NOW",
        "SHUTDOWN WAIT_FOR_CLIENTS",
    ];
    for login in ["tenant_a", "app", "operator"] {
        let (mut session, reply) =
            Endpoint { database: "protocol_console".to_owned(), ..proxy.login(login) }.try_connect();
        reply.ok();
        for command in commands {
            for reply in [session.simple(command), session.extended(command, &[])] {
                assert!(!reply.errors.is_empty() && reply.rows.is_empty(), "{login} {command}: {}", reply.text());
                assert_eq!(reply.states, "I", "{login} {command}: {}", reply.text());
            }
        }
        // Behind a login that is not done, or that fails
        for user in [login, "boss"] {
            let end = Endpoint::new(proxy.port, user, "wrong", "pgwarden");
            for command in commands {
                let mut session = Session::over(session::open(proxy.port));
                session.send(&[greeting(&end), query(command), first_of_scram(), query(command)].concat());
                is_refused(&session.collect_within(1, SOON), command);
            }
            let (mut session, reply) = end.try_connect();
            is_refused(&reply, user);
            session.send(&query("SHUTDOWN NOW"));
            assert!(session.collect_within(1, SOON).rows.is_empty());
        }
    }
    assert_eq!(b.simple("SELECT count(*) FROM customers").ok().value(), "8");
    assert_eq!(
        Endpoint::new(proxy.port, "boss", "boss_pw", "pgwarden").connect().simple("SHOW VERSION").ok().rows.len(),
        1
    );
    assert!(proxy.is_alive());
}
