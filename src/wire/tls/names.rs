//! The names in a client's certificate.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a certificate calls its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// The common name of the subject; `None` if there is none, or more than one.
    pub common_name: Option<String>,
    /// Subject alternative names: DNS names, mail addresses and URIs.
    pub alternative: Vec<String>,
}

impl CertificateNames {
    /// Reads them; `None` if the certificate cannot be read.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let mut common = parsed.subject().iter_common_name();
        let first = common.next().and_then(|name| name.as_str().ok()).map(str::to_owned);
        let common_name = first.filter(|_| common.next().is_none());
        let san = parsed.subject_alternative_name().ok()?;
        let names = san.iter().flat_map(|extension| &extension.value.general_names);
        let text = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        };
        Some(Self { common_name, alternative: names.filter_map(text).collect() })
    }
}
