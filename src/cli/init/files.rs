//! The files, and who may read them.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What is written.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// The configuration.
    pub config: PathBuf,
    /// The roles.
    pub sql: PathBuf,
    /// The password of the tenants' role.
    pub tenants: PathBuf,
    /// That of the operator's.
    pub operator: PathBuf,
    /// URLs with the passwords of the logins.
    pub logins: PathBuf,
}

/// Texts in the order of [`Files::all`].
pub(super) type Contents = [String; 5];

impl Files {
    /// The configuration's path, and others beside it with its name.
    pub fn beside(config: &Path) -> Result<Self, String> {
        let stem = config.file_stem().filter(|_| config.file_name().is_some());
        let stem = stem
            .and_then(|it| it.to_str())
            .ok_or_else(|| format!("--out {}: not the name of a file", config.display()))?;
        let beside = |ending: &str| config.with_file_name(format!("{stem}.{ending}"));
        let sql = beside("sql");
        if sql == config {
            return Err(format!("--out {}: the SQL goes there; name a .toml", config.display()));
        }
        Ok(Self {
            config: config.to_owned(),
            sql,
            tenants: beside("tenants.password"),
            operator: beside("operator.password"),
            logins: beside("logins"),
        })
    }

    /// Each, and whether secrets are in it.
    fn all(&self) -> [(&Path, bool); 5] {
        [(&self.config, false), (&self.sql, false), (&self.tenants, true), (&self.operator, true), (&self.logins, true)]
    }

    /// For people.
    pub fn names(&self) -> Vec<String> {
        self.all().map(|(path, secret)| format!("{}{}", path.display(), if secret { " (secret)" } else { "" })).into()
    }

    /// None of them is there yet.
    pub fn are_new(&self) -> Result<(), String> {
        match self.all().iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
            Some((path, _)) => Err(there(path)),
            None => Ok(()),
        }
    }

    /// Writes them. What is there stands, unless it may be replaced: then it goes first, with its permissions.
    pub fn write(&self, contents: &Contents, replace: bool) -> Result<(), String> {
        for ((path, secret), text) in self.all().into_iter().zip(contents) {
            let failed = |error: io::Error| match error.kind() {
                ErrorKind::AlreadyExists => there(path),
                _ => format!("{}: {error}", path.display()),
            };
            if replace && path.symlink_metadata().is_ok() {
                fs::remove_file(path).map_err(failed)?;
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(if secret { 0o600 } else { 0o644 })
                .open(path)
                .map_err(failed)?;
            file.write_all(text.as_bytes()).map_err(failed)?;
        }
        Ok(())
    }
}

fn there(path: &Path) -> String {
    format!("{} is there already: --force writes over it, --out names another file", path.display())
}
