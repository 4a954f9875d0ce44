//! A shape's template: the plans of a text in which every literal that is data was replaced by a marker literal of the
//! same kind. The guard judged and verified that text; putting another token of the same kind in a marker's place
//! changes a value and nothing else.

use std::ops::Range;
use std::sync::Arc;

use super::context::data_positions;
use super::lift::{self, Lifted, LiteralKind};
use crate::guard::plan::{Piece, Plan, TenantCheck};
use crate::sql::parse::{reparse, with_stack};

/// Stands in every string marker; a text that holds it already shares no shape.
const STRING_MARK: &str = "pgwarden~literal~";
/// First digits of every number marker: below 2^31, so that a marker is an `int4` as what it stands for is.
const NUMBER_MARK: &str = "1733";

/// Whether two texts hold the same marker, so that a literal could be put into the wrong one.
pub(in crate::guard) fn share_a_marker(one: &str, other: &str) -> bool {
    let marks = [STRING_MARK, NUMBER_MARK].into_iter().filter(|mark| one.contains(mark));
    marks.filter(|mark| other.contains(mark)).any(|mark| {
        let marker = |(at, _): (usize, &str)| other.get(at..at + mark.len() + 3);
        other.match_indices(mark).filter_map(marker).any(|marker| one.contains(marker))
    })
}

/// The plans of a shape.
#[derive(Debug)]
pub(in crate::guard) struct Template {
    /// With [`Piece::Literal`] and [`TenantCheck::Lifted`] where markers stood.
    pub statements: Arc<[Arc<Plan>]>,
    /// Literals that are no data, by their place in the text, with the token they must be.
    fixed: Vec<(usize, Box<str>)>,
}

impl Template {
    /// Whether a text of this shape shares the verdict: all that differs is data.
    pub fn fits(&self, sql: &str, lifted: &Lifted) -> bool {
        self.fixed.iter().all(|(i, token)| lifted.literals.get(*i).and_then(|l| sql.get(l.span.clone())) == Some(token))
    }

    /// Makes a template of a text. `None`: no literal of it is data, or the verdict depends on a value after all.
    pub fn make(sql: &str, lifted: &Lifted, plan: impl FnOnce(&str) -> Option<Vec<Plan>>) -> Option<Self> {
        if sql.contains(STRING_MARK) || sql.contains(NUMBER_MARK) {
            return None;
        }
        let data = with_stack(sql.len(), || reparse(sql).ok().map(|statements| data_positions(&statements)))?;
        let mut marked = String::with_capacity(sql.len() + 16 * lifted.literals.len());
        let mut markers: Vec<Option<String>> = Vec::new();
        let mut fixed = Vec::new();
        let mut copied = 0;
        for (i, literal) in lifted.literals.iter().enumerate() {
            if data.contains(&literal.span.start) {
                let marker = marker(i, literal.kind);
                marked.push_str(sql.get(copied..literal.span.start)?);
                marked.push_str(&marker);
                copied = literal.span.end;
                markers.push(Some(marker));
            } else {
                fixed.push((i, sql.get(literal.span.clone())?.into()));
                markers.push(None);
            }
        }
        marked.push_str(sql.get(copied..)?);
        if fixed.len() == lifted.literals.len() {
            return None;
        }
        let mut seen = vec![false; markers.len()];
        let statements = plan(&marked)?.into_iter().map(|plan| Arc::new(unmark(plan, &markers, &mut seen))).collect();
        // A literal that came out nowhere would be lost.
        let all = markers.iter().zip(&seen).all(|(marker, seen)| marker.is_none() || *seen);
        all.then_some(Self { statements, fixed })
    }
}

fn marker(i: usize, kind: LiteralKind) -> String {
    match kind {
        LiteralKind::String => format!("'{STRING_MARK}{i:03}~'"),
        LiteralKind::Integer => format!("{NUMBER_MARK}{i:03}"),
        LiteralKind::Decimal => format!("{NUMBER_MARK}{i:03}.25"),
    }
}

fn unmark(mut plan: Plan, markers: &[Option<String>], seen: &mut [bool]) -> Plan {
    plan.pieces = plan
        .pieces
        .into_iter()
        .flat_map(|piece| match piece {
            Piece::Text(text) => split(&text, markers, seen),
            Piece::Slot(_) | Piece::Literal(_) | Piece::Channel { .. } => vec![piece],
        })
        .collect();
    for check in &mut plan.checks {
        if let TenantCheck::Literal { slot, value } = check
            && let Some(literal) =
                markers.iter().position(|m| m.as_ref().is_some_and(|m| m.trim_matches('\'') == &**value))
        {
            *check = TenantCheck::Lifted { slot: *slot, literal };
        }
    }
    plan
}

/// Cuts a text at its markers.
fn split(text: &str, markers: &[Option<String>], seen: &mut [bool]) -> Vec<Piece> {
    let mut found: Vec<(Range<usize>, usize)> = Vec::new();
    for (i, marker) in markers.iter().enumerate() {
        let Some(marker) = marker else { continue };
        for (at, _) in text.match_indices(marker.as_str()) {
            found.push((at..at + marker.len(), i));
            if let Some(seen) = seen.get_mut(i) {
                *seen = true;
            }
        }
    }
    found.sort_unstable_by_key(|(span, _)| span.start);
    let mut pieces = Vec::with_capacity(2 * found.len() + 1);
    let mut copied = 0;
    for (span, i) in found {
        pieces.extend(text.get(copied..span.start).filter(|t| !t.is_empty()).map(|t| Piece::Text(t.into())));
        pieces.push(Piece::Literal(i));
        copied = span.end;
    }
    pieces.extend(text.get(copied..).filter(|t| !t.is_empty()).map(|t| Piece::Text(t.into())));
    pieces
}

/// The literals of one text of a shape.
#[derive(Clone, Debug)]
pub(in crate::guard) struct Literals {
    sql: Box<str>,
    literals: lift::Literals,
}

impl Literals {
    /// Keeps a text's literals for when its plan is bound.
    pub fn new(sql: &str, lifted: Lifted) -> Self {
        Self { sql: sql.into(), literals: lifted.literals }
    }

    /// The text that they stand in.
    pub fn text(&self) -> &str {
        &self.sql
    }

    /// A literal's token, quotes included.
    pub fn token(&self, i: usize) -> Option<&str> {
        self.sql.get(self.literals.get(i)?.span.clone())
    }

    /// A literal's value.
    pub fn value(&self, i: usize) -> Option<String> {
        let token = self.token(i)?;
        Some(match token.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
            Some(inner) => inner.replace("''", "'"),
            None => token.to_owned(),
        })
    }
}
