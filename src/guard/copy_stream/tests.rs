use proptest::prelude::*;

use super::*;
use crate::base::oid::{INT4, TEXT};
use crate::guard::CopyTenant;

fn text(null: &str) -> CopyFormat {
    CopyFormat::Text { delimiter: b'\t', null: null.to_owned(), header: false }
}

fn csv() -> CopyFormat {
    CopyFormat::Csv { delimiter: b',', quote: b'"', escape: b'"', null: String::new(), header: false }
}

fn copy(format: CopyFormat, columns: usize, tenant: CopyTenant) -> CopyIn {
    CopyIn { format, client_columns: columns, tenant, slot: 0, by: crate::guard::CopyBy::Copy }
}

fn run(copy: &CopyIn, own: (&str, Oid), chunks: &[&[u8]]) -> Result<Vec<u8>, Refusal> {
    let mut rewriter = CopyRewriter::new(copy, own.0, own.1)?;
    let mut out = Vec::new();
    for chunk in chunks {
        rewriter.push(chunk, &mut out)?;
    }
    rewriter.finish(&mut out)?;
    Ok(out)
}

fn append(format: CopyFormat, columns: usize, own: (&str, Oid), data: &str) -> String {
    let out = run(&copy(format, columns, CopyTenant::Append), own, &[data.as_bytes()]).unwrap();
    String::from_utf8(out).unwrap()
}

fn check(format: CopyFormat, columns: usize, at: usize, data: &str) -> Result<String, String> {
    run(&copy(format, columns, CopyTenant::Check(at)), ("1", INT4), &[data.as_bytes()])
        .map(|out| String::from_utf8(out).unwrap())
        .map_err(|r| r.error.code.as_str().to_owned())
}

#[test]
fn text_rows_gain_the_tenant_column() {
    let own = ("1", INT4);
    assert_eq!(append(text("\\N"), 2, own, "a\tb\nc\td\n"), "a\tb\t1\nc\td\t1\n");
    assert_eq!(append(text("\\N"), 2, own, "a\tb"), "a\tb\t1");
    assert_eq!(append(text("\\N"), 1, own, "\n\\N\n"), "\t1\n\\N\t1\n");
    assert_eq!(append(text("\\N"), 2, own, "a\\tb\tx\\\ny\n"), "a\\tb\tx\\\ny\t1\n");
    assert_eq!(append(text("\\N"), 2, own, "a\tb\r\nc\td\r\n"), "a\tb\t1\r\nc\td\t1\r\n");
    assert_eq!(append(text("\\N"), 2, own, "a\tb\rc\td\r"), "a\tb\t1\rc\td\t1\r");
    // a row with too few fields is left to the server to refuse
    assert_eq!(append(text("\\N"), 2, own, "a\n"), "a\n");
}

#[test]
fn the_end_marker_ends_the_data() {
    assert_eq!(append(text("\\N"), 1, ("1", INT4), "a\n\\.\n2\tevil\n"), "a\t1\n\\.\n");
    assert_eq!(append(csv(), 1, ("1", INT4), "a\n\\.\nevil\n"), "a,\"1\"\n\\.\n");
    assert_eq!(append(csv(), 1, ("1", INT4), "\\.x\n\"\n\\.\n\"\n"), "\\.x,\"1\"\n\"\n\\.\n\",\"1\"\n");
    assert_eq!(check(text("\\N"), 2, 0, "1\ta\n\\.\r\n2\tb\n"), Ok("1\ta\n\\.\n".to_owned()));
    assert_eq!(check(text("\\N"), 2, 0, "1\ta\\.\n"), Err("22P04".to_owned()));
    assert_eq!(check(text("\\N"), 2, 0, "\\.x\n"), Err("22P04".to_owned()));
}

#[test]
fn text_rows_of_others_are_refused() {
    let text_check = |data| check(text("\\N"), 2, 0, data);
    for ok in ["1\ta\n", "01\ta\n", "\\x31\ta\n", "\\061\ta\n", " 1 \ta\n", "\\1\ta", "+1\ta\n"] {
        match text_check(ok) {
            // \1 is the byte 1, not the digit
            Err(code) => assert_eq!((ok, code.as_str()), ("\\1\ta", "42501")),
            Ok(out) => assert_eq!(out, ok),
        }
    }
    for foreign in ["2\ta\n", "\\x32\ta\n", "\\062\ta\n", "\\N\ta\n", "\ta\n", "1\ta\n2\tb\n", "1\ta\n2\tb", "11\ta\n"]
    {
        assert_eq!(text_check(foreign), Err("42501".to_owned()), "{foreign}");
    }
    let long = format!("{}1\ta\n", "0".repeat(10_000));
    assert_eq!(text_check(&long), Err("42501".to_owned()));
    assert_eq!(check(text("1"), 2, 0, "1\ta\n"), Err("42501".to_owned()));
    assert_eq!(check(text("\\N"), 2, 1, "a\t2"), Err("42501".to_owned()));
}

