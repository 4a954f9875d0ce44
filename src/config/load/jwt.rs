//! `[jwt]`

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::Context;
use crate::auth::token::KeyError;
use crate::auth::{TokenKey, TokenRules, TokenVerifier};
use crate::config::diagnostics::{Span, did_you_mean};
use crate::config::model::TokenConfig;
use crate::config::section::{Keys, Section};

const JWT: Keys = Keys {
    known: &[
        "issuer",
        "audience",
        "public_keys",
        "jwks_file",
        "algorithms",
        "clock_skew",
        "tenant_claim",
        "login_claim",
        "scope",
    ],
    later: &["jwks_url"],
};

const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

pub(super) fn read(context: &Context<'_>, root: &Section<'_>) -> Option<TokenConfig> {
    let section = root.table("jwt", &JWT)?;
    let issuer = section.required("issuer", "\"https://id.example.com\"");
    let audience = read_audience(context, &section);
    let algorithms = read_algorithms(context, &section);
    let (public_keys, jwks_file, keys) = read_keys(context, &section);
    let text =
        |key: &str, usual: &str| section.nonempty(key).map_or_else(|| usual.to_owned(), |text| text.value.to_owned());
    let rules = TokenRules {
        issuer: issuer?.value.to_owned(),
        audience,
        algorithms,
        clock_skew: section.duration("clock_skew", Duration::ZERO).unwrap_or(Duration::from_secs(30)),
        tenant_claim: text("tenant_claim", "tenant"),
        login_claim: section.nonempty("login_claim").map(|claim| claim.value.to_owned()),
        scope: text("scope", "openid"),
    };
    if !keys.is_empty() && !TokenVerifier::new(rules.clone(), keys).is_usable() {
        context.findings.error(&section.span_of("algorithms"), "none of the keys can be used with these algorithms");
    }
    Some(TokenConfig { rules, public_keys, jwks_file })
}

fn read_audience(context: &Context<'_>, section: &Section<'_>) -> Vec<String> {
    let written = section.strings("audience").unwrap_or_default();
    if written.is_empty() {
        context.findings.error_hint(
            &section.span_of("audience"),
            "[jwt] needs \"audience\": without it, tokens that were made for others would be accepted",
            "audience = \"pgwarden\"",
        );
    }
    written.into_iter().map(|text| text.value.to_owned()).collect()
}

fn read_algorithms(context: &Context<'_>, section: &Section<'_>) -> Vec<Algorithm> {
    let known = || ALGORITHMS.iter().map(|(name, _)| *name);
    let mut algorithms = Vec::new();
    for word in section.strings("algorithms").unwrap_or_default() {
        if let Some((_, algorithm)) = ALGORITHMS.iter().find(|(name, _)| *name == word.value) {
            algorithms.push(*algorithm);
            continue;
        }
        let hint = match word.value {
            "none" | "HS256" | "HS384" | "HS512" => "only signatures by private keys are accepted".to_owned(),
            other => did_you_mean(other, known())
                .unwrap_or_else(|| format!("one of {}", known().collect::<Vec<_>>().join(", "))),
        };
        context.findings.error_hint(&word.span, format!("tokens cannot be signed with \"{}\"", word.value), hint);
    }
    algorithms
}

/// How the keys of a file are read.
type Parse = fn(&[u8]) -> Result<Vec<TokenKey>, KeyError>;

fn read_keys(context: &Context<'_>, section: &Section<'_>) -> (Vec<PathBuf>, Option<PathBuf>, Vec<TokenKey>) {
    let mut keys = Vec::new();
    let mut read = |path: &PathBuf, span: &Span, parse: Parse| {
        let found = std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|text| parse(&text).map_err(|error| error.to_string()));
        match found {
            Ok(found) => keys.extend(found),
            Err(error) => context.findings.error(span, format!("{}: {error}", path.display())),
        }
    };
    let mut public_keys = Vec::new();
    for file in section.strings("public_keys").unwrap_or_default() {
        let path = context.path(file.value);
        read(&path, &file.span, TokenKey::from_pem);
        public_keys.push(path);
    }
    let jwks_file = section.nonempty("jwks_file").map(|file| {
        let path = context.path(file.value);
        read(&path, &file.span, TokenKey::from_jwks);
        path
    });
    if public_keys.is_empty() && !section.has("jwks_file") {
        context.findings.error_hint(
            &section.span,
            "[jwt] needs \"public_keys\" or \"jwks_file\": the keys of the issuer",
            "public_keys = [\"issuer.pem\"]",
        );
    }
    (public_keys, jwks_file, keys)
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&JWT];
