//! LISTEN, UNLISTEN and NOTIFY where channels are each tenant's own.

use pg_query::NodeEnum;
use pg_query::protobuf::ListenStmt;

use super::{Gated, Parts, Sent, unsupported};
use crate::base::Refusal;
use crate::guard::channels::MARK_OF_ALL;
use crate::guard::{ChannelName, Effect, Listening, StatementKind};

/// NOTIFY goes to the tenant's own channel. In the place of LISTEN and UNLISTEN their marks are sent; the session does the rest.
pub(super) fn gate(node: &mut NodeEnum, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    let (listening, mark) = match node {
        NodeEnum::NotifyStmt(stmt) => {
            stmt.conditionname = parts.channel(ChannelName::Channel, &stmt.conditionname)?;
            return Ok(changed());
        }
        NodeEnum::ListenStmt(stmt) => {
            let mark = parts.channel(ChannelName::Listen, &stmt.conditionname)?;
            (Listening::Start(std::mem::take(&mut stmt.conditionname)), mark)
        }
        NodeEnum::UnlistenStmt(stmt) if stmt.conditionname.is_empty() => (Listening::StopAll, MARK_OF_ALL.to_owned()),
        NodeEnum::UnlistenStmt(stmt) => {
            let mark = parts.channel(ChannelName::Unlisten, &stmt.conditionname)?;
            (Listening::Stop(std::mem::take(&mut stmt.conditionname)), mark)
        }
        _ => return Err(unsupported("this statement")),
    };
    *node = NodeEnum::ListenStmt(ListenStmt { conditionname: mark });
    Ok(changed().effects(vec![Effect::Listens(listening)]))
}

fn changed() -> Gated {
    Gated::new(StatementKind::Utility, Sent::Changed)
}