#[test]
fn columns_that_would_push_the_tenant_value_aside_are_refused() {
    let run = |data: &str| run(&copy(text("\\N"), 2, CopyTenant::Append), ("1", INT4), &[data.as_bytes()]);
    assert_eq!(run("a\tb\t2\n").unwrap_err().error.code.as_str(), "22P04");
    assert_eq!(run("a\tb\nc\td\r\n").unwrap_err().error.code.as_str(), "22P04");
    assert_eq!(run("a\tb\r\nc\td\n").unwrap_err().error.code.as_str(), "22P04");
    assert_eq!(run("a\tb\\").unwrap_err().error.code.as_str(), "22P04");
}

#[test]
fn values_never_read_as_null_or_break_the_row() {
    assert_eq!(append(text("1"), 1, ("1", INT4), "a\n"), "a\t\\061\n");
    assert_eq!(append(text("\\N"), 1, ("a\tb\\\n", TEXT), "x\n"), "x\ta\\011b\\134\\012\n");
    assert_eq!(append(csv(), 1, ("a\"b,\n", TEXT), "x\n"), "x,\"a\"\"b,\n\"\n");
    let format = CopyFormat::Csv { delimiter: b';', quote: b'\'', escape: b'\\', null: "1".into(), header: false };
    assert_eq!(append(format, 1, ("a'b\\", TEXT), "x\n"), "x;'a\\'b\\\\'\n");
}

#[test]
fn csv_rows_are_found_through_quotes() {
    let own = ("1", INT4);
    assert_eq!(append(csv(), 2, own, "a,\"x\ny\"\nb,\"\"\"q\"\"\"\n"), "a,\"x\ny\",\"1\"\nb,\"\"\"q\"\"\",\"1\"\n");
    assert_eq!(check(csv(), 3, 0, "1,a,\"x\n2,p,y\"\n"), Ok("1,a,\"x\n2,p,y\"\n".to_owned()));
    assert_eq!(check(csv(), 3, 0, "1,a,\"x\n2,p,y\"\n2,p,z\n"), Err("42501".to_owned()));
    assert_eq!(check(csv(), 2, 0, "\"1\",a\n"), Ok("\"1\",a\n".to_owned()));
    assert_eq!(check(csv(), 2, 0, "\"1\"\"\",a\n"), Err("42501".to_owned()));
    assert_eq!(check(csv(), 2, 0, ",a\n"), Err("42501".to_owned()));
    assert_eq!(check(csv(), 2, 0, "1,a,b\n"), Err("22P04".to_owned()));
    // an open quote at the end is the server's to refuse: nothing is added behind it
    assert_eq!(append(csv(), 1, own, "\"a\n"), "\"a\n");
}

#[test]
fn a_csv_escape_of_its_own_is_followed() {
    let format = || CopyFormat::Csv { delimiter: b',', quote: b'"', escape: b'\\', null: String::new(), header: false };
    assert_eq!(check(format(), 2, 0, "1,\"a\\\"\n2,b\"\n"), Ok("1,\"a\\\"\n2,b\"\n".to_owned()));
    assert_eq!(check(format(), 2, 0, "1,\"a\\\\\"\n2,b\n"), Err("42501".to_owned()));
}

#[test]
fn the_header_is_no_row() {
    let format = CopyFormat::Csv { delimiter: b',', quote: b'"', escape: b'"', null: String::new(), header: true };
    assert_eq!(check(format.clone(), 2, 0, "\"t\nx\",k\n1,a\n"), Ok("\"t\nx\",k\n1,a\n".to_owned()));
    assert_eq!(check(format, 2, 0, "t,k\n2,a\n"), Err("42501".to_owned()));
}

