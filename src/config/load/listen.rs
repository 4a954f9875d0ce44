//! `[listen]`

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::diagnostics::Span;
use super::super::model::{Listen, ListenTls};
use super::super::section::{Keys, Section};
use super::Context;

const LISTEN: Keys = Keys {
    known: &["address", "tls", "login_timeout", "max_connections", "max_message_bytes"],
    later: &["proxy_protocol"],
};
const TLS: Keys = Keys { known: &["cert", "key", "required", "direct"], later: &["client_ca", "certificates"] };

/// Postgres's own bound on a message.
const MAX_MESSAGE: u64 = 1 << 30;

pub(super) fn read(context: &Context<'_>, root: &Section<'_>) -> Option<Listen> {
    let Some(section) = root.table("listen", &LISTEN) else {
        if !root.has("listen") {
            context.findings.error_hint(
                &root.span,
                "section [listen] is missing",
                "[listen]\n          address = \"127.0.0.1:6432\"",
            );
        }
        return None;
    };
    let addresses = read_addresses(context, &section);
    let tls = match section.has("tls") {
        true => Some(read_tls(context, &section.table("tls", &TLS)?)?),
        false => None,
    };
    Some(Listen {
        addresses,
        tls,
        login_timeout: section.duration("login_timeout", Duration::from_millis(100)).unwrap_or(Duration::from_secs(15)),
        max_connections: section.number("max_connections", 1..=1_000_000).map_or(10_000, |n| n.value),
        max_message_bytes: section.size("max_message_bytes", 64 << 10..=MAX_MESSAGE).unwrap_or(64 << 20),
    })
}

fn read_addresses(context: &Context<'_>, section: &Section<'_>) -> Vec<SocketAddr> {
    let written = section.strings("address").unwrap_or_default();
    if written.is_empty() {
        context.findings.error_hint(
            &section.span_of("address"),
            "[listen] needs at least one \"address\"",
            "address = \"127.0.0.1:6432\"",
        );
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for text in written {
        match text.value.parse() {
            Ok(address) if addresses.contains(&address) => {
                context.findings.error(&text.span, format!("address {address} is listed twice"))
            }
            Ok(address) => addresses.push(address),
            Err(_) => context.findings.error_hint(
                &text.span,
                format!("\"{}\" is no address to listen on", text.value),
                "an IP address and a port: \"127.0.0.1:6432\", \"0.0.0.0:6432\", \"[::]:6432\"",
            ),
        }
    }
    addresses
}

fn read_tls(context: &Context<'_>, section: &Section<'_>) -> Option<ListenTls> {
    let cert = section.required("cert", "\"server.crt\"");
    let key = section.required("key", "\"server.key\"");
    let required = section.bool("required").is_some_and(|b| b.value);
    let direct = section.bool("direct").is_none_or(|b| b.value);
    let (cert, key) = (cert?, key?);
    let tls = ListenTls { cert: context.path(cert.value), key: context.path(key.value), required, direct };
    let chain = read_chain(context, &tls, &cert.span);
    let private = read_key(context, &tls, &key.span);
    check_pair(context, chain?, private?, &key.span);
    Some(tls)
}

fn read_chain(context: &Context<'_>, tls: &ListenTls, span: &Span) -> Option<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(&tls.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match chain {
        Ok(chain) if !chain.is_empty() => Some(chain),
        Ok(_) => {
            let message = format!("{} holds no certificate", tls.cert.display());
            context.findings.error_hint(span, message, "PEM, -----BEGIN CERTIFICATE-----");
            None
        }
        Err(error) => {
            let message = format!("{}: {}", tls.cert.display(), pem_error(&error));
            context.findings.error(span, message);
            None
        }
    }
}

fn read_key(context: &Context<'_>, tls: &ListenTls, span: &Span) -> Option<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| {
            let message = format!("{}: {}", tls.key.display(), pem_error(&error));
            context.findings.error(span, message);
        })
        .ok()
}

fn check_pair(context: &Context<'_>, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, span: &Span) {
    let provider = rustls::crypto::ring::default_provider();
    if let Err(error) = rustls::sign::CertifiedKey::from_der(chain, key, &provider) {
        context.findings.error(span, format!("certificate and key do not go together: {error}"));
    }
}

fn pem_error(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        rustls::pki_types::pem::Error::NoItemsFound => "nothing of the kind in this PEM file".to_owned(),
        other => format!("not PEM: {other}"),
    }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 2] = [&LISTEN, &TLS];
