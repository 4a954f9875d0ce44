//! Messages that a client sends, as borrowed views.

mod bind;
mod password;
mod statement;

pub use bind::{Bind, BindRewrite, ExtraParam, Format, FunctionCall, Params, rewrite_bind};
pub use password::{SaslInitialResponse, password, sasl_response};
pub use statement::{Execute, Parse, Target, parse_with_extra};

use super::error::{WireError, utf8};
use super::reader::Reader;

/// One message of an authenticated client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontendMessage<'a> {
    /// `Q`: SQL text, perhaps of several statements.
    Query(&'a str),
    /// `P`
    Parse(Parse<'a>),
    /// `B`
    Bind(Bind<'a>),
    /// `D`
    Describe(Target<'a>),
    /// `E`
    Execute(Execute<'a>),
    /// `C`
    Close(Target<'a>),
    /// `H`
    Flush,
    /// `S`
    Sync,
    /// `X`
    Terminate,
    /// `d`: a part of a COPY stream, not necessarily whole rows.
    CopyData(&'a [u8]),
    /// `c`
    CopyDone,
    /// `f`: why the client gives up its COPY.
    CopyFail(&'a str),
    /// `F`
    FunctionCall(FunctionCall<'a>),
}

impl<'a> FrontendMessage<'a> {
    /// Reads the body of a message with this tag.
    ///
    /// # Errors
    /// An unknown tag (password messages are such: they may only come during login), or a body that is not well-formed.
    pub fn read(tag: u8, body: &'a [u8]) -> Result<Self, WireError> {
        Ok(match tag {
            b'Q' => FrontendMessage::Query(only_text("Query", body)?),
            b'P' => FrontendMessage::Parse(Parse::read(body)?),
            b'B' => FrontendMessage::Bind(Bind::read(body)?),
            b'D' => FrontendMessage::Describe(Target::read("Describe", body)?),
            b'E' => FrontendMessage::Execute(Execute::read(body)?),
            b'C' => FrontendMessage::Close(Target::read("Close", body)?),
            b'H' => empty("Flush", body, FrontendMessage::Flush)?,
            b'S' => empty("Sync", body, FrontendMessage::Sync)?,
            // Postgres does not look at the bodies of these two either.
            b'X' => FrontendMessage::Terminate,
            b'F' => FrontendMessage::FunctionCall(FunctionCall::read(body)?),
            b'd' => FrontendMessage::CopyData(body),
            b'c' => empty("CopyDone", body, FrontendMessage::CopyDone)?,
            b'f' => FrontendMessage::CopyFail(only_text("CopyFail", body)?),
            _ => return Err(WireError::UnknownTag(tag)),
        })
    }
}

fn only_text<'a>(message: &'static str, body: &'a [u8]) -> Result<&'a str, WireError> {
    let mut reader = Reader::new(message, body);
    let bytes = reader.cstr()?;
    // A NUL inside the text ends it; what follows is no part of the statement, so the message is malformed.
    reader.end()?;
    utf8(message, bytes)
}

fn empty<'a>(
    message: &'static str,
    body: &'a [u8],
    value: FrontendMessage<'a>,
) -> Result<FrontendMessage<'a>, WireError> {
    Reader::new(message, body).end().map(|()| value)
}
