//! Where in the client's text the name stands that does not exist, as a refusal of the guard's says.

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use super::gate::names::{parts, truncated};
use crate::base::{Refusal, RefusalKind, SqlState};
use crate::sql::parse::position;
use crate::sql::walk::{Part, Walk};

/// The refusal with the position of the first such name in the statement, which is a part of `sql`.
pub(super) fn placed(mut refusal: Refusal, statement: &Node, sql: &str) -> Refusal {
    let named = refusal.object.as_deref().filter(|_| refusal.kind == RefusalKind::Undefined);
    if let Some(name) = named.filter(|_| refusal.error.position.is_none()) {
        let mut place = None;
        statement.fields(&mut |part| find(part, refusal.error.code, name, &mut place));
        let place = place.and_then(|place| usize::try_from(place).ok());
        refusal.error.position = place.filter(|place| *place < sql.len()).map(|place| position(sql, place));
    }
    refusal
}

fn find(part: Part<'_>, code: SqlState, name: &str, place: &mut Option<i32>) -> bool {
    *place = match part {
        Part::Node(NodeEnum::FuncCall(call)) if code == SqlState::UNDEFINED_FUNCTION => {
            let called = parts(&call.funcname).unwrap_or_default();
            called.last().filter(|called| truncated(called) == name).map(|_| call.location)
        }
        _ if code == SqlState::UNDEFINED_TABLE => {
            let shown = part.range_var().filter(|it| match it.schemaname.as_str() {
                "" => it.relname == name,
                schema => name.strip_prefix(schema).and_then(|rest| rest.strip_prefix('.')) == Some(&*it.relname),
            });
            shown.map(|it| it.location)
        }
        Part::Node(_) | Part::Select(_) | Part::RangeVar(_) => None,
    };
    place.is_some() || part.fields(&mut |inner| find(inner, code, name, place))
}
