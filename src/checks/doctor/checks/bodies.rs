//! What the functions of a schema do, as far as their texts tell: whom they call, and what they name.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Client, Error};

use super::Line;
use crate::base::{Oid, QualifiedName};
use crate::catalog::{Catalog, Function, Volatility};

/// What a parenthesis follows that is no call.
const GRAMMAR: [&str; 38] = [
    "all",
    "and",
    "any",
    "array",
    "as",
    "between",
    "bit",
    "by",
    "case",
    "cast",
    "char",
    "character",
    "coalesce",
    "decimal",
    "else",
    "elsif",
    "extract",
    "greatest",
    "if",
    "in",
    "least",
    "like",
    "not",
    "nullif",
    "numeric",
    "or",
    "over",
    "return",
    "returns",
    "row",
    "select",
    "then",
    "trim",
    "values",
    "varchar",
    "varying",
    "when",
    "where",
];
/// Functions of the system that depend on settings and on the time, and on nothing else.
const STABLE: [&str; 17] = [
    "age",
    "concat",
    "concat_ws",
    "date_part",
    "date_trunc",
    "format",
    "json_build_object",
    "jsonb_build_object",
    "now",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsvector",
];

/// A function outside the system's schemas.
#[derive(Clone, Debug)]
pub struct Body {
    /// `order_label(integer)`
    pub signature: String,
    /// Its name.
    pub name: QualifiedName,
    /// The planner may replace a call by its value.
    pub immutable: bool,
    /// `SECURITY DEFINER`
    pub definer: bool,
    /// Its text without strings of blanks, in small letters.
    text: String,
}

impl Body {
    /// Whether it reads the tenant's setting, one of its kin, or one whose name is computed.
    fn reads(&self, setting: &str) -> bool {
        self.text.split("current_setting(").skip(1).any(|arguments| match arguments.trim_start().strip_prefix('\'') {
            Some(literal) => {
                let (name, rest) = literal.split_once('\'').unwrap_or((literal, ""));
                let rest = rest.trim_start();
                let is_whole = rest.strip_prefix("::text").unwrap_or(rest).trim_start().starts_with([',', ')']);
                !is_whole || name.starts_with(setting)
            }
            None => true,
        })
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split(|it: char| !(it.is_alphanumeric() || it == '_' || it == '$'))
    }

    /// The words of its code that a parenthesis follows, strings left out.
    fn calls(&self) -> Vec<&str> {
        let mut called = Vec::new();
        for code in self.text.split('\'').step_by(2) {
            let mut rest = code;
            while let Some((before, after)) = rest.split_once('(') {
                let before = before.trim_end();
                let part = |it: char| it.is_alphanumeric() || it == '_' || it == '$';
                called.extend(before.rsplit(|it| !part(it)).next().filter(|it| !it.is_empty()));
                rest = after;
            }
        }
        called
    }

    /// Whether it names a relation.
    pub fn names(&self, relation: &str) -> bool {
        self.words().any(|word| word == relation)
    }

    /// Whether it runs SQL that it puts together.
    pub fn runs_computed_sql(&self) -> bool {
        self.words().any(|word| word == "execute")
    }
}

/// All functions of a schema.
#[derive(Clone, Debug, Default)]
pub struct Bodies {
    by_oid: HashMap<Oid, Body>,
    by_name: HashMap<String, Vec<Oid>>,
}

impl Bodies {
    /// Reads them.
    ///
    /// # Errors
    /// Whatever the upstream answers.
    pub async fn read(client: &Client) -> Result<Self, Error> {
        let sql = "SELECT p.oid, p.oid::regprocedure::text AS signature, n.nspname::text AS schema, p.proname::text AS name, \
                          p.provolatile = 'i' AS immutable, p.prosecdef AS definer, \
                          CASE WHEN l.lanname IN ('c', 'internal') THEN '' ELSE coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc) END AS text \
                   FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
                   WHERE p.prokind IN ('f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
                     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')";
        let rows = client.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| (row.get("oid"), body(&Line(row)))).collect())
    }

    /// A function by its oid; none of the system's and of extensions' is here.
    pub fn get(&self, oid: Oid) -> Option<&Body> {
        self.by_oid.get(&oid)
    }

    /// The functions of a name.
    pub fn named(&self, name: &QualifiedName) -> Vec<(Oid, &Body)> {
        let oids = self.by_name.get(&name.name.to_lowercase()).into_iter().flatten();
        oids.filter_map(|oid| Some((*oid, self.get(*oid)?))).filter(|(_, body)| body.name == *name).collect()
    }

    /// A function and all that it calls, by name: every function that a word before a parenthesis may mean.
    pub fn reached(&self, from: Oid) -> Vec<&Body> {
        let mut seen = HashSet::from([from]);
        let mut waiting = vec![from];
        let mut reached = Vec::new();
        while let Some(body) = waiting.pop().and_then(|oid| self.by_oid.get(&oid)) {
            reached.push(body);
            let called = body.words().filter_map(|word| self.by_name.get(word)).flatten();
            waiting.extend(called.filter(|oid| seen.insert(**oid)));
        }
        reached
    }

    /// Whether a function in SQL or PL/pgSQL, with all that it calls, only computes its result from its arguments: it names no
    /// relation, and calls what does not either. When in doubt it is not.
    pub fn is_pure(&self, from: Oid, catalog: &Catalog, relations: &HashSet<String>) -> bool {
        let reached = self.reached(from);
        let computes = |body: &&Body| {
            let mut words = body.words();
            let named = words.any(|word| relations.contains(word) || word == "execute");
            !body.text.is_empty() && !named && body.calls().into_iter().all(|word| self.is_harmless(word, catalog))
        };
        !reached.is_empty() && reached.iter().all(computes)
    }

    /// A word before a parenthesis: of the grammar, a type, one of its own functions, or one of the system's that has no effect.
    fn is_harmless(&self, word: &str, catalog: &Catalog) -> bool {
        if GRAMMAR.contains(&word) || STABLE.contains(&word) || self.by_name.contains_key(word) {
            return true;
        }
        let all = catalog.functions.get(word).map(Vec::as_slice).unwrap_or_default();
        let immutable = |it: &Function| it.name.schema == "pg_catalog" && it.volatility == Volatility::Immutable;
        !all.is_empty() && all.iter().all(immutable)
    }

    /// Of a function and what it calls, the first that is IMMUTABLE and reads the tenant's setting, itself or by what it calls.
    pub fn folded(&self, from: Oid, setting: &str) -> Option<&Body> {
        let folds = |body: &&Body| {
            let oids = self.by_name.get(&body.name.name.to_lowercase()).into_iter().flatten();
            body.immutable && oids.flat_map(|oid| self.reached(*oid)).any(|it| it.reads(setting))
        };
        self.reached(from).into_iter().find(folds)
    }
}