#[test]
fn ambiguous_separators_are_refused() {
    let new = |format| CopyRewriter::new(&copy(format, 1, CopyTenant::Append), "1", INT4).is_err();
    assert!(new(CopyFormat::Text { delimiter: b'\\', null: String::new(), header: false }));
    assert!(new(CopyFormat::Csv { delimiter: b',', quote: b'\\', escape: b'"', null: String::new(), header: false }));
    assert!(new(CopyFormat::Csv { delimiter: b',', quote: b',', escape: b'"', null: String::new(), header: false }));
    assert!(CopyRewriter::new(&copy(csv(), 1, CopyTenant::Append), "x", INT4).is_err());
}

/// A binary stream of rows of optional fields.
fn binary(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x03ext".to_vec();
    for row in rows {
        out.extend(i16::try_from(row.len()).unwrap().to_be_bytes());
        for field in row {
            match field {
                None => out.extend((-1i32).to_be_bytes()),
                Some(bytes) => {
                    out.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
                    out.extend(bytes);
                }
            }
        }
    }
    out.extend((-1i16).to_be_bytes());
    out
}

fn int(value: i32) -> Option<Vec<u8>> {
    Some(value.to_be_bytes().to_vec())
}

#[test]
fn binary_rows_gain_the_tenant_column_or_are_compared() {
    let name = || Some(b"name".to_vec());
    let sent = binary(&[vec![name(), None], vec![Some(vec![]), name()]]);
    let wanted = binary(&[vec![name(), None, int(1)], vec![Some(vec![]), name(), int(1)]]);
    let appended = copy(CopyFormat::Binary, 2, CopyTenant::Append);
    assert_eq!(run(&appended, ("1", INT4), &[&sent]).unwrap(), wanted);

    let compared = copy(CopyFormat::Binary, 2, CopyTenant::Check(0));
    let own = binary(&[vec![int(1), name()]]);
    assert_eq!(run(&compared, ("1", INT4), &[&own]).unwrap(), own);
    for foreign in [int(2), None, Some(vec![]), Some(vec![0; 8]), Some(vec![0; 100_000])] {
        let data = binary(&[vec![int(1), name()], vec![foreign, name()]]);
        let refusal = run(&compared, ("1", INT4), &[&data]).unwrap_err();
        assert_eq!(refusal.error.code.as_str(), "42501");
    }
}

#[test]
fn malformed_binary_is_refused() {
    let compared = copy(CopyFormat::Binary, 2, CopyTenant::Check(0));
    let good = binary(&[vec![int(1), None]]);
    let mut trailing = good.clone();
    trailing.push(0);
    let mut oids = good.clone();
    oids[12] = 1;
    let mut signature = good.clone();
    signature[0] = b'Q';
    let short = binary(&[vec![int(1)]]);
    let mut negative = good.clone();
    negative[24] = 0xfe;
    for bad in [trailing, oids, signature, short, negative] {
        let refusal = run(&compared, ("1", INT4), &[&bad]).unwrap_err();
        assert_eq!(refusal.error.code.as_str(), "22P04", "{bad:?}");
    }
    assert!(run(&copy(CopyFormat::Binary, 1, CopyTenant::Append), ("(1,2)", 600), &[]).is_err());
}

/// Splits `data` at the given points.
fn split<'a>(data: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (data.len() + 1)).collect();
    cuts.sort_unstable();
    let mut chunks = Vec::new();
    let mut start = 0;
    for cut in cuts {
        chunks.push(&data[start..cut]);
        start = cut;
    }
    chunks.push(&data[start..]);
    chunks
}

/// Writes fields as COPY TO does: the oracle for reading.
fn write_text(rows: &[Vec<Option<String>>], eol: &str) -> String {
    let field = |f: &Option<String>| match f {
        None => "\\N".to_owned(),
        Some(s) => s.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"),
    };
    rows.iter().map(|row| row.iter().map(field).collect::<Vec<_>>().join("\t") + eol).collect()
}

fn write_csv(rows: &[Vec<Option<String>>], eol: &str) -> String {
    let field = |f: &Option<String>| match f {
        None => String::new(),
        Some(s) => format!("\"{}\"", s.replace('"', "\"\"")),
    };
    rows.iter().map(|row| row.iter().map(field).collect::<Vec<_>>().join(",") + eol).collect()
}

fn rows() -> impl Strategy<Value = Vec<Vec<Option<String>>>> {
    let field = prop_oneof![
        1 => Just(None),
        6 => "[a-z\\\\\"',\\.\t\r\n\u{e4}\u{1f980}]{0,6}".prop_map(Some),
    ];
    proptest::collection::vec(proptest::collection::vec(field, 3), 0..6)
}

