//! What is asked of the Redis or Valkey server: one script, which adds what is owed and says what that comes to.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _, RedisError, TlsCertificates};

use crate::config::SharedLimits;
use crate::limits::limiter::{Limiter, Whose};
use crate::limits::rate;

/// Times are in microseconds of the server's own clock. For each key: what is owed, and how far ahead the proxy believes all to be
/// without that. A server that lost its keys learns it from the proxies that remember.
const SCRIPT: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local answer = {}
for i, key in ipairs(KEYS) do
    local due = tonumber(redis.call('GET', key)) or now + ARGV[2 * i]
    due = math.max(due, now) + ARGV[2 * i - 1]
    local ahead = math.ceil(due - now)
    if ahead > 0 then
        redis.call('SET', key, string.format('%.2f', due), 'PX', math.ceil(ahead / 1000))
    end
    answer[i] = ahead
end
return answer";

/// Meters that are asked for in one go: the server does nothing else meanwhile.
pub(super) const MOST: usize = 256;

/// Nobody waits for a connection, unless pgwarden has just been started.
const CONNECT: Duration = Duration::from_secs(2);

/// A connection to the server.
pub(super) struct Server {
    connection: MultiplexedConnection,
    timeout: Duration,
    prefix: String,
}

/// Why the server does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// What a meter owes.
pub(super) struct Debt {
    pub meter: Arc<Limiter>,
    /// In nanoseconds.
    pub cost: i64,
}

impl Server {
    pub async fn connect(config: &SharedLimits) -> Result<Self, ServerError> {
        let within = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        let client = client(config)?;
        let connection = client.get_multiplexed_async_connection_with_config(&within);
        // Resolving the name, TLS and authentication included.
        let connection =
            tokio::time::timeout(CONNECT, connection).await.map_err(|_| ServerError::Timeout(CONNECT))??;
        let mut server = Self { connection, timeout: config.timeout, prefix: config.prefix.clone() };
        server.account(&[]).await?;
        Ok(server)
    }

    /// Accounts for these debts, [`MOST`] at most; the meters learn what all proxies have taken. Without any, asks whether the
    /// server still counts.
    pub async fn account(&mut self, debts: &[Debt]) -> Result<(), ServerError> {
        let mut command = redis::cmd("EVAL");
        command.arg(SCRIPT).arg(debts.len());
        for debt in debts {
            command.arg(key(&self.prefix, &debt.meter.whose));
        }
        let at = rate::now();
        for Debt { meter, cost } in debts {
            let known = i64::try_from(meter.rate.ahead(at)).unwrap_or(i64::MAX).saturating_sub(*cost).max(0);
            command.arg(micros(*cost)).arg(micros(known));
        }
        let query = command.query_async::<Vec<i64>>(&mut self.connection);
        let answer =
            tokio::time::timeout(self.timeout, query).await.map_err(|_| ServerError::Timeout(self.timeout))??;
        for (debt, ahead) in debts.iter().zip(answer) {
            let ahead = Duration::from_micros(u64::try_from(ahead).unwrap_or(0));
            debt.meter.rate.learn(rate::nanos(ahead), at);
        }
        Ok(())
    }
}

fn client(config: &SharedLimits) -> Result<Client, RedisError> {
    let mut info = config.url.expose().into_connection_info()?;
    if let Some(password) = &config.password {
        let settings = info.redis_settings().clone().set_password(password.expose());
        info = info.set_redis_settings(settings);
    }
    match &config.root_cert {
        None => Client::open(info),
        Some(root) => Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(root.clone()) }),
    }
}

/// With a fraction: rates may be above a million a second.
fn micros(nanos: i64) -> String {
    format!("{:.3}", nanos as f64 / 1e3)
}

/// Names may hold any character: the length of the first keeps them apart.
fn key(prefix: &str, whose: &Whose) -> String {
    match whose {
        Whose::Tenant(tenant) => format!("{prefix}rate:tenant:{tenant}"),
        Whose::Login(login, Some(tenant)) => {
            format!("{prefix}rate:login-in-tenant:{}:{login}:{tenant}", login.as_str().len())
        }
        Whose::Login(login, None) => format!("{prefix}rate:login:{login}"),
        Whose::Everybody => format!("{prefix}rate:all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{LoginName, TenantName};

    #[test]
    fn keys_are_told_apart() {
        let login =
            |login: &str, tenant: &str| key("p:", &Whose::Login(LoginName::new(login), Some(TenantName::new(tenant))));
        assert_eq!(login("app", "acme"), "p:rate:login-in-tenant:3:app:acme");
        assert_ne!(login("a:b", "c"), login("a", "b:c"));
        assert_eq!(key("p:", &Whose::Tenant(TenantName::new("acme"))), "p:rate:tenant:acme");
        assert_eq!(micros(1_500), "1.500");
        assert_eq!(micros(-10_000_000), "-10000.000");
    }
}
