//! Whether an export is whole.

use std::path::{Component, Path};

use crate::base::hex;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::export::{Manifest, sha256_of};
use sha2::{Digest as _, Sha256};

fn damaged(what: String) -> LifecycleError {
    LifecycleError::refused(what, "name a directory that `pgwarden tenant export` wrote, as it wrote it")
}

/// A path that stays below the directory.
fn is_below(name: &str) -> bool {
    Path::new(name).components().all(|it| matches!(it, Component::Normal(_)))
}

/// The manifest and its hash, when all files are what it says.
pub(super) fn read(directory: &Path) -> Result<(Manifest, String), LifecycleError> {
    let path = directory.join("manifest.json");
    let text = std::fs::read(&path).map_err(LifecycleError::file(&path))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| damaged(format!("{}: {error}", path.display())))?;
    if manifest.format != 1 {
        return Err(damaged(format!("{}: form {} is not known", path.display(), manifest.format)));
    }
    if !["csv", "binary"].contains(&manifest.copy_format.as_str()) {
        return Err(damaged(format!("{}: \"{}\" is no format of rows", path.display(), manifest.copy_format)));
    }
    let tables = manifest.tables.iter().map(|it| &it.file);
    let schemas = manifest.schemas.iter().flat_map(|it| [&it.before, &it.after]);
    if let Some(name) = tables.chain(schemas).find(|name| !is_below(name)) {
        return Err(damaged(format!("{}: \"{name}\" is no file of it", path.display())));
    }
    for table in &manifest.tables {
        let file = directory.join(&table.file);
        if sha256_of(&file)? != table.sha256 {
            return Err(damaged(format!("{} is not what was exported", file.display())));
        }
    }
    for schema in &manifest.schemas {
        let mut hash = Sha256::new();
        for name in [&schema.before, &schema.after] {
            let file = directory.join(name);
            hash.update(std::fs::read(&file).map_err(LifecycleError::file(&file))?);
        }
        let hash = hex(&hash.finalize());
        if hash != schema.sha256 {
            return Err(damaged(format!("{} is not what was exported", directory.join(&schema.before).display())));
        }
    }
    Ok((manifest, hex(&Sha256::digest(&text))))
}
