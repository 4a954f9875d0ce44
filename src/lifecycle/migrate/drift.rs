//! Which places are not as the others, or not as a template: what they lack, have besides, or have otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::login::missing;
use super::places::{Place, Selection, TABLE};
use crate::config::{Layout, Upstream};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::ddl::{Facts, facts};
use crate::lifecycle::error::LifecycleError;

/// Of a place so many differences are named.
const MAX_NAMED: usize = 1_000;

/// A place that is not as it should be.
#[derive(Clone, Debug, Serialize)]
pub struct Drifted {
    /// The tenant, or the upstream of shared tables.
    pub place: String,
    /// `shared`, `schema` or `database`.
    pub layout: &'static str,
    /// What it is compared with.
    pub compared_with: String,
    /// What it lacks.
    pub missing: Vec<String>,
    /// What it has besides.
    pub besides: Vec<String>,
    /// What it has otherwise: its name, how it is, how it should be.
    pub otherwise: Vec<[String; 3]>,
    /// Why it could not be looked at.
    pub error: Option<String>,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct DriftReport {
    /// Places that were looked at.
    pub places: usize,
    /// Those that are not as they should be.
    pub drifted: Vec<Drifted>,
}

/// What a place is to be like, and whose it is.
type Model = (Facts, String);
type Digest256 = [u8; 32];

impl Lifecycle {
    /// Compares places of each layout with a template of theirs, or with what most of them have.
    ///
    /// # Errors
    /// There is no such place or template.
    pub async fn migration_drift(
        &self,
        selection: &Selection,
        template: Option<&str>,
        jobs: usize,
    ) -> Result<DriftReport, LifecycleError> {
        let places = self.places(selection).await?;
        let mut report = DriftReport { places: places.len(), drifted: Vec::new() };
        let mut groups: BTreeMap<String, Vec<&Place>> = BTreeMap::new();
        for place in &places {
            // Each database or server has a template of its own.
            let of = match (template, &place.layout) {
                (None, _) => String::new(),
                (Some(_), Layout::Database | Layout::Shared) => place.upstream.address.to_string(),
                (Some(_), Layout::Schema { .. }) => format!("{}/{}", place.upstream.address, place.upstream.database),
            };
            groups.entry(format!("{} {of}", place.word())).or_default().push(place);
        }
        for group in groups.into_values() {
            self.compare(&group, template, jobs.clamp(1, 64), &mut report.drifted).await?;
        }
        report.drifted.sort_by(|one, other| one.place.cmp(&other.place));
        Ok(report)
    }

    async fn compare(
        &self,
        places: &[&Place],
        template: Option<&str>,
        jobs: usize,
        drifted: &mut Vec<Drifted>,
    ) -> Result<(), LifecycleError> {
        let (expected, name) = &match (template, places.first()) {
            (_, None) => return Ok(()),
            (Some(template), Some(place)) => {
                let of = of_template(place, template);
                (facts_of(&of).await?, of.describe())
            }
            (None, Some(_)) => match majority(places, jobs, drifted).await? {
                Some(model) => model,
                None => return Ok(()),
            },
        };
        let known: Vec<String> = drifted.iter().map(|it| it.place.clone()).collect();
        let each = places.iter().filter(|place| !known.contains(&place.label)).map(|place| async move {
            let mut it = unlike(place, name);
            match facts_of(place).await {
                Ok(facts) => it.fill(expected, &facts),
                Err(error) => it.error = Some(error.to_string()),
            }
            it
        });
        let found: Vec<Drifted> = stream::iter(each).buffer_unordered(jobs).collect().await;
        drifted.extend(found.into_iter().filter(|it| !it.is_alike()));
        Ok(())
    }
}

fn unlike(place: &Place, compared_with: &str) -> Drifted {
    Drifted {
        place: place.label.clone(),
        layout: place.word(),
        compared_with: compared_with.to_owned(),
        missing: Vec::new(),
        besides: Vec::new(),
        otherwise: Vec::new(),
        error: None,
    }
}

impl Drifted {
    fn fill(&mut self, expected: &Facts, facts: &Facts) {
        for (name, should) in expected {
            match facts.get(name) {
                None => self.missing.push(name.clone()),
                Some(is) if is != should => self.otherwise.push([name.clone(), is.clone(), should.clone()]),
                Some(_) => {}
            }
        }
        self.besides = facts.keys().filter(|name| !expected.contains_key(*name)).cloned().collect();
        for names in [&mut self.missing, &mut self.besides] {
            names.truncate(MAX_NAMED);
        }
        self.otherwise.truncate(MAX_NAMED);
    }

    fn is_alike(&self) -> bool {
        self.missing.is_empty() && self.besides.is_empty() && self.otherwise.is_empty() && self.error.is_none()
    }
}

/// What most of the places have. Their facts are not all kept: a digest says which are the same.
async fn majority(places: &[&Place], jobs: usize, drifted: &mut Vec<Drifted>) -> Result<Option<Model>, LifecycleError> {
    let each = places.iter().enumerate().map(|(at, place)| async move { (at, facts_of(place).await.map(digest)) });
    let mut digests: Vec<(usize, Result<Digest256, LifecycleError>)> =
        stream::iter(each).buffer_unordered(jobs).collect().await;
    digests.sort_by_key(|(at, _)| *at);
    let mut counts: BTreeMap<Digest256, (usize, usize)> = BTreeMap::new();
    for (at, digest) in digests {
        match digest {
            Ok(digest) => counts.entry(digest).or_insert((0, at)).0 += 1,
            Err(error) => {
                if let Some(place) = places.get(at) {
                    drifted.push(Drifted { error: Some(error.to_string()), ..unlike(place, "others") });
                }
            }
        }
    }
    // Of several that are as many, that of the first place.
    let best = counts.values().max_by_key(|(count, at)| (*count, std::cmp::Reverse(*at)));
    let Some((count, place)) = best.and_then(|(count, at)| Some((count, places.get(*at)?))) else { return Ok(None) };
    if counts.len() == 1 {
        return Ok(None);
    }
    let name = format!("{} ({count} of {} places are like it)", place.label, places.len());
    Ok(Some((facts_of(place).await?, name)))
}

fn digest(facts: Facts) -> Digest256 {
    let mut digest = Sha256::new();
    for (name, text) in facts {
        for part in [name, text] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
    }
    digest.finalize().into()
}

/// The place of a template: a schema of the same database, or a database of the same server.
fn of_template(place: &Place, template: &str) -> Place {
    let mut of = Place { label: template.to_owned(), ..place.clone() };
    match &mut of.layout {
        Layout::Schema { schema, .. } => *schema = template.into(),
        Layout::Shared | Layout::Database => {
            of.upstream = Arc::new(Upstream { database: template.to_owned(), ..Upstream::clone(&place.upstream) });
        }
    }
    of
}

const SCHEMAS: &str =
    "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1";

async fn facts_of(place: &Place) -> Result<Facts, LifecycleError> {
    let admin = Admin::connect(&place.upstream).await?;
    admin.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    // What was applied is no definition, and where it stands: status.
    let without = [TABLE.to_owned()];
    if let Some(schema) = place.schema() {
        return facts(&admin, schema, &without).await?.ok_or_else(|| missing(place));
    }
    let mut all = Facts::new();
    for row in admin.rows(SCHEMAS, &[]).await? {
        let schema: String = row.try_get(0).map_err(|error| admin.failed(error))?;
        for (name, text) in facts(&admin, &schema, &without).await?.unwrap_or_default() {
            all.insert(format!("{name} in schema {schema}"), text);
        }
    }
    Ok(all)
}
