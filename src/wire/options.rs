//! The `options` parameter of a startup packet: command-line switches for the server process, of which only settings
//! are known here.

/// Why `options` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A switch that is not a setting.
    #[error("invalid command-line argument for server process: {0}")]
    UnknownSwitch(String),
    /// A setting without `=`.
    #[error("{0} requires a value")]
    NoValue(String),
}

/// Reads `-c name=value`, `-cname=value` and `--name=value`, separated by blanks; a backslash takes the next character
/// as it is. A hyphen in a name stands for an underscore, as in Postgres.
///
/// # Errors
/// Any other switch, or a setting without a value.
pub fn parse_options(options: &str) -> Result<Vec<(String, String)>, OptionsError> {
    let mut settings = Vec::new();
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let (shown, setting) = if word == "-c" {
            let setting = words.next().ok_or_else(|| OptionsError::NoValue("-c".into()))?;
            (format!("-c {setting}"), setting)
        } else if let Some(setting) = word.strip_prefix("--").or(word.strip_prefix("-c")) {
            (word.clone(), setting.to_owned())
        } else {
            return Err(OptionsError::UnknownSwitch(word));
        };
        let (name, value) =
            setting.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(OptionsError::NoValue(shown))?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn split(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = options.chars();
    while let Some(char) = chars.next() {
        match char {
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            // A backslash at the very end stands for nothing.
            '\\' => word.get_or_insert_default().extend(chars.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}
