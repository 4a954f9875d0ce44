//! The stream rewriters of COPY FROM, against a plain reading of the whole stream as Postgres reads it: in two steps, lines
//! and then fields, unlike the rewriter, which goes byte by byte.

use pgwarden::guard::copy_stream::CopyRewriter;
use pgwarden::guard::{CopyBy, CopyFormat, CopyIn, CopyTenant};

const INT4: u32 = 23;
const TEXT: u32 = 25;

type Row = Vec<Option<Vec<u8>>>;

/// Text and csv. The first bytes choose the format, the tenant column's place and where the stream is cut.
pub fn copy_text(data: &[u8]) {
    let [how, place, cut, stream @ ..] = data else { return };
    let header = how & 2 != 0;
    let format = if how & 1 == 0 {
        let null = if how & 4 == 0 { "\\N" } else { "7" };
        CopyFormat::Text { delimiter: if how & 8 == 0 { b'\t' } else { b',' }, null: null.to_owned(), header }
    } else {
        let null = if how & 4 == 0 { "" } else { "7" };
        let escape = if how & 8 == 0 { b'"' } else { b'\\' };
        CopyFormat::Csv { delimiter: b',', quote: b'"', escape, null: null.to_owned(), header }
    };
    let (own, type_oid) = if how & 16 == 0 { ("7", INT4) } else { ("a,\"\\b", TEXT) };
    check(format, *place, *cut, own, type_oid, stream);
}

/// Binary.
pub fn copy_binary(data: &[u8]) {
    let [place, cut, stream @ ..] = data else { return };
    // Most streams should get past the signature.
    let stream = [b"PGCOPY\n\xff\r\n\0".as_slice(), stream].concat();
    check(CopyFormat::Binary, *place, *cut, "7", INT4, &stream);
}

fn check(format: CopyFormat, place: u8, cut: u8, own: &str, type_oid: u32, stream: &[u8]) {
    let client_columns = 1 + usize::from(place & 3);
    let tenant = match place & 8 {
        0 => CopyTenant::Append,
        _ => CopyTenant::Check(usize::from(place >> 4) % client_columns),
    };
    let copy = CopyIn { format: format.clone(), client_columns, tenant, slot: 0, by: CopyBy::Copy };
    let (whole, ok) = rewritten(&copy, own, type_oid, stream, usize::MAX);
    let (pieces, ok_in_pieces) = rewritten(&copy, own, type_oid, stream, 1 + usize::from(cut));
    assert_eq!(ok, ok_in_pieces, "the outcome depends on where the stream is cut");
    if ok {
        assert_eq!(whole, pieces, "the bytes depend on where the stream is cut");
    }
    let (at, width) = match tenant {
        CopyTenant::Append => (client_columns, client_columns + 1),
        CopyTenant::Check(at) => (at, client_columns),
    };
    // What the server would take of it, whatever became of the stream later: our value in the tenant column, or no row.
    let (mut sent, sent_ok) = read(&format, &whole);
    if !ok && !ends_in_a_row(&format, &whole) {
        // After a refusal the COPY is made to fail, and a row without its line end is none.
        sent.pop();
    }
    for row in sent.iter().filter(|row| row.len() == width) {
        let value = row.get(at).cloned().flatten();
        assert!(
            value.as_deref().is_some_and(|v| is_own(&format, v, own)),
            "a row with {value:?} goes out: {copy:?} {own:?} {stream:?} {whole:?} {ok}"
        );
    }
    // And nothing is lost of a stream that is in order. (`\.` in csv ends it before Postgres 18 and is data since: only what is
    // right for both passes. A value longer than any spelling of the tenant's is not the tenant's.)
    let marker = matches!(format, CopyFormat::Csv { .. }) && stream.windows(2).any(|two| two == b"\\.");
    if marker || stream.len() > 256 && matches!(tenant, CopyTenant::Check(_)) {
        return;
    }
    let (given, given_ok) = read(&format, stream);
    if !given_ok || given.iter().any(|row| row.len() != client_columns) || matches!(format, CopyFormat::Binary) && !ok {
        return;
    }
    let expected: Option<Vec<Row>> = match tenant {
        CopyTenant::Append => {
            Some(given.into_iter().map(|row| row.into_iter().chain([Some(Vec::new())]).collect()).collect())
        }
        CopyTenant::Check(_) => given
            .iter()
            .all(|row| row.get(at).cloned().flatten().is_some_and(|v| is_own(&format, &v, own)))
            .then_some(given),
    };
    let Some(expected) = expected else { return };
    assert!(ok && sent_ok, "a stream in order is refused");
    let blank = |rows: Vec<Row>| -> Vec<Row> {
        let without = |mut row: Row| {
            row.remove(at);
            row
        };
        rows.into_iter().map(without).collect()
    };
    assert_eq!(blank(sent), blank(expected), "other rows than the client's");
}

