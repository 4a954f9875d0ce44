//! What one session sets is nothing to another that sends the same text: constants of a prepared statement are read under the
//! settings of the session that prepared it.

use super::judge::Verdict;
use super::{Run, client::Session};

/// A setting, two values of it, and a query that tells them apart.
const SETTINGS: &[(&str, [&str; 2], &str)] = &[
    ("datestyle", ["ISO, MDY", "ISO, DMY"], "SELECT date '03/01/2066'::text"),
    ("timezone", ["Asia/Tokyo", "America/Lima"], "SELECT extract(epoch FROM timestamptz '2066-01-03 00:00')::text"),
    ("intervalstyle", ["postgres", "sql_standard"], "SELECT interval '-1 2:03:04'::text"),
];

/// Sessions of each: served by all threads and over more than one server connection.
const SESSIONS: usize = 4;

impl Run {
    /// Prepares the same text in sessions under different settings.
    pub(super) async fn compare_settings(&mut self) {
        for (name, [value, others], query) in SETTINGS {
            // It was never prepared before.
            let sql = format!("{query} AS by_{}", std::process::id());
            let verdict = match self.settings_apart(name, (value, others), &sql).await {
                Ok(verdict) => verdict,
                Err(error) => Verdict::Failed(error),
            };
            self.report.add("server", "settings", &format!("{name}: {query}"), verdict);
        }
    }

    async fn settings_apart(&self, name: &str, (value, others): (&str, &str), sql: &str) -> Result<Verdict, String> {
        let mut open = Vec::new();
        for (of, value) in [(&self.a, value), (&self.b, others)] {
            for _ in 0..SESSIONS {
                let session = of.another().await?;
                let verdict = under(&session, name, value, sql).await;
                if verdict != Verdict::Held {
                    return Ok(verdict);
                }
                open.push(session);
            }
        }
        Ok(Verdict::Held)
    }
}

/// What the prepared text gives under a setting must be what it gives as a Query.
async fn under(session: &Session, name: &str, value: &str, sql: &str) -> Verdict {
    let set = session.simple(&format!("SET {name} = '{value}'")).await;
    let prepared = session.prepared(sql, &[]).await;
    let alone = session.simple(sql).await;
    if let Some(error) = [&set, &prepared, &alone].into_iter().find_map(|answer| answer.error.as_ref()) {
        return Verdict::Refused(format!("{} {}", error.code, error.message));
    }
    let (prepared, alone) = (prepared.value().unwrap_or_default(), alone.value().unwrap_or_default());
    if prepared == alone {
        return Verdict::Held;
    }
    Verdict::Leak(format!("{prepared:?} instead of {alone:?}: another session's {name} was in force"))
}
