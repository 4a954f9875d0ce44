//! Tenant values as Postgres's types see them: `'01'::int4` and `1` are one value, two spellings of a uuid too.

use crate::base::Oid;
use crate::base::oid::{BPCHAR, INT2, INT4, INT8, TEXT, UUID, VARCHAR};

/// A value of the tenant column's type, in a form in which equality is Postgres's equality.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TenantValue {
    /// `int2`, `int4`, `int8`
    Int(i64),
    /// `uuid`
    Uuid([u8; 16]),
    /// `text`, `varchar`; `char(n)` without its padding
    Text(String),
    /// Any other type: compared by its spelling, which can only refuse too much.
    Other(String),
}

impl TenantValue {
    /// Reads a value in the type's text input format. `None`: not a value of that type.
    pub fn from_text(type_oid: Oid, text: &str) -> Option<Self> {
        match type_oid {
            INT2 => text.trim().parse::<i16>().ok().map(|v| Self::Int(v.into())),
            INT4 => text.trim().parse::<i32>().ok().map(|v| Self::Int(v.into())),
            INT8 => text.trim().parse::<i64>().ok().map(Self::Int),
            UUID => parse_uuid(text).map(Self::Uuid),
            TEXT | VARCHAR => Some(Self::Text(text.to_owned())),
            BPCHAR => Some(Self::Text(text.trim_end_matches(' ').to_owned())),
            _ => Some(Self::Other(text.to_owned())),
        }
    }

    /// Reads a value in the type's binary format (its `send` function). `None`: not a value of that type, or a type
    /// whose binary format is not known here.
    pub fn from_binary(type_oid: Oid, bytes: &[u8]) -> Option<Self> {
        match type_oid {
            INT2 => Some(Self::Int(i16::from_be_bytes(bytes.try_into().ok()?).into())),
            INT4 => Some(Self::Int(i32::from_be_bytes(bytes.try_into().ok()?).into())),
            INT8 => Some(Self::Int(i64::from_be_bytes(bytes.try_into().ok()?))),
            UUID => Some(Self::Uuid(bytes.try_into().ok()?)),
            TEXT | VARCHAR | BPCHAR => Self::from_text(type_oid, std::str::from_utf8(bytes).ok()?),
            _ => None,
        }
    }

    /// The value in the type's binary format. `None`: the format is not known here.
    pub fn to_binary(&self, type_oid: Oid) -> Option<Vec<u8>> {
        match (self, type_oid) {
            (Self::Int(v), INT2) => i16::try_from(*v).ok().map(|v| v.to_be_bytes().to_vec()),
            (Self::Int(v), INT4) => i32::try_from(*v).ok().map(|v| v.to_be_bytes().to_vec()),
            (Self::Int(v), INT8) => Some(v.to_be_bytes().to_vec()),
            (Self::Uuid(v), _) => Some(v.to_vec()),
            (Self::Text(v), _) => Some(v.clone().into_bytes()),
            (Self::Int(_) | Self::Other(_), _) => None,
        }
    }
}

/// `uuid_in`: 32 hex digits, hyphens allowed after each group of four, braces allowed around the whole.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut digits = 0usize;
    let mut value = 0u128;
    let mut after_hyphen = false;
    for c in inner.chars() {
        if c == '-' {
            if after_hyphen || digits == 0 || !digits.is_multiple_of(4) || digits == 32 {
                return None;
            }
            after_hyphen = true;
            continue;
        }
        let digit = c.to_digit(16)?;
        if digits == 32 {
            return None;
        }
        value = (value << 4) | u128::from(digit);
        digits += 1;
        after_hyphen = false;
    }
    (digits == 32 && !after_hyphen).then(|| value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_value_are_equal() {
        for (oid, a, b) in [
            (INT4, "1", " 01 "),
            (INT8, "42", "+42"),
            (UUID, "00000000-0000-4000-8000-00000000000a", "{0000000000004000800000000000000A}"),
            (BPCHAR, "ab", "ab  "),
        ] {
            assert_eq!(TenantValue::from_text(oid, a), TenantValue::from_text(oid, b), "{a} {b}");
            assert!(TenantValue::from_text(oid, a).is_some());
        }
        assert_ne!(TenantValue::from_text(TEXT, "ab"), TenantValue::from_text(TEXT, "ab "));
    }

    #[test]
    fn what_is_no_value_is_none() {
        for (oid, text) in [(INT4, "1x"), (INT4, "2147483648"), (INT2, ""), (UUID, "0"), (UUID, "0000-"), (UUID, "{")] {
            assert_eq!(TenantValue::from_text(oid, text), None, "{text}");
        }
        assert_eq!(TenantValue::from_binary(INT4, &[0, 0, 1]), None);
        assert_eq!(TenantValue::from_binary(600, &[0; 16]), None);
    }

    #[test]
    fn binary_goes_round() {
        for (oid, text) in [
            (INT2, "7"),
            (INT4, "-7"),
            (INT8, "99999999999"),
            (UUID, "bbbbbbbb-0000-4000-8000-00000000000b"),
            (TEXT, "acme"),
        ] {
            let value = TenantValue::from_text(oid, text).unwrap();
            assert_eq!(TenantValue::from_binary(oid, &value.to_binary(oid).unwrap()), Some(value));
        }
    }
}
