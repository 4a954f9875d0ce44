//! Trigger functions in PL/pgSQL that keep what a setting holds in a row, and do nothing else with it.
//!
//! The body is cut at semicolons and block words. A piece that reads a setting, or a variable that holds one, must be an INSERT
//! of values into named columns, or an assignment, of expressions that only hand the value on. All else decides by it.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, InsertStmt, Node, SelectStmt, Token};

use crate::sql::parse;

/// Functions that make a value of values.
const HANDING_ON: &[&str] = &[
    "btrim",
    "concat",
    "concat_ws",
    "current_setting",
    "json_build_object",
    "jsonb_build_object",
    "left",
    "lower",
    "now",
    "substr",
    "substring",
    "to_json",
    "to_jsonb",
    "upper",
];

/// The columns that values of settings are kept in; `None` where something else is done with them.
pub(super) fn keeps(body: &str) -> Option<BTreeSet<String>> {
    let pieces = pieces(body)?;
    let mut walk = Walk { holders: BTreeSet::from(["current_setting".to_owned()]), columns: BTreeSet::new() };
    // A variable may be read before the place where it is set, in a loop.
    loop {
        let known = walk.holders.len();
        for piece in &pieces {
            walk.piece(piece)?;
        }
        if walk.holders.len() == known {
            return Some(walk.columns);
        }
    }
}

/// One statement of the body, as words and marks.
type Piece = Vec<(Token, String)>;

fn pieces(body: &str) -> Option<Vec<Piece>> {
    let mut pieces = vec![Piece::new()];
    for token in parse::scan(body).ok()? {
        let kind = token.token();
        let text = body.get(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)?;
        match kind {
            Token::SqlComment | Token::CComment => {}
            Token::Ascii59 | Token::Then | Token::Else | Token::BeginP | Token::Declare => pieces.push(Piece::new()),
            Token::Ident if text.eq_ignore_ascii_case("loop") => pieces.push(Piece::new()),
            _ => pieces.last_mut()?.push((kind, text.to_owned())),
        }
    }
    Some(pieces)
}

struct Walk {
    /// `current_setting`, and variables that hold what it gave; lower case.
    holders: BTreeSet<String>,
    columns: BTreeSet<String>,
}

impl Walk {
    fn piece(&mut self, piece: &Piece) -> Option<()> {
        if !piece.iter().any(|(_, word)| self.mentions(word)) {
            return Some(());
        }
        match piece.first()?.0 {
            Token::Insert => self.insert(&text(piece)),
            _ => self.assignment(piece),
        }
    }

    /// Also within a string, which may be SQL.
    fn mentions(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let mut words = text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$')));
        words.any(|word| self.holders.contains(word))
    }

    /// `NEW.column := value`, `variable := value`, `variable type := value`
    fn assignment(&mut self, piece: &Piece) -> Option<()> {
        let Some(at) = piece.iter().position(|(kind, word)| *kind == Token::ColonEquals || word == "=") else {
            return Self::declares(piece).then_some(());
        };
        let (left, rest) = piece.split_at(at);
        let value = parse::expression(&text(rest.get(1..)?)).ok()?;
        self.hands_on(&value).then_some(())?;
        let words: Vec<String> = left.iter().map(|(_, word)| word.to_ascii_lowercase().replace('"', "")).collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["new", ".", column] => drop(self.columns.insert((*column).to_owned())),
            [variable] => drop(self.holders.insert((*variable).to_owned())),
            // A declaration: after the name, the type.
            [variable, ..] if Self::declares(left) && piece.get(at)?.0 == Token::ColonEquals => {
                self.holders.insert((*variable).to_owned());
            }
            _ => return None,
        }
        Some(())
    }

    /// Names alone: a statement begins with a keyword or calls something.
    fn declares(words: &[(Token, String)]) -> bool {
        let statement =
            ["perform", "return", "raise", "while", "elsif", "exit", "assert", "foreach", "get", "open", "continue"];
        let first = words.first().is_some_and(|(kind, word)| {
            *kind == Token::Ident && !statement.contains(&word.to_ascii_lowercase().as_str())
        });
        first && words.iter().all(|(_, word)| word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '"')))
    }

    /// `INSERT INTO t (columns) VALUES (...)`, with nothing else that reads a setting.
    fn insert(&mut self, sql: &str) -> Option<()> {
        let statement = parse::reparse(sql).ok()?.pop()?.stmt?.node;
        let Some(NodeEnum::InsertStmt(mut insert)) = statement else { return None };
        let columns: Vec<String> = insert.cols.iter().map(target_name).collect::<Option<_>>()?;
        let values = take_values(&mut insert)?;
        let rest = serde_json::to_string(&insert).ok()?;
        (!self.mentions(&rest)).then_some(())?;
        for row in values {
            let Some(NodeEnum::List(row)) = row.node else { return None };
            (row.items.len() == columns.len()).then_some(())?;
            for (column, value) in columns.iter().zip(&row.items) {
                if self.mentions(&serde_json::to_string(value).ok()?) {
                    self.hands_on(value).then_some(())?;
                    self.columns.insert(column.to_ascii_lowercase());
                }
            }
        }
        Some(())
    }

    /// Whether an expression is made of values alone, and looks nothing up by them.
    fn hands_on(&self, value: &Node) -> bool {
        let all = |nodes: &[Node]| nodes.iter().all(|node| self.hands_on(node));
        let one = |node: &Option<Box<Node>>| node.as_deref().is_none_or(|node| self.hands_on(node));
        match value.node.as_ref() {
            Some(NodeEnum::AConst(_) | NodeEnum::ColumnRef(_) | NodeEnum::SqlvalueFunction(_)) => true,
            Some(NodeEnum::TypeCast(cast)) => one(&cast.arg),
            Some(NodeEnum::CoalesceExpr(e)) => all(&e.args),
            Some(NodeEnum::BoolExpr(e)) => all(&e.args),
            Some(NodeEnum::NullTest(e)) => one(&e.arg),
            Some(NodeEnum::CaseExpr(e)) => one(&e.arg) && all(&e.args) && one(&e.defresult),
            Some(NodeEnum::CaseWhen(e)) => one(&e.expr) && one(&e.result),
            Some(NodeEnum::AExpr(e)) => {
                matches!(e.kind(), AExprKind::AexprOp | AExprKind::AexprNullif | AExprKind::AexprDistinct)
                    && one(&e.lexpr)
                    && one(&e.rexpr)
            }
            Some(NodeEnum::FuncCall(call)) => {
                let name = call.funcname.last().and_then(|part| match part.node.as_ref() {
                    Some(NodeEnum::String(name)) => Some(name.sval.as_str()),
                    _ => None,
                });
                name.is_some_and(|name| HANDING_ON.contains(&name)) && all(&call.args)
            }
            _ => false,
        }
    }
}

