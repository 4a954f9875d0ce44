use super::*;
use crate::config::{Config, parse};
use crate::tenant::Registry;
use std::path::Path;
use std::time::Duration;

fn config(key: u32) -> Config {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:1\"\n[upstream.main]\nurl = \"postgres://a@127.0.0.1/d\"\n[tenancy]\nupstream = \"main\"\n\
         [[login]]\nname = \"a\"\nauth = \"trust\"\ntenants = \"*\"\n[[tenant]]\nname = \"acme\"\nkey = {key}\n[[tenant]]\nname = \"other\"\nkey = 99\n"
    );
    parse(&text, Path::new("x"), &|_| None).unwrap().config
}

fn gate(epoch: i64, travel: bool) -> Gate {
    Gate { epoch: Some(epoch), reason: "move".into(), deadline: Instant::now() + Duration::from_secs(9), travel }
}

fn registry(gates: &Gates, key: u32) -> Arc<Tenant> {
    gates.registry.store(Arc::new(Registry::new(&config(key))));
    gates.registry.load().tenant("acme").unwrap().clone()
}

#[test]
fn sessions_follow_what_moved_behind_a_gate_and_nothing_else() {
    let gates = Gates::new(Registry::shared(&config(1), &Arc::default()));
    let (acme, other) = (TenantName::new("acme"), TenantName::new("other"));
    let one = registry(&gates, 1);
    assert_eq!(gates.standing(&acme), GateStanding::Open);
    let since = gates.shut(&acme, gate(1, true)).unwrap();
    assert_eq!((gates.standing(&acme), gates.standing(&other)), (GateStanding::Shut(since), GateStanding::Open));
    assert_eq!(gates.shut(&acme, gate(1, true)), None);
    let two = registry(&gates, 2);
    assert_eq!(gates.passage(&one, &two), Passage::Waits);
    // Shut anew before it was seen open: whoever stands before it is where he was.
    assert!(gates.shut(&acme, gate(2, true)).unwrap() > since);
    let (number, moved) = gates.open(std::slice::from_ref(&acme));
    assert!(moved);
    assert_eq!(gates.passage(&one, &two), Passage::Goes);
    let three = registry(&gates, 3);
    assert_eq!((gates.passage(&one, &three), gates.passage(&two, &three)), (Passage::Ends, Passage::Ends));
    // What moved by another change is another matter.
    gates.forget_moves(number - 1);
    assert_eq!(gates.passage(&one, &two), Passage::Goes);
    gates.forget_moves(number);
    assert_eq!(gates.passage(&one, &two), Passage::Ends);
    // It goes on before all have followed, and comes back.
    gates.shut(&acme, gate(7, true));
    let four = registry(&gates, 4);
    let (number, _) = gates.open(std::slice::from_ref(&acme));
    gates.shut(&acme, gate(8, true));
    gates.forget_moves(number);
    let five = registry(&gates, 5);
    gates.open(std::slice::from_ref(&acme));
    for was in [&three, &four] {
        assert_eq!(gates.passage(was, &five), Passage::Goes);
    }
    gates.shut(&acme, gate(9, true));
    let three = registry(&gates, 3);
    let (number, _) = gates.open(std::slice::from_ref(&acme));
    assert_eq!(gates.passage(&five, &three), Passage::Goes);
    gates.forget_moves(number);
    // Back where it was, or nothing travels.
    gates.shut(&acme, gate(3, true));
    assert!(!gates.open(std::slice::from_ref(&acme)).1);
    gates.shut(&acme, gate(4, false));
    let four = registry(&gates, 4);
    assert!(gates.open(std::slice::from_ref(&acme)).1);
    assert_eq!(gates.passage(&three, &four), Passage::Ends);
}

#[test]
fn what_is_not_known_concerns_listed_tenants() {
    let gates = Gates::new(Registry::shared(&config(1), &Arc::default()));
    let (acme, other, third) = (TenantName::new("acme"), TenantName::new("other"), TenantName::new("third"));
    gates.lose(HashSet::from([other.clone()]));
    assert!(matches!(gates.standing(&acme), GateStanding::Unknown(_)));
    assert_eq!((gates.standing(&other), gates.standing(&third)), (GateStanding::Open, GateStanding::Open));
    assert!(gates.regain() && !gates.regain());
    assert_eq!(gates.standing(&acme), GateStanding::Open);
}
