//! `pgwarden migrate`

mod confined;
mod drift;
mod files;
mod fleet;
mod stopped;
mod tool;

use super::*;

/// A directory of migrations.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| made.write(name, text));
        made
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// What a run printed as JSON.
struct Said {
    well: bool,
    json: Json,
    all: String,
}

impl Said {
    /// A place's state, and the files that were applied there.
    #[track_caller]
    fn place(&self, name: &str) -> (String, Vec<String>) {
        let place = self.find(name);
        let applied = place["applied"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect();
        (place["state"].as_str().unwrap().to_owned(), applied)
    }

    #[track_caller]
    fn find(&self, name: &str) -> &Json {
        let places = self.json["places"].as_array().unwrap();
        places.iter().find(|it| it["place"] == name).unwrap_or_else(|| panic!("no {name}: {}", self.all))
    }

    #[track_caller]
    fn error(&self, name: &str) -> &str {
        self.find(name)["error"].as_str().unwrap_or_else(|| panic!("{}", self.all))
    }

    fn count(&self, state: &str) -> i64 {
        self.json["counts"][state].as_i64().unwrap()
    }
}

/// Without the tenants whose upstreams have no admin.
fn stage(database: &str) -> Stage {
    let mut stage = Stage::new(database);
    stage.alone();
    stage
}

impl Stage {
    fn alone(&mut self) {
        let others = ["\"sa\"", "\"sb\"", "\"da\"", "\"db\""];
        let blocks: Vec<&str> =
            self.text.split("\n\n").filter(|block| !others.iter().any(|name| block.contains(name))).collect();
        self.text = blocks.join("\n\n");
        self.write(&self.text);
    }

    /// `pgwarden migrate --dir`, as JSON.
    #[track_caller]
    fn migrate(&self, files: &Files, more: &[&str]) -> Said {
        self.said(&[&["--dir", files.path()], more].concat())
    }

    #[track_caller]
    fn said(&self, arguments: &[&str]) -> Said {
        let output = self.pgwarden("migrate", &[&["--json"], arguments].concat()).output().unwrap();
        let all = text(&output);
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {all}"));
        Said { well: output.status.success(), json, all }
    }

    /// It goes well.
    #[track_caller]
    fn migrated(&self, files: &Files, more: &[&str]) -> Said {
        let said = self.migrate(files, more);
        assert!(said.well, "{}", said.all);
        said
    }

    /// It is refused before anything is done.
    #[track_caller]
    fn not_migrated(&self, arguments: &[&str], parts: &[&str]) {
        let output = self.pgwarden("migrate", arguments).output().unwrap();
        let said = text(&output);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {part:?} is not in\n{said}");
        }
    }

    /// Tenants with schemas, with a role each or all the pool's.
    fn schemas(&self, names: &[&str]) {
        for (at, name) in names.iter().enumerate() {
            let role: &[&str] = if at % 2 == 0 { &[] } else { &["--no-role"] };
            self.ok(&[&["create", name, "--layout", "schema"], role].concat());
        }
    }
}

/// Roles that were made for a run and can become one of those.
fn left_roles(of: &str) -> Vec<String> {
    let sql = "SELECT m.member::regrole::text FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
        WHERE m.member::regrole::text LIKE 'pgwarden_migrate_%' AND r.rolname ~ ";
    rows("postgres", &format!("{sql} '^({of})$'"))
}
