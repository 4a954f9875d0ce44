//! Logins that the auth query gave are looked up again while sessions have them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::error;

use crate::session::SharedState;
use crate::tenant::LoginQuery;

/// Between two rounds at least, and where there is no auth query.
const SHORTEST: Duration = Duration::from_secs(1);

/// Looks up again and again, until the shared state is gone. Must be called within a tokio runtime.
pub(super) fn watch(shared: &Arc<SharedState>) {
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        check(&shared).await;
        while let Some(pause) = pause(&shared) {
            tokio::time::sleep(pause).await;
            let Some(shared) = shared.upgrade() else { return };
            shared.refresh_logins().await;
        }
    });
}

fn pause(shared: &Weak<SharedState>) -> Option<Duration> {
    let shared = shared.upgrade()?;
    let access = shared.access.load();
    Some(access.query.as_ref().map_or(SHORTEST, |query| query.config().ttl.max(SHORTEST)))
}

/// What is wrong with the query is better said before the first client comes.
async fn check(shared: &Weak<SharedState>) {
    let query = shared.upgrade().and_then(|shared| shared.access.load().query.clone());
    if let Some(query) = query
        && let Err(error) = LoginQuery::check(query.config()).await
    {
        error!(upstream = %query.config().upstream.name, %error, "the auth query cannot be used as it is");
    }
}
