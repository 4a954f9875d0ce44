//! Values that nobody can have by chance: what all canaries of a run have in common is random.

use std::collections::HashSet;

use rand::RngExt as _;

use crate::base::Oid;
use crate::catalog::Column;

/// Digits from which on a number is told from others.
const DIGITS: usize = 9;

/// The texts among the canaries of any run, as a regular expression.
pub const PLANTED: &str = "pgw[0-9a-z]{10}x[0-9]+";

/// What the canaries of a run have in common.
#[derive(Clone, Debug)]
pub struct Nonce {
    text: String,
    uuid: String,
    /// Year and month, far from any that a calendar of an app has.
    month: String,
}

impl Nonce {
    /// Another one each time.
    pub fn new() -> Self {
        let mut random = rand::rng();
        let text: String = (0..10).map(|_| char::from_digit(random.random_range(0..36), 36).unwrap_or('0')).collect();
        Self {
            text: format!("pgw{text}x"),
            uuid: format!("{:08x}-{:04x}-4", random.random::<u32>(), random.random::<u16>()),
            month: format!("{}-{:02}-", random.random_range(4000..9000), random.random_range(1..=12)),
        }
    }

    /// The text of a number, if it fits.
    pub fn text(&self, number: usize, length: Option<usize>) -> Option<String> {
        let text = format!("{}{number}", self.text);
        length.is_none_or(|it| text.len() <= it).then_some(text)
    }

    /// The uuid of a number.
    pub fn uuid(&self, number: usize) -> String {
        format!("{}{:03x}-8000-{number:012x}", self.uuid, number % 0x1000)
    }

    /// A day: in no time zone of another month.
    pub fn day(&self, number: usize) -> String {
        format!("{}{:02}", self.month, 3 + number % 24)
    }

    /// A canary in a text, as a whole, that is accepted. `numbers`: those of the canaries that are numbers.
    pub fn within(&self, text: &str, numbers: &HashSet<String>, accept: impl Fn(&str) -> bool) -> Option<String> {
        let word = |it: char| it.is_ascii_alphanumeric();
        let dashed = |it: char| it.is_ascii_hexdigit() || it == '-';
        let day = |it: char| it.is_ascii_digit() || it == '-';
        let of_prefix = |prefix: &str, belongs: fn(char) -> bool| {
            let mut found = text.match_indices(prefix).filter_map(|(at, _)| text.get(at..));
            let whole = |rest: &str| rest.split(|it| !belongs(it)).next().unwrap_or_default().to_owned();
            found.find_map(|rest| Some(whole(rest)).filter(|it| accept(it)))
        };
        of_prefix(&self.text, word)
            .or_else(|| of_prefix(&self.uuid, dashed))
            .or_else(|| of_prefix(&self.month, day))
            .or_else(|| {
                let mut words = text.split(|it: char| !word(it)).filter(|it| it.len() >= DIGITS);
                words.find(|it| numbers.contains(*it) && accept(it)).map(str::to_owned)
            })
    }
}

/// A canary for a column, as the server reads it; `None` for types of which none can be made.
pub fn canary(column: &Column, nonce: &Nonce, number: usize) -> Option<String> {
    // What the values of a domain must be, its own checks know.
    if column.type_oid != column.base_type_oid {
        return None;
    }
    let size = bounds(&column.type_name);
    let mut random = rand::rng();
    match column.type_oid {
        TEXT | VARCHAR | BPCHAR => nonce.text(number, size.first().copied()),
        TEXT_ARRAY => nonce.text(number, None).map(|it| format!("{{{it}}}")),
        JSON | JSONB => nonce.text(number, None).map(|it| format!("{{\"canary\": \"{it}\"}}")),
        UUID => Some(nonce.uuid(number)),
        DATE => Some(nonce.day(number)),
        TIMESTAMP | TIMESTAMPTZ => Some(format!("{} 12:00:00", nonce.day(number))),
        INT4 => Some(random.random_range(1_500_000_000..2_147_000_000_u32).to_string()),
        INT8 => Some(random.random_range(1_000_000_000_000_000..9_000_000_000_000_000_u64).to_string()),
        FLOAT8 => Some(random.random_range(1_000_000_000..9_000_000_000_u64).to_string()),
        NUMERIC => {
            let digits = match size.as_slice() {
                [precision, scale, ..] => precision.saturating_sub(*scale),
                [precision] => *precision,
                [] => 15,
            };
            let digits = u32::try_from(digits.min(15)).ok().filter(|it| *it as usize >= DIGITS)?;
            Some(random.random_range(10_u64.pow(digits - 1)..10_u64.pow(digits)).to_string())
        }
        _ if column.type_name.rsplit('.').next() == Some("citext") => nonce.text(number, None),
        _ => None,
    }
}

/// Whether the canaries of a column are numbers.
pub fn is_number(column: &Column) -> bool {
    matches!(column.type_oid, INT4 | INT8 | FLOAT8 | NUMERIC)
}

/// Whether they are texts of the app's own making: of the others some are computed, and overflow.
pub fn is_text(column: &Column) -> bool {
    !is_number(column) && !matches!(column.type_oid, DATE | TIMESTAMP | TIMESTAMPTZ)
}

/// Whether a column's values can be compared by `=`.
pub fn is_comparable(column: &Column) -> bool {
    column.type_oid != JSON
}

const INT8: Oid = 20;
const INT4: Oid = 23;
const TEXT: Oid = 25;
const JSON: Oid = 114;
const FLOAT8: Oid = 701;
const TEXT_ARRAY: Oid = 1009;
const BPCHAR: Oid = 1042;
const VARCHAR: Oid = 1043;
const DATE: Oid = 1082;
const TIMESTAMP: Oid = 1114;
const TIMESTAMPTZ: Oid = 1184;
const NUMERIC: Oid = 1700;
const UUID: Oid = 2950;
const JSONB: Oid = 3802;

/// The numbers in parentheses: `numeric(14,2)`, `character varying(20)`.
fn bounds(type_name: &str) -> Vec<usize> {
    let inside = type_name.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
    inside.split(',').filter_map(|it| it.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Generated, Identity};

    fn of(type_oid: Oid, type_name: &str) -> Option<String> {
        let column = Column {
            name: "c".to_owned(),
            attnum: 1,
            type_oid,
            type_name: type_name.to_owned(),
            base_type_oid: type_oid,
            not_null: false,
            has_default: false,
            generated: Generated::No,
            identity: Identity::No,
            loose: false,
        };
        canary(&column, &Nonce::new(), 12)
    }

    #[test]
    fn canaries_fit_their_columns() {
        assert!(of(VARCHAR, "character varying(20)").unwrap().len() <= 20);
        assert_eq!(of(VARCHAR, "character varying(8)"), None);
        assert_eq!(of(NUMERIC, "numeric(14,2)").unwrap().len(), 12);
        assert_eq!(of(NUMERIC, "numeric(6,2)"), None);
        assert!(of(INT4, "integer").unwrap().parse::<i32>().is_ok());
        assert_eq!(of(16, "boolean"), None);
        assert!(of(90_001, "extensions.citext").unwrap().starts_with("pgw"));
        assert_eq!(of(UUID, "uuid").unwrap().len(), 36);
    }
}
