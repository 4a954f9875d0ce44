//! Streams in, rows out, in parts of every length.

use std::sync::Arc;

use super::*;
use crate::base::QualifiedName;
use crate::guard::{CopyBy, CopyTenant};

fn copy(format: CopyFormat, columns: &[&str], tenant: CopyTenant) -> (CopyIn, Arc<CopyTarget>) {
    let sent = columns.len();
    let mut columns: Vec<String> = columns.iter().map(|it| (*it).to_owned()).collect();
    if tenant == CopyTenant::Append {
        columns.push("tenant_id".to_owned());
    }
    let none = vec![false; columns.len()];
    let target = Arc::new(CopyTarget {
        table: QualifiedName::new("public", "or\"ders"),
        columns,
        header_matches: false,
        force_null: none.clone(),
        force_not_null: none,
    });
    (CopyIn { format, client_columns: sent, tenant, slot: 0, by: CopyBy::Insert(Arc::clone(&target)) }, target)
}

fn text() -> CopyFormat {
    CopyFormat::Text { delimiter: b'\t', null: "\\N".to_owned(), header: false }
}

fn csv(header: bool) -> CopyFormat {
    CopyFormat::Csv { delimiter: b',', quote: b'"', escape: b'"', null: String::new(), header }
}

/// All rows, `∅` for NULL, or the error.
fn read(copy: &CopyIn, target: &Arc<CopyTarget>, data: &[u8], step: usize) -> Result<Vec<String>, String> {
    let mut inserts = CopyInserts::new(copy, target, "7", 23).unwrap();
    let mut rows = Vec::new();
    let width = target.columns.len();
    let mut send = |batch: &Batch| {
        let values: Vec<String> =
            batch.values().map(|it| it.map_or("∅".to_owned(), |it| String::from_utf8_lossy(it).into_owned())).collect();
        assert_eq!(values.len(), batch.rows() * width);
        rows.extend(values.chunks(width).map(|it| it.join("|")));
    };
    let outcome =
        data.chunks(step).try_for_each(|part| inserts.push(part, &mut send)).and_then(|()| inserts.finish(&mut send));
    match outcome {
        Ok(()) => Ok(rows),
        Err(refusal) => Err(format!("{} {} ({})", refusal.error.code, refusal.error.message, inserts.position())),
    }
}

fn each_step(copy: &CopyIn, target: &Arc<CopyTarget>, data: &[u8]) -> Result<Vec<String>, String> {
    let whole = read(copy, target, data, data.len().max(1));
    for step in [1, 2, 3, 5] {
        assert_eq!(read(copy, target, data, step), whole, "in parts of {step}");
    }
    whole
}

#[test]
fn text_rows() {
    let (it, target) = copy(text(), &["a", "b"], CopyTenant::Append);
    let ask = |data: &str| each_step(&it, &target, data.as_bytes());
    assert_eq!(ask("1\tx\n2\t\\N\n"), Ok(vec!["1|x|7".to_owned(), "2|∅|7".to_owned()]));
    assert_eq!(ask("1\ta\\tb\\n\\x41\\101\\\\\r\n2\ty\r\n"), Ok(vec!["1|a\tb\nAA\\|7".to_owned(), "2|y|7".to_owned()]));
    assert_eq!(ask("1\ta\\\nb\n2\t"), Ok(vec!["1|a\nb|7".to_owned(), "2||7".to_owned()]));
    assert_eq!(ask("1\tx\n\\.\nwhatever"), Ok(vec!["1|x|7".to_owned()]));
    assert_eq!(ask(""), Ok(vec![]));
    assert_eq!(ask("1\tx\n2\n"), Err("22P04 missing data for column \"b\" (COPY or\"ders, line 2)".to_owned()));
    assert!(ask("1\tx\ty\n").unwrap_err().starts_with("22P04 extra data"));
}

#[test]
fn csv_rows() {
    let (it, target) = copy(csv(true), &["a", "b"], CopyTenant::Append);
    let ask = |data: &str| each_step(&it, &target, data.as_bytes());
    assert_eq!(
        ask("a,b\n1,\"x,\"\"y\nz\"\n2,\n3,\"\"\n"),
        Ok(vec!["1|x,\"y\nz|7".to_owned(), "2|∅|7".to_owned(), "3||7".to_owned()])
    );
    assert_eq!(ask("a,b\n1,x\n2\n"), Err("22P04 missing data for column \"b\" (COPY or\"ders, line 3)".to_owned()));
    let (it, _) = copy(csv(true), &["a", "b"], CopyTenant::Append);
    let mut forced = (*target).clone();
    forced.header_matches = true;
    forced.force_null[0] = true;
    forced.force_not_null[1] = true;
    let forced = Arc::new(forced);
    let ask = |data: &str| each_step(&it, &forced, data.as_bytes());
    assert_eq!(ask("a,b\n\"\",\n"), Ok(vec!["∅||7".to_owned()]));
    assert!(ask("a,c\n1,2\n").unwrap_err().contains("field 2: got \"c\", expected \"b\""));
    assert!(ask("a\n1,2\n").unwrap_err().contains("wrong number of fields in header line: got 1, expected 2"));
}

#[test]
fn rows_of_another_tenant_are_refused() {
    let (it, target) = copy(text(), &["tenant_id", "b"], CopyTenant::Check(0));
    assert_eq!(each_step(&it, &target, b"7\tx\n"), Ok(vec!["7|x".to_owned()]));
    assert!(each_step(&it, &target, b"7\tx\n8\ty\n").unwrap_err().starts_with("42501"));
}

#[test]
fn binary_rows() {
    let (it, target) = copy(CopyFormat::Binary, &["a", "b"], CopyTenant::Append);
    let mut data = b"PGCOPY\n\xff\r\n\0".to_vec();
    data.extend([0; 8]);
    data.extend([0, 2, 0, 0, 0, 1, b'x', 0xff, 0xff, 0xff, 0xff]);
    let rows = Ok(vec!["x|∅|\0\0\0\u{7}".to_owned()]);
    assert_eq!(each_step(&it, &target, &data), rows);
    let within = &data[..data.len() - 2];
    assert!(each_step(&it, &target, within).unwrap_err().contains("unexpected EOF"));
    data.extend([0xff, 0xff]);
    assert_eq!(each_step(&it, &target, &data), rows);
    assert!(each_step(&it, &target, b"").is_err());
}

#[test]
fn statements_and_batches() {
    let (it, target) = copy(text(), &["a", "b"], CopyTenant::Append);
    assert_eq!(
        target.insert(2),
        "INSERT INTO \"public\".\"or\"\"ders\" (\"a\", \"b\", \"tenant_id\") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3), ($4, $5, $6)"
    );
    assert_eq!(target.full(), 100);
    let mut inserts = CopyInserts::new(&it, &target, "7", 23).unwrap();
    let mut sizes = Vec::new();
    for row in 0..250 {
        inserts.push(format!("{row}\tx\n").as_bytes(), &mut |batch| sizes.push((batch.rows(), batch.lines()))).unwrap();
    }
    inserts.finish(&mut |batch| sizes.push((batch.rows(), batch.lines()))).unwrap();
    assert_eq!(sizes, [(100, (1, 100)), (100, (101, 200)), (50, (201, 250))]);
    let context = |lines, parameter| inserts.context(lines, parameter);
    assert_eq!(context((101, 200), Some(5)), "COPY or\"ders, line 102, column b");
    assert_eq!(context((101, 200), None), "COPY or\"ders, lines 101 to 200");
    assert_eq!(context((3, 3), None), "COPY or\"ders, line 3");
}
