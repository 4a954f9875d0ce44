//! A bounds-checked cursor over the body of one message.

use super::error::{WireError, utf8};

/// Reads the fields of one message. Every read checks what is left; nothing is allocated.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `body`, the bytes after the length field. `message` names it in errors.
    pub fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self { message, rest: body }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(WireError::Truncated(self.message))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated(self.message))?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if none is left.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, unsigned: Postgres reads its counts so.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if fewer are left.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, signed.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if fewer are left.
    pub fn i32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Four bytes, unsigned.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if fewer are left.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The bytes up to a NUL, which is consumed.
    ///
    /// # Errors
    /// [`WireError::Unterminated`] if no NUL is left.
    pub fn cstr(&mut self) -> Result<&'a [u8], WireError> {
        // Most names are empty.
        if let [0, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(&[]);
        }
        let end = memchr::memchr(0, self.rest).ok_or(WireError::Unterminated(self.message))?;
        let (found, rest) = self.rest.split_at_checked(end).ok_or(WireError::Unterminated(self.message))?;
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(found)
    }

    /// A NUL-terminated text, checked to be UTF-8.
    ///
    /// # Errors
    /// [`WireError::Unterminated`] or [`WireError::InvalidUtf8`].
    pub fn text(&mut self) -> Result<&'a str, WireError> {
        let message = self.message;
        self.cstr().and_then(|bytes| utf8(message, bytes))
    }

    /// A value with its length before it: -1 means NULL.
    ///
    /// # Errors
    /// [`WireError::Truncated`], also for any other negative length.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, WireError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| WireError::Truncated(self.message))?;
                self.take(length).map(Some)
            }
        }
    }

    /// What is left, all of it.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// What is left, without consuming it.
    pub fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`WireError::Trailing`] otherwise.
    pub fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.message)) }
    }
}

/// A list of 16-bit codes as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes<'a>(pub(super) &'a [[u8; 2]]);

impl<'a> Codes<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = usize::from(reader.u16()?);
        Ok(Self(reader.take(count * 2)?.as_chunks().0))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The code at `index`, from 0.
    pub fn get(&self, index: usize) -> Option<u16> {
        self.0.get(index).copied().map(u16::from_be_bytes)
    }

    /// All codes in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u16> + 'a {
        self.0.iter().copied().map(u16::from_be_bytes)
    }
}

/// A list of type OIDs as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oids<'a>(&'a [[u8; 4]]);

impl<'a> Oids<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = usize::from(reader.u16()?);
        Ok(Self(reader.take(count * 4)?.as_chunks().0))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All OIDs in order; 0 stands for an unspecified type.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = crate::base::Oid> + 'a {
        self.0.iter().copied().map(u32::from_be_bytes)
    }
}
