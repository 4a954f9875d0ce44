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

/// Sessions may have had any of a pool's connections: more than one round meets the same.
const ROUNDS: usize = 3;

impl Run {
    /// Prepares the same text in both sessions under other settings, each in turn first.
    pub(super) async fn compare_settings(&mut self) {
        for (name, values, query) in SETTINGS {
            let mut verdict = Verdict::Held;
            for round in 0..ROUNDS {
                // Another text each time: it was never prepared before.
                let sql = format!("{query} AS round_{}_{round}", std::process::id());
                verdict = self.settings_apart(name, values, &sql).await;
                if verdict != Verdict::Held {
                    break;
                }
            }
            self.report.add("server", "settings", &format!("{name}: {query}"), verdict);
        }
    }

    async fn settings_apart(&mut self, name: &str, values: &[&str; 2], sql: &str) -> Verdict {
        for session in [&mut self.a, &mut self.b] {
            if let Err(error) = session.revive().await {
                return Verdict::Failed(error);
            }
        }
        let mut given = Vec::new();
        for (session, value) in [&self.a, &self.b].into_iter().zip(values) {
            match under(session, name, value, sql).await {
                Ok(answers) => given.push(answers),
                Err(error) => return Verdict::Refused(error),
            }
        }
        match given.iter().find(|(prepared, alone)| prepared != alone) {
            Some((prepared, alone)) => {
                Verdict::Leak(format!("{prepared:?} instead of {alone:?}: another session's {name} was in force"))
            }
            None => Verdict::Held,
        }
    }
}

/// What the prepared text gives under a setting, and what it gives as a Query.
async fn under(session: &Session, name: &str, value: &str, sql: &str) -> Result<(String, String), String> {
    let set = session.simple(&format!("SET {name} = '{value}'")).await;
    let prepared = session.prepared(sql, &[]).await;
    let alone = session.simple(sql).await;
    session.simple(&format!("RESET {name}")).await;
    if let Some(error) = [&set, &prepared, &alone].into_iter().find_map(|answer| answer.error.as_ref()) {
        return Err(format!("{} {}", error.code, error.message));
    }
    Ok((prepared.value().unwrap_or_default().to_owned(), alone.value().unwrap_or_default().to_owned()))
}
