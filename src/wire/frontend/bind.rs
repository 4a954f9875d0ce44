//! Bind: reading it, and appending parameters to it.

use bytes::{BufMut, BytesMut};

use crate::base::Oid;
use crate::wire::encode::{frame, put_cstr, put_value};
use crate::wire::error::WireError;
use crate::wire::reader::{Codes, Reader};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// As the type's output function writes it.
    Text,
    /// As the type's send function writes it.
    Binary,
}

impl Format {
    /// The format code of the protocol.
    pub fn code(self) -> u16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }

    /// The format with this code; `None` for a code that Postgres refuses.
    pub fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Format::Text),
            1 => Some(Format::Binary),
            _ => None,
        }
    }
}

/// The parameter values of a Bind, checked to lie within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Params<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = reader.u16()?;
        let start = reader.remaining();
        for _ in 0..count {
            reader.value()?;
        }
        let used = start.len() - reader.remaining().len();
        let bytes = start.get(..used).unwrap_or_default();
        Ok(Self { count, bytes })
    }

    /// How many.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// All values in order; `None` is NULL.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> + 'a {
        let mut reader = Reader::new("Bind", self.bytes);
        // `read` has gone over the same bytes, so no error can come here.
        (0..self.count).map_while(move |_| reader.value().ok())
    }

    /// The value of `$number`, from 1; the outer `None` if there is no such parameter, the inner one for NULL.
    pub fn get(&self, number: u16) -> Option<Option<&'a [u8]>> {
        self.iter().nth(usize::from(number.checked_sub(1)?))
    }
}

/// `B`: values for a prepared statement, making a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Name of the portal; empty for the unnamed one.
    pub portal: &'a str,
    /// Name of the prepared statement; empty for the unnamed one.
    pub statement: &'a str,
    /// Formats of the parameters: none (all text), one (for all), or one for each.
    pub formats: Codes<'a>,
    /// Values.
    pub params: Params<'a>,
    /// Formats of the result columns: none (all text), one (for all), or one for each.
    pub result_formats: Codes<'a>,
}

impl<'a> Bind<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not well-formed, a name is not UTF-8, or the number of format codes fits no rule.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Bind", body);
        let bind = Bind {
            portal: reader.text()?,
            statement: reader.text()?,
            formats: Codes::read(&mut reader)?,
            params: Params::read(&mut reader)?,
            result_formats: Codes::read(&mut reader)?,
        };
        reader.end()?;
        let (formats, params) = (bind.formats.len(), bind.params.count());
        if formats > 1 && formats != usize::from(params) {
            return Err(WireError::FormatCount {
                // It was read from 16 bits.
                formats: u16::try_from(formats).unwrap_or(u16::MAX),
                params,
            });
        }
        Ok(bind)
    }

    /// Format code of `$number`, from 1, by the rule for none, one and many codes. It may be one that Postgres refuses.
    pub fn format_code(&self, number: u16) -> u16 {
        match self.formats.len() {
            0 => 0,
            1 => self.formats.get(0).unwrap_or(0),
            _ => self.formats.get(usize::from(number).saturating_sub(1)).unwrap_or(0),
        }
    }
}

/// `F`: a function by its OID, with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// `pg_proc.oid`
    pub function: Oid,
    /// All of the body, checked.
    pub(in crate::wire) body: &'a [u8],
}

impl<'a> FunctionCall<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not well-formed.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("FunctionCall", body);
        let function = reader.u32()?;
        Codes::read(&mut reader)?;
        Params::read(&mut reader)?;
        // The format of the result.
        reader.u16()?;
        reader.end()?;
        Ok(Self { function, body })
    }
}

/// A value that is appended to a Bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraParam<'a> {
    /// How `value` is written.
    pub format: Format,
    /// The value; `None` is NULL.
    pub value: Option<&'a [u8]>,
}

/// What becomes of a client's Bind on its way to the server.
#[derive(Clone, Copy, Debug)]
pub struct BindRewrite<'a> {
    /// Name of the portal on the server.
    pub portal: &'a str,
    /// Name of the prepared statement on the server.
    pub statement: &'a str,
    /// Number of parameters that the statement has for the client. The client must send exactly so many: with fewer,
    /// an appended value would become one of the client's, and one of the client's could take the place of ours.
    pub client_params: u16,
    /// Values of parameters `client_params + 1 ..`.
    pub extra: &'a [ExtraParam<'a>],
}

/// Writes `bind` with other names and more parameters.
///
/// # Errors
/// [`WireError::ParamCount`] in Postgres's words if the client sent another number of parameters than its statement
/// has, [`WireError::TooManyParams`], or a NUL in a name. `out` is as before.
pub fn rewrite_bind(out: &mut BytesMut, bind: &Bind<'_>, change: &BindRewrite<'_>) -> Result<(), WireError> {
    let given = bind.params.count();
    if given != change.client_params {
        return Err(WireError::ParamCount {
            given,
            required: change.client_params,
            statement: bind.statement.to_owned(),
        });
    }
    let count = u16::try_from(change.extra.len())
        .ok()
        .and_then(|extra| given.checked_add(extra))
        .ok_or(WireError::TooManyParams)?;
    out.reserve(bind.params.bytes.len() + change.statement.len() + change.portal.len() + 64);
    frame(out, b'B', |out| {
        put_cstr(out, "Bind", change.portal)?;
        put_cstr(out, "Bind", change.statement)?;
        put_formats(out, bind, change.extra, count);
        out.put_u16(count);
        out.put_slice(bind.params.bytes);
        for extra in change.extra {
            put_value(out, extra.value)?;
        }
        out.put_slice(&be_len(bind.result_formats));
        out.put_slice(bind.result_formats.0.as_flattened());
        Ok(())
    })
}

/// Format codes for the client's parameters and the appended ones: as short as they came if the rule for none or one
/// code still says the truth, else one for each parameter.
fn put_formats(out: &mut BytesMut, bind: &Bind<'_>, extra: &[ExtraParam<'_>], count: u16) {
    let fits = |code: u16| extra.iter().all(|param| param.format.code() == code);
    let keep = match bind.formats.len() {
        0 => fits(0),
        1 => fits(bind.format_code(1)),
        _ => extra.is_empty(),
    };
    if keep {
        out.put_slice(&be_len(bind.formats));
        out.put_slice(bind.formats.0.as_flattened());
        return;
    }
    out.put_u16(count);
    for number in 1..=bind.params.count() {
        out.put_u16(bind.format_code(number));
    }
    for param in extra {
        out.put_u16(param.format.code());
    }
}

fn be_len(codes: Codes<'_>) -> [u8; 2] {
    // The list was read with a 16-bit count.
    u16::try_from(codes.len()).unwrap_or(u16::MAX).to_be_bytes()
}
