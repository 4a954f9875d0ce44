//! Where Postgres's programs are, and who may run them.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory of one installed Postgres server.
#[derive(Clone, Debug)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// `PGWARDEN_PG_BIN` if set; else the newest version among the places where distributions put it; else `PATH`.
    pub fn find() -> Option<Self> {
        if let Some(directory) = env::var_os("PGWARDEN_PG_BIN") {
            return Self::at(PathBuf::from(directory));
        }
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let version = entry.file_name().to_str()?.parse().ok()?;
                Some((version, entry.path().join("bin")))
            })
            .collect();
        versions.sort_unstable_by_key(|(version, _)| std::cmp::Reverse(*version));
        let path = env::var_os("PATH").unwrap_or_default();
        versions.into_iter().map(|(_, directory)| directory).chain(env::split_paths(&path)).find_map(Self::at)
    }

    fn at(directory: PathBuf) -> Option<Self> {
        let has = |name: &str| directory.join(name).is_file();
        (has("initdb") && has("postgres")).then_some(Self { directory })
    }

    /// The path of a program, whether it is there or not.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The process is root's and no unprivileged user exists.
#[derive(Clone, Copy, Debug)]
pub struct NobodyToRunAs;

/// A user that is not root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unprivileged {
    /// User id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
}

impl Unprivileged {
    /// Whom to run Postgres as: nobody special (`None`) when this process is not root's, else `postgres` or `nobody`.
    ///
    /// # Errors
    /// The process is root's and neither user exists.
    pub fn for_this_process() -> Result<Option<Self>, NobodyToRunAs> {
        if !is_root() {
            return Ok(None);
        }
        // initdb looks its user up, so a free number alone would not do.
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"].iter().find_map(|name| Self::named(name, &passwd)).map(Some).ok_or(NobodyToRunAs)
    }

    fn named(name: &str, passwd: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next()? != name {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            (uid != 0).then_some(Self { uid, gid })
        })
    }
}

/// The owner of `/proc/self` is the effective user; where there is no `/proc`, the owner of a new file tells.
fn is_root() -> bool {
    if let Ok(metadata) = Path::new("/proc/self").metadata() {
        return metadata.uid() == 0;
    }
    let probe = env::temp_dir().join(format!("pgwarden-owner-{}", std::process::id()));
    let root = fs::write(&probe, b"").and_then(|()| probe.metadata()).is_ok_and(|metadata| metadata.uid() == 0);
    // A probe that stays behind is an empty file in the temporary directory.
    let _ = fs::remove_file(probe);
    root
}

#[cfg(test)]
mod tests {
    use super::Unprivileged;

    #[test]
    fn finds_users_but_never_root() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\ntoor:x:0:0::/:\n";
        assert_eq!(Unprivileged::named("nobody", passwd), Some(Unprivileged { uid: 65534, gid: 65533 }));
        assert_eq!(Unprivileged::named("toor", passwd), None);
        assert_eq!(Unprivileged::named("nob", passwd), None);
    }
}
