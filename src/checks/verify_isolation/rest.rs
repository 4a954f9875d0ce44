//! What a client leaves in the middle of a batch stays with its own server connection. One that is handed on while it still
//! skips messages up to a Sync that never comes answers nobody any more.
//!
//! A driver always ends its batches, so this is said by hand.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::timeout;

use super::client::{Answer, Session};
use super::judge::Verdict;
use super::target::Target;
use super::{Connection, Run};
use crate::wire::conn::Conn;
use crate::wire::encode::frontend as encode;
use crate::wire::error::WireError;
use crate::wire::frame::UpstreamLimits;
use crate::wire::frontend::Format;

/// How long the other tenant waits for its answer.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long the attacker listens before it goes away.
const LISTENS: Duration = Duration::from_millis(300);
/// Sessions of each: over more than one server connection.
const SESSIONS: usize = 4;

/// A message of the attacker's.
#[derive(Clone, Copy, Debug)]
enum Message {
    Parse(&'static str),
    Bind,
    Execute,
    Query(&'static str),
    /// The beginning of a Query that is longer.
    Piece,
}

use Message::{Bind, Execute, Parse, Piece, Query};

/// What the attacker sends before it goes away.
const LEFTOVERS: &[&[Message]] = &[
    &[Parse("SELECT pgwarden_nosuch"), Query("SELECT 1")],
    &[Parse("SELECT pgwarden_nosuch"), Bind, Execute],
    &[Parse("SELECT 1"), Bind, Execute],
    &[Query("BEGIN"), Parse("SELECT pgwarden_nosuch"), Query("COMMIT")],
    &[Query("SELECT 1"), Piece],
];

impl Message {
    fn write(self, conn: &mut Conn) -> Result<(), WireError> {
        let out = &mut conn.outbox;
        match self {
            Self::Parse(sql) => encode::parse(out, "", sql, &[]),
            Self::Bind => encode::bind(out, "", "", &[], Format::Text),
            Self::Execute => encode::execute(out, "", 0),
            Self::Query(sql) => encode::query(out, sql),
            Self::Piece => {
                out.extend_from_slice(b"Q\0\0\x01\0SELECT");
                Ok(())
            }
        }
    }
}

impl Run {
    /// Leaves batches unfinished, and asks as the other tenant for its rows. `before`: what they were.
    pub(super) async fn leave_unfinished(&mut self, attacker: &Connection, targets: &[Target], before: &[Answer]) {
        let Some(own) = targets.iter().zip(before).find(|(target, _)| target.other_rows > 0) else { return };
        for leftover in LEFTOVERS {
            let verdict = match self.left_alone(attacker, leftover, own).await {
                Ok(verdict) => verdict,
                Err(error) => Verdict::Failed(error),
            };
            let messages: Vec<String> = leftover.iter().map(|it| format!("{it:?}")).collect();
            self.report.add("server", "at rest", &format!("{}, and gone without Sync", messages.join(", ")), verdict);
        }
    }

    async fn left_alone(
        &self,
        attacker: &Connection,
        leftover: &[Message],
        own: (&Target, &Answer),
    ) -> Result<Verdict, String> {
        let mut others = Vec::new();
        for _ in 0..SESSIONS {
            others.push(self.b.another().await?);
        }
        let attackers = (0..SESSIONS).map(|_| said(attacker, leftover));
        let attackers = try_join_all(attackers).await?;
        drop(attackers);
        // At once, so that they do not take turns on one server connection.
        let asked = others.iter().enumerate().map(|(at, session)| answered(session, at, own));
        let verdicts = join_all(asked).await;
        Ok(verdicts.into_iter().find(|it| *it != Verdict::Held).unwrap_or(Verdict::Held))
    }
}

/// A connection on which the messages were sent. What is answered, if anything, is of no interest.
async fn said(attacker: &Connection, leftover: &[Message]) -> Result<Conn, String> {
    let mut conn = attacker.open().await?;
    for message in leftover {
        message.write(&mut conn).map_err(|error| error.to_string())?;
    }
    conn.flush().await.map_err(|error| error.to_string())?;
    let listen = async { while conn.next_frame(&UpstreamLimits).await.is_ok() {} };
    // As it should be: nobody answers without a Sync.
    let _ = timeout(LISTENS, listen).await;
    Ok(conn)
}

/// Whether a session gets its own answers, and soon.
async fn answered(session: &Session, number: usize, (target, before): (&Target, &Answer)) -> Verdict {
    let own = async {
        let token = format!("session {number}");
        let said = session.simple(&format!("SELECT '{token}'")).await;
        if said.error.is_none() && said.value() != Some(&token) {
            return Verdict::Leak("the other tenant was given the answer to something else".to_owned());
        }
        let rows = if said.error.is_some() { said } else { target.fingerprint(session).await };
        match &rows.error {
            Some(error) => {
                Verdict::Leak(format!("the other tenant's statement failed: {} {}", error.code, error.message))
            }
            None if rows == *before => Verdict::Held,
            None => Verdict::Leak("the other tenant was given other rows than its own".to_owned()),
        }
    };
    timeout(PATIENCE, own).await.unwrap_or_else(|_| {
        Verdict::Leak(format!(
            "the other tenant was not answered within {} s: its server connection was not at rest when it was handed on",
            PATIENCE.as_secs()
        ))
    })
}
