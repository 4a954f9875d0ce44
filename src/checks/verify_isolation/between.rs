//! What passes between sessions beside rows: notifications and advisory locks. Each tenant has channels and locks of its own; one
//! that meets another's by their names hears it, or keeps it waiting.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Session;
use super::judge::Verdict;
use super::{Input, Run};
use crate::guard::{ChannelName, ChannelSpace};

/// How long a session waits for its own notification.
const PATIENCE: Duration = Duration::from_secs(10);
/// And how often it looks.
const LOOK: Duration = Duration::from_millis(10);
/// What the listener says itself.
const ITSELF: &str = "itself";
/// Taking a lock, whether one got it, for as long as a session or a transaction.
const LOCKS: &[(&str, &str)] = &[
    ("SELECT pg_advisory_lock({n})", "SELECT pg_try_advisory_lock({n})"),
    ("SELECT pg_advisory_lock({n}, {n})", "SELECT pg_try_advisory_lock_shared({n}, {n})"),
    ("SELECT pg_advisory_xact_lock({n})", "SELECT pg_try_advisory_xact_lock({n})"),
];

impl Run {
    /// Tries to meet the other tenant on a channel and at a lock, each way.
    pub(super) async fn meet(&mut self, input: &Input<'_>) {
        let other = input.tenants.1;
        let number = std::process::id();
        let channel = format!("pgwarden_verify_{number}");
        let server_name =
            ChannelSpace::of(&other.layout.mode(), &other.keys).map(|space| ChannelName::Channel.of(&space, &channel));
        let spoken = [
            (format!("NOTIFY {channel}, '{{said}}'"), true),
            (format!("SELECT pg_notify('{channel}', '{{said}}')"), true),
            (format!("NOTIFY {channel}, '{{said}}'"), false),
        ];
        // By the name that the other's channel has on the server.
        let by_server_name = server_name.map(|name| (format!("SELECT pg_notify('{name}', '{{said}}')"), true));
        for (at, (statement, to_other)) in spoken.into_iter().chain(by_server_name).enumerate() {
            let (speaker, listener) = if to_other { (&self.a, &self.b) } else { (&self.b, &self.a) };
            // Each says something else: what a tenant has said before may still come to one of its own.
            let said = format!("the other {at}");
            let statement = statement.replace("{said}", &said);
            let verdict = hears(listener, speaker, (&channel, &said), &statement).await.unwrap_or_else(Verdict::Failed);
            let who = if to_other { "tenant b listens" } else { "tenant a listens, tenant b:" };
            self.report.add("server", "channels", &format!("{who} LISTEN {channel}; {statement}"), verdict);
        }
        self.lock().await;
    }

    /// Takes locks of the same numbers.
    async fn lock(&mut self) {
        for (at, (take, attempt)) in (std::process::id() * 10..).zip(LOCKS) {
            // What is left of another run, or of the try before, is none of this one's.
            let [take, attempt] = [take, attempt].map(|it| it.replace("{n}", &at.to_string()));
            for (one, two, who) in [(&self.a, &self.b, "tenant a, then b"), (&self.b, &self.a, "tenant b, then a")] {
                let verdict = waits(one, two, &take, &attempt).await.unwrap_or_else(Verdict::Failed);
                self.report.add("server", "locks", &format!("{who}: {take}; {attempt}"), verdict);
            }
        }
    }
}

/// Whether a session hears on its channel what the other tenant says. Notifications come in the order in which their transactions
/// ended: what came before the listener's own is all that there was.
async fn hears(
    listener: &Session,
    speaker: &Session,
    (channel, said): (&str, &str),
    statement: &str,
) -> Result<Verdict, String> {
    let [listener, speaker] = [listener.another().await?, speaker.another().await?];
    let mut heard = Vec::new();
    for (session, sql) in [
        (&listener, format!("LISTEN {channel}")),
        (&speaker, statement.to_owned()),
        (&listener, format!("NOTIFY {channel}, '{ITSELF}'")),
    ] {
        let answer = session.simple(&sql).await;
        if let Some(error) = answer.error {
            return Ok(Verdict::Refused(format!("{} {}", error.code, error.message)));
        }
        heard.extend(answer.heard);
    }
    let begun = Instant::now();
    while !heard.iter().any(|it: &String| it.contains(ITSELF)) && begun.elapsed() < PATIENCE {
        sleep(LOOK).await;
        heard.extend(listener.heard());
    }
    Ok(match heard.iter().find(|it| it.contains(said)) {
        Some(heard) => Verdict::Leak(format!("one tenant's notification came to the other: {heard}")),
        None if heard.iter().any(|it| it.contains(ITSELF)) => Verdict::Held,
        None => Verdict::Failed(format!("its own notification did not come within {} s", PATIENCE.as_secs())),
    })
}

/// Whether a lock that one tenant has is one for the other.
async fn waits(one: &Session, two: &Session, take: &str, attempt: &str) -> Result<Verdict, String> {
    let [one, two] = [one.another().await?, two.another().await?];
    for session in [&one, &two] {
        session.simple("BEGIN").await;
    }
    let (taken, attempted) = (one.simple(take).await, two.simple(attempt).await);
    for session in [&one, &two] {
        session.simple("ROLLBACK").await;
        session.simple("SELECT pg_advisory_unlock_all()").await;
    }
    if let Some(error) = taken.error.or(attempted.error.clone()) {
        return Ok(Verdict::Refused(format!("{} {}", error.code, error.message)));
    }
    Ok(match attempted.value() {
        Some("t") => Verdict::Held,
        _ => Verdict::Leak("a lock of one tenant keeps the other waiting".to_owned()),
    })
}
