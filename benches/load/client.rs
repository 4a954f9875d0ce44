//! A client as cheap as can be: it reads frames and looks into none.

use bytes::BufMut as _;
use pgwarden::wire::backend::Report;
use pgwarden::wire::encode::frontend;
use pgwarden::wire::frame::UpstreamLimits;
use pgwarden::wire::tls::{ClientTls, TlsMode};
use pgwarden::wire::{Conn, Stream};
use tokio::net::TcpStream;

/// A connection that has logged in.
pub struct Client {
    conn: Conn,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Client {
    /// Connects as `app`; whatever asks for a password is an error.
    pub async fn connect(port: u16, database: &str, tls: bool) -> Result<Self, String> {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.map_err(text)?;
        socket.set_nodelay(true).map_err(text)?;
        let stream: Stream = if tls {
            let tls = ClientTls::new(TlsMode::Require, None).map_err(text)?;
            tls.connect(socket, "localhost").await.map_err(text)?
        } else {
            socket.into()
        };
        let mut client = Self { conn: Conn::new(stream) };
        frontend::startup(&mut client.conn.outbox, 3 << 16, [("user", "app"), ("database", database)]).map_err(text)?;
        client.until_ready().await?;
        Ok(client)
    }

    /// As [`Client::connect`], trying again while the server is not ready for clients yet.
    pub async fn connect_patiently(port: u16, database: &str) -> Result<Self, String> {
        let mut tries = 0;
        loop {
            let outcome = match Self::connect(port, database, false).await {
                Ok(mut client) => client.query("SELECT id FROM orders WHERE id = 1").await.map(|_| client),
                Err(error) => Err(error),
            };
            match outcome {
                Err(_) if tries < 100 => tries += 1,
                outcome => return outcome,
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Runs a Query. Returns how many bytes came back.
    pub async fn query(&mut self, sql: &str) -> Result<usize, String> {
        frontend::query(&mut self.conn.outbox, sql).map_err(text)?;
        self.until_ready().await
    }

    /// COPY FROM STDIN of so many times the same rows.
    pub async fn copy_in(&mut self, sql: &str, rows: &[u8], times: usize) -> Result<(), String> {
        frontend::query(&mut self.conn.outbox, sql).map_err(text)?;
        self.conn.flush().await.map_err(text)?;
        for _ in 0..times {
            self.conn.outbox.put_u8(b'd');
            self.conn.outbox.put_u32(rows.len() as u32 + 4);
            self.conn.outbox.put_slice(rows);
            self.conn.flush().await.map_err(text)?;
        }
        self.conn.outbox.put_slice(b"c\0\0\0\x04");
        self.until_ready().await.map(|_| ())
    }

    async fn until_ready(&mut self) -> Result<usize, String> {
        self.conn.flush().await.map_err(text)?;
        let (mut bytes, mut failure) = (0, None);
        loop {
            let frame = self.conn.next_frame(&UpstreamLimits).await.map_err(text)?;
            bytes += frame.body().len() + 5;
            match frame.tag() {
                b'Z' => return failure.map_or(Ok(bytes), Err),
                b'E' => {
                    let report = Report::read(frame.body()).map_err(text)?;
                    failure = Some(report.log_text(pgwarden::wire::backend::code::MESSAGE).into_owned());
                }
                _ => {}
            }
        }
    }
}
