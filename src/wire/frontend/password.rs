//! Messages with tag `p`: what they are depends on what the server asked for.

use crate::wire::error::WireError;
use crate::wire::reader::Reader;

/// Reads a PasswordMessage: the password, or an md5 response. Bytes, as a password may be in any encoding.
///
/// # Errors
/// If it is not one terminated string.
pub fn password(body: &[u8]) -> Result<&[u8], WireError> {
    let mut reader = Reader::new("PasswordMessage", body);
    let password = reader.cstr()?;
    reader.end()?;
    Ok(password)
}

/// The first message of a SASL exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// Name of the mechanism that the client chose.
    pub mechanism: &'a str,
    /// First data of the mechanism; `None` if the client waits for a challenge.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitialResponse<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not well-formed.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("SASLInitialResponse", body);
        let response = SaslInitialResponse { mechanism: reader.text()?, data: reader.value()? };
        reader.end()?;
        Ok(response)
    }
}

/// Reads a SASLResponse: all of the body is data of the mechanism.
pub fn sasl_response(body: &[u8]) -> &[u8] {
    body
}
