//! Channels of LISTEN and NOTIFY: each tenant's own, where tenants share a database.
//!
//! Channels are one space for all of a database. So the server gets another name for each: a hash of who the tenant is and of
//! the name that the client gives, 192 bits of SHA-256: nobody finds a name that meets another's. The same on every proxy, and
//! the same in SQL (`pg_notify` of a computed name), so that sessions of a tenant meet wherever they are connected.
//!
//! Clients do not listen on their server connections, which others will have. LISTEN and UNLISTEN become a LISTEN on a *mark*
//! there, a channel that nobody notifies: whether the mark is there when the transaction is over tells what has become of it.

use sha2::{Digest, Sha256};

use crate::base::{Mode, TenantKeys, hex};

/// What a tenant's channels are called on the server: this, and the hash in hexadecimal digits.
pub const CHANNEL_PREFIX: &str = "pgw:";
/// What stands before the tenant's key in what is hashed, in the shared layout.
pub const SHARED_SPACE: &str = "shared:";
/// What stands before the tenant's schema there, in the schema layout.
pub const SCHEMA_SPACE: &str = "schema:";
/// Bytes of the hash that count.
pub const HASH_BYTES: usize = 24;
/// A channel's name has at most so many bytes.
pub const MAX_CHANNEL_BYTES: usize = 63;
/// The mark of `UNLISTEN *`.
pub(super) const MARK_OF_ALL: &str = "pgw*";
/// Stands in a tree for a hash that is known only once a plan is bound to a tenant.
const UNBOUND: &str = "~";

/// What the key of an advisory lock is a hash of, in the schema layout, before so many numbers. In the shared layout, where a
/// tenant's key stands before it, nothing ends so.
pub(super) fn lock_space(schema: &str, numbers: usize) -> String {
    format!("{SCHEMA_SPACE}{schema}:{}:", numbers + 2)
}

/// What a name of a client's stands for on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelName {
    /// The channel.
    Channel,
    /// The mark of its LISTEN.
    Listen,
    /// The mark of its UNLISTEN.
    Unlisten,
}

impl ChannelName {
    fn prefix(self) -> &'static str {
        match self {
            ChannelName::Channel => CHANNEL_PREFIX,
            ChannelName::Listen => "pgw+",
            ChannelName::Unlisten => "pgw-",
        }
    }

    /// The name of a channel of this space on the server.
    pub fn of(self, space: &ChannelSpace, name: &str) -> String {
        let hash = Sha256::new().chain_update(space.0).chain_update(name).finalize();
        let kept = hash.get(..HASH_BYTES).unwrap_or(&hash);
        format!("{}{}", self.prefix(), hex(kept))
    }

    /// What stands in a tree for it.
    pub(super) fn unbound(self) -> String {
        format!("{}{UNBOUND}", self.prefix())
    }
}

/// Whose channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelSpace([u8; 32]);

impl ChannelSpace {
    /// A tenant's, where it shares its database with others; `None` where it does not, or has no key.
    pub fn of(mode: &Mode, keys: &TenantKeys) -> Option<Self> {
        match mode {
            Mode::Shared => keys.default.as_deref().map(Self::of_key),
            Mode::Schema(schema) => Some(Self::of_schema(schema)),
            // A reader listens on no channel.
            Mode::Reader | Mode::Database | Mode::Operator => None,
        }
    }

    /// Of the tenant with this key.
    pub(super) fn of_key(key: &str) -> Self {
        Self(Sha256::new().chain_update(SHARED_SPACE).chain_update(key).finalize().into())
    }

    /// Of the tenant whose schema this is.
    pub(super) fn of_schema(schema: &str) -> Self {
        Self(Sha256::new().chain_update(SCHEMA_SPACE).chain_update(schema).finalize().into())
    }
}

/// LISTEN or UNLISTEN of a session whose channels are a tenant's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listening {
    /// `LISTEN name`, the name as the client wrote it.
    Start(String),
    /// `UNLISTEN name`
    Stop(String),
    /// `UNLISTEN *`
    StopAll,
}

impl Listening {
    /// The mark on the server connection.
    pub fn mark(&self, space: &ChannelSpace) -> String {
        match self {
            Listening::Start(name) => ChannelName::Listen.of(space, name),
            Listening::Stop(name) => ChannelName::Unlisten.of(space, name),
            Listening::StopAll => MARK_OF_ALL.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_fit_and_are_the_tenants_own() {
        let (one, two) = (ChannelSpace::of_key("1"), ChannelSpace::of_key("2"));
        let name = |space: &ChannelSpace, name: &str| ChannelName::Channel.of(space, name);
        // As Postgres's own sha256() computes it.
        assert_eq!(name(&one, "jobs"), "pgw:11d30ca2c007f573980c55288f23861227b404eaf97e812f");
        assert_ne!(name(&one, "jobs"), name(&two, "jobs"));
        assert_ne!(name(&one, "jobs"), name(&ChannelSpace::of_schema("1"), "jobs"));
        assert_ne!(name(&one, "jobs"), name(&one, "Jobs"));
        for kind in [ChannelName::Channel, ChannelName::Listen, ChannelName::Unlisten] {
            assert!(kind.of(&one, &"é".repeat(40)).len() <= MAX_CHANNEL_BYTES);
        }
    }

    proptest! {
        /// What of the two texts belongs to the tenant cannot be mistaken: no key and name meet those of another tenant.
        #[test]
        fn no_two_tenants_share_a_name(a in "[a:1]{0,4}", b in "[a:1]{0,4}", x in "[a:1]{1,4}", y in "[a:1]{1,4}") {
            let name = |key: &str, name: &str| ChannelName::Channel.of(&ChannelSpace::of_key(key), name);
            prop_assert_eq!(name(&a, &x) == name(&b, &y), a == b && x == y);
        }
    }
}
