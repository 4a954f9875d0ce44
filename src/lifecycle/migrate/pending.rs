//! What of the files is left to do in a place.

use super::files::{Migration, Version};
use crate::lifecycle::error::LifecycleError;

/// What is in the table of a place.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    pub version: Version,
    pub file: String,
    pub checksum: String,
    /// Of a file without a transaction that was not run to its end: the statements that were.
    pub statements: Option<usize>,
}

/// A migration that is left to do, from one of its statements on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending<'m> {
    pub migration: &'m Migration,
    pub from: usize,
}

/// What is left to do in a place.
pub(super) fn pending<'m>(
    migrations: &'m [Migration],
    applied: &[Applied],
    out_of_order: bool,
) -> Result<Vec<Pending<'m>>, LifecycleError> {
    let newest = applied.iter().map(|it| &it.version).max();
    if let Some(gone) = applied.iter().find(|it| !migrations.iter().any(|other| other.version == it.version)) {
        return Err(LifecycleError::refused(
            format!("{} was applied, and there is no such file (version {})", gone.file, gone.version),
            "use the directory as it was, or a newer one",
        ));
    }
    let mut left = Vec::new();
    for migration in migrations {
        let from = match applied.iter().find(|it| it.version == migration.version) {
            None => 0,
            Some(it) => match resumed(migration, it)? {
                Some(from) => from,
                None => continue,
            },
        };
        if from == 0 && newest.is_some_and(|newest| migration.version < *newest) && !out_of_order {
            return Err(LifecycleError::refused(
                format!("{} is older than what was applied already", migration.file),
                "give it a number after the others, or say --out-of-order if it does not matter",
            ));
        }
        left.push(Pending { migration, from });
    }
    Ok(left)
}

/// The statement to go on with. `None`: all of them were run.
fn resumed(migration: &Migration, applied: &Applied) -> Result<Option<usize>, LifecycleError> {
    let (same, from) = match applied.statements {
        None => (applied.checksum == migration.checksum, None),
        Some(count) => (applied.checksum == migration.checksum_of(count), Some(count)),
    };
    match same {
        true => Ok(from),
        false => Err(LifecycleError::refused(
            format!("{} was changed after it was applied", migration.file),
            "take the change back, and put it into a new file",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::migrate::files::read;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn applied(migration: &Migration) -> Applied {
        let Migration { version, file, checksum, .. } = migration.clone();
        Applied { version, file, checksum, statements: None }
    }

    #[test]
    fn what_is_left() {
        let text = "-- pgwarden: no-transaction\nSELECT 1; SELECT 2;";
        let files = directory(&[("V1__a.sql", "SELECT 1;\n"), ("V2__b.sql", text), ("V3__c.sql", "")]);
        let all = read(files.path(), false).unwrap();
        let left = |applied: &[Applied], out_of_order| {
            let left = pending(&all, applied, out_of_order).map_err(|error| error.to_string())?;
            Ok::<_, String>(left.iter().map(|it| (it.migration.version.to_string(), it.from)).collect::<Vec<_>>())
        };
        let versions = |list: &[(&str, usize)]| Ok(list.iter().map(|(it, from)| ((*it).to_owned(), *from)).collect());
        assert_eq!(left(&[], false), versions(&[("1", 0), ("2", 0), ("3", 0)]));
        assert_eq!(left(&[applied(&all[0]), applied(&all[1]), applied(&all[2])], false), versions(&[]));
        let partly = Applied { statements: Some(1), checksum: all[1].checksum_of(1), ..applied(&all[1]) };
        assert_eq!(left(&[applied(&all[0]), partly.clone()], false), versions(&[("2", 1), ("3", 0)]));
        assert!(left(&[Applied { statements: Some(2), ..partly }], true).unwrap_err().contains("was changed"));
        let changed = Applied { checksum: "x".to_owned(), ..applied(&all[0]) };
        assert!(left(&[changed], false).unwrap_err().contains("V1__a.sql was changed"));
        assert!(left(&[applied(&all[2])], false).unwrap_err().contains("older than what was applied"));
        assert_eq!(left(&[applied(&all[2])], true), versions(&[("1", 0), ("2", 0)]));
        let gone = Applied { version: Version::parse("9").unwrap(), ..applied(&all[0]) };
        assert!(left(&[gone], false).unwrap_err().contains("no such file (version 9)"));
        // Line ends are not what it says.
        let dos = directory(&[("V1__a.sql", "SELECT 1;\r\n")]);
        assert_eq!(read(dos.path(), false).unwrap()[0].checksum, all[0].checksum);
    }
}
