//! The files. They hold a customer's data: nobody but who runs this may read them.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};

use super::manifest::{Manifest, TableFile};
use super::what::Source;
use crate::base::hex;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::sql::{quote_identifier, quote_literal};

/// There must be nothing where the export goes.
pub(super) fn refuse_full(directory: &Path) -> Result<(), LifecycleError> {
    let is_free = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(LifecycleError::file(directory)(error)),
    };
    match is_free {
        true => Ok(()),
        false => Err(LifecycleError::refused(
            format!("there is something in {} already", directory.display()),
            "name a directory that is not there, or empty",
        )),
    }
}

/// The directory that is filled, beside the one that is asked for. Unless it gets that one's name it is gone when this is dropped.
pub(super) struct Partial {
    pub path: PathBuf,
}

impl Partial {
    pub fn make(directory: &Path) -> Result<Self, LifecycleError> {
        let mut name = directory.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let partial = Self { path: directory.with_file_name(name) };
        for folder in [partial.path.clone(), partial.path.join("schema"), partial.path.join("data")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(LifecycleError::file(&folder))?;
        }
        Ok(partial)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is not there any more when all went well.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn create(path: &Path) -> Result<File, LifecycleError> {
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(LifecycleError::file(path))
}

pub(super) fn write(directory: &Path, name: &str, text: &str) -> Result<(), LifecycleError> {
    let path = directory.join(name);
    create(&path)?.write_all(text.as_bytes()).map_err(LifecycleError::file(&path))
}

pub(super) fn hex_of(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hex(&hash.finalize())
}

/// SHA-256 of a file.
pub(in crate::lifecycle) fn sha256_of(path: &Path) -> Result<String, LifecycleError> {
    let failed = LifecycleError::file(path);
    let mut file = File::open(path).map_err(&failed)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        let read = file.read(&mut buffer).map_err(&failed)?;
        match buffer.get(..read) {
            Some(part) if read > 0 => hash.update(part),
            _ => return Ok(hex(&hash.finalize())),
        }
    }
}

/// A file that is hashed as it is written.
pub(in crate::lifecycle) struct Hashing {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Hashing {
    fn create(path: &Path) -> Result<Self, LifecycleError> {
        Ok(Self { file: BufWriter::with_capacity(256 << 10, create(path)?), hash: Sha256::new(), bytes: 0 })
    }

    fn put(&mut self, part: &[u8]) -> std::io::Result<()> {
        self.hash.update(part);
        self.bytes = self.bytes.saturating_add(part.len() as u64);
        self.file.write_all(part)
    }

    fn finish(mut self) -> std::io::Result<(String, u64)> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok((hex(&self.hash.finalize()), self.bytes))
    }
}

/// Copies a table's rows into a file.
pub(super) async fn copy_out(
    admin: &Admin,
    source: &Source,
    n: usize,
    binary: bool,
    directory: &Path,
) -> Result<TableFile, LifecycleError> {
    let failed = |error| admin.failed(error);
    let digest = Source::digest(&source.columns, source.tenant_column.as_deref(), &source.from, &source.condition);
    let rows = admin.rows(&digest, &[]).await?;
    let row = rows
        .first()
        .ok_or_else(|| LifecycleError::refused("a count without a row", "a defect of pgwarden: please report it"))?;
    let (count, hash): (i64, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    // What is in the name of a table need not fit into that of a file.
    let name: String = source.table.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '_').take(60).collect();
    let everybody = if source.everybodys { ".everybody" } else { "" };
    let file = format!("data/{n:04}.{name}{everybody}.{}", if binary { "bin" } else { "csv" });
    let path = directory.join(&file);
    let mut out = Hashing::create(&path)?;
    let columns: Vec<_> = source.columns.iter().map(|column| format!("t.{}", quote_identifier(column))).collect();
    let sql = format!(
        "COPY (SELECT {} FROM {} t WHERE {}) TO STDOUT (FORMAT {})",
        columns.join(", "),
        source.from,
        source.condition,
        if binary { "binary" } else { "csv" }
    );
    let mut stream = std::pin::pin!(admin.copy_out(&sql).await.map_err(failed)?);
    while let Some(part) = stream.try_next().await.map_err(failed)? {
        out.put(&part).map_err(LifecycleError::file(&path))?;
    }
    let (sha256, bytes) = out.finish().map_err(LifecycleError::file(&path))?;
    Ok(TableFile {
        schema: source.schema.clone(),
        table: source.table.clone(),
        columns: source.columns.clone(),
        tenant_column: source.tenant_column.clone(),
        everybodys: source.everybodys,
        only: source.from.starts_with("ONLY "),
        file,
        rows: count,
        bytes,
        sha256,
        hash,
    })
}

/// Writes the manifest and the script, and gives the directory its name. Returns the manifest's hash.
pub(super) fn finish(partial: &Partial, directory: &Path, manifest: &Manifest) -> Result<String, LifecycleError> {
    let text = serde_json::to_string_pretty(manifest)
        .map_err(|error| LifecycleError::file(&partial.path.join("manifest.json"))(error.into()))?;
    write(&partial.path, "load.sql", &load_script(manifest))?;
    write(&partial.path, "manifest.json", &text)?;
    // An empty directory gives way.
    fs::rename(&partial.path, directory).map_err(LifecycleError::file(directory))?;
    Ok(hex_of(&[text.as_bytes()]))
}

/// What psql loads it with.
fn load_script(manifest: &Manifest) -> String {
    let mut text = format!(
        "-- Tenant {}, as of {}. Into an empty database, from this directory: psql -X -d DATABASE -f load.sql\n\
         \\set ON_ERROR_STOP on\nBEGIN;\nSET LOCAL check_function_bodies = off;\n",
        manifest.tenant, manifest.taken_at
    );
    for schema in manifest.extensions.iter().map(|it| &it.schema).chain(manifest.schemas.iter().map(|it| &it.name)) {
        text.push_str(&format!("CREATE SCHEMA IF NOT EXISTS {};\n", quote_identifier(schema)));
    }
    for extension in &manifest.extensions {
        let (name, schema) = (quote_identifier(&extension.name), quote_identifier(&extension.schema));
        text.push_str(&format!("CREATE EXTENSION IF NOT EXISTS {name} SCHEMA {schema};\n"));
    }
    for schema in &manifest.schemas {
        text.push_str(&format!(
            "SET LOCAL search_path = {};\n\\ir {}\n",
            quote_identifier(&schema.name),
            schema.before
        ));
    }
    for table in &manifest.tables {
        let columns: Vec<_> = table.columns.iter().map(|column| quote_identifier(column)).collect();
        text.push_str(&format!(
            "\\copy {}.{} ({}) FROM '{}' WITH (FORMAT {})\n",
            quote_identifier(&table.schema),
            quote_identifier(&table.table),
            columns.join(", "),
            table.file,
            manifest.copy_format
        ));
    }
    for schema in &manifest.schemas {
        text.push_str(&format!("SET LOCAL search_path = {};\n\\ir {}\n", quote_identifier(&schema.name), schema.after));
    }
    for it in &manifest.sequences {
        let name = format!("{}.{}", quote_identifier(&it.schema), quote_identifier(&it.sequence));
        text.push_str(&format!("SELECT pg_catalog.setval({}, {});\n", quote_literal(&name), it.last_value));
    }
    text.push_str("COMMIT;\n");
    text
}
