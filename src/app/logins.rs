//! Logins that the auth query gave are looked up again while sessions have them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::error;

use crate::session::Gateway;
use crate::tenant::LoginQuery;

/// Between two rounds at least, and where there is no auth query.
const SHORTEST: Duration = Duration::from_secs(1);

/// Looks up again and again, until the gateway is gone. Must be called within a tokio runtime.
pub(super) fn watch(gateway: &Arc<Gateway>) {
    let gateway = Arc::downgrade(gateway);
    tokio::spawn(async move {
        check(&gateway).await;
        while let Some(pause) = pause(&gateway) {
            tokio::time::sleep(pause).await;
            let Some(gateway) = gateway.upgrade() else { return };
            gateway.refresh_logins().await;
        }
    });
}

fn pause(gateway: &Weak<Gateway>) -> Option<Duration> {
    let gateway = gateway.upgrade()?;
    let access = gateway.access.load();
    Some(access.query.as_ref().map_or(SHORTEST, |query| query.config().ttl.max(SHORTEST)))
}

/// What is wrong with the query is better said before the first client comes.
async fn check(gateway: &Weak<Gateway>) {
    let query = gateway.upgrade().and_then(|gateway| gateway.access.load().query.clone());
    if let Some(query) = query
        && let Err(error) = LoginQuery::check(query.config()).await
    {
        error!(upstream = %query.config().upstream.name, %error, "the auth query cannot be used as it is");
    }
}
