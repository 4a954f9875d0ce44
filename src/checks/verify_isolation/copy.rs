//! COPY FROM STDIN by hand: the server may say that it failed while the data is still on its way, which a driver may take for
//! the end of the connection.

use super::client::{Answer, LOCK_TIMEOUT, STATEMENT_TIMEOUT};
use super::connection::Connection;
use crate::wire::backend::{CommandComplete, Report, code};
use crate::wire::conn::{Conn, ConnError};
use crate::wire::encode::frontend as encode;
use crate::wire::frame::UpstreamLimits;

/// Sends a COPY with this data on a connection of its own, in a transaction that is rolled back.
pub async fn copy_from(to: &Connection, sql: &str, data: &str) -> Answer {
    let copied = tokio::time::timeout(STATEMENT_TIMEOUT, run(to, sql, data)).await;
    match copied {
        Ok(Ok(answer)) => answer,
        Ok(Err(message)) => Answer::broken(message),
        Err(_) => Answer::late(),
    }
}

async fn run(to: &Connection, sql: &str, data: &str) -> Result<Answer, String> {
    let mut conn = to.open().await?;
    let told = |error: ConnError| error.to_string();
    for before in [LOCK_TIMEOUT, "BEGIN"] {
        asked(&mut conn, before, "").await.map_err(told)?;
    }
    let answer = asked(&mut conn, sql, data).await.map_err(told)?;
    // The end of the connection rolls back as well.
    let _ = asked(&mut conn, "ROLLBACK", "").await;
    encode::terminate(&mut conn.outbox);
    let _ = conn.flush().await;
    Ok(answer)
}

/// One Query message, and all that is said up to ReadyForQuery. What is copied is sent when the server asks for it.
async fn asked(conn: &mut Conn, sql: &str, data: &str) -> Result<Answer, ConnError> {
    encode::query(&mut conn.outbox, sql)?;
    conn.flush().await?;
    let mut answer = Answer::default();
    loop {
        let frame = match conn.next_frame(&UpstreamLimits).await {
            Ok(frame) => frame,
            // It has said why before it went.
            Err(_) if answer.error.is_some() => return Ok(answer),
            Err(error) => return Err(error),
        };
        match frame.tag() {
            b'Z' => return Ok(answer),
            b'E' => answer.error = Some(super::client::SqlError::read(&Report::read(frame.body())?)),
            b'N' => {
                let report = Report::read(frame.body())?;
                answer.heard.push(format!("{} {}", report.log_text(code::MESSAGE), report.log_text(code::DETAIL)));
            }
            b'C' => answer.affected = CommandComplete::read(frame.body())?.rows().unwrap_or(0),
            b'G' => {
                encode::copy_data(&mut conn.outbox, data.as_bytes())?;
                encode::copy_done(&mut conn.outbox);
                // A server that has failed by now may have closed its side: why, is still to be read.
                let _ = conn.flush().await;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::base::{PgError, SqlState};
    use crate::wire::backend::TransactionStatus;
    use crate::wire::encode::backend;
    use crate::wire::frame::AnyTag;

    /// How a server fails: at once after it has asked for data, or once the first of it has come, or when all has.
    const FAILS_AFTER: [usize; 3] = [0, 1, 2];

    /// Accepts everybody; answers every Query, and each COPY with CopyInResponse and an error.
    async fn serve(stream: TcpStream, number: usize) -> Option<()> {
        let mut conn = Conn::new(stream);
        let mut out = BytesMut::new();
        while conn.inbox.len() < 8 {
            conn.fill().await.ok()?;
        }
        let length = u32::from_be_bytes(*conn.inbox.first_chunk()?) as usize;
        while conn.inbox.len() < length {
            conn.fill().await.ok()?;
        }
        let _ = conn.inbox.split_to(length);
        backend::authentication_ok(&mut out);
        backend::ready_for_query(&mut out, TransactionStatus::Idle);
        loop {
            conn.stream.write_all_buf(&mut out).await.ok()?;
            let frame = conn.next_frame(&AnyTag(1 << 20)).await.ok()?;
            if frame.tag() != b'Q' {
                continue;
            }
            if !frame.body().starts_with(b"COPY") {
                backend::command_complete(&mut out, "SET").ok()?;
                backend::ready_for_query(&mut out, TransactionStatus::Idle);
                continue;
            }
            backend::copy_in_response(&mut out, crate::wire::frontend::Format::Text, &[]).ok()?;
            conn.stream.write_all_buf(&mut out).await.ok()?;
            for _ in 0..FAILS_AFTER[number % FAILS_AFTER.len()] {
                conn.next_frame(&AnyTag(1 << 20)).await.ok()?;
            }
            backend::error_response(&mut out, &PgError::error(SqlState(*b"42809"), "cannot copy to view \"v\""));
            backend::ready_for_query(&mut out, TransactionStatus::Failed);
        }
    }

    #[tokio::test]
    async fn an_error_while_the_data_is_on_its_way_is_the_answer_each_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://a@{}/d?sslmode=disable", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, number));
            }
        });
        let to: Connection = url.parse().unwrap();
        for run in 0..200 {
            let answer = copy_from(&to, "COPY v FROM STDIN", &"1\tx\n".repeat(1 + run * 20)).await;
            let code = answer.error.as_ref().map(|it| it.code.as_str());
            assert_eq!(code, Some("42809"), "run {run}: {answer:?}");
        }
    }
}