fn text(piece: &[(Token, String)]) -> String {
    piece.iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>().join(" ")
}

fn target_name(column: &Node) -> Option<String> {
    match column.node.as_ref()? {
        NodeEnum::ResTarget(target) if target.indirection.is_empty() => Some(target.name.clone()),
        _ => None,
    }
}

/// The rows of VALUES, taken out of the statement.
fn take_values(insert: &mut InsertStmt) -> Option<Vec<Node>> {
    let Some(NodeEnum::SelectStmt(select)) = insert.select_stmt.as_deref_mut()?.node.as_mut() else { return None };
    let SelectStmt { values_lists, .. } = select.as_mut();
    let values = std::mem::take(values_lists);
    (!values.is_empty()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::keeps;

    fn kept(body: &str) -> Option<String> {
        keeps(body).map(|columns| columns.into_iter().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn audit_triggers_keep_the_value() {
        for (body, columns) in [
            (
                "BEGIN INSERT INTO log (tenant_id, actor) VALUES (NEW.tenant_id, coalesce(nullif(current_setting('a.b', true), ''), 'nobody')); RETURN NEW; END",
                "actor",
            ),
            (
                "BEGIN IF TG_OP = 'UPDATE' THEN INSERT INTO log (x, actor) VALUES (1, current_setting('a.b')); ELSE NEW.by = current_setting('a.b', true); END IF; RETURN NEW; END",
                "actor by",
            ),
            (
                "DECLARE who text := current_setting('a.b', true); BEGIN -- by whom\n INSERT INTO log (actor) VALUES (who); RETURN NEW; END",
                "actor",
            ),
            (
                "DECLARE who varchar; again text; BEGIN LOOP NEW.by := again; again := who; who := current_setting('a.b')::text; END LOOP; RETURN NEW; END",
                "by",
            ),
            ("BEGIN RETURN NEW; END", ""),
        ] {
            assert_eq!(kept(body).as_deref(), Some(columns), "{body}");
        }
    }

    #[test]
    fn what_decides_by_the_value_is_told() {
        for body in [
            "BEGIN IF current_setting('a.b') = 'x' THEN RETURN NULL; END IF; RETURN NEW; END",
            "BEGIN UPDATE t SET n = 1 WHERE org = current_setting('a.b'); RETURN NEW; END",
            "BEGIN EXECUTE 'INSERT INTO t (a) VALUES (current_setting(''a.b''))'; RETURN NEW; END",
            "BEGIN INSERT INTO t VALUES (current_setting('a.b')); RETURN NEW; END",
            "BEGIN INSERT INTO t (a) SELECT id FROM u WHERE org = current_setting('a.b'); RETURN NEW; END",
            "BEGIN INSERT INTO t (a) VALUES ((SELECT id FROM u WHERE org = current_setting('a.b'))); RETURN NEW; END",
            "BEGIN INSERT INTO t (a) VALUES (lookup(current_setting('a.b'))); RETURN NEW; END",
            "BEGIN INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = current_setting('a.b'); RETURN NEW; END",
            "DECLARE who text; BEGIN who := current_setting('a.b'); PERFORM f(who); RETURN NEW; END",
            "DECLARE who text; BEGIN who := current_setting('a.b'); UPDATE t SET n = 1 WHERE org = who; RETURN NEW; END",
            "DECLARE who text := current_setting('a.b'); BEGIN EXECUTE 'DELETE FROM t WHERE org = $1' USING who; RETURN NEW; END",
            "BEGIN PERFORM f(a := current_setting('a.b')); RETURN NEW; END",
            "BEGIN SELECT current_setting('a.b') INTO who; RETURN NEW; END",
            "BEGIN RETURN NEW; END; $unclosed$ current_setting('a.b')",
        ] {
            assert_eq!(kept(body), None, "{body}");
        }
    }
}
