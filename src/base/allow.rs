//! From which addresses a login or a tenant may be used.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks of which a client's address must be in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList(Vec<IpNet>);

impl AllowList {
    /// The list of these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether the address is in the list. IPv4 addresses that came over an IPv6 socket count as what they are.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// A network (`10.0.0.0/8`) or a single address.
///
/// # Errors
/// What is wrong, and what was perhaps meant.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text.parse().map_err(|_| "a network or an address: \"10.0.0.0/8\", \"::1\"".to_owned())?;
    if network.trunc() != network {
        return Err(format!("the network of that address is \"{}\"", network.trunc()));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks() {
        let list = AllowList::new(
            ["10.0.0.0/8", "192.168.1.7", "fd00::/8", "::1"].map(|n| parse_network(n).unwrap()).to_vec(),
        );
        for inside in ["10.255.0.1", "192.168.1.7", "fd12::1", "::1", "::ffff:10.0.0.1"] {
            assert!(list.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.168.1.8", "fe80::1", "::2", "127.0.0.1", "::ffff:11.0.0.1"] {
            assert!(!list.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(AllowList::new(vec![parse_network("0.0.0.0/0").unwrap()]).contains("1.2.3.4".parse().unwrap()));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "10.0.0.1/8", "10.0.0.0/"] {
            assert!(parse_network(bad).is_err(), "{bad}");
        }
        assert!(parse_network("10.1.2.3/8").unwrap_err().contains("10.0.0.0/8"));
    }
}