impl FromIterator<(Oid, Body)> for Bodies {
    fn from_iter<I: IntoIterator<Item = (Oid, Body)>>(bodies: I) -> Self {
        let mut all = Self::default();
        for (oid, body) in bodies {
            all.by_name.entry(body.name.name.to_lowercase()).or_default().push(oid);
            all.by_oid.insert(oid, body);
        }
        all
    }
}

fn body(line: &Line<'_>) -> Body {
    Body {
        signature: line.text("signature"),
        name: QualifiedName::new(line.text("schema"), line.text("name")),
        immutable: line.is("immutable"),
        definer: line.is("definer"),
        text: normalised(&line.text("text")),
    }
}

/// Without comments, quotes of names and strings of blanks, in small letters.
fn normalised(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code)).collect();
    let text = lines.join(" ").replace('"', "").to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace("current_setting (", "current_setting(")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(functions: &[(&str, bool, &str)]) -> Bodies {
        let body = |(at, (name, immutable, text)): (usize, &(&str, bool, &str))| {
            let name = QualifiedName::new("public", *name);
            let oid = Oid::try_from(at).unwrap();
            (
                oid,
                Body {
                    signature: format!("{}()", name.name),
                    name,
                    immutable: *immutable,
                    text: normalised(text),
                    definer: false,
                },
            )
        };
        functions.iter().enumerate().map(body).collect()
    }

    #[test]
    fn what_folds() {
        let folded = |functions: &[(&str, bool, &str)]| {
            schema(functions).folded(0, "app.tenant_id").map(|it| it.name.name.clone())
        };
        let reads = "SELECT Current_Setting ( 'app.tenant_id' , true)::int";
        assert_eq!(folded(&[("own", true, reads)]).as_deref(), Some("own"));
        assert_eq!(folded(&[("own", false, reads)]), None);
        for harmless in ["SELECT 1", "SELECT current_setting('app.language')", "-- current_setting(x)\nSELECT 1"] {
            assert_eq!(folded(&[("own", true, harmless)]), None, "{harmless}");
        }
        assert_eq!(folded(&[("own", true, "SELECT current_setting('app.' || x)")]).as_deref(), Some("own"));
        // By what it calls, and what calls it
        let inner = ("inner_one", false, reads);
        assert_eq!(folded(&[("outer_one", true, "SELECT inner_one()"), inner]).as_deref(), Some("outer_one"));
        assert_eq!(folded(&[("outer_one", false, "SELECT inner_one()"), inner]), None);
        let inner = ("inner_one", true, reads);
        assert_eq!(
            folded(&[("outer_one", false, "SELECT public.\"inner_one\"()"), inner]).as_deref(),
            Some("inner_one")
        );
        // Of functions that call each other, each is looked at once.
        assert_eq!(folded(&[("one", true, "SELECT two()"), ("two", true, "SELECT one()")]), None);
    }

    #[test]
    fn what_only_computes_is_pure() {
        let relations = HashSet::from(["account".to_owned()]);
        let pure = |text: &str| {
            let all = schema(&[
                ("f", true, text),
                ("own", true, "SELECT 1"),
                ("counts", false, "SELECT count(*) FROM account"),
            ]);
            all.is_pure(0, &Catalog::default(), &relations)
        };
        for text in [
            "SELECT own($1) + coalesce($2, 1)",
            "BEGIN RETURN CASE WHEN ($1 > 0) THEN 'from account (' ELSE to_char($1, '99') END; END",
        ] {
            assert_eq!(pure(text), !text.contains("account"), "{text}");
        }
        for text in ["", "SELECT counts()", "SELECT x FROM account", "BEGIN EXECUTE $1; END", "SELECT nobody_knows($1)"]
        {
            assert!(!pure(text), "{text}");
        }
    }

    #[test]
    fn what_is_named() {
        let all = schema(&[("f", false, "BEGIN INSERT INTO public.\"Audit\" VALUES (NEW.id); EXECUTE x; END")]);
        let body = all.get(0).unwrap();
        assert!(body.names("audit") && body.runs_computed_sql() && !body.names("audi"));
    }
}
