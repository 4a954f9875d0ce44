//! The names of channels: whatever notifies or listens names one by the hash of a text that begins with who the tenant is.

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, CaseExpr, FuncCall, Node, RawStmt, String as Name, a_const};

use super::locks::{concatenated, first_of};
use super::predicate::Predicates;
use super::tree::{node, strings};
use crate::base::{Mode, Refusal, TenantKeys};
use crate::guard::channels::{
    CHANNEL_PREFIX, ChannelName, ChannelSpace, MARK_OF_ALL, MAX_CHANNEL_BYTES, SCHEMA_SPACE, SHARED_SPACE,
};
use crate::sql::walk::{Part, Walk};

impl Predicates<'_> {
    /// Every statement about channels, and every call, in the shared layout.
    pub(super) fn check_channels(&self, statement: &RawStmt) -> Result<(), String> {
        let is_space = |space: &NodeEnum| {
            let (prefix, key) = (concatenated(space, true), concatenated(space, false));
            prefix.is_some_and(|prefix| is_text(prefix, SHARED_SPACE)) && self.is_own_text(key)
        };
        // Its hash is put in when the plan is bound to a tenant.
        let is_name = |kind: ChannelName, name: &str| name == kind.unbound();
        check(statement, &is_space, &is_name)
    }
}

/// The same in the schema layout.
///
/// # Errors
/// [`RefusalKind::Verifier`](crate::base::RefusalKind::Verifier)
pub(crate) fn verify_own_channels(schema: &str, statement: &Node) -> Result<(), Refusal> {
    let space = format!("{SCHEMA_SPACE}{schema}");
    let is_space = |given: &NodeEnum| is_text(given, &space);
    // The name itself is not known here any more: what of all names only a hash has.
    let example = |kind: ChannelName| {
        ChannelSpace::of(&Mode::Schema(schema.into()), &TenantKeys::default()).map(|space| kind.of(&space, ""))
    };
    let is_name = |kind: ChannelName, name: &str| example(kind).is_some_and(|example| is_like(name, &example));
    check(statement, &is_space, &is_name).map_err(|what| super::refusal(&what))
}

/// Whether two names have the same beginning, and as many hexadecimal digits behind it.
fn is_like(name: &str, example: &str) -> bool {
    let at = CHANNEL_PREFIX.len();
    let digits = name.get(at..).unwrap_or_default();
    name.len() == example.len()
        && name.get(..at) == example.get(..at)
        && digits.bytes().all(|it| it.is_ascii_hexdigit())
}

fn check(
    statement: &impl Walk,
    is_space: &dyn Fn(&NodeEnum) -> bool,
    is_name: &dyn Fn(ChannelName, &str) -> bool,
) -> Result<(), String> {
    let mut wrong = None;
    statement.fields(&mut |part| find(part, is_space, is_name, &mut wrong));
    wrong.map_or(Ok(()), |what| Err(format!("{what} names a channel that is not the tenant's own")))
}

fn find(
    part: Part<'_>,
    is_space: &dyn Fn(&NodeEnum) -> bool,
    is_name: &dyn Fn(ChannelName, &str) -> bool,
    wrong: &mut Option<&'static str>,
) -> bool {
    super::count_step();
    let marks = [ChannelName::Listen, ChannelName::Unlisten];
    *wrong = match part {
        Part::Node(NodeEnum::NotifyStmt(it)) if !is_name(ChannelName::Channel, &it.conditionname) => Some("NOTIFY"),
        Part::Node(NodeEnum::ListenStmt(it))
            if it.conditionname != MARK_OF_ALL && !marks.into_iter().any(|mark| is_name(mark, &it.conditionname)) =>
        {
            Some("LISTEN")
        }
        Part::Node(NodeEnum::FuncCall(call)) if notifies(call) && !is_channel(&call.args, is_space) => {
            Some("pg_notify")
        }
        Part::Node(_) | Part::Select(_) | Part::RangeVar(_) => None,
    };
    wrong.is_some() || part.fields(&mut |inner| find(inner, is_space, is_name, wrong))
}

fn notifies(call: &FuncCall) -> bool {
    let names = strings(&call.funcname).unwrap_or_default();
    matches!(names.as_slice(), ["pg_notify"] | ["pg_catalog", "pg_notify"] | [_, "pg_catalog", "pg_notify"])
}

/// A CASE that gives the hash, or what is no name.
fn is_channel(args: &[Node], is_space: &dyn Fn(&NodeEnum) -> bool) -> bool {
    let [name, _] = args else { return false };
    name.node.as_ref().is_some_and(|name| is_own(name, is_space))
}

fn is_own(name: &NodeEnum, is_space: &dyn Fn(&NodeEnum) -> bool) -> bool {
    match name {
        NodeEnum::CaseExpr(case) => {
            let CaseExpr { arg, args, defresult, .. } = case.as_ref();
            let results = args.iter().map(|when| match when.node.as_ref() {
                Some(NodeEnum::CaseWhen(when)) => node(&when.result),
                _ => None,
            });
            let own = |it: Option<&NodeEnum>| it.is_some_and(|it| is_own(it, is_space));
            arg.is_none() && !args.is_empty() && results.chain([node(defresult)]).all(own)
        }
        NodeEnum::FuncCall(call) => is_too_long(call),
        _ => is_text(name, "") || is_hash(name, is_space),
    }
}

/// `repeat('x', n)`, longer than any channel.
fn is_too_long(call: &FuncCall) -> bool {
    let called = strings(&call.funcname).unwrap_or_default() == ["pg_catalog", "repeat"];
    let [Node { node: Some(text) }, Node { node: Some(NodeEnum::AConst(times)) }] = call.args.as_slice() else {
        return false;
    };
    let times = match &times.val {
        Some(a_const::Val::Ival(times)) => usize::try_from(times.ival).unwrap_or(0),
        _ => 0,
    };
    called && is_text(text, "x") && times > MAX_CHANNEL_BYTES
}

/// `'pgw:' || encode(substr(sha256(sha256(convert_to(space, ..)) || ..), ..), ..)`, read from the outside in.
fn is_hash(name: &NodeEnum, is_space: &dyn Fn(&NodeEnum) -> bool) -> bool {
    let prefixed = concatenated(name, true).is_some_and(|prefix| is_text(prefix, CHANNEL_PREFIX));
    let space = concatenated(name, false)
        .and_then(|hex| first_of(hex, "encode"))
        .and_then(|head| first_of(head, "substr"))
        .and_then(|hash| first_of(hash, "sha256"))
        .and_then(|both| concatenated(both, true))
        .and_then(|space| first_of(space, "sha256"))
        .and_then(|bytes| first_of(bytes, "convert_to"));
    prefixed && space.is_some_and(is_space)
}

pub(super) fn is_text(value: &NodeEnum, text: &str) -> bool {
    match value {
        NodeEnum::AConst(AConst { val: Some(a_const::Val::Sval(Name { sval })), .. }) => sval == text,
        _ => false,
    }
}
