//! Clients whose login is not in the file: it is looked up, proved like others, and looked up again while it is in use.

use std::sync::Arc;
use std::time::SystemTime;

use super::access::Access;
use super::authenticate::Arrival;
use crate::auth::{Account, AuthError, Failure};
use crate::config;
use crate::session::shared_state::SharedState;
use crate::tenant::Claim;
use crate::tenant::auth_query::{Answer, LoginQuery};
use crate::wire::conn::Conn;

impl Arrival<'_> {
    /// What the auth query says of a name; `None` where there is none.
    pub(in crate::session) async fn look_up(&self, name: &str) -> Option<Answer> {
        Some(self.access.query.as_ref()?.find(name, self.peer.ip()).await)
    }

    /// As with a login of the file, whatever was found.
    pub(in crate::session) async fn prove_looked_up(
        &self,
        conn: &mut Conn,
        claim: &Claim<'_>,
        answer: Answer,
        host: Option<&str>,
    ) -> Result<Arc<config::Login>, AuthError> {
        let found = match answer {
            Answer::Login(found) => found,
            Answer::Nobody(why) => return Err(is_nobody(self.mock_authentication(conn, claim, host).await, why)),
            Answer::Away => {
                let error = self.mock_authentication(conn, claim, host).await;
                return Err(if error.is_failed_try() { AuthError::Away { guessed: false } } else { error });
            }
        };
        let proof = (found.method, Account::Password(&found.password));
        if let Err(error) = self.ask(conn, claim, proof, &self.shared.mock, host).await {
            return Err(self.wrong(claim.login_name, error));
        }
        self.from_here(&found.login)?;
        if found.has_expired(SystemTime::now()) {
            return Err(AuthError::Failed(Failure::Expired));
        }
        Ok(self.shared.admit(&found.login))
    }

    /// A proof was wrong by what is known. The password may be another now: the next try will be held against that.
    fn wrong(&self, name: &str, error: AuthError) -> AuthError {
        let Some(query) = self.access.query.as_ref().filter(|_| error.is_failed_try()) else { return error };
        query.doubt(name);
        if query.is_away() { AuthError::Away { guessed: true } } else { error }
    }
}

/// The log says why there is no login; the client is told what it would be told anyway.
fn is_nobody(error: AuthError, why: Failure) -> AuthError {
    match error {
        AuthError::Failed(Failure::UnknownLogin) => AuthError::Failed(why),
        other => other,
    }
}

impl SharedState {
    /// A login that the auth query gave and that was proved: its sessions are held to what the query says from now on.
    fn admit(&self, login: &Arc<config::Login>) -> Arc<config::Login> {
        let (login, changed) = self.queried.admit(login);
        if changed {
            self.directory.registry_changed();
        }
        login
    }

    /// Looks up anew the logins that sessions have of the auth query. Sessions of those that are gone, or may do less, end
    /// with their transactions; while the query cannot be asked, they go on.
    pub async fn refresh_logins(&self) {
        let access = self.access.load_full();
        let Some(query) = &access.query else { return };
        let mut changed = false;
        for name in self.queried.in_use(&self.directory.queried_logins()) {
            let answer = query.find_anew(name.as_str()).await;
            // Another configuration is in force: what it says is not known here.
            if !is_in_force(query, &self.access.load()) {
                return;
            }
            match answer {
                Answer::Login(found) => changed |= self.queried.admit(&found.login).1,
                Answer::Nobody(why) => {
                    if self.queried.remove(name.as_str()) {
                        tracing::info!(login = %name, %why, "login withdrawn");
                        changed = true;
                    }
                }
                Answer::Away => {}
            }
        }
        if changed {
            self.directory.registry_changed();
        }
    }
}

fn is_in_force(query: &Arc<LoginQuery>, access: &Access) -> bool {
    access.query.as_ref().is_some_and(|now| Arc::ptr_eq(now, query))
}