/// Whether the last row has its line end.
fn ends_in_a_row(format: &CopyFormat, stream: &[u8]) -> bool {
    let quotes = match format {
        CopyFormat::Text { .. } => None,
        CopyFormat::Csv { quote, escape, .. } => Some((*quote, *escape)),
        CopyFormat::Binary => return true,
    };
    // Something more after it begins another row.
    let (rows, _) = lines(stream, quotes);
    let (more, _) = lines(&[stream, b"x"].concat(), quotes);
    more.len() > rows.len()
}

fn rewritten(copy: &CopyIn, own: &str, type_oid: u32, stream: &[u8], step: usize) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let Ok(mut rewriter) = CopyRewriter::new(copy, own, type_oid) else { return (out, false) };
    for piece in stream.chunks(step.min(stream.len().max(1))) {
        if rewriter.push(piece, &mut out).is_err() {
            return (out, false);
        }
    }
    let ok = rewriter.finish(&mut out).is_ok();
    (out, ok)
}

/// Whether a field is the tenant's value; spellings that Postgres reads as the same number are the same.
fn is_own(format: &CopyFormat, value: &[u8], own: &str) -> bool {
    if matches!(format, CopyFormat::Binary) {
        return value == [0, 0, 0, 7];
    }
    let text = String::from_utf8_lossy(value);
    text == own || own == "7" && text.trim().parse() == Ok(7)
}

/// Rows as the server would take them, and whether it came to the end without an error.
fn read(format: &CopyFormat, stream: &[u8]) -> (Vec<Row>, bool) {
    match format {
        CopyFormat::Text { delimiter, null, header } => {
            let (lines, ok) = lines(stream, None);
            let rows = lines.into_iter().skip(usize::from(*header));
            (rows.map(|line| text_fields(&line, *delimiter, null.as_bytes())).collect(), ok)
        }
        CopyFormat::Csv { delimiter, quote, escape, null, header } => {
            let (lines, ok) = lines(stream, Some((*quote, *escape)));
            let mut rows = Vec::new();
            for line in lines.into_iter().skip(usize::from(*header)) {
                match csv_fields(&line, *delimiter, *quote, *escape, null.as_bytes()) {
                    Some(row) => rows.push(row),
                    None => return (rows, false),
                }
            }
            (rows, ok)
        }
        CopyFormat::Binary => binary_rows(stream).unwrap_or_else(|rows| (rows, false)),
    }
}

/// `CopyReadLineText`.
fn lines(stream: &[u8], csv: Option<(u8, u8)>) -> (Vec<Vec<u8>>, bool) {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    let mut end: Option<&[u8]> = None;
    let (mut in_quote, mut last_was_escape) = (false, false);
    let mut at = 0;
    while let Some(&byte) = stream.get(at) {
        if let Some((quote, escape)) = csv {
            let escape = (escape != quote).then_some(escape);
            if in_quote && Some(byte) == escape {
                last_was_escape = !last_was_escape;
            }
            if byte == quote && !last_was_escape {
                in_quote = !in_quote;
            }
            if Some(byte) != escape {
                last_was_escape = false;
            }
        }
        let found: Option<&[u8]> = match byte {
            b'\n' if !in_quote => Some(b"\n"),
            b'\r' if !in_quote && stream.get(at + 1) == Some(&b'\n') && end != Some(b"\r") => Some(b"\r\n"),
            b'\r' if !in_quote => Some(b"\r"),
            _ => None,
        };
        if let Some(found) = found {
            if end.is_some_and(|end| end != found) {
                return (lines, false);
            }
            end = Some(found);
            lines.push(std::mem::take(&mut line));
            at += found.len();
            continue;
        }
        if byte == b'\\' && (csv.is_none() || line.is_empty()) {
            let next = stream.get(at + 1).copied();
            if next == Some(b'.') && line.is_empty() {
                let rest = stream.get(at + 2..).unwrap_or_default();
                let alone = rest.is_empty() || rest.starts_with(b"\n") || rest.starts_with(b"\r");
                if alone {
                    return (lines, true);
                }
                if csv.is_none() {
                    return (lines, false);
                }
            } else if next == Some(b'.') && csv.is_none() {
                return (lines, false);
            }
            if csv.is_none() {
                line.push(byte);
                match next {
                    Some(next) => line.push(next),
                    None => return (lines, false),
                }
                at += 2;
                continue;
            }
        }
        line.push(byte);
        at += 1;
    }
    if in_quote {
        return (lines, false);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    (lines, true)
}

/// `CopyReadAttributesText`. An empty line is a row of one empty field.
fn text_fields(line: &[u8], delimiter: u8, null: &[u8]) -> Row {
    let mut fields = Vec::new();
    let mut raw = Vec::new();
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == delimiter {
            fields.push(std::mem::take(&mut raw));
        } else {
            raw.push(byte);
            if byte == b'\\' {
                raw.extend(bytes.next());
            }
        }
    }
    fields.push(raw);
    fields.into_iter().map(|raw| (raw != null).then(|| unescaped(&raw))).collect()
}

fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(&escaped) = raw.get(at) else { break };
        at += 1;
        let digits = |from: usize, most: usize, radix: u32| {
            raw.iter().skip(from).take(most).take_while(|b| char::from(**b).is_digit(radix)).count()
        };
        let number = |from: usize, count: usize, radix: u32| {
            let text = String::from_utf8_lossy(raw.get(from..from + count).unwrap_or_default()).into_owned();
            u32::from_str_radix(&text, radix).map_or(0, |n| (n & 0xff) as u8)
        };
        match escaped {
            b'0'..=b'7' => {
                let count = digits(at - 1, 3, 8);
                out.push(number(at - 1, count, 8));
                at += count - 1;
            }
            b'x' if digits(at, 2, 16) > 0 => {
                let count = digits(at, 2, 16);
                out.push(number(at, count, 16));
                at += count;
            }
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            other => out.push(other),
        }
    }
    out
}

/// `CopyReadAttributesCSV`.
fn csv_fields(line: &[u8], delimiter: u8, quote: u8, escape: u8, null: &[u8]) -> Option<Row> {
    let mut fields = Vec::new();
    let (mut field, mut quoted) = (Vec::new(), false);
    let mut bytes = line.iter().copied().peekable();
    loop {
        match bytes.next() {
            Some(byte) if byte == delimiter => {
                let whole = std::mem::take(&mut field);
                fields.push((quoted || whole != null).then_some(whole));
                quoted = false;
            }
            Some(byte) if byte == quote => {
                quoted = true;
                loop {
                    let inner = bytes.next()?;
                    if inner == escape
                        && let Some(next) = bytes.next_if(|next| *next == quote || *next == escape)
                    {
                        field.push(next);
                    } else if inner == quote {
                        break;
                    } else {
                        field.push(inner);
                    }
                }
            }
            Some(byte) => field.push(byte),
            None => {
                fields.push((quoted || field != null).then_some(field));
                return Some(fields);
            }
        }
    }
}

/// The rows up to the trailer; `Err` with those before an error.
fn binary_rows(stream: &[u8]) -> Result<(Vec<Row>, bool), Vec<Row>> {
    let mut rows = Vec::new();
    let mut rest = stream;
    let mut take = |count: usize| -> Option<&[u8]> {
        let (head, tail) = rest.split_at_checked(count)?;
        rest = tail;
        Some(head)
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0u32, |n, b| (n << 8) | u32::from(*b));
    let head = (|| {
        take(11).filter(|s| *s == b"PGCOPY\n\xff\r\n\0")?;
        // Critical flags that are not known are an error.
        let flags = number(take(4)?);
        let extension = number(take(4)?);
        take(usize::try_from(extension).ok().filter(|_| flags >> 16 == 0 && extension < 1 << 31)?).map(|_| ())
    })();
    if head.is_none() {
        return Err(rows);
    }
    loop {
        let Some(count) = take(2).map(number) else { return Err(rows) };
        if count == 0xffff {
            return Ok((rows, true));
        }
        let mut row = Vec::new();
        for _ in 0..count {
            let Some(length) = take(4).map(number) else { return Err(rows) };
            if length == u32::MAX {
                row.push(None);
                continue;
            }
            let Some(field) = usize::try_from(length).ok().filter(|_| length < 1 << 31).and_then(&mut take) else {
                return Err(rows);
            };
            row.push(Some(field.to_vec()));
        }
        rows.push(row);
    }
}
