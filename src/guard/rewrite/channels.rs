//! Names of channels: a space for each tenant.

use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node};

use super::{Rewriter, tree};
use crate::base::oid::TEXT;
use crate::base::{Arity, Mode, Refusal, RefusalKind, SqlState};
use crate::guard::channels::{CHANNEL_PREFIX, ChannelSpace, HASH_BYTES, MAX_CHANNEL_BYTES, SCHEMA_SPACE, SHARED_SPACE};
use crate::guard::fault::{Fault, planted};
use crate::guard::plan::Piece;
use crate::guard::{ChannelName, TenantSlot};

/// What a statement names, to be put in when the tenant is known.
pub(super) struct Channel {
    slot: usize,
    kind: ChannelName,
    name: Arc<str>,
}

impl Channel {
    /// The printed statement with the name's place in it: it is the first identifier.
    pub(super) fn cut(&self, text: &str) -> Option<Vec<Piece>> {
        let place = format!("\"{}\"", self.kind.unbound());
        let at = ["NOTIFY ", "LISTEN "].iter().find(|verb| text.starts_with(**verb))?.len();
        let (verb, rest) = text.split_at_checked(at)?;
        let rest = rest.strip_prefix(&place)?;
        let channel = Piece::Channel { slot: self.slot, kind: self.kind, name: Arc::clone(&self.name) };
        let rest = (!rest.is_empty()).then(|| Piece::Text(rest.into()));
        Some([Piece::Text(verb.into()), channel].into_iter().chain(rest).collect())
    }
}

impl Rewriter<'_> {
    /// What NOTIFY, LISTEN or UNLISTEN has in the place of the client's name.
    pub(super) fn own_channel(&mut self, kind: ChannelName, name: &str) -> Result<String, Refusal> {
        if planted(Fault::Channels) {
            return Ok(name.to_owned());
        }
        self.note("channels: a space of the tenant's own");
        if let Mode::Schema(schema) = self.mode {
            return Ok(kind.of(&ChannelSpace::of_schema(schema), name));
        }
        let slot = self.slot_of_key()?;
        self.channel = Some(Channel { slot, kind, name: name.into() });
        Ok(kind.unbound())
    }

    /// `pg_notify(name, payload)`: what the name comes to is known to the server alone. A name that is empty or too long
    /// gets a constant in its place that fails as it does: whatever an expression gives when it is run again, nothing of it
    /// is a channel's name.
    pub(super) fn notify(&mut self, call: &mut FuncCall) -> Result<(), Refusal> {
        self.rewritten = true;
        if planted(Fault::Channels) {
            return Ok(());
        }
        let (false, [name, _]) = (call.func_variadic, call.args.as_mut_slice()) else { return Err(no_such_function()) };
        if let Some(NodeEnum::NamedArgExpr(_)) = name.node.as_ref() {
            return Err(no_such_function());
        }
        let space = match self.mode {
            Mode::Schema(schema) => tree::text(&format!("{SCHEMA_SPACE}{schema}")),
            Mode::Shared | Mode::Reader | Mode::Database | Mode::Operator => {
                let slot = self.slot_of_key()?;
                tree::system_operator(tree::text(SHARED_SPACE), "||", tree::param(self.param_number(slot)))
            }
        };
        self.note("channels: a space of the tenant's own");
        let given = tree::cast(std::mem::take(name), tree::system_type("text"));
        let space = system("sha256", vec![bytes_of(space)]);
        let hash = system("sha256", vec![tree::system_operator(space, "||", bytes_of(given.clone()))]);
        let head = system("substr", vec![hash, tree::integer(1), tree::integer(HASH_BYTES as i32)]);
        let own =
            tree::system_operator(tree::text(CHANNEL_PREFIX), "||", system("encode", vec![head, tree::text("hex")]));
        let longer_than = |bytes: usize| {
            let length = system("octet_length", vec![given.clone()]);
            tree::system_operator(length, ">", tree::integer(bytes as i32))
        };
        let too_long = system("repeat", vec![tree::text("x"), tree::integer(MAX_CHANNEL_BYTES as i32 + 1)]);
        let named = tree::case(longer_than(0), own, tree::text(""));
        *name = tree::case(longer_than(MAX_CHANNEL_BYTES), too_long, named);
        Ok(())
    }

    /// Whether channels are each tenant's own.
    pub(super) fn owns_channels(&self) -> bool {
        matches!(self.mode, Mode::Shared | Mode::Reader | Mode::Schema(_))
    }

    fn slot_of_key(&mut self) -> Result<usize, Refusal> {
        self.slot_for(TenantSlot { key: None, arity: Arity::One, type_oid: TEXT, type_name: "pg_catalog.text".into() })
    }
}

fn system(name: &str, args: Vec<Node>) -> Node {
    tree::node(NodeEnum::FuncCall(Box::new(tree::system_call(name, args))))
}

fn bytes_of(text: Node) -> Node {
    system("convert_to", vec![text, tree::text("UTF8")])
}

fn no_such_function() -> Refusal {
    let message = "function pg_notify with these arguments does not exist";
    Refusal::new(RefusalKind::Unsupported, SqlState::UNDEFINED_FUNCTION, message)
        .hint("It takes a channel and a payload: pg_notify(text, text).")
}
