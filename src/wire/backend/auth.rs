//! What a server asks for, or says, before ReadyForQuery.

use crate::wire::error::{WireError, utf8};
use crate::wire::reader::Reader;

/// `R`: a step of authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// 0: done.
    Ok,
    /// 3: the password as it is.
    CleartextPassword,
    /// 5: md5 of the password, the user and this salt.
    Md5Password {
        /// Salt of this connection.
        salt: [u8; 4],
    },
    /// 10: one of these SASL mechanisms.
    Sasl(Mechanisms<'a>),
    /// 11: data of the mechanism.
    SaslContinue(&'a [u8]),
    /// 12: last data of the mechanism.
    SaslFinal(&'a [u8]),
    /// GSSAPI (7), SSPI (9), Kerberos (2), or what is not known.
    Unsupported(u32),
}

impl<'a> Authentication<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not well-formed.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Authentication", body);
        let request = match reader.u32()? {
            0 => Authentication::Ok,
            3 => Authentication::CleartextPassword,
            5 => Authentication::Md5Password { salt: reader.u32()?.to_be_bytes() },
            10 => Authentication::Sasl(Mechanisms::read(&mut reader)?),
            11 => Authentication::SaslContinue(reader.rest()),
            12 => Authentication::SaslFinal(reader.rest()),
            // Their data is for a mechanism that is not spoken here.
            other => return Ok(Authentication::Unsupported(other)),
        };
        reader.end()?;
        Ok(request)
    }
}

/// The list of mechanisms in AuthenticationSASL, checked to be UTF-8 and terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms<'a>(&'a [u8]);

impl<'a> Mechanisms<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let list = reader.remaining();
        while !reader.text()?.is_empty() {}
        let used = list.len() - reader.remaining().len();
        Ok(Self(list.get(..used).unwrap_or_default()))
    }

    /// The names in the server's order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + 'a {
        self.0
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            // `read` has checked them all.
            .filter_map(|name| utf8("AuthenticationSASL", name).ok())
    }

    /// Whether the server offers this one.
    pub fn offers(&self, mechanism: &str) -> bool {
        self.iter().any(|name| name == mechanism)
    }
}

/// `v`: the server does not speak the version or know an option that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// The version that the server speaks: major in the upper 16 bits, minor in the lower.
    pub version: u32,
    /// Options (`_pq_.`) that it does not know.
    pub unknown_options: Vec<&'a str>,
}

impl<'a> NegotiateProtocolVersion<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not well-formed.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("NegotiateProtocolVersion", body);
        let version = reader.u32()?;
        let count = reader.u32()?;
        let mut unknown_options = Vec::new();
        // Grows with the bytes that are there, never with the count that is declared.
        for _ in 0..count {
            unknown_options.push(reader.text()?);
        }
        reader.end()?;
        Ok(Self { version, unknown_options })
    }
}
