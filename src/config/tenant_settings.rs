//! `[tenancy.settings]`: what tenants may set besides what harms nobody.

/// What tenants may make of one setting, or of all that begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSetting {
    /// Lower case, without the star.
    pub name: String,
    /// `request.*`: all that begin with the name.
    pub prefix: bool,
    /// Which values.
    pub values: TenantValues,
}

/// Which values of a setting tenants may choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TenantValues {
    /// `true`: any.
    Any,
    /// `false`: none, though nothing speaks against it.
    None,
    /// Up to a size or number.
    UpTo(Amount),
}

impl Eq for TenantValues {}

/// A number with the unit that memory settings have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amount {
    number: f64,
    /// In bytes.
    unit: Option<f64>,
}

impl TenantSetting {
    /// Whether it speaks of a setting, given in lower case.
    pub fn is_of(&self, name: &str) -> bool {
        if self.prefix { name.starts_with(&self.name) } else { name == self.name }
    }
}

impl Amount {
    /// `64MB`, `8`, `1.5`: as Postgres reads values, of sizes alone.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number = number.parse::<f64>().ok().filter(|number| number.is_finite())?;
        let unit = match unit.trim_start() {
            "" => None,
            "B" => Some(1.0),
            "kB" => Some(1024.0),
            "MB" => Some(1024.0 * 1024.0),
            "GB" => Some(1024.0 * 1024.0 * 1024.0),
            "TB" => Some(1024.0 * 1024.0 * 1024.0 * 1024.0),
            _ => return None,
        };
        Some(Self { number, unit })
    }

    /// Whether a value of a setting is no greater. Without a unit it counts in the setting's own, which is known of a few.
    pub fn holds(&self, setting: &str, value: &str) -> bool {
        let Some(value) = Self::parse(value) else { return false };
        match (self.unit, value.unit) {
            (None, None) => value.number <= self.number,
            (None, Some(_)) => false,
            (Some(_), Some(_)) => value.size(1.0) <= self.size(1.0),
            (Some(_), None) => own_unit(setting).is_some_and(|unit| value.size(unit) <= self.size(unit)),
        }
    }

    fn size(&self, otherwise: f64) -> f64 {
        self.number * self.unit.unwrap_or(otherwise)
    }
}

/// The unit of a memory setting's bare numbers, in bytes.
fn own_unit(setting: &str) -> Option<f64> {
    match setting {
        "work_mem" | "maintenance_work_mem" | "logical_decoding_work_mem" => Some(1024.0),
        "temp_buffers" | "effective_cache_size" => Some(8192.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared_in_their_units() {
        let holds = |bound: &str, value: &str| Amount::parse(bound).unwrap().holds("work_mem", value);
        for value in ["64MB", " 64 MB", "65536", "65536kB", "0.0625GB", "1"] {
            assert!(holds("64MB", value), "{value}");
        }
        for value in ["65MB", "65537", "1GB", "64mb", "-1", "", "x", "0x1", "1e9", "64 M B", "inf", "NaN"] {
            assert!(!holds("64MB", value), "{value}");
        }
        assert!(holds("4", "4.0") && !holds("4", "4kB") && !holds("4", "5"));
        // Of a setting whose unit is not known, a bare number says nothing.
        assert!(!Amount::parse("1MB").unwrap().holds("other", "1"));
    }

    #[test]
    fn a_star_stands_for_any_rest() {
        let of = |name: &str, prefix| TenantSetting { name: name.into(), prefix, values: TenantValues::Any };
        assert!(of("request.", true).is_of("request.jwt.claims") && !of("request.", true).is_of("requests.x"));
        assert!(of("audit.actor", false).is_of("audit.actor") && !of("audit.actor", false).is_of("audit.actors"));
    }
}