fn with_own(rows: &[Vec<Option<String>>], own: &str) -> Vec<Vec<Option<String>>> {
    rows.iter().map(|row| row.iter().cloned().chain([Some(own.to_owned())]).collect()).collect()
}

proptest! {
    #[test]
    fn written_rows_are_read_back_with_the_tenant_column(
        rows in rows(), eol in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], cuts in proptest::collection::vec(0usize..200, 0..6)
    ) {
        for (format, data, wanted) in [
            (text("\\N"), write_text(&rows, eol), write_text(&with_own(&rows, "acme"), eol)),
            (csv(), write_csv(&rows, eol), write_csv(&with_own(&rows, "acme"), eol)),
        ] {
            let copy = copy(format, 3, CopyTenant::Append);
            let out = run(&copy, ("acme", TEXT), &split(data.as_bytes(), &cuts)).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn own_rows_pass_unchanged_and_one_foreign_row_is_found(
        rows in rows(), at in 0usize..4, foreign in 0usize..20, cuts in proptest::collection::vec(0usize..200, 0..6)
    ) {
        let place = |i: usize, row: &Vec<Option<String>>| {
            let mut row = row.clone();
            let value = if i == foreign { "other" } else { "acme" };
            row.insert(at, Some(value.to_owned()));
            row
        };
        let rows: Vec<_> = rows.iter().enumerate().map(|(i, row)| place(i, row)).collect();
        for (format, data) in [(text("\\N"), write_text(&rows, "\n")), (csv(), write_csv(&rows, "\n"))] {
            let copy = copy(format, 4, CopyTenant::Check(at));
            let out = run(&copy, ("acme", TEXT), &split(data.as_bytes(), &cuts));
            match out {
                Ok(out) => {
                    prop_assert!(foreign >= rows.len());
                    prop_assert_eq!(String::from_utf8(out).unwrap(), data);
                }
                Err(refusal) => {
                    prop_assert!(foreign < rows.len());
                    prop_assert_eq!(refusal.error.code.as_str(), "42501");
                }
            }
        }
    }

    #[test]
    fn splitting_anywhere_gives_the_same(
        data in proptest::collection::vec(prop_oneof![
            Just(b'1'), Just(b'2'), Just(b'\t'), Just(b','), Just(b'"'), Just(b'\\'), Just(b'.'), Just(b'\n'), Just(b'\r'), any::<u8>()
        ], 0..60),
        cuts in proptest::collection::vec(0usize..60, 0..8),
        tenant in prop_oneof![Just(CopyTenant::Append), Just(CopyTenant::Check(0)), Just(CopyTenant::Check(1))]
    ) {
        let binary = [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec(), data.clone()].concat();
        for (format, data) in [(text("\\N"), &data), (csv(), &data), (CopyFormat::Binary, &binary)] {
            let copy = copy(format, 2, tenant);
            let whole = run(&copy, ("1", INT4), &[data]);
            let parts = run(&copy, ("1", INT4), &split(data, &cuts));
            prop_assert_eq!(&whole, &parts);
        }
    }

    #[test]
    fn binary_rows_are_found_however_split(
        fields in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..8)), 0..6),
        cuts in proptest::collection::vec(0usize..120, 0..8)
    ) {
        let rows: Vec<Vec<Option<Vec<u8>>>> = fields.iter().map(|f| vec![f.clone()]).collect();
        let wanted: Vec<Vec<Option<Vec<u8>>>> = fields.iter().map(|f| vec![f.clone(), int(7)]).collect();
        let copy = copy(CopyFormat::Binary, 1, CopyTenant::Append);
        let sent = binary(&rows);
        prop_assert_eq!(run(&copy, ("7", INT4), &split(&sent, &cuts)).unwrap(), binary(&wanted));
    }
}

/// Quotes in a field before it do not make NULL of the tenant column a value.
#[test]
fn a_quote_elsewhere_does_not_hide_a_null() {
    let format = || CopyFormat::Csv { delimiter: b',', quote: b'"', escape: b'"', null: "1".to_owned(), header: false };
    assert_eq!(check(format(), 2, 1, "\"x\",\"1\"\n"), Ok("\"x\",\"1\"\n".to_owned()));
    assert_eq!(check(format(), 2, 1, "\"x\",1\n"), Err("42501".to_owned()));
    assert_eq!(check(format(), 2, 1, "x,1\n"), Err("42501".to_owned()));
}
