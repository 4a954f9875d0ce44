//! What came of it, for people and for machines.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::tenant::pretty;
use crate::cli::tenant::print::aligned;
use crate::cli::text::shown;
use crate::lifecycle::migrate::{DriftReport, Drifted, Report, State, StatusReport};

/// Places of one error are named up to so many.
const NAMED: usize = 20;

pub(super) fn report(report: &Report, as_json: bool) -> String {
    if as_json {
        let counts: serde_json::Map<String, serde_json::Value> =
            STATES.map(|state| (state.as_str().replace(' ', "_"), report.count(state).into())).into_iter().collect();
        return pretty(&json!({ "places": report.places, "stopped": report.stopped, "counts": counts }));
    }
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    for it in report.places.iter().filter(|it| it.state == State::Failed).take(NAMED) {
        let _ = writeln!(text, "{}: {}", it.place, it.error.as_deref().unwrap_or_default());
        if let Some(hint) = &it.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
    }
    for it in report.places.iter().filter(|it| it.state == State::Pending) {
        let _ = writeln!(text, "{}: would apply {}", it.place, it.applied.join(", "));
    }
    let counts = STATES.into_iter().map(|state| (state, report.count(state))).filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(state, count)| format!("{count} {}", state.as_str())).collect();
    let stopped = report.stopped.iter().map(|why| format!(" ({why})")).collect::<String>();
    let _ = writeln!(text, "{} places: {}{stopped}", report.places.len(), counts.join(", "));
    shown(&text)
}

const STATES: [State; 5] = [State::Done, State::UpToDate, State::Pending, State::Failed, State::Left];

pub(super) fn status(status: &StatusReport, as_json: bool) -> String {
    if as_json {
        return pretty(&json!(status));
    }
    let head = ["place", "layout", "version", "pending", "last run", "at", "problem or last error"];
    let lines = status.places.iter().map(|it| {
        let last = it.last_error.as_ref().filter(|_| it.last_run.as_deref() == Some("failed"));
        vec![
            it.place.clone(),
            it.layout.to_owned(),
            it.version.clone().unwrap_or_else(|| "-".to_owned()),
            it.pending.map(|count| count.to_string()).unwrap_or_default(),
            it.last_run.clone().unwrap_or_default(),
            it.last_run_at.as_deref().and_then(|at| at.get(..19)).unwrap_or_default().to_owned(),
            it.problem.as_ref().or(last).cloned().unwrap_or_default(),
        ]
    });
    let mut text = aligned(std::iter::once(head.map(str::to_owned).to_vec()).chain(lines).collect(), &[2, 3]);
    for note in &status.notes {
        let _ = writeln!(text, "? {note}");
    }
    shown(&text)
}

pub(super) fn drift(drift: &DriftReport, as_json: bool) -> String {
    if as_json {
        return pretty(&json!(drift));
    }
    let mut text = String::new();
    for it in &drift.drifted {
        one(it, &mut text);
    }
    let _ = writeln!(text, "{} of {} places are not like the others", drift.drifted.len(), drift.places);
    shown(&text)
}

fn one(it: &Drifted, text: &mut String) {
    if let Some(error) = &it.error {
        let _ = writeln!(text, "{}: {error}", it.place);
        return;
    }
    let _ = writeln!(text, "{} compared with {}", it.place, it.compared_with);
    for (word, names) in [("lacks", &it.missing), ("has besides", &it.besides)] {
        for name in names {
            let _ = writeln!(text, "  {word} {name}");
        }
    }
    for [name, is, should] in &it.otherwise {
        let _ = writeln!(text, "  {name}\n    is         {}\n    should be  {}", line(is), line(should));
    }
}

/// A definition of several lines on one.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
