//! `[listen.tls]`

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;

use super::Context;
use crate::base::NamePattern;
use crate::config::diagnostics::{Span, did_you_mean};
use crate::config::model::{CertificateName, ClientCert, ListenTls, NamedCertificate};
use crate::config::section::{At, Keys, Section};

pub(super) const TLS: Keys = Keys {
    known: &[
        "cert",
        "key",
        "required",
        "direct",
        "certificate",
        "client_ca",
        "client_cert",
        "client_name",
        "client_patterns",
    ],
    later: &[],
};
const CERTIFICATE: Keys = Keys { known: &["names", "cert", "key"], later: &[] };

pub(super) fn read(context: &Context<'_>, section: &Section<'_>) -> Option<ListenTls> {
    let required = section.bool("required").is_some_and(|b| b.value);
    let direct = section.bool("direct").is_none_or(|b| b.value);
    let pair = read_pair(context, section);
    let mut certificates: Vec<NamedCertificate> = Vec::new();
    for section in section.tables("certificate", &CERTIFICATE) {
        let names = read_names(context, &section, &certificates);
        let Some(pair) = read_pair(context, &section) else { continue };
        warn_of_other_names(context, &names, &pair);
        let names = names.into_iter().map(|name| name.value).collect();
        certificates.push(NamedCertificate { names, cert: context.path(pair.cert), key: context.path(pair.key) });
    }
    let (client_cert, client_ca) = read_clients(context, section)?;
    let client_name = read_client_name(context, section);
    let client_patterns = read_patterns(context, section, client_cert);
    let Pair { cert, key, .. } = pair?;
    Some(ListenTls {
        cert: context.path(cert),
        key: context.path(key),
        required,
        direct,
        client_cert,
        client_ca,
        client_name,
        client_patterns,
        certificates,
    })
}

/// `client_ca` and `client_cert`, which need each other.
fn read_clients(context: &Context<'_>, section: &Section<'_>) -> Option<(ClientCert, Option<PathBuf>)> {
    const WORDS: [&str; 3] = ["none", "request", "require"];
    let ca = match section.has("client_ca") {
        true => Some(section.nonempty("client_ca")?),
        false => None,
    };
    let asked = match section.string("client_cert").map(|word| (word.value, word.span)) {
        None if ca.is_some() => ClientCert::Request,
        None | Some(("none", _)) => ClientCert::None,
        Some(("request", _)) => ClientCert::Request,
        Some(("require", _)) => ClientCert::Require,
        Some((other, span)) => {
            let hint = did_you_mean(other, WORDS).unwrap_or_else(|| format!("one of {}", WORDS.join(", ")));
            context.findings.error_hint(&span, format!("\"client_cert\" cannot be \"{other}\""), hint);
            return None;
        }
    };
    if asked != ClientCert::None && ca.is_none() {
        context.findings.error_hint(
            &section.span_of("client_cert"),
            "client certificates need \"client_ca\": the authorities that sign them",
            "client_ca = \"clients-ca.crt\"",
        );
    }
    if let Some(ca) = &ca {
        check_authorities(context, &context.path(ca.value), &ca.span);
    }
    Some((asked, ca.map(|ca| context.path(ca.value))))
}

fn check_authorities(context: &Context<'_>, path: &Path, span: &Span) {
    let mut store = rustls::RootCertStore::empty();
    for certificate in read_chain(context, path, span).unwrap_or_default() {
        if let Err(error) = store.add(certificate) {
            context.findings.error(span, format!("{}: {error}", path.display()));
        }
    }
}

fn read_client_name(context: &Context<'_>, section: &Section<'_>) -> CertificateName {
    match section.string("client_name").map(|word| (word.value, word.span)) {
        None | Some(("cn", _)) => CertificateName::CommonName,
        Some(("san", _)) => CertificateName::Alternative,
        Some((other, span)) => {
            context.findings.error_hint(
                &span,
                format!("\"client_name\" cannot be \"{other}\""),
                "\"cn\" (common name), or \"san\" (subject alternative names: DNS, mail, URI)",
            );
            CertificateName::CommonName
        }
    }
}

