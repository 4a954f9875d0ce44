use super::*;

fn read(text: &str) -> Result<Vec<Statement<'_>>, Refusal> {
    parse(text, &StatementLimits::default(), 150_020)
}

fn refused(text: &str) -> (String, Option<u32>) {
    let refusal = read(text).unwrap_err();
    (format!("{} {}", refusal.error.code, refusal.error.message), refusal.error.position)
}

#[test]
fn texts_without_a_token_are_no_statement() {
    for text in ["", " ", "\n\t\r\u{c}", ";", " ;; ", "-- x", "/* x */"] {
        assert_eq!(read(text).map(|s| s.len()), Ok(0), "{text:?}");
        assert!(scan(text).is_ok(), "{text:?}");
    }
    assert_eq!(reparse("").map(|s| s.len()), Ok(0));
}

/// White space to servers from 16 on, and to those before an error; within a literal a character.
#[test]
fn vertical_tabs_stand_in_literals_only() {
    for text in [
        "SELECT 'a\u{b}b'",
        "SELECT E'a\\'\u{b}b', 'it''s\u{b}one', E'\\\\'\n'x\u{b}'",
        "SELECT 'a\u{b}'\n  'b\u{b}'",
        "SELECT 'a' -- it's\n 'b\u{b}'",
        "SELECT U&'\u{b}', N'\u{b}', \"'\u{b}\", \"x\u{b}\"",
        "SELECT $$\u{b}$$, $q$'\u{b}$q$ /* ' \u{b} */ -- \u{b}",
    ] {
        assert!(read(text).is_ok(), "{text:?}");
    }
    for text in [
        "SELECT\u{b}1",
        "SELECT 'a'\u{b}\n'b'",
        "SELECT 'a'\n\u{b}'b'",
        "SELECT E'a\\\\'\n\u{b}'b'",
        "SELECT 'it''s'\n\u{b}'b'",
        "SELECT 'a' -- it's\n \u{b}'b'",
        "SELECT U&'a'\n\u{b}'b'",
        "SELECT 1;\u{b}",
    ] {
        assert!(refused(text).0.starts_with("42601"), "{text:?}");
    }
}

#[test]
fn statements_end_where_the_parser_ends_them() {
    let found = read(" SELECT ';' ; /* ; */ SELECT $2, $$;$$ ;; -- end").unwrap();
    let texts: Vec<_> = found.iter().map(|s| (s.text.trim(), s.params)).collect();
    assert_eq!(texts, [("SELECT ';'", 0), ("SELECT $2, $$;$$", 2)]);
    for nothing in ["", " ", ";", " -- nothing", "/* nothing */"] {
        assert!(read(nothing).unwrap().is_empty(), "{nothing}");
    }
}

#[test]
fn syntax_errors_carry_postgres_message_and_position() {
    assert_eq!(refused("SELEC 1"), ("42601 syntax error at or near \"SELEC\"".to_owned(), Some(1)));
    assert_eq!(refused("SELECT 'ä', a FROM FROM t"), ("42601 syntax error at or near \"FROM\"".to_owned(), Some(20)));
    assert_eq!(refused("SELECT ("), ("42601 syntax error at end of input".to_owned(), Some(9)));
    for (sql, message, at) in [
        ("SELECT 'ä', 'open, ' 'x", "unterminated quoted string at or near \"'x\"", 22),
        ("SELECT 'open", "unterminated quoted string at or near \"'open\"", 8),
        ("SELECT \"", "unterminated quoted identifier at or near \"\"\"", 8),
        ("SELECT 1 /* 2", "unterminated /* comment at or near \"/* 2\"", 10),
        ("SELECT '1x', 'ä', 1x", "trailing junk after numeric literal at or near \"1x\"", 19),
        ("SELECT \"\"", "zero-length delimited identifier at or near \"\"\"\"", 8),
    ] {
        assert_eq!(refused(sql), (format!("42601 {message}"), Some(at)), "{sql}");
    }
}

#[test]
fn other_majors_tokens_are_refused_for_old_servers_only() {
    for text in ["SELECT 0x1F", "SELECT 1_000", "SELECT 1a", "SELECT\u{b}1", "SELECT 'a'\n\u{b}'b'"] {
        assert!(read(text).is_err(), "{text}");
    }
    for text in ["SELECT 0x1F", "SELECT 1_000", "SELECT\u{b}1"] {
        assert!(parse(text, &StatementLimits::default(), 160_000).is_ok(), "{text}");
    }
    assert!(read("SELECT 1, 1.5e3, a1, $1 FROM t0x1").is_ok());
}

#[test]
fn limits_give_program_limit_errors() {
    let limits = StatementLimits { max_bytes: 100, max_tokens: 10, max_depth: 3 };
    let code = |text: &str| parse(text, &limits, 160_000).unwrap_err().error.code;
    assert_eq!(code(&"x".repeat(101)), SqlState::PROGRAM_LIMIT_EXCEEDED);
    assert_eq!(code("SELECT 1,2,3,4,5,6"), SqlState::PROGRAM_LIMIT_EXCEEDED);
    assert_eq!(code("SELECT ((((1))))"), SqlState::STATEMENT_TOO_COMPLEX);
    assert_eq!(code("SELECT '\0'"), SqlState::CHARACTER_NOT_IN_REPERTOIRE);
    assert_eq!(code("SELECT $70000"), SqlState::UNDEFINED_PARAMETER);
}

#[test]
fn depth_is_refused_and_never_overflows() {
    for text in [
        format!("SELECT 1{}", "+1".repeat(50_000)),
        format!("SELECT {}true", "NOT ".repeat(50_000)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(20_000)),
        format!("SELECT * FROM t{}", " JOIN t ON true".repeat(20_000)),
        format!("SELECT {}1", "- ".repeat(50_000)),
    ] {
        let refusal = parse(&text, &StatementLimits::default(), 160_000).unwrap_err();
        assert_eq!(refusal.error.code, SqlState::STATEMENT_TOO_COMPLEX);
    }
}