fn read_patterns(context: &Context<'_>, section: &Section<'_>, asked: ClientCert) -> Vec<NamePattern> {
    let mut patterns = Vec::new();
    for text in section.strings("client_patterns").unwrap_or_default() {
        match NamePattern::parse(text.value) {
            Ok(pattern) => patterns.push(pattern),
            Err(why) => context.findings.error_hint(
                &text.span,
                format!("\"{}\" is no pattern: {why}", text.value),
                "\"{login}\", \"{tenant}.clients.example.com\", \"{login}.{tenant}.clients.example.com\"",
            ),
        }
    }
    if asked == ClientCert::None && !patterns.is_empty() {
        context.findings.error_hint(
            &section.span_of("client_patterns"),
            "\"client_patterns\" does nothing: clients are not asked for certificates",
            "client_ca = \"clients-ca.crt\"",
        );
    }
    patterns
}

/// A certificate and its key as written, and the certificate as read.
struct Pair<'a> {
    cert: &'a str,
    key: &'a str,
    leaf: CertificateDer<'static>,
}

fn read_pair<'a>(context: &Context<'_>, section: &Section<'a>) -> Option<Pair<'a>> {
    let cert = section.required("cert", "\"server.crt\"");
    let key = section.required("key", "\"server.key\"");
    let (cert, key) = (cert?, key?);
    let chain = read_chain(context, &context.path(cert.value), &cert.span);
    let private = read_key(context, &context.path(key.value), &key.span);
    let (chain, private) = (chain?, private?);
    let leaf = chain.first()?.clone();
    let provider = rustls::crypto::ring::default_provider();
    if let Err(error) = rustls::sign::CertifiedKey::from_der(chain, private, &provider) {
        context.findings.error(&key.span, format!("certificate and key do not go together: {error}"));
    }
    Some(Pair { cert: cert.value, key: key.value, leaf })
}

/// The certificates of a PEM file, at least one.
pub(super) fn read_chain(context: &Context<'_>, path: &Path, span: &Span) -> Option<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match chain {
        Ok(chain) if !chain.is_empty() => Some(chain),
        Ok(_) => {
            let message = format!("{} holds no certificate", path.display());
            context.findings.error_hint(span, message, "PEM, -----BEGIN CERTIFICATE-----");
            None
        }
        Err(error) => {
            let message = format!("{}: {}", path.display(), pem_error(&error));
            context.findings.error(span, message);
            None
        }
    }
}

fn read_key(context: &Context<'_>, path: &Path, span: &Span) -> Option<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| {
            let message = format!("{}: {}", path.display(), pem_error(&error));
            context.findings.error(span, message);
        })
        .ok()
}

fn pem_error(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        rustls::pki_types::pem::Error::NoItemsFound => "nothing of the kind in this PEM file".to_owned(),
        other => format!("not PEM: {other}"),
    }
}

/// The host names of a certificate; none of them may be another's.
fn read_names(context: &Context<'_>, section: &Section<'_>, earlier: &[NamedCertificate]) -> Vec<At<String>> {
    let mut names: Vec<At<String>> = Vec::new();
    let written = section.strings("names").unwrap_or_default();
    if written.is_empty() {
        context.findings.error_hint(
            &section.span_of("names"),
            format!("{} needs \"names\": the hosts that it is for", section.title),
            "names = [\"*.db.example.com\"]",
        );
    }
    for name in written {
        let text = name.value.to_ascii_lowercase();
        let taken = names.iter().map(|n| &n.value).chain(earlier.iter().flat_map(|c| &c.names)).any(|n| *n == text);
        if !is_host_name(text.strip_prefix("*.").unwrap_or(&text)) {
            context.findings.error_hint(
                &name.span,
                format!("\"{}\" is no host name", name.value),
                "\"acme.db.example.com\", or \"*.db.example.com\" for all names with one label more",
            );
        } else if taken {
            context.findings.error(&name.span, format!("two certificates are for \"{}\"", name.value));
        } else {
            names.push(At { value: text, span: name.span });
        }
    }
    names
}

/// Whether a host can be called so: labels of letters, digits, `-` and `_`.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Clients that verify would refuse a certificate that is not for the name they dial.
fn warn_of_other_names(context: &Context<'_>, names: &[At<String>], pair: &Pair<'_>) {
    let Ok(leaf) = ParsedCertificate::try_from(&pair.leaf) else { return };
    for name in names {
        // A wildcard is tried with a label in its place.
        let host = name.value.replacen('*', "a", 1);
        let Ok(host) = ServerName::try_from(host) else { continue };
        if rustls::client::verify_server_name(&leaf, &host).is_err() {
            context.findings.warning(
                &name.span,
                format!("the certificate in {} is not for \"{}\"", pair.cert, name.value),
                "clients with sslmode=verify-full will not connect by that name",
            );
        }
    }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 2] = [&TLS, &CERTIFICATE];
